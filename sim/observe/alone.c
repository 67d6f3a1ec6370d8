/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/observe/alone.h"

int alone_init(struct alone *w, const struct cost_ops *cost, const void *cost_state, struct arena *a)
{
    *w = (struct alone){.cost = cost, .cost_state = cost_state};
    w->memo = arena_calloc(a, (size_t)1 << ALONE_MEMO_LOG2, sizeof(*w->memo));
    return w->memo ? 0 : SIM_E_NOMEM;
}

static sim_ns whole_ns(sim_wide ticks)
{
    return (sim_ns)(ticks >> SIM_TICKS_PER_NS_LOG2);
}

static sim_ns prefill_ns(const struct alone *w, uint64_t prompt_tok)
{
    uint64_t done = 0;
    sim_ns ns = 0;

    while (done < prompt_tok) {
        uint64_t left = prompt_tok - done, n = w->chunk_tok && w->chunk_tok < left ? w->chunk_tok : left;
        struct batch_shape s = {.n_prefill = 1, .prefill_tok = n, .prefill_ctx_tok = done + n,
                                .prefill_pairs = n * done + n * (n + 1) / 2, .prefill_sq = n * n,
                                .prefill_done = n == left, .n_resident = 1, .kv_resident_tok = done + n};
        struct cost_affine c;

        w->cost->iteration(w->cost_state, &s, &c);
        ns += whole_ns((sim_wide)c.base + w->overhead);
        done += n;
    }
    return ns;
}

static sim_ns decode_ns(const struct alone *w, uint64_t prompt_tok, uint64_t steps)
{
    sim_ns ns = 0;

    for (uint64_t done = 0; done < steps;) {
        uint64_t ctx = prompt_tok + done + 1, n = steps - done;
        struct batch_shape s = {.n_decode = 1, .decode_ctx_tok = ctx, .decode_ctx_sq = ctx * ctx,
                                .n_resident = 1, .kv_resident_tok = ctx};
        struct cost_affine c;
        sim_wide k;

        w->cost->iteration(w->cost_state, &s, &c);
        n = n < c.valid ? n : c.valid;
        k = (sim_wide)n;
        ns += whole_ns(((sim_wide)c.base + w->overhead) * k + (sim_wide)c.slope * (k * (k - 1) / 2));
        done += n;
    }
    return ns;
}

sim_ns alone_ns(struct alone *w, uint32_t prompt_tok, uint32_t output_tok)
{
    uint64_t key = ((uint64_t)prompt_tok << 32 | output_tok) * 0x9E3779B97F4A7C15u;
    struct alone_memo *m = &w->memo[key >> (64 - ALONE_MEMO_LOG2)];

    if (m->ns == 0 || m->prompt_tok != prompt_tok || m->output_tok != output_tok) {
        *m = (struct alone_memo){prompt_tok, output_tok,
                                 w->delay_ns + prefill_ns(w, prompt_tok) +
                                     decode_ns(w, prompt_tok, output_tok - 1)};
    }
    return m->ns;
}
