/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/engine/swap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/engine/engine.h"

#define SYNC_TAGS 2 /* tags 0 and 1: copies that a step waits for, out and in */

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
        w->line_in[t] = copy_new(e->cfg.fabric, 1, c->call_ns, e->arena);
        w->line_out[t] = copy_new(e->cfg.fabric, 1, c->call_ns, e->arena);
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

static uint64_t own_key(const struct engine *e, req_id r)
{
    return e->reqs[r].serial * 2;
}

static uint64_t session_key(const struct engine *e, req_id r)
{
    return e->reqs[r].session * 2 + 1;
}

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

/* The next turn finds what the one before left, if its prompt begins with it; where the trace has no
 * prefix ids a further turn is taken at its word. */
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

/* ---- copies ---- */

static struct kv_move *move_take(struct engine *e)
{
    struct swap *w = e->swap;
    uint32_t i = 0;

    while (i < w->n_move && w->move[i].kind != MOVE_NONE) {
        i++;
    }
    if (i == w->n_move) {
        if (!grow_array((void **)&w->move, &w->cap_move, w->n_move + 1, sizeof(*w->move))) {
            engine_fail(e, SIM_E_NOMEM, "out of memory for %u copies", w->n_move);
            return NULL;
        }
        w->n_move++;
    }
    w->in_flight++;
    w->n_held++;
    return &w->move[i];
}

static int move_add(struct engine *e, struct kv_move m)
{
    struct kv_move *to = move_take(e);

    if (!to) {
        return SIM_E_NOMEM;
    }
    m.held = true;
    *to = m;
    kv_store_begin(m.kept);
    if (m.kind == MOVE_OUT) {
        e->swap->draining += m.blk;
    }
    return 0;
}

/* A copy into or out of an entry starts after the copies that fill it. */
static bool must_wait(const struct swap *w, const struct kv_move *m)
{
    for (uint32_t i = 0; m->kind != MOVE_OUT && i < w->n_move; i++) {
        if (w->move[i].kind == MOVE_OUT && w->move[i].kept == m->kept) {
            return true;
        }
    }
    return false;
}

static int submit(struct engine *e, struct kv_move *m, sim_ns now)
{
    struct swap *w = e->swap;
    bool in = m->kind == MOVE_IN;
    struct copy_job job = {.route = in ? &w->cfg.in[m->tier] : &w->cfg.out[m->tier], .bytes = m->bytes,
                           .calls = m->calls, .tag = SYNC_TAGS + (uint64_t)(m - w->move)};

    w->n_held -= m->held;
    m->held = false;
    m->began_ns = now;
    return copy_submit(in ? w->line_in[m->tier] : w->line_out[m->tier], now, &job, e->err);
}

static int submit_held(struct engine *e, sim_ns now)
{
    struct swap *w = e->swap;

    for (uint32_t i = 0; w->n_held > 0 && i < w->n_move; i++) {
        if (w->move[i].held && !must_wait(w, &w->move[i]) && submit(e, &w->move[i], now) < 0) {
            return e->err->code;
        }
    }
    return 0;
}

int swap_begin(struct engine *e)
{
    return e->swap->n_held > 0 ? submit_held(e, e->now) : 0;
}

/* ---- room in a tier: idle sessions sink ---- */

/* Bytes in a tier over those of the KV itself: where it is streamed from, all levels are there. */
static double encoded(const struct swap *w, int tier)
{
    const double *share = w->cfg.stream_share;

    return tier == KV_REMOTE && w->cfg.stream_tok > 0 ? share[1] + share[2] + share[3] : 1;
}

