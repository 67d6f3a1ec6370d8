/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtual token counters, for policies that are VTC with other defaults. */
#ifndef STEELYARD_VTC_H
#define STEELYARD_VTC_H

#include "policies/meter.h"
#include "sim/core/rng.h"

enum vtc_lift { VTC_LIFT_ARTIFACT, VTC_LIFT_PAPER, VTC_LIFT_OFF, VTC_LIFT_MAX };
enum vtc_predict { VTC_PREDICT_NONE, VTC_PREDICT_ORACLE, VTC_PREDICT_MEAN };

struct vtc {
    struct meter_conf conf;
    int64_t lift, predict; /* enum vtc_lift, enum vtc_predict */
    double predict_range;
    struct policy_env *env;
    struct rng_stream noise;
    struct meter meter;
    struct req_links links;
    struct vtc_client *clients; /* by account */
    uint32_t clients_cap, n_waiting;
    uint32_t last_left;   /* account whose queue was the last to become empty, or CLIENT_NONE */
    bool formation_begins; /* a step or an arrival came since next() was asked last */
};

struct vtc_client {
    struct req_fifo fifo;
    double mean_output; /* exponential mean of its outputs, 0 = none yet */
};

extern const struct opt_choice vtc_lift_choices[], vtc_predict_choices[];

#define VTC_OPTIONS(lift_default)                                                                  \
    METER_WEIGHT_ROWS(struct vtc, conf), METER_COST_ROWS(struct vtc, conf),                        \
        {.name = "lift", .type = OPT_CHOICE, .offset = offsetof(struct vtc, lift),                 \
         .def = lift_default, .help = "what a client's counter is raised to when it comes back",   \
         .choices = vtc_lift_choices},                                                             \
        {.name = "predict", .type = OPT_CHOICE, .offset = offsetof(struct vtc, predict),           \
         .def = "none", .help = "output length that is charged at admission",                      \
         .choices = vtc_predict_choices},                                                          \
        {.name = "predict_range", .type = OPT_DOUBLE,                                              \
         .offset = offsetof(struct vtc, predict_range), .min = 0, .max = 1, .def = "0",            \
         .unit = "1", .help = "the oracle is off by up to this share, uniformly (VTC: 0.5)"},      \
        OPT_END

/* `r` leaves its client's queue. */
void vtc_unqueue(struct vtc *t, req_id r);
int vtc_init(void *st, struct policy_env *env, struct err *e);
void vtc_release(void *st);
const char *vtc_arrive(void *st, const struct sched_view *v, req_id r);
req_id vtc_next(void *st, const struct sched_view *v);
void vtc_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok);
void vtc_first_token(void *st, const struct sched_view *v, req_id r);
void vtc_decode(void *st, const struct sched_view *v, uint64_t k);
void vtc_finishing(void *st, const struct sched_view *v);
void vtc_finish(void *st, const struct sched_view *v, req_id r);
void vtc_preempt(void *st, const struct sched_view *v, req_id r);
void vtc_pause(void *st, const struct sched_view *v, req_id r);
void vtc_resume(void *st, const struct sched_view *v, req_id r);
void vtc_drop(void *st, const struct sched_view *v, req_id r);
uint64_t vtc_horizon(void *st, const struct sched_view *v);
uint32_t vtc_waiting(const void *st);

#define VTC_CALLBACKS                                                                              \
    .abi = POLICY_ABI, .state_size = sizeof(struct vtc), .init = vtc_init,                         \
    .release = vtc_release, .arrive = vtc_arrive, .next = vtc_next, .admit = vtc_admit,            \
    .first_token = vtc_first_token, .decode = vtc_decode, .finishing = vtc_finishing,              \
    .finish = vtc_finish, .preempt = vtc_preempt, .pause = vtc_pause, .resume = vtc_resume,        \
    .drop = vtc_drop, .horizon = vtc_horizon, .waiting = vtc_waiting

#endif
