/* SPDX-License-Identifier: Apache-2.0
 *
 * Which goals a request has: its own from the trace, else its client's, else its class's, else those of
 * the run. Filled in before the request is sent, so that policies and metrics see the same. */
#ifndef STEELYARD_GOALS_H
#define STEELYARD_GOALS_H

#include "sim/core/slo_class.h"
#include "sim/run.h"
#include "traces/trace.h"

struct goal_set {
    int64_t slo_class;             /* SLO_NONE = not said */
    double ttft_ms, tbt_ms, e2e_ms; /* 0 = not said */
};

struct client_goals {
    const char *client; /* "*" = every client without a row of its own */
    struct goal_set goals;
};

struct goals {
    struct goal_set run, of_class[SLO_CLASSES];
    struct client_goals *client;
    size_t n_client;
    bool any;
};

/* From slo.*, slo.classes ("latency:ttft=500ms,tbt=100ms;deadline:e2e=20s") and slo.client
 * ("alice:class=latency,ttft=1s;*:class=deadline"). */
int goals_parse(struct goals *g, const struct run_config *c, struct arena *a, struct err *e);
/* Row of a client, NULL when nothing was said about it. */
const struct goal_set *goals_of_client(const struct goals *g, const char *client);
/* Fill in what the trace left open; `client` may be NULL. */
void goals_apply(const struct goals *g, const struct goal_set *client, struct arrival *a);

#endif