static int demote(struct engine *e)
{
    struct swap *w = e->swap;

    for (int t = 0; t + 1 < KV_TIERS; t++) {
        int below = t + 1;
        struct pool *p = &w->store.pool[t];
        double leaving = 0;
        struct kept *k;

        while (below < KV_TIERS && w->cfg.tier_bytes[below] <= 0) {
            below++;
        }
        if (below == KV_TIERS) {
            return 0;
        }
        for (uint32_t i = 0; i < w->n_move; i++) {
            const struct kv_move *m = &w->move[i];

            leaving += m->kind == MOVE_DEMOTE && m->kept->tier == (enum kv_tier)t ? m->kept->bytes : 0;
        }
        while (p->used_byte - leaving > w->cfg.demote_share * p->capacity_byte &&
               (k = kv_store_oldest(&w->store, (enum kv_tier)t)) != NULL) {
            leaving += k->bytes;
            if (move_add(e, (struct kv_move){.kind = MOVE_DEMOTE, .tier = (enum kv_tier)below, .kept = k,
                                             .r = REQ_NONE, .bytes = k->bytes * encoded(w, below),
                                             .calls = 1}) < 0) {
                return SIM_E_NOMEM;
            }
        }
    }
    return 0;
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
    return move_add(e, (struct kv_move){.kind = MOVE_OUT, .tier = KV_HOST, .kept = k, .r = REQ_NONE,
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
    return e->err->code ? e->err->code : demote(e);
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
    return e->err->code ? e->err->code : demote(e);
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
    struct holder h = {.key = awaited == REQ_NONE ? session * 2 + 1 : own_key(e, awaited), .kv = kv, .content = tok, .print = print,
                       .print_ids = print_ids};

    if (e->swap->cfg.sessions) {
        keep(e, &h, KEPT_IDLE);
    }
    return e->err->code ? e->err->code : demote(e);
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

/* ---- streams ---- */

/* The next chunk of a stream at the best level that its part of the goal allows at this rate. False: none is
 * fast enough, the rest is computed from the text. */
static bool next_chunk(struct engine *e, struct kv_move *m, double bytes_per_s)
{
    struct swap *w = e->swap;
    uint32_t left = m->end_tok - m->at_tok, n = left < w->cfg.stream_tok ? left : w->cfg.stream_tok;
    double raw = (double)n * e->cfg.kv_block_bytes / kv_block_tok(e->kv), bytes[STREAM_LEVELS + 1], s;
    int level;

    for (int i = 0; i <= STREAM_LEVELS; i++) {
        bytes[i] = raw * w->cfg.stream_share[i];
    }
    level = stream_choose(&m->goal, bytes, bytes_per_s, &s);
    w->n.chunks[level]++;
    if (level == STREAM_TEXT) {
        return false;
    }
    m->chunk_end_tok = m->at_tok + n;
    m->bytes = bytes[level];
    w->n.tier_in[m->tier] += m->bytes;
    return true;
}

/* How many chunks there will be, and what the first is: the link is taken at its word. */
static bool open_stream(struct engine *e, struct kv_move *m, uint32_t gpu_tok, uint32_t tok)
{
    const struct swap_config *c = &e->swap->cfg;

    m->at_tok = gpu_tok;
    m->end_tok = tok;
    m->calls = 1;
    m->goal = (struct stream_goal){.ttft_s = c->stream_ttft_s,
                                   .chunks = (tok - gpu_tok + c->stream_tok - 1) / c->stream_tok};
    return next_chunk(e, m, c->in[m->tier].bytes_per_s);
}

/* A chunk has come; true: another one is on its way. */
static bool stream_goes_on(struct engine *e, struct kv_move *m, sim_ns t)
{
    double took_s = (double)(t - m->began_ns) / 1e9;

    if (m->chunk_end_tok <= m->at_tok) {
        return false; /* there was none: it is text from the beginning */
    }
    m->at_tok = m->chunk_end_tok;
    return m->at_tok < m->end_tok && took_s > 0 && next_chunk(e, m, m->bytes / took_s) &&
           submit(e, m, t) == 0;
}

/* ---- in ---- */

static void loaded(struct engine *e, struct kept *k)
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
            loaded(e, k); /* the GPU still had as much */
        }
        return 0;
    }
    w->n.in++;
    w->n.hit_tok += tok - gpu_tok;
    *later = w->cfg.async || k->tier != KV_HOST;
    if (k->tier == KV_REMOTE && w->cfg.stream_tok > 0) {
        struct kv_move m = {.kind = MOVE_IN, .tier = k->tier, .kept = k, .r = r};

        if (!open_stream(e, &m, gpu_tok, tok)) {
            m.bytes = 0; /* an empty copy: it is text from the beginning */
        }
        k->use = KEPT_WAITING;
        return move_add(e, m);
    }
    w->n.in_copies += calls;
    w->n.tier_in[k->tier] += bytes;
    if (!*later) {
        w->in_bytes += bytes;
        w->in_copies += calls;
        loaded(e, k);
        return 0;
    }
    k->use = KEPT_WAITING;
    return move_add(e, (struct kv_move){.kind = MOVE_IN, .tier = k->tier, .kept = k, .r = r, .bytes = bytes,
                                        .calls = calls});
}

