/* SPDX-License-Identifier: Apache-2.0
 *
 * Meters the service that clients receive, as VTC and its kin charge it (Sheng et al., OSDI'24).
 * A request with prompt p is charged h(p, 0) at admission and h(p, k) - h(p, k-1) for its k-th output
 * token, all divided by its client's weight; h is linear or the profiled quadratic of appendix B.2.
 * The k-th token is charged in the decode step that follows it, the last one when the request ends.
 *
 * Counters are integers in units of 2^-32 of the cost unit (a token, or a millisecond of the profiled
 * cost), rounded once per request and coefficient, so one call for k iterations equals k calls for one.
 * Per client only the sum of the next charges and of their growth is kept: k iterations cost
 * O(clients that decode), however many requests run and however many clients there are. */
#ifndef STEELYARD_METER_H
#define STEELYARD_METER_H

#include "policies/policy.h"
#include "policies/queue.h"

#define METER_UNIT 4294967296.0 /* counter units per cost unit */

enum meter_cost { METER_LINEAR, METER_PROFILED };

struct meter_conf {
    double wp, wq;
    int64_t cost;               /* enum meter_cost */
    struct opt_doubles profile; /* p, q, pq, q^2, 1 */
    bool extra_charge;
};

struct meter_account {
    sim_wide total;  /* charged so far */
    sim_wide step;   /* what the next decode iteration charges */
    sim_wide growth; /* by how much `step` grows with each iteration */
    uint32_t n_summed, active_at; /* its requests in the sums; its place + 1 in meter->active */
};

/* A set of accounts of which the one with the least counter is wanted: those whose counters stand still
 * are in a heap, those that decode are few and looked at one by one. */
struct meter_order {
    struct req_heap still; /* by counter, then by account */
    bool *in;              /* by account */
    uint32_t in_cap;
};

#define METER_ORDERS 3

struct meter_slot {
    uint32_t account, gen;       /* tokens out when it joined the decodes (or left them) */
    uint64_t join;               /* meter->iter at which `gen` was right */
    uint64_t charged_from;       /* the k-th token is charged one by one from this k on */
    int64_t per_token, per_quad; /* the k-th token costs per_token + per_quad * (2k - 1) */
    sim_wide prompt;             /* charge for the prompt */
    double predicted;            /* output tokens charged in advance */
    sim_ns fresh_ns;             /* when the last prefill of this request ended */
    bool decodes, summed;        /* gets tokens; is part of its account's sums */
    bool charged_prompt;
};

struct meter {
    struct meter_conf conf;
    struct client_table accounts; /* of struct meter_account, in order of first appearance */
    struct meter_slot *slots;     /* by req_id */
    uint32_t slots_cap;
    uint64_t iter;                /* decode iterations seen */
    sim_ns decode_ns;             /* end of the last step that decoded */
    struct req_heap later;        /* decoding requests not in the sums yet; key = iteration of joining */
    uint32_t *active;             /* accounts with requests in the sums */
    uint32_t n_active, active_cap;
    struct meter_order order[METER_ORDERS];
    uint32_t n_orders;            /* of these in use, as the policy says after meter_init */
    req_id *fresh;                /* whose prefill ended in the latest step in which one ended */
    uint32_t n_fresh, fresh_cap;
};

/* Option rows for a `struct meter_conf` that is member `m` of struct `S`. */
#define METER_WEIGHT_ROWS(S, m) METER_WEIGHT_ROWS_OF(S, m, "2")
#define METER_WEIGHT_ROWS_OF(S, m, wq_default)                                                     \
    {.name = "wp", .type = OPT_DOUBLE, .offset = offsetof(S, m.wp), .min = 0, .max = 1e4,          \
     .def = "1", .unit = "1", .help = "cost of a prompt token (VTC: 1)"},                          \
    {.name = "wq", .type = OPT_DOUBLE, .offset = offsetof(S, m.wq), .min = 0, .max = 1e4,          \
     .def = wq_default, .unit = "1", .help = "cost of an output token (VTC: 2)"},                         \
    {.name = "extra_charge", .type = OPT_BOOL, .offset = offsetof(S, m.extra_charge), .def = "off",\
     .help = "charge the whole batch once more whenever a request ends, as the VTC artifact does"}
