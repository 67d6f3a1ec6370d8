/* SPDX-License-Identifier: Apache-2.0
 *
 * What a decision of each router costs against the number of replicas: a request with a prompt of 32 prefix
 * ids, of 64 clients and 1000 families of prompts, and the end of an earlier one. Fails where a decision
 * among 256 replicas costs, against one among 16, more than four times what n log n grows by.
 * Arguments are the routers to look at, with options; all when there are none. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "policies/route.h"
#include "sim/core/rng.h"

#define MOST     256u
#define IDS      32
#define IN_WAY   1024 /* requests that have not left */
#define BUDGET_S 0.05 /* per cell, but one round at least */
#define ROUND    4096

struct world {
    struct arena arena;
    struct route_env env;
    struct router_instance router;
    struct route_replica replica[MOST];
    struct route_left on_way[IN_WAY];
    struct rng_stream draws;
    uint64_t sent;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void leave(struct world *w, struct route_left *l)
{
    if (l->output_tok == 0) {
        return;
    }
    w->replica[l->replica].n_running--;
    w->replica[l->replica].prompt_tok -= l->prompt_tok;
    w->replica[l->replica].kv_used_tok -= l->prompt_tok;
    if (w->router.ops->left) {
        w->router.ops->left(w->router.st, l);
    }
}

static int decide(struct world *w, struct err *e)
{
    uint64_t s = w->sent++, ids[IDS], family = rng_range(w->draws, s, 0, 0, 999);
    struct route_view v = {.n = w->env.n, .replica = w->replica};
    struct route_req r = {.serial = s, .session = family + 1, .client = (uint32_t)(family % 64), .prompt_tok = 16 * IDS,
                          .hash = ids, .n_hash = IDS, .hash_tok = 16};
    struct route_left *l = &w->on_way[s % IN_WAY];
    uint32_t at = 0;

    for (uint64_t i = 0; i < IDS; i++) { /* families share their first ids with a tenth of all */
        ids[i] = i < 4 ? family % 10 * 100 + i : (i < 24 ? family : 1000000 + s) * 100 + i;
    }
    leave(w, l);
    if (w->router.ops->route(w->router.st, &v, &r, &at, e) < 0) {
        return e->code;
    }
    *l = (struct route_left){.serial = s, .session = r.session, .replica = at, .client = r.client,
                             .prompt_tok = r.prompt_tok, .output_tok = 100};
    w->replica[at].n_running++;
    w->replica[at].prompt_tok += r.prompt_tok;
    w->replica[at].kv_used_tok += r.prompt_tok;
    return 0;
}

/* Nanoseconds per decision among n, or NaN. */
static double measure(const char *spec, uint32_t n, struct err *e)
{
    struct world *w = calloc(1, sizeof(*w));
    double begin, took = 0;
    uint64_t done = 0;

    if (!w) {
        return (double)NAN;
    }
    w->env = (struct route_env){.arena = &w->arena, .n = n, .kv_tok = 100000};
    w->draws = rng_stream(1, 0, "bench");
    for (uint32_t i = 0; i < n; i++) {
        w->replica[i].kv_total_tok = 100000;
    }
    if (router_open(spec, &w->env, &w->router, e) == 0) {
        for (uint64_t i = 0; i < ROUND && e->code == 0; i++) {
            decide(w, e);
        }
        begin = now_s();
        while (took < BUDGET_S && e->code == 0) {
            for (uint64_t i = 0; i < ROUND && e->code == 0; i++, done++) {
                decide(w, e);
            }
            took = now_s() - begin;
        }
    }
    if (w->router.ops && w->router.ops->release) {
        w->router.ops->release(w->router.st);
    }
    arena_release(&w->arena);
    free(w);
    return e->code ? (double)NAN : took / (double)done * 1e9;
}

static int look_at(const char *spec)
{
    static const uint32_t sizes[] = {2, 16, 64, MOST};
    struct err e = {0};
    double ns[4];
    bool steep;

    for (int i = 0; i < 4; i++) {
        ns[i] = measure(spec, sizes[i], &e);
        if (e.code) {
            fprintf(stderr, "%s: %s\n", spec, e.msg);
            return 1;
        }
    }
    steep = ns[3] > 4 * ns[1] * (256 * log2(256)) / (16 * log2(16));
    printf("%-28s %8.0f %8.0f %8.0f %8.0f%s\n", spec, ns[0], ns[1], ns[2], ns[3], steep ? "  too steep" : "");
    return steep;
}

int main(int argc, char **argv)
{
    int bad = 0;

    printf("%-28s %8s %8s %8s %8s  ns per decision among so many replicas\n", "router", "2", "16", "64", "256");
    for (int i = 1; i < argc; i++) {
        bad |= look_at(argv[i]);
    }
    for (size_t i = 0; argc == 1 && routers[i]; i++) {
        bad |= look_at(routers[i]->name);
    }
    return bad;
}
