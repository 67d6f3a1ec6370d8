/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run leaves behind: metrics, statistics of its policies, warnings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/run_parts.h"

#define MOST_POLICY_STATS 32

/* ---- capacity ----
 * A fluid estimate of the requests per second that the machine can take, all its replicas together, for the mean request of the
 * run: the pool filled with such requests at half of their output, one decode step for all of them, and
 * prompts prefilled as many at a time as one step takes. The cheaper of a step of its own and a step
 * shared with the decodes is charged for a prompt. */
static double step_seconds(const struct run *r, const struct batch_shape *s)
{
    struct cost_affine a;

    r->cost->iteration(r->cost_state, s, &a);
    return (double)a.base / SIM_TICKS_PER_NS / 1e9 + r->cfg->step_overhead_s +
           run_sampling_s(r) * ((double)s->n_decode + s->prefill_done);
}

static double capacity_req_s(const struct run *r)
{
    const struct metrics *m = &r->metrics;
    double n = (double)m->arrivals;
    const struct engine_counters *all = &m->total.n;
    double cached = all->lookup_tok ? (double)all->hit_tok / (double)all->lookup_tok : 0;
    double p = (double)m->asked_prompt / n, q = (double)m->asked_output / n;
    double pool = (double)(r->blocks * r->traits.block_tok);
    double batch = fmax(1, floor(pool / (p * (1 - cached) + q / 2)));
    double fresh = fmax(1, p * (1 - cached)), prompts = 1, alone, mixed, decode;
    struct batch_shape d = {0}, f = {0}, both;

    if (m->arrivals == 0) {
        return (double)NAN;
    }
    if (r->traits.max_seqs && batch > r->traits.max_seqs) {
        batch = r->traits.max_seqs;
    }
    if (r->traits.max_batched_tok) {
        prompts = fmin(batch, fmax(1, floor(r->traits.max_batched_tok / fresh)));
    }
    d.n_decode = d.n_resident = (uint32_t)batch;
    d.decode_ctx_tok = d.kv_resident_tok = (uint64_t)(batch * (p + q / 2));
    f.n_prefill = f.prefill_done = f.n_resident = (uint32_t)prompts;
    f.prefill_tok = (uint64_t)(prompts * fresh);
    f.prefill_ctx_tok = f.kv_resident_tok = (uint64_t)(prompts * p);
    f.prefill_pairs = (uint64_t)(prompts * fresh * (p - fresh / 2 + 0.5));
    f.prefill_sq = (uint64_t)(prompts * fresh * fresh);
    both = f;
    both.n_decode = d.n_decode;
    both.decode_ctx_tok = d.decode_ctx_tok;
    both.n_resident += d.n_resident;
    both.kv_resident_tok += d.kv_resident_tok;
    decode = step_seconds(r, &d);
    alone = step_seconds(r, &f);
    mixed = step_seconds(r, &both) - decode;
    return r->n / (fmin(alone, fmax(mixed, 0)) / prompts + q * decode / batch);
}

/* ---- results ---- */

/* One sentence for each reason: how many, why, and which was the first. */
static size_t add_refusals(struct run *r, const char **w)
{
    for (uint32_t i = 0; i < r->metrics.n_refusals; i++) {
        const struct refusals *f = &r->metrics.refused[i];

        w[i] = arena_printf(r->arena, "%llu of %llu requests can never run here: %s (first: request %u at "
                            "%.6g s, %u prompt and %u output tokens; the KV pool holds %llu tokens)",
                            (unsigned long long)f->n, (unsigned long long)r->metrics.arrivals, f->why,
                            (unsigned)f->first.serial, (double)f->first.arrival_ns / 1e9,
                            (unsigned)f->first.prompt_tok, (unsigned)f->first_output_tok,
                            (unsigned long long)(r->blocks * r->traits.block_tok));
    }
    return r->metrics.n_refusals;
}

