/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/engine/swap.h"

#include <math.h>
#include <stdlib.h>

#include "sim/engine/swap_internal.h"

/* ---- set-up ---- */

int swap_init(struct engine *e, const struct swap_config *c, struct err *err)
{
    struct swap *w = arena_alloc(e->arena, sizeof(*w));

    if (!w || kv_store_init(&w->store, c->tier_bytes) < 0) {
        return err_set(err, SIM_E_NOMEM, "out of memory for KV outside of the GPU");
    }
    e->swap = w;
    w->cfg = *c;
    for (int t = 0; t < KV_TIERS; t++) {
        const struct gpu_link *l = e->cfg.way[0].link;
        bool host = t == KV_HOST;

        w->line_in[t] = host ? l->engine_in : copy_new(l->fabric, 1, c->call_ns, e->arena);
        w->line_out[t] = host ? l->engine_out : copy_new(l->fabric, 1, c->call_ns, e->arena);
        if (!w->line_in[t] || !w->line_out[t]) {
            return err_set(err, SIM_E_NOMEM, "out of memory for copy engines");
        }
    }
    w->waited = arena_calloc(e->arena, HIST_BINS, sizeof(*w->waited));
    return w->waited && hist_init(&w->step, e->arena) == 0
               ? 0
               : err_set(err, SIM_E_NOMEM, "out of memory for histograms");
}

void swap_release(struct engine *e)
{
    if (e->swap) {
        kv_store_release(&e->swap->store);
        free(e->swap->move);
    }
}

/* ---- whose KV ---- */

uint64_t prefix_print(const struct arrival *a, uint32_t n)
{
    uint64_t h = n;

    for (uint32_t i = 0; i < n; i++) {
        h = (h ^ a->hash[i]) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
    }
    return h;
}

void prefix_note(struct engine *e, req_id r, const struct arrival *a)
{
    struct live *l = live_of(e, r);

    l->print_ids = a->n_hash ? a->prompt_tok / a->hash_tok : 0;
    l->print_ids = l->print_ids < a->n_hash ? l->print_ids : a->n_hash;
    l->print = prefix_print(a, l->print_ids);
}

/* The next turn finds what the one before left, if its prompt begins with it; where the trace has
 * no prefix ids a further turn is taken at its word. */
void swap_arrive(struct engine *e, req_id r, const struct arrival *a)
{
    struct swap *w = e->swap;
    struct kept *k;

    if (!w->cfg.sessions || a->session == 0 || a->turn == 0 ||
        !(k = kv_store_find(&w->store, session_key(e, r))) || k->print_ids > a->n_hash ||
        (k->print_ids > 0 && prefix_print(a, k->print_ids) != k->print)) {
        return;
    }
    kv_store_touch(&w->store, k);
    kv_store_rekey(&w->store, k, own_key(e, r));
}

uint32_t swap_tok(const struct engine *e, req_id r)
{
    const struct kept *k = e->swap ? kv_store_find(&e->swap->store, own_key(e, r)) : NULL;
    uint32_t most = live_of(e, r)->context_tok - 1; /* one token is always computed */

    return !k ? 0 : k->tok < most ? k->tok : most;
}

/* ---- predicted costs, for the offload policy ---- */

static double moving_s(const struct engine *e, const struct topo_route *way, uint32_t from, uint32_t to)
{
    uint64_t blk = kv_blocks_for(e->kv, to) - from / kv_block_tok(e->kv);
    uint32_t group = e->swap->cfg.group_blk ? e->swap->cfg.group_blk : 1;
    double calls = (double)((blk + group - 1) / group * e->cfg.copies_per_block);

    return calls * (double)e->swap->cfg.call_ns / 1e9 + (double)way->latency_ns / 1e9 +
           (double)blk * e->cfg.kv_block_bytes / way->bytes_per_s;
}

static double out_s(const void *ctx, uint32_t from, uint32_t to)
{
    const struct engine *e = ctx;

    return moving_s(e, &e->swap->cfg.out[KV_HOST], from, to);
}

static double in_s(const void *ctx, uint32_t from, uint32_t to)
{
    const struct engine *e = ctx;

    return moving_s(e, &e->swap->cfg.in[KV_HOST], from, to);
}

