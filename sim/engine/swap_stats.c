/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/engine/swap.h"

#include "sim/engine/swap_internal.h"

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

/* KV of a request is on the GPU, outside, or on the way - and only what is on both sides is
 * redundant. */
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
    double passed_in = fabric_link_bytes(e->cfg.way[0].link->fabric, e->cfg.way[0].in.path[0]);
    double passed_out = fabric_link_bytes(e->cfg.way[0].link->fabric, e->cfg.way[0].out.path[0]);

    for (int t = 0; t < KV_TIERS; t++) {
        in += w->n.tier_in[t];
    }
    for (uint32_t i = 0; i < w->n_move; i++) {
        under_way_in += w->move[i].kind == MOVE_IN ? w->move[i].bytes : 0;
        under_way_out += w->move[i].kind == MOVE_OUT ? w->move[i].bytes : 0;
    }
    for (int t = KV_HOST + 1; t < KV_TIERS; t++) {
        if (w->cfg.tier_bytes[t] > 0 &&
            fabric_link_bytes(e->cfg.way[0].link->fabric, w->cfg.in[t].path[0]) > w->n.tier_in[t] * (1 + 1e-9) + 1) {
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
