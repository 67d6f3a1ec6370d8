/* SPDX-License-Identifier: Apache-2.0 */
#include "models/reach.h"

#include <math.h>

/* Chance that none of k experts, drawn without putting back from `all`, is one of `some`. */
static double missed(double all, double some, double k)
{
    double p = 1;

    for (double i = 0; i < k && p > 0; i++) {
        p *= all - some > i ? (all - some - i) / (all - i) : 0;
    }
    return p;
}

/* Where a token is held to few nodes, those are chosen for their best experts, which are then among its own: all of
 * them are hit (3.98 of 4 in a simulation of DeepEP's test at 8 nodes). */
struct reach_mean reach_mean(const struct reach *s)
{
    double nodes = fmax(1, ceil(s->ranks / s->per_node));
    double allowed = s->node_limit > 0 ? fmin(s->node_limit, nodes) : nodes;
    double eligible = s->experts * allowed / nodes;
    double hit = allowed < nodes ? fmin(allowed, s->per_tok)
                                 : nodes * (1 - missed(s->experts, s->experts / nodes, s->per_tok));

    return (struct reach_mean){
        .nodes = hit,
        .remote = hit * (nodes - 1) / nodes,
        .gpus = allowed * s->ranks / nodes * (1 - missed(eligible, s->experts / s->ranks, s->per_tok)),
    };
}

double reach_normal_s(const struct reach *s, const struct reach_rates *r, double bytes)
{
    struct reach_mean m = reach_mean(s);

    return bytes * fmax(m.remote / r->net, m.gpus / r->nvlink);
}
