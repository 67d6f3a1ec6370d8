/* SPDX-License-Identifier: Apache-2.0
 *
 * Who met its goals: attainment, request and token goodput by class (JITServe, arXiv 2504.20068; table in
 * its section on request classes, and the metric of its artifact's figures). A compound program - all
 * requests of a session - counts as one. Memory grows with the number of programs, not of requests. */
#ifndef STEELYARD_ATTAIN_H
#define STEELYARD_ATTAIN_H

#include "sim/core/slo_class.h"
#include "sim/observe/tokens.h"
#include "sim/run.h"

enum slo_tokens { SLO_TOKENS_PAPER, SLO_TOKENS_ARTIFACT };

struct attain_count {
    uint64_t all, good;            /* requests; programs where the class is compound */
    uint64_t good_in, good_out;    /* tokens that count */
};

struct program {
    uint64_t session;
    uint32_t client, running;      /* its calls that have not left */
    bool failed;                   /* a call was turned away */
    sim_ns first_ns, last_ns, limit_ns; /* limit: 0 = none */
    uint64_t in_tok, out_tok;
};

struct attain {
    const struct run_config *cfg;
    struct attain_count of_class[SLO_CLASSES];
    struct program *program;       /* in order of first arrival */
    uint32_t n_programs, cap_programs;
    uint32_t *index;               /* open addressing by session: program + 1, 0 = empty */
    uint32_t index_mask;
    sim_ns output_delay_ns, warmup_ns;
    bool any;                      /* some request has a class */
    bool miscounted;               /* some answer had another number of tokens than were heard of */
};

/* How a request of its client fared. */
enum attain_verdict { ATTAIN_NONE, ATTAIN_MISSED, ATTAIN_MET };

void attain_init(struct attain *t, const struct run_config *c);
void attain_release(struct attain *t);
/* `tokens` is of the engine that the request came to. false = out of memory. */
bool attain_arrived(struct attain *t, struct tokens *tokens, const struct req *r, req_id id);
/* `why` as in engine_observer.left; calls of programs are judged by attain_programs. */
enum attain_verdict attain_left(struct attain *t, struct tokens *tokens, const struct req *r, req_id id,
                                const struct live *l, const char *why, sim_ns now);
/* All is over: judge the programs, each told to `tell`. */
void attain_programs(struct attain *t, void (*tell)(void *ctx, uint32_t client, bool met), void *ctx);
/* Tokens that count, weighted as slo.tokens says. */
double attain_tokens(const struct attain *t, enum slo_class class);

#endif
