/* SPDX-License-Identifier: Apache-2.0
 *
 * Pattern graphs of compound programs (JITServe, arXiv 2504.20068, request analyser): what past programs
 * looked like, stage by stage, without any text, to tell how far along a new one is. */
#ifndef STEELYARD_PATTERN_H
#define STEELYARD_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_NONE UINT32_MAX

struct pattern_node {
    uint32_t in_tok, out_tok; /* out_tok 0 = not answered yet */
};

struct pattern_stage {
    uint32_t first, n; /* its nodes */
    double cost;       /* time or tokens, as the caller counts */
    int64_t from_ns;   /* when its first call began to run; -1 = not yet */
};

/* One program. Stages and their nodes in order. Zeroed = empty. */
struct pattern {
    struct pattern_stage *stages;
    struct pattern_node *nodes;
    uint32_t n_stages, n_nodes, cap_stages, cap_nodes;
};

/* A stage without nodes at the end; a node in the last stage. False = no memory. */
bool pattern_add_stage(struct pattern *p);
bool pattern_add_node(struct pattern *p, uint32_t in_tok);
void pattern_release(struct pattern *p);
/* Share of the cost that stages 0 .. stage have, 0..1; 1 when it has no more stages, or no cost. */
double pattern_share(const struct pattern *p, uint32_t stage);

/* How alike `seen`, the beginning of a program, is to `known`: over the stages of `seen` the sums of the
 * best assignment of nodes (greedy above 6), each 0.3 exp(-din^2/2s^2) + 0.7 exp(-dout^2/2s^2), s = `spread`
 * tokens; a node that is not answered has its first term alone. Below 0 where the shapes differ: `known` has
 * fewer stages, or other numbers of nodes in one of them (the last one of `seen` may still fill). */
double pattern_similarity(const struct pattern *seen, const struct pattern *known, double spread);

/* The last `cap` programs. */
struct pattern_store {
    struct pattern *at;
    uint32_t cap, n, newest;
};

bool pattern_store_init(struct pattern_store *s, uint32_t cap);
void pattern_store_release(struct pattern_store *s);
/* Takes the pattern over; the oldest goes when it is full. */
void pattern_store_add(struct pattern_store *s, struct pattern *p);
/* The most alike, the most recent of equals; PATTERN_NONE when none has its shape. */
uint32_t pattern_store_match(const struct pattern_store *s, const struct pattern *seen, double spread);

/* Share of a program by stage where no pattern is known, of a structure whose stages cost alike: tree of
 * thought (four stages) when the first stage has several calls, else deep research (six). */
double pattern_default_share(const struct pattern *seen, uint32_t stage);

#endif
