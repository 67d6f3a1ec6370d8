/* SPDX-License-Identifier: Apache-2.0
 *
 * Llumnix's dispatch (OSDI'24, section 4): to the replica with the greatest freeness, the number of decode
 * steps for which its memory lasts. Its migrations of running requests are not played.
 *   paper - (M - used - demand of the head of the queue) / running; other waiting requests count nothing
 *   code  - (free - demand of all that wait) / (running + waiting), remaining_steps of release v0.1 */
#include <math.h>

#include "policies/route.h"

enum llumnix_rule { LLUMNIX_PAPER, LLUMNIX_CODE };

struct llumnix {
    int64_t rule;
    uint32_t next; /* where looking begins: of equals each has its turn */
};

static const struct opt_choice llumnix_rules[] = {
    {"paper", "virtual usage: of those that wait only the head of the queue counts"},
    {"code", "release v0.1: all that wait count, in memory and in number"},
    {NULL, NULL},
};

static const struct opt_row llumnix_options[] = {
    {.name = "rule", .type = OPT_CHOICE, .offset = offsetof(struct llumnix, rule), .def = "paper",
     .help = "how freeness is counted", .choices = llumnix_rules},
    OPT_END,
};

/* Loads are negative freeness. Nobody runs: as if one did. */
static double paper_load(const struct route_replica *x)
{
    double room = (double)x->kv_total_tok - (double)x->kv_used_tok - (double)x->head_tok;
    return -room / (x->n_running > 0 ? x->n_running : 1);
}

static double code_load(const struct route_replica *x)
{
    double room = (double)x->kv_total_tok - (double)x->kv_used_tok - (double)x->waiting_tok;
    double n = route_outstanding(x);
    return n > 0 ? -room / n : -(double)INFINITY;
}

static int llumnix_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                         struct err *e)
{
    (void)r;
    (void)e;
    struct llumnix *s = st;
    *ret = route_least(v, s->next, s->rule == LLUMNIX_CODE ? code_load : paper_load);
    s->next = *ret + 1;
    return 0;
}

const struct router_ops router_llumnix = {
    .name = "llumnix",
    .summary = "the replica whose memory lasts for the most decode steps (dispatch only)",
    .source = "Llumnix, OSDI'24 (arXiv 2406.03243), section 4; release v0.1",
    .abi = ROUTER_ABI,
    .needs = ROUTE_HEAD,
    .state_size = sizeof(struct llumnix),
    .options = llumnix_options,
    .route = llumnix_route,
};