/* ---- ends of copies ---- */

static int move_done(struct engine *e, struct kv_move *m, sim_ns t)
{
    struct swap *w = e->swap;
    struct kv_move d;

    if (copy_ended(m->kind == MOVE_IN ? w->line_in[m->tier] : w->line_out[m->tier], t, e->err) < 0) {
        return e->err->code;
    }
    if (m->end_tok > 0 && stream_goes_on(e, m, t)) {
        return 0;
    }
    d = *m;
    m->kind = MOVE_NONE;
    w->in_flight--;
    if (d.kind == MOVE_OUT) {
        w->draining -= d.blk;
    } else if (d.kind == MOVE_DEMOTE) {
        w->n.tier_out[d.tier] += d.bytes;
        if (!d.kept->dropped && !kv_store_move(&w->store, d.kept, d.tier)) {
            kv_store_drop(&w->store, d.kept);
        } else if (!d.kept->dropped) {
            kv_store_resize(&w->store, d.kept, d.bytes);
        }
    }
    kv_store_end(&w->store, d.kept);
    if (d.kind == MOVE_OUT && demote(e) < 0) {
        return e->err->code;
    }
    if (d.kind == MOVE_IN) {
        loaded(e, d.kept);
        if (d.end_tok > 0) {
            e->reqs[d.r].computed_tok = d.at_tok; /* what did not come is computed */
            w->n.hit_tok -= d.end_tok - d.at_tok;
        }
        live_of(e, d.r)->state = LIVE_PREFILL;
        prefilling_append(e, d.r);
    }
    return submit_held(e, t);
}

/* One flow that has ended by t. False: none, or *rc < 0. */
static bool take_one(struct engine *e, sim_ns t, uint32_t *sync, int *rc)
{
    uint64_t tag;

    if (!fabric_poll(e->cfg.fabric, t, &tag)) {
        return false;
    }
    if (tag < SYNC_TAGS) {
        --*sync;
        return true;
    }
    *rc = move_done(e, &e->swap->move[tag - SYNC_TAGS], t);
    return *rc == 0;
}

int swap_poll(struct engine *e)
{
    uint32_t sync = 0;
    int rc = 0;

    while (rc == 0 && fabric_next(e->cfg.fabric) <= e->now) {
        sim_ns t = fabric_next(e->cfg.fabric);

        while (take_one(e, t, &sync, &rc)) {
        }
    }
    return rc;
}

sim_ns swap_next(const struct engine *e)
{
    return e->swap && e->swap->in_flight > 0 ? fabric_next(e->cfg.fabric) : SIM_NEVER;
}

/* ---- waiting for copies ---- */

static uint32_t start_sync(struct engine *e)
{
    struct swap *w = e->swap;
    uint32_t n = 0;

    if (w->out_bytes > 0) {
        fabric_start(e->cfg.fabric, e->now, &e->cfg.link_out, 1, w->out_bytes, w->out_copies, 0);
        n++;
    }
    if (w->in_bytes > 0) {
        fabric_start(e->cfg.fabric, e->now, &e->cfg.link_in, 1, w->in_bytes, w->in_copies, 1);
        n++;
    }
    w->out_bytes = w->in_bytes = 0;
    w->out_copies = w->in_copies = 0;
    return n;
}

