/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/layers/nested_setup.h"

#include <math.h>
#include <string.h>

#define SCALE_BIT 16 /* of a scale or a zero point */

/* ---- sizes ---- */

double nested_plane_bits(const struct run_config *c, uint32_t i)
{
    double own = c->experts_planes.v[i] - (i > 0 ? c->experts_planes.v[i - 1] : 0);
    double scales = i > 0 ? own : 2;

    return own + (c->experts_group > 0 ? scales * SCALE_BIT / (double)c->experts_group : 0);
}

static double plane_bytes(const struct run_config *c, const struct llm_shape *m, uint32_t i)
{
    return ceil(llm_layer(m).expert * nested_plane_bits(c, i) / 8 / (double)c->tp);
}

double nested_expert_bytes(const struct run_config *c, const struct llm_shape *m)
{
    double sum = 0;

    for (uint32_t i = 0; i < c->experts_planes.n; i++) {
        sum += plane_bytes(c, m, i);
    }
    return sum;
}

double nested_bytes(const struct run_config *c, const struct llm_shape *m)
{
    double all = nested_expert_bytes(c, m) * llm_routed_experts(m);

    return (double)c->tp * (c->experts_budget > 0 ? fmin(all, c->experts_budget) : all);
}

/* ---- settings ---- */

static int check_bits(const struct opt_doubles *b, struct err *e)
{
    if (b->n > PLANES_MOST) {
        return err_set(e, SIM_E_CONFIG, "experts.planes: %zu bit-widths are more than %d", b->n, PLANES_MOST);
    }
    for (size_t i = 0; i < b->n; i++) {
        bool whole = b->v[i] >= 1 && b->v[i] <= 32 && rint(b->v[i]) >= b->v[i] && rint(b->v[i]) <= b->v[i];

        if (!whole || (i > 0 && b->v[i] <= b->v[i - 1])) {
            return err_set(e, SIM_E_CONFIG, "experts.planes: %g is no whole number of bits in 1..32 above the one before it",
                           b->v[i]);
        }
    }
    return 0;
}

static int check_shares(const struct opt_doubles *s, size_t n, struct err *e)
{
    double sum = 0;

    for (size_t i = 0; i < s->n; i++) {
        sum += s->v[i];
    }
    if (s->n > 0 && (s->n != n || fabs(sum - 1) > 1e-6)) {
        return err_set(e, SIM_E_CONFIG, "experts.capacity: %zu shares that add up to %g; %zu bit-widths of experts.planes "
                       "need one each, together 1", s->n, sum, n);
    }
    return 0;
}

/* Keys of experts that are of one piece. */
static int check_others(const struct run_config *c, struct err *e)
{
    const struct {
        const char *key, *instead;
        bool given;
    } other[] = {
        {"experts.rate", "experts.budget says how much stays", c->experts_rate < 1},
        {"experts.bits", "experts.planes has the bit-widths", c->experts_bits > 0},
        {"experts.global", "planes share one budget", c->experts_global},
        {"experts.shallow", "planes share one budget", c->experts_shallow > 0},
        {"experts.evict", "high bits of former layers go first", strcmp(c->experts_evict, "lru") != 0},
        {"experts.prefetch", "planes are loaded on demand", strcmp(c->experts_prefetch, "none") != 0},
        {"experts.miss", "planes are waited for", strcmp(c->experts_miss, "wait") != 0},
        {"experts.pieces", "a plane is the piece", c->experts_pieces > 1},
        {"experts.writeback", "planes are dropped", c->experts_writeback},
        {"experts.gpu_layers", "planes are the GPU's", c->experts_gpu_layers > 0},
    };

    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        if (other[i].given) {
            return err_set(e, SIM_E_CONFIG, "%s does not go with experts.planes: %s", other[i].key, other[i].instead);
        }
    }
    return 0;
}

int nested_settings(struct nested_config *n, const struct run_config *c, const struct llm_shape *m, struct err *e)
{
    double own = llm_layer(m).expert * dtype_bytes(m->weight_dtype) / (double)c->tp;

    if (check_bits(&c->experts_planes, e) < 0 || check_shares(&c->experts_capacity, c->experts_planes.n, e) < 0 ||
        check_others(c, e) < 0) {
        return e->code;
    }
    *n = (struct nested_config){
        .planes = {.planes = (uint32_t)c->experts_planes.n, .budget_bytes = c->experts_budget,
                   .order = (enum planes_order)c->experts_order},
    };
    for (uint32_t i = 0; i < n->planes.planes; i++) {
        n->planes.bytes[i] = plane_bytes(c, m, i);
        n->bits[i] = c->experts_planes.v[i];
        n->share[i] = c->experts_capacity.n > 0 ? c->experts_capacity.v[i] : 1.0 / n->planes.planes;
        n->scale[i] = n->planes.bytes[i] / own;
    }
    return 0;
}

/* ---- results ---- */

size_t nested_metrics(const struct layers *x, struct metric *m)
{
    const struct nested_counters *n = &x->nested.n;
    double tokens = (double)x->n.tokens, step_ns = (double)x->n.ticks / SIM_TICKS_PER_NS;
    const struct metric all[] = {
        {"expert_hit_rate", "1", metric_share((double)n->hits, (double)n->asked)},
        {"expert_decode_hit_rate", "1", metric_share((double)n->decode_hits, (double)n->decode_asked)},
        {"expert_loads_per_token", "1", metric_share((double)n->loads, tokens)},
        {"expert_h2d_bytes", "byte", n->h2d_bytes},
        {"expert_stall_share", "1", metric_share((double)x->n.wait_load, (double)x->n.ticks)},
        {"expert_busy_share", "1", metric_share((double)x->n.gpu, (double)x->n.ticks)},
        {"expert_link_share", "1", metric_share((double)fabric_link_busy_ns(x->nested.fabric, x->nested.link), step_ns)},
        {"expert_host_share", "1", metric_share((double)x->n.host, (double)x->n.ticks)},
        {"expert_bits", "bit", metric_share(n->pair_bits, (double)x->n.pairs)},
        {"expert_planes_freed", "1", (double)x->nested.planes.freed},
        {"expert_peak_bytes", "byte", x->nested.planes.peak_bytes},
    };
    _Static_assert(sizeof all / sizeof *all <= NESTED_METRICS, "room for all");

    memcpy(m, all, sizeof all);
    return sizeof all / sizeof *all;
}