static double compute_s(const void *ctx, uint32_t from, uint32_t to)
{
    const struct engine *e = ctx;
    uint64_t n = to - from;
    struct cost_affine c;
    struct batch_shape s = {.n_prefill = 1, .prefill_done = 1, .prefill_tok = n, .prefill_ctx_tok = to,
                            .prefill_pairs = n * from + n * (n + 1) / 2, .prefill_sq = n * n,
                            .n_resident = 1, .kv_resident_tok = to};

    e->cfg.cost->iteration(e->cfg.cost_state, &s, &c);
    return (double)(c.base + e->cfg.step_overhead) / SIM_TICKS_PER_NS / 1e9;
}

static uint32_t tok_of_bytes(const struct engine *e, double bytes)
{
    double blk = bytes / e->cfg.kv_block_bytes;

    return blk >= UINT32_MAX / kv_block_tok(e->kv) ? UINT32_MAX : (uint32_t)blk * kv_block_tok(e->kv);
}

/* What is worth keeping of `content` tokens, cut to what fits and to whole blocks. */
static uint32_t worth(const struct engine *e, const struct kept *k, uint32_t content)
{
    const struct swap *w = e->swap;
    uint32_t room = tok_of_bytes(e, kv_store_room(&w->store, k)), block = kv_block_tok(e->kv), n;
    struct offload_view v = {.content_tok = content, .kept_tok = k ? k->tok : 0, .room_tok = room,
                           .block_tok = block, .overlapped = w->cfg.async, .out_s = out_s, .in_s = in_s,
                           .compute_s = compute_s, .ctx = e};

    n = w->cfg.offload->keep(w->cfg.offload_state, &v);
    n = n < room ? n : room;
    return n >= content ? content : n - n % block;
}

/* ---- out ---- */

/* A sequence that is about to lose its blocks. */
struct holder {
    uint64_t key;
    const struct kv_seq *kv;
    uint64_t content; /* tokens */
    uint64_t print;
    uint32_t print_ids;
};

static struct holder holder_of(const struct engine *e, req_id r, uint64_t content)
{
    const struct live *l = live_of(e, r);

    return (struct holder){.key = own_key(e, r), .kv = &l->kv, .content = content, .print = l->print,
                           .print_ids = l->print_ids};
}

static int copy_out(struct engine *e, const struct holder *h, struct kept *k, uint64_t from_blk,
                    uint64_t to_blk)
{
    struct swap *w = e->swap;
    double bytes = (double)(to_blk - from_blk) * e->cfg.kv_block_bytes;
    uint32_t calls = kv_extents(e->kv, h->kv, from_blk, to_blk) * e->cfg.copies_per_block;

    w->n.out++;
    w->n.out_blk += to_blk - from_blk;
    w->n.held_blk += to_blk;
    w->n.out_copies += calls;
    w->n.tier_out[KV_HOST] += bytes;
    if (!w->cfg.async) {
        w->out_bytes += bytes;
        w->out_copies += calls;
        return 0;
    }
    return swap_move_add(e, (struct kv_move){.kind = MOVE_OUT, .tier = KV_HOST, .kept = k, .r = REQ_NONE,
                                        .bytes = bytes, .calls = calls, .blk = to_blk - from_blk});
}

/* Returns the entry that holds at least what was worth keeping, or NULL. */
static struct kept *keep(struct engine *e, const struct holder *h, enum kept_use use)
{
    struct swap *w = e->swap;
    struct kept *k = kv_store_find(&w->store, h->key);
    uint32_t block = kv_block_tok(e->kv), old, n;

    if (k && k->tier != KV_HOST) { /* loaded from below: the copy there is given up */
        kv_store_drop(&w->store, k);
        k = NULL;
    }
    old = k ? k->tok : 0;
    n = worth(e, k, (uint32_t)h->content);
    if (n <= old) {
        if (k) {
            k->use = use;
        }
        return k;
    }
    if ((!k && !(k = kv_store_add(&w->store, h->key))) ||
        !kv_store_resize(&w->store, k, (double)kv_blocks_for(e->kv, n) * e->cfg.kv_block_bytes)) {
        if (k && old == 0) {
            kv_store_drop(&w->store, k);
            k = NULL;
        }
        if (k) {
            k->use = use;
        }
        return k;
    }
    k->tok = n;
    k->use = use;
    k->print = h->print;
    k->print_ids = h->print_ids;
    kv_store_touch(&w->store, k);
    return copy_out(e, h, k, old / block, kv_blocks_for(e->kv, n)) < 0 ? NULL : k;
}