sim_ns swap_wait(struct engine *e, struct step *s)
{
    struct swap *w = e->swap;
    sim_ns t = e->now;
    uint32_t sync = start_sync(e);
    int rc = 0;

    w->planned_ns = e->now;
    s->waited = sync > 0;
    while (rc == 0 && sync > 0) {
        t = fabric_next(e->cfg.fabric);
        while (take_one(e, t, &sync, &rc)) {
        }
    }
    while (rc == 0 && w->draining > 0 && kv_free(e->kv) < w->draining) {
        sim_ns next = fabric_next(e->cfg.fabric);

        if (next == SIM_NEVER) {
            engine_fail(e, SIM_E_CHECK, "%llu KV blocks wait for copies that are not under way",
                        (unsigned long long)w->draining);
            break;
        }
        w->n.conflict_ns += next - t;
        t = next;
        s->waited = true;
        while (take_one(e, t, &sync, &rc)) {
        }
    }
    w->n.wait_ns += t - e->now;
    return t;
}

bool swap_settle(struct engine *e)
{
    struct swap *w = e->swap;
    sim_ns waited = w->n.wait_ns;
    struct step nobody;

    if (w->out_bytes + w->in_bytes <= 0) {
        return false;
    }
    e->now = swap_wait(e, &nobody);
    w->n.wait_ns = waited;
    return true;
}

/* ---- how long steps take, and how much of that is waiting ---- */

void swap_note_step(struct engine *e, sim_ns end)
{
    struct swap *w = e->swap;
    sim_ns all = end - w->planned_ns;

    if (e->cur_start_ns == w->planned_ns) {
        hist_add_affine(&w->step, e->cur_ticks, 0, 1, 1); /* as a jump counts it */
    } else {
        hist_add(&w->step, all, 1);
        w->waited[hist_bin_of(all)] += (uint64_t)(e->cur_start_ns - w->planned_ns);
    }
}

void swap_note_steps(struct engine *e, sim_tick base, sim_tick slope, uint64_t n)
{
    hist_add_affine(&e->swap->step, base, slope, n, 1);
}

double swap_tail_share(const struct engine *e)
{
    const struct swap *w = e->swap;
    uint64_t most = w->step.count / 100, seen = 0;
    double waited = 0, all = 0;

    for (uint32_t b = HIST_BINS; b-- > 0 && seen < (most ? most : 1);) {
        double mid = ((double)hist_bin_low(b) + (double)hist_bin_low(b + 1)) / 2;

        if (w->step.bin[b] > 0) {
            seen += w->step.bin[b];
            all += mid * (double)w->step.bin[b];
            waited += (double)w->waited[b];
        }
    }
    return all > 0 ? waited / all : 0;
}

void swap_add_up(struct swap_counters *to, const struct engine *e)
{
    const struct swap_counters *n = &e->swap->n;

    to->out += n->out;
    to->in += n->in;
    to->recomputed += n->recomputed;
    to->out_copies += n->out_copies;
    to->in_copies += n->in_copies;
    to->out_blk += n->out_blk;
    to->held_blk += n->held_blk;
    to->hit_tok += n->hit_tok;
    to->wait_ns += n->wait_ns;
    to->conflict_ns += n->conflict_ns;
    to->lost += e->swap->store.lost;
    to->host_peak_bytes += e->swap->store.pool[KV_HOST].peak_byte;
    for (int t = 0; t < KV_TIERS; t++) {
        to->tier_in[t] += n->tier_in[t];
        to->tier_out[t] += n->tier_out[t];
        to->below[t] |= e->swap->cfg.tier_bytes[t] > 0;
    }
    for (int i = 0; i <= STREAM_LEVELS; i++) {
        to->chunks[i] += n->chunks[i];
    }
    to->streams |= e->swap->cfg.stream_tok > 0;
}

/* ---- invariants ---- */

