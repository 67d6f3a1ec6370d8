/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/engine/swap.h"

#include "sim/engine/swap_internal.h"

enum { SYNC_OUT, SYNC_IN, SYNC_IDS }; /* what a step waits for, then moves; tags have the rank, too */

static struct fabric *fabric_of(const struct engine *e)
{
    return e->cfg.way[0].link->fabric;
}

static uint64_t tag_of(const struct engine *e, uint64_t id, uint32_t rank)
{
    return id * e->cfg.n_ways + rank;
}

static struct copy_engines *engine_of(const struct engine *e, uint32_t rank, bool in)
{
    const struct gpu_link *l = e->cfg.way[rank].link;

    return in ? l->engine_in : l->engine_out;
}

/* ---- copies that a step waits for ---- */

static int start_sync_copy(struct engine *e, bool in, double bytes, uint32_t calls)
{
    for (uint32_t k = 0; bytes > 0 && k < e->cfg.n_ways; k++) {
        const struct kv_way *w = &e->cfg.way[k];
        struct copy_job job = {.route = in ? &w->in : &w->out, .bytes = bytes, .calls = calls,
                               .tag = tag_of(e, in ? SYNC_IN : SYNC_OUT, k), .client = &e->mover};

        e->n_sync++;
        e->sync_bytes[in ? SYNC_IN : SYNC_OUT] = bytes;
        if (copy_submit(engine_of(e, k, in), e->now, &job, e->err) < 0) {
            return e->err->code;
        }
    }
    return 0;
}

int copies_start(struct engine *e, double out_bytes, uint32_t out_calls, double in_bytes, uint32_t in_calls)
{
    e->synced_ns = e->now;
    return start_sync_copy(e, false, out_bytes, out_calls) < 0 || start_sync_copy(e, true, in_bytes, in_calls) < 0
               ? e->err->code
               : 0;
}

sim_ns copies_wait(struct engine *e)
{
    sim_ns t = e->now;

    while (e->err->code == 0 && e->n_sync > 0) {
        t = fabric_next(fabric_of(e));
        fabric_deliver(fabric_of(e), t, e->err);
    }
    return t;
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

int swap_move_add(struct engine *e, struct kv_move m)
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

/* A copy to or from host memory is one of each rank; what is below goes over the first one's link. */
static int submit(struct engine *e, struct kv_move *m, sim_ns now)
{
    struct swap *w = e->swap;
    bool in = m->kind == MOVE_IN;

    w->n_held -= m->held;
    m->held = false;
    m->began_ns = now;
    m->flows = m->tier == KV_HOST ? e->cfg.n_ways : 1;
    for (uint32_t k = 0, n = m->flows; k < n; k++) {
        const struct kv_way *way = &e->cfg.way[k];
        const struct topo_route *host = in ? &way->in : &way->out, *below = in ? &w->cfg.in[m->tier] : &w->cfg.out[m->tier];
        struct copy_job job = {.route = m->tier == KV_HOST ? host : below, .bytes = m->bytes, .calls = m->calls,
                               .tag = tag_of(e, SYNC_IDS + (uint64_t)(m - w->move), k), .client = &e->mover};
        struct copy_engines *line = in ? w->line_in[m->tier] : w->line_out[m->tier];

        if (copy_submit(m->tier == KV_HOST ? engine_of(e, k, in) : line, now, &job, e->err) < 0) {
            return e->err->code;
        }
    }
    return 0;
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

int swap_demote(struct engine *e)
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
            if (swap_move_add(e, (struct kv_move){.kind = MOVE_DEMOTE, .tier = (enum kv_tier)below, .kept = k,
                                             .r = REQ_NONE, .bytes = k->bytes * encoded(w, below),
                                             .calls = 1}) < 0) {
                return SIM_E_NOMEM;
            }
        }
    }
    return 0;
}

/* ---- streams ---- */

/* The next chunk of a stream at the best level that its part of the goal allows at this rate.
 * False: none is fast enough, the rest is computed from the text. */
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

bool swap_open_stream(struct engine *e, struct kv_move *m, uint32_t gpu_tok, uint32_t tok)
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

/* ---- ends of copies ---- */