#define METER_COST_ROWS(S, m)                                                                      \
    {.name = "cost", .type = OPT_CHOICE, .offset = offsetof(S, m.cost), .def = "linear",           \
     .help = "cost of a request", .choices = meter_cost_choices},                                  \
    {.name = "profile", .type = OPT_DOUBLES, .offset = offsetof(S, m.profile),                     \
     .min = -1e4, .max = 1e4,                                                                      \
     .def = "0.21001891;0.10075395;0.0039868;0.00324733;1.14601454", .unit = "1",                  \
     .help = "coefficients of p, q, p*q, q*q and 1 of the profiled cost (VTC, appendix B.2, ms)"}
extern const struct opt_choice meter_cost_choices[];

int meter_init(struct meter *m, const struct meter_conf *conf, struct err *e);
void meter_release(struct meter *m);
/* A request appears: its account, or CLIENT_NONE when memory is out. *ret_refused (may be set) says why
 * its weight cannot be used. */
uint32_t meter_arrive(struct meter *m, const struct sched_view *v, req_id r,
                      const char **ret_refused);
static inline struct meter_account *meter_account(const struct meter *m, uint32_t i)
{
    return client_table_row(&m->accounts, i);
}

/* Before the first admission of `r`. Charge it only this share, below 1, of everything; charge its prompt
 * as one of so many tokens (the share, if any, comes after). */
void meter_scale(struct meter *m, req_id r, double share);
void meter_prompt_tok(struct meter *m, const struct sched_view *v, req_id r, uint32_t prompt_tok);

/* The rest follows the callbacks of struct policy_ops. `predicted` output tokens are charged at
 * admission; they are not charged again one by one, and those not used are given back at the end. */
void meter_admit(struct meter *m, req_id r, double predicted);
void meter_first_token(struct meter *m, const struct sched_view *v, req_id r);
void meter_decode(struct meter *m, const struct sched_view *v, uint64_t k);
void meter_finishing(struct meter *m, const struct sched_view *v);
void meter_finish(struct meter *m, const struct sched_view *v, req_id r);
void meter_pause(struct meter *m, req_id r); /* also for preempt */
void meter_resume(struct meter *m, req_id r);
/* The callbacks of a policy that do nothing but meter, for its state `struct S` with a member `meter`:
 * NAME_first_token, NAME_decode, NAME_pause and NAME_resume. */
#define METER_CALLBACKS(S)                                                                         \
    static void S##_first_token(void *st, const struct sched_view *v, req_id r)                    \
    {                                                                                              \
        meter_first_token(&((struct S *)st)->meter, v, r);                                         \
    }                                                                                              \
    static void S##_decode(void *st, const struct sched_view *v, uint64_t k)                       \
    {                                                                                              \
        meter_decode(&((struct S *)st)->meter, v, k);                                              \
    }                                                                                              \
    static void S##_pause(void *st, const struct sched_view *v, req_id r)                          \
    {                                                                                              \
        (void)v;                                                                                   \
        meter_pause(&((struct S *)st)->meter, r);                                                  \
    }                                                                                              \
    static void S##_resume(void *st, const struct sched_view *v, req_id r)                         \
    {                                                                                              \
        (void)v;                                                                                   \
        meter_resume(&((struct S *)st)->meter, r);                                                 \
    }
/* Raise the counter of account `i` to `to`, if it is below. */
void meter_lift(struct meter *m, uint32_t i, sim_wide to);

/* ---- the least counter, O(log accounts) and O(accounts that decode) ---- */
void meter_order_set(struct meter *m, uint32_t order, uint32_t i, bool in);
/* Of the accounts in the order the one with the least counter, the first of equals, or CLIENT_NONE. */
uint32_t meter_least(const struct meter *m, uint32_t order);
/* Least number of iterations after which another account of the order may be below `least`. */
uint64_t meter_first_overtaking(const struct meter *m, uint32_t order, uint32_t least);

/* Output tokens of a request that are out. */
uint32_t meter_generated(const struct meter *m, req_id r);
/* Iterations until a further request joins the sums; UINT64_MAX = never. */
uint64_t meter_next_join(const struct meter *m);

/* Smallest k >= 1 at which account `b`, which is not below `a` now, falls below it by ordinary decode
 * charges; `b_wins_ties` = equal is below enough. UINT64_MAX = never; never more than 2^24 else. */
uint64_t meter_overtakes(const struct meter_account *a, const struct meter_account *b,
                         bool b_wins_ties);

#endif
