/* SPDX-License-Identifier: Apache-2.0
 *
 * Listens to a run and sums it up: the metrics of `vllm bench serve` under its names, per-client
 * service and the differences in it (VTC, OSDI'24; fairness.md 2.6), utilisation, series. Memory does
 * not grow with the number of requests. */
#ifndef STEELYARD_METRICS_H
#define STEELYARD_METRICS_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/hist.h"
#include "sim/engine/engine.h"
#include "sim/observe/alone.h"
#include "sim/observe/attain.h"
#include "sim/run.h"

/* Service over time is kept in bins whose width doubles when the run grows longer than they reach. */
#define SERVICE_BINS        2048
#define SERVICE_CLIENTS     512 /* clients beyond these have totals, but no curve */
#define SERVICE_FIRST_BIN_S 0.25
#define SERVICE_TICKS       20  /* of the published service metrics */
#define SERIES_POINTS       2048
#define SIZE_CLASSES        3 /* short, medium, long answers */
#define REFUSAL_REASONS     8    /* kept apart; a later one is told with the last of them */

/* Requests that were refused for one reason. */
struct refusals {
    const char *why;
    uint64_t n;
    struct req first;
    uint32_t first_output_tok;
};

struct client_stats {
    uint64_t requests, completed, rejected, prompt_tok, output_tok;
    double service, weight;
    sim_wide ttft_ns, e2e_ns;
    double ufc, throughput; /* sums over completed requests: see metrics_glossary.c */
    uint64_t slo_all, slo_met;
    double tpot_sum_ns;
    uint64_t tpot_n;
    double *served; /* SERVICE_BINS: service given, spread from first token to finish */
    double *asked;  /* demand arriving */
};

/* One engine is listened to by one ear; all hear for the same sums. */
struct metrics_ear {
    struct metrics *m;
    struct engine *engine;
    uint32_t replica;
    struct tokens tokens;
};

/* All engines together, at the end. */
struct metrics_total {
    struct engine_counters n;
    sim_ns last_arrival_ns;
    uint32_t waiting_at_last_arrival;
    double pool_tok, peak_kv; /* peak_kv: of the fullest pool, share */
    double busiest_ns, most_arrived; /* of one replica */
    bool swaps;                      /* KV can outlive its place on the GPU */
    struct swap_counters swap;
    bool pins;
    struct pin_counters pin;
    double wait_tail;                /* of the replica that waited most */
};

struct metrics {
    const struct run_config *cfg;
    const struct run_hooks *hooks;
    const char *(*client_name)(void *ctx, uint32_t client); /* set after metrics_init */
    void *client_name_ctx;
    struct metrics_ear *ear;
    uint32_t n_ears;
    struct metrics_total total; /* filled by metrics_add_up */
    struct arena *arena;
    struct hist ttft, tpot, itl, e2el, queue;
    struct attain attain;
    struct alone alone;
    struct hist slowdown[SIZE_CLASSES]; /* in millionths */
    uint64_t completed, good, input_tok, output_tok;
    struct refusals refused[REFUSAL_REASONS];
    uint32_t n_refusals;
    uint32_t in_system, peak_in_system, in_system_at_last_arrival;
    const struct metrics_ear *last_arrival_ear;
    uint32_t waiting_elsewhere; /* at the last arrival, at other replicas than its own */
    sim_ns last_leave_ns, longest_wait_ns;
    sim_ns output_delay_ns, warmup_ns;
    struct client_stats *clients;
    uint32_t n_clients, cap_clients;
    double bin_s;
    sim_wide asked_prompt, asked_output; /* over all arrivals */
    uint64_t arrivals;
    /* samples */
    double sum_kv, sum_running, sum_waiting;
    uint64_t n_samples, n_waiting_samples; /* waiting: one for each replica where somebody waits */
    bool keep_series;
    double *point_t, *point_kv, *point_running, *point_waiting;
    uint32_t n_points;
    uint64_t point_every, point_phase;
    bool out_of_memory;
};

int metrics_init(struct metrics *m, const struct run_config *c, const struct run_hooks *h, uint32_t replicas,
                 struct arena *a, struct err *e);
/* The observer to hand to the engine of one replica. */
struct engine_observer metrics_observer(struct metrics *m, uint32_t replica, struct engine *engine);
/* A sample of all replicas, where their engines take none: those of several go together. */
void metrics_sample(struct metrics *m, sim_ns at);
sim_ns metrics_tick_ns(const struct metrics *m);
/* Fill m->total; before metrics_finish. */
void metrics_add_up(struct metrics *m);
/* Fill the numbers of *ret. `capacity_req_s` is what the machine could take (NaN = unknown). */
int metrics_finish(struct metrics *m, double capacity_req_s, struct run_result *ret, struct err *e);
void metrics_release(struct metrics *m);

#endif