int swap_keep(struct engine *e, req_id r, uint64_t content)
{
    struct holder h = holder_of(e, r, content);

    if (content == 0 || !keep(e, &h, KEPT_WAITING)) {
        e->swap->n.recomputed++;
    }
    return e->err->code ? e->err->code : swap_demote(e);
}

int swap_finish(struct engine *e, req_id r, uint64_t content)
{
    struct swap *w = e->swap;
    struct holder h = holder_of(e, r, content);
    struct kept *k;

    if (!w->cfg.sessions || e->reqs[r].session == 0) {
        swap_forget(e, r);
        return 0;
    }
    k = keep(e, &h, KEPT_IDLE);
    if (k) {
        k->use = KEPT_IDLE;
        kv_store_rekey(&w->store, k, session_key(e, r));
    }
    return e->err->code ? e->err->code : swap_demote(e);
}

void swap_pinned(struct engine *e, req_id r)
{
    struct swap *w = e->swap;
    struct kept *k = kv_store_find(&w->store, own_key(e, r));

    if (k && w->cfg.sessions) {
        k->use = KEPT_IDLE;
        kv_store_rekey(&w->store, k, session_key(e, r));
    } else if (k) {
        kv_store_drop(&w->store, k);
    }
}

int swap_session(struct engine *e, uint64_t session, req_id awaited, const struct kv_seq *kv, uint32_t tok,
                 uint64_t print, uint32_t print_ids)
{
    struct holder h = {.key = awaited == REQ_NONE ? session * 2 + 1 : own_key(e, awaited), .kv = kv,
                       .content = tok, .print = print, .print_ids = print_ids};

    if (e->swap->cfg.sessions) {
        keep(e, &h, KEPT_IDLE);
    }
    return e->err->code ? e->err->code : swap_demote(e);
}

double swap_reload_s(const struct engine *e, uint32_t tok)
{
    double compute = compute_s(e, 0, tok);

    return e->swap && e->swap->cfg.sessions ? fmin(compute, in_s(e, 0, tok)) : compute;
}

void swap_forget(struct engine *e, req_id r)
{
    struct kept *k = kv_store_find(&e->swap->store, own_key(e, r));

    if (k) {
        kv_store_drop(&e->swap->store, k);
    }
}

/* ---- in ---- */

void swap_loaded(struct engine *e, struct kept *k)
{
    struct swap *w = e->swap;

    if (k->dropped) {
        return;
    }
    if (w->cfg.reuse) {
        k->use = KEPT_REDUNDANT;
        kv_store_touch(&w->store, k);
    } else {
        kv_store_drop(&w->store, k);
    }
}

int swap_load(struct engine *e, req_id r, uint32_t gpu_tok, uint32_t tok, bool *later)
{
    struct swap *w = e->swap;
    struct kept *k = kv_store_find(&w->store, own_key(e, r));
    uint64_t from = gpu_tok / kv_block_tok(e->kv), to = kv_blocks_for(e->kv, tok);
    double bytes = (double)(to - from) * e->cfg.kv_block_bytes;
    uint32_t calls = kv_extents(e->kv, &live_of(e, r)->kv, from, to) * e->cfg.copies_per_block;

    *later = false;
    if (tok <= gpu_tok || !k) {
        if (k) {
            swap_loaded(e, k); /* the GPU still had as much */
        }
        return 0;
    }
    w->n.in++;
    w->n.hit_tok += tok - gpu_tok;
    *later = w->cfg.async || k->tier != KV_HOST;
    if (k->tier == KV_REMOTE && w->cfg.stream_tok > 0) {
        struct kv_move m = {.kind = MOVE_IN, .tier = k->tier, .kept = k, .r = r};

        if (!swap_open_stream(e, &m, gpu_tok, tok)) {
            m.bytes = 0; /* an empty copy: it is text from the beginning */
        }
        k->use = KEPT_WAITING;
        return swap_move_add(e, m);
    }
    w->n.in_copies += calls;
    w->n.tier_in[k->tier] += bytes;
    if (!*later) {
        w->in_bytes += bytes;
        w->in_copies += calls;
        swap_loaded(e, k);
        return 0;
    }
    k->use = KEPT_WAITING;
    return swap_move_add(e, (struct kv_move){.kind = MOVE_IN, .tier = k->tier, .kept = k, .r = r, .bytes = bytes,
                                        .calls = calls});
}