static int check_moves(const struct swap *w, struct err *err)
{
    uint64_t draining = 0;
    uint32_t n = 0, held = 0;

    for (uint32_t i = 0; i < w->n_move; i++) {
        const struct kv_move *m = &w->move[i];

        if (m->kind != MOVE_NONE) {
            n++;
            held += m->held;
            draining += m->kind == MOVE_OUT ? m->blk : 0;
            if (m->kept->moving == 0) {
                return err_set(err, SIM_E_CHECK, "a copy of KV that nobody moves is under way");
            }
        }
    }
    return n == w->in_flight && held == w->n_held && draining == w->draining
               ? 0
               : err_set(err, SIM_E_CHECK, "%u copies of KV are under way, %u are counted", n, w->in_flight);
}

/* KV of a request is on the GPU, outside, or on the way - and only what is on both sides is redundant. */
static int check_state(const struct engine *e, req_id r, struct err *err)
{
    const struct live *l = live_of(e, r);
    const struct kept *k = kv_store_find(&e->swap->store, own_key(e, r));
    bool runs = e->reqs[r].state == REQ_PREFILLING || e->reqs[r].state == REQ_DECODING;

    if (l->state == LIVE_LOADING && (!k || k->moving == 0)) {
        return err_set(err, SIM_E_CHECK, "request %llu waits for KV that is not on its way",
                       (unsigned long long)e->reqs[r].serial);
    }
    if (k && l->state != LIVE_LOADING && runs != (k->use == KEPT_REDUNDANT)) {
        return err_set(err, SIM_E_CHECK, "KV of request %llu is said to be %s, but the request %s",
                       (unsigned long long)e->reqs[r].serial,
                       k->use == KEPT_REDUNDANT ? "a second copy" : "the only copy",
                       runs ? "runs" : "waits");
    }
    return 0;
}

/* Bytes that passed a link are those of the copies that have ended and parts of those under way. */
static int check_bytes(const struct engine *e, struct err *err)
{
    const struct swap *w = e->swap;
    double out = w->n.tier_out[KV_HOST] + e->n.swap_out_bytes, in = e->n.swap_in_bytes, off;
    double under_way_in = w->in_bytes, under_way_out = w->out_bytes;
    double passed_in = fabric_link_bytes(e->cfg.fabric, e->cfg.link_in);
    double passed_out = fabric_link_bytes(e->cfg.fabric, e->cfg.link_out);

    for (int t = 0; t < KV_TIERS; t++) {
        in += w->n.tier_in[t];
    }
    for (uint32_t i = 0; i < w->n_move; i++) {
        under_way_in += w->move[i].kind == MOVE_IN ? w->move[i].bytes : 0;
        under_way_out += w->move[i].kind == MOVE_OUT ? w->move[i].bytes : 0;
    }
    for (int t = KV_HOST + 1; t < KV_TIERS; t++) {
        if (w->cfg.tier_bytes[t] > 0 &&
            fabric_link_bytes(e->cfg.fabric, w->cfg.in[t].path[0]) > w->n.tier_in[t] * (1 + 1e-9) + 1) {
            return err_set(err, SIM_E_CHECK, "more bytes came from the %s tier than were asked for",
                           kv_tier_name((enum kv_tier)t));
        }
    }
    off = 1 + 1e-9 * (in + out); /* rounding */
    if (passed_in > in + off || passed_in < in - under_way_in - off || passed_out > out + off ||
        passed_out < out - under_way_out - off) {
        return err_set(err, SIM_E_CHECK, "bytes on the link: %.0f of %.0f in, %.0f of %.0f out", passed_in, in,
                       passed_out, out);
    }
    return 0;
}

int swap_check(const struct engine *e, struct err *err)
{
    for (req_id r = 0; r < e->n_slots; r++) {
        if (e->reqs[r].state != REQ_FREE && check_state(e, r, err) < 0) {
            return err->code;
        }
    }
    if (check_moves(e->swap, err) < 0 || check_bytes(e, err) < 0) {
        return err->code;
    }
    return kv_store_check(&e->swap->store, err);
}