static int move_done(struct engine *e, struct kv_move *m, sim_ns t)
{
    struct swap *w = e->swap;
    struct kv_move d;

    if (--m->flows > 0) {
        return 0;
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
    if (d.kind == MOVE_OUT && swap_demote(e) < 0) {
        return e->err->code;
    }
    if (d.kind == MOVE_IN) {
        swap_loaded(e, d.kept);
        if (d.end_tok > 0) {
            e->reqs[d.r].computed_tok = d.at_tok; /* what did not come is computed */
            w->n.hit_tok -= d.end_tok - d.at_tok;
        }
        live_of(e, d.r)->state = LIVE_PREFILL;
        prefilling_append(e, d.r);
    }
    return submit_held(e, t);
}

static int free_engine(struct engine *e, uint64_t id, uint32_t rank, sim_ns now)
{
    const struct kv_move *m = id < SYNC_IDS ? NULL : &e->swap->move[id - SYNC_IDS];
    bool in = m ? m->kind == MOVE_IN : id == SYNC_IN;

    if (m && m->tier != KV_HOST) {
        return copy_ended(in ? e->swap->line_in[m->tier] : e->swap->line_out[m->tier], now, e->err);
    }
    return copy_ended(engine_of(e, rank, in), now, e->err);
}

void copies_began(void *engine, sim_ns now, uint64_t tag)
{
    struct engine *e = engine;
    uint64_t id = tag / e->cfg.n_ways;

    if (tag % e->cfg.n_ways == 0) {
        *(id < SYNC_IDS ? &e->sync_wire_ns[id] : &e->swap->move[id - SYNC_IDS].wire_ns) = now;
    }
}

static void tell(const struct engine *e, uint64_t id, sim_ns now)
{
    const struct kv_move *m = id < SYNC_IDS ? NULL : &e->swap->move[id - SYNC_IDS];
    struct kv_copy c = {.to_ns = now};

    if (m) {
        bool of_session = m->kept->key & 1;

        c.in = m->kind == MOVE_IN;
        c.tier = m->tier;
        c.serial = of_session ? 0 : m->kept->key / 2;
        c.session = of_session ? m->kept->key / 2 : 0;
        c.bytes = m->bytes;
        c.from_ns = m->wire_ns;
    } else {
        c.in = id == SYNC_IN;
        c.waited = true;
        c.bytes = e->sync_bytes[id];
        c.from_ns = e->sync_wire_ns[id];
    }
    e->cfg.obs.copied(e->cfg.obs.step_o, e, &c);
}

int copies_ended(void *engine, sim_ns now, uint64_t tag, struct err *err)
{
    struct engine *e = engine;
    uint64_t id = tag / e->cfg.n_ways;

    (void)err; /* the engine's own is the run's */
    e->copied_ns = now;
    e->woken = true;
    if (e->cfg.obs.copied && tag % e->cfg.n_ways == 0) {
        tell(e, id, now);
    }
    if (free_engine(e, id, (uint32_t)(tag % e->cfg.n_ways), now) < 0) {
        return e->err->code;
    }
    if (id >= SYNC_IDS) {
        return move_done(e, &e->swap->move[id - SYNC_IDS], now);
    }
    e->synced_ns = --e->n_sync == 0 ? now : e->synced_ns;
    return 0;
}

int swap_poll(struct engine *e)
{
    return fabric_deliver(fabric_of(e), e->now, e->err);
}

sim_ns swap_next(const struct engine *e)
{
    return e->swap && e->swap->in_flight > 0 ? fabric_next(fabric_of(e)) : SIM_NEVER;
}

/* ---- waiting for copies ---- */

static void start_sync(struct engine *e)
{
    struct swap *w = e->swap;

    copies_start(e, w->out_bytes, w->out_copies, w->in_bytes, w->in_copies);
    w->out_bytes = w->in_bytes = 0;
    w->out_copies = w->in_copies = 0;
}

static bool blocks_lack(const struct engine *e)
{
    return e->swap && e->swap->draining > 0 && kv_free(e->kv) < e->swap->draining;
}

bool swap_must_wait(const struct engine *e)
{
    return e->n_sync > 0 || blocks_lack(e);
}

void swap_wait_begin(struct engine *e, struct step *s)
{
    e->swap->planned_ns = e->now;
    start_sync(e);
    s->waited = s->waited || e->n_sync > 0 || blocks_lack(e);
}

void swap_wait_end(struct engine *e, struct step *s)
{
    struct swap *w = e->swap;

    if (e->cur_start_ns > e->synced_ns) { /* the copies of this step were not the last */
        w->n.conflict_ns += e->cur_start_ns - e->synced_ns;
        s->waited = true;
    }
    w->n.wait_ns += e->cur_start_ns - e->now;
}

static void wait_for_blocks(struct engine *e)
{
    while (e->err->code == 0 && blocks_lack(e)) {
        sim_ns next = fabric_next(fabric_of(e));

        if (next == SIM_NEVER) {
            engine_fail(e, SIM_E_CHECK, "%llu KV blocks wait for copies that are not under way",
                        (unsigned long long)e->swap->draining);
            return;
        }
        e->cur_start_ns = next;
        fabric_deliver(fabric_of(e), next, e->err);
    }
}

sim_ns swap_wait(struct engine *e, struct step *s)
{
    swap_wait_begin(e, s);
    e->cur_start_ns = copies_wait(e);
    e->synced_ns = e->cur_start_ns;
    wait_for_blocks(e);
    swap_wait_end(e, s);
    return e->cur_start_ns;
}

bool swap_unsettled(const struct engine *e)
{
    return e->swap->out_bytes + e->swap->in_bytes > 0;
}

bool swap_settle(struct engine *e)
{
    struct swap *w = e->swap;
    sim_ns waited = w->n.wait_ns;
    struct step nobody = {0};

    if (!swap_unsettled(e)) {
        return false;
    }
    e->now = swap_wait(e, &nobody);
    w->n.wait_ns = waited;
    return true;
}
