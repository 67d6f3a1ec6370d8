/* SPDX-License-Identifier: Apache-2.0
 *
 * What a decision of each policy costs against the length of its queue: naming the next request, its
 * admission, and its end, with a decode iteration every tenth time. Fails where a decision at 100,000
 * waiting costs, against one at 10,000, more than four times what n log n grows by: the four are for the
 * caches that so long a queue no longer fits. Then the same at 10,000 waiting for 64 to 10,000 clients.
 * Arguments are the policies to look at, with options; all when there are none. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "policies/open.h"
#include "sim/core/rng.h"

#define CLIENTS  64u
#define SESSIONS 1000
#define BUDGET_S 0.05 /* per cell, but one round at least */
#define ROUND    2000 /* decisions per round, so that what happens once per frame is shared fairly */

struct world {
    struct arena arena;
    struct policy_env env;
    struct policy_instance p;
    struct sched_view v;
    struct req *reqs;
    uint32_t *output;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t truth(const void *engine, req_id r)
{
    return ((const struct world *)engine)->output[r];
}

static struct req request(struct rng_stream s, uint32_t i, uint32_t clients)
{
    return (struct req){.serial = i,
                        .arrival_ns = (sim_ns)i * 1000000,
                        .first_token_ns = SIM_NEVER,
                        .client = (uint32_t)rng_range(s, i, 0, 0, clients - 1),
                        .prompt_tok = (uint32_t)rng_range(s, i, 1, 1, 2000),
                        .priority = (int32_t)rng_range(s, i, 2, 0, 9),
                        .state = REQ_WAITING,
                        .weight = 1,
                        .ttft_slo_ms = 2000,
                        .tpot_slo_ms = 100,
                        .session = rng_range(s, i, 3, 1, SESSIONS),
                        .turn = (uint32_t)rng_range(s, i, 4, 0, 5)};
}

static int open_world(struct world *w, const char *spec, uint32_t n, uint32_t clients)
{
    struct rng_stream s = rng_stream(1, 0, "bench");
    struct err e = {0};
    int rc;

    *w = (struct world){.reqs = calloc(n, sizeof(*w->reqs)), .output = calloc(n, sizeof(*w->output))};
    arena_init(&w->arena);
    w->env = (struct policy_env){.arena = &w->arena, .seed = 1, .kv_tok = 1000000, .engine = w};
    w->v = (struct sched_view){.reqs = w->reqs, .running_head = REQ_NONE, .running_tail = REQ_NONE};
    rc = w->reqs && w->output ? policy_open(spec, &w->env, &w->p, &e) : SIM_E_NOMEM;
    w->env.truth_output = truth;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        w->reqs[i] = request(s, i, clients);
        w->output[i] = (uint32_t)rng_range(s, i, 5, 1, 800);
        w->v.now_ns = w->reqs[i].arrival_ns;
        if (w->p.ops->arrive(w->p.st, &w->v, i)) {
            w->reqs[i].state = REQ_FREE;
        } else {
            w->v.n_waiting++;
        }
    }
    return rc;
}

static void close_world(struct world *w)
{
    if (w->p.ops && w->p.ops->release) {
        w->p.ops->release(w->p.st);
    }
    arena_release(&w->arena);
    free(w->reqs);
    free(w->output);
}

#define TELL(call, arg)                                                                            \
    do {                                                                                           \
        if (w->p.ops->call) {                                                                      \
            w->p.ops->call(w->p.st, &w->v, arg);                                                   \
        }                                                                                          \
    } while (0)

/* One request from the queue to its end. */
static void serve(struct world *w, req_id r)
{
    if (w->p.ops->admit) {
        w->p.ops->admit(w->p.st, &w->v, r, 0);
    }
    w->v.n_waiting--;
    w->reqs[r].state = REQ_DECODING;
    w->reqs[r].generated_tok = 1;
    w->reqs[r].join_iter = w->v.decode_iter;
    TELL(first_token, r);
    w->reqs[r].generated_tok = w->output[r];
    if (w->p.ops->finishing) {
        w->p.ops->finishing(w->p.st, &w->v);
    }
    TELL(finish, r);
    w->reqs[r].state = REQ_FREE;
}

static void iteration(struct world *w)
{
    w->v.now_ns += 20000000;
    TELL(decode, 1);
    w->v.decode_iter++;
}

/* Nanoseconds per decision when `n` wait at first, over at most ROUND decisions. */
static double cost_ns(const char *spec, uint32_t n, uint32_t clients)
{
    struct world room, *w = &room;
    double start = 0, took = 0;
    uint64_t done = 0;

    for (int round = 0; round < 300 && took < BUDGET_S; round++) {
        if (open_world(w, spec, n, clients) < 0) {
            close_world(w);
            return (double)NAN;
        }
        start = now_s();
        for (uint32_t i = 0; i < ROUND && w->v.n_waiting > 0; i++) {
            req_id r = w->p.ops->next(w->p.st, &w->v);

            if (r == REQ_NONE) {
                break;
            }
            serve(w, r);
            done++;
            if (i % 10 == 9) {
                iteration(w);
            }
        }
        took += now_s() - start;
        close_world(w);
    }
    return done ? took / (double)done * 1e9 : (double)NAN;
}

/* false = worse than n log n. */
static bool by_length(const char *spec)
{
    static const uint32_t lengths[] = {10, 100, 1000, 10000, 100000};
    double allowed = 4 * 10 * (log(1e5) / log(1e4)), ns[5];
    bool good;

    printf("%-14s", spec);
    for (int i = 0; i < 5; i++) {
        ns[i] = cost_ns(spec, lengths[i], CLIENTS);
        printf(" %9.0f", ns[i]);
    }
    good = ns[4] <= allowed * ns[3];
    printf("   %.0f%s\n", 1e9 / ns[4], good ? "" : "  GROWS FASTER THAN n log n");
    return good;
}

static bool by_clients(const char *spec)
{
    static const uint32_t clients[] = {64, 1000, 10000};
    double allowed = 4 * 10 * (log(1e4) / log(1e3)), ns[3];
    bool good;

    printf("%-14s", spec);
    for (int i = 0; i < 3; i++) {
        ns[i] = cost_ns(spec, 10000, clients[i]);
        printf(" %9.0f", ns[i]);
    }
    good = ns[2] <= allowed * ns[1];
    printf("   %.0f%s\n", 1e9 / ns[2], good ? "" : "  GROWS FASTER THAN n log n");
    return good;
}

static int for_each(int argc, char **argv, bool (*row)(const char *spec))
{
    int bad = 0;

    for (int i = 1; i < argc; i++) {
        bad += !row(argv[i]);
    }
    for (int p = 0; policies[p] && argc < 2; p++) {
        bad += !row(policies[p]->name);
    }
    return bad;
}

int main(int argc, char **argv)
{
    int bad;

    printf("ns per decision when so many wait at first\n%-14s %9u %9u %9u %9u %9u   decisions/s at the last\n",
           "policy", 10, 100, 1000, 10000, 100000);
    bad = for_each(argc, argv, by_length);
    printf("ns per decision when 10000 wait at first, by clients\n%-14s %9u %9u %9u   decisions/s at the last\n",
           "policy", 64, 1000, 10000);
    bad += for_each(argc, argv, by_clients);
    return bad ? 1 : 0;
}