static int fill_warnings(struct run *r, struct run_result *ret)
{
    const char **w = arena_calloc(r->arena, 4 + REFUSAL_REASONS, sizeof(*w));
    size_t n = 0;

    if (!w) {
        return no_memory(r);
    }
    n = add_refusals(r, w);
    if (r->metrics.total.n.outside_range > 0) {
        w[n++] = arena_printf(r->arena, "the cost model was asked %llu times outside the range it was "
                              "fitted on", (unsigned long long)r->metrics.total.n.outside_range);
    }
    if (r->metrics.n_clients > SERVICE_CLIENTS) {
        w[n++] = arena_printf(r->arena, "service differences and Jain's index look at the first %d of %u "
                              "clients", SERVICE_CLIENTS, r->metrics.n_clients);
    }
    if (trace_left_out(r->load.trace) > 0) {
        w[n++] = arena_printf(r->arena, "%llu rows of the trace are no requests and were left out: failed "
                              "calls without token counts (see the options of format %s)",
                              (unsigned long long)trace_left_out(r->load.trace),
                              trace_format_name(r->load.trace));
    }
    ret->warnings = w;
    return 0;
}

int run_append_metrics(struct run *r, struct run_result *ret, const struct policy_stat *stat, size_t n)
{
    struct metric *m;

    if (n == 0) {
        return 0;
    }
    m = arena_calloc(r->arena, ret->n_metrics + n, sizeof(*m));
    if (!m) {
        return no_memory(r);
    }
    memcpy(m, ret->metrics, ret->n_metrics * sizeof(*m));
    for (size_t i = 0; i < n; i++) {
        m[ret->n_metrics++] =
            (struct metric){.name = stat[i].name, .unit = stat[i].unit, .value = stat[i].value};
    }
    ret->metrics = m;
    return 0;
}

/* What the policy tells about itself goes behind the metrics of the run: of several replicas the mean. */
static int add_policy_stats(struct run *r, struct run_result *ret)
{
    struct policy_stat sum[MOST_POLICY_STATS], stat[MOST_POLICY_STATS];
    size_t n = 0;

    for (uint32_t i = 0; i < r->n; i++) {
        const struct policy_instance *p = &r->member[i].policy;

        n = p->ops->stats ? p->ops->stats(p->st, stat, MOST_POLICY_STATS) : 0;
        for (size_t k = 0; k < n; k++) {
            double before = i > 0 ? sum[k].value : 0;

            sum[k] = stat[k];
            sum[k].value = before + stat[k].value / r->n;
        }
    }
    return run_append_metrics(r, ret, sum, n);
}

static int add_router_stats(struct run *r, struct run_result *ret)
{
    struct policy_stat stat[MOST_POLICY_STATS];
    const struct router_ops *ops = r->router.ops;

    return run_append_metrics(r, ret, stat, ops && ops->stats ? ops->stats(r->router.st, stat, MOST_POLICY_STATS) : 0);
}

/* Of steps, by what the cost model does not know of. */
static double slowdown(const struct run *r)
{
    return experts_slowdown(&r->experts) * placement_slowdown(&r->placement);
}

int run_fill_result(struct run *r, struct run_result *ret)
{
    metrics_add_up(&r->metrics);
    if (metrics_finish(&r->metrics, capacity_req_s(r) / slowdown(r), ret, r->err) < 0 ||
        add_policy_stats(r, ret) < 0 || experts_metrics(&r->experts, ret, r->arena, r->err) < 0 ||
        placement_metrics(&r->placement, ret, r->arena, r->err) < 0 ||
        add_router_stats(r, ret) < 0 || run_add_links(r, ret) < 0) {
        return r->err->code;
    }
    ret->policy_oracle = r->member[0].policy_env.oracle;
    ret->cost_provenance = r->cost_env.provenance;
    ret->trace_format = arena_strdup(r->arena, trace_format_name(r->load.trace));
    ret->trace_requests = r->load.given;
    ret->iterations = r->metrics.total.n.steps;
    ret->boundaries = r->metrics.total.n.walked;
    return fill_warnings(r, ret);
}
