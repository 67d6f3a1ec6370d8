/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/observe/tokens.h"

#include <stdlib.h>

int tokens_init(struct tokens *t, struct arena *a)
{
    *t = (struct tokens){.last_end_ns = -1};
    t->stretch = arena_calloc(a, TOKEN_STRETCHES, sizeof(*t->stretch));
    return t->stretch ? 0 : SIM_E_NOMEM;
}

void tokens_release(struct tokens *t)
{
    free(t->track);
}

/* ---- one stretch ---- */

static sim_ns end_of(const struct token_beats *b, uint64_t i)
{
    sim_wide k = (sim_wide)(b->k + i);
    sim_wide ticks = (sim_wide)b->base * k + (sim_wide)b->slope * (k * (k - 1) / 2);

    return b->epoch_ns + (sim_ns)(ticks >> SIM_TICKS_PER_NS_LOG2);
}

static sim_tick duration_of(const struct token_beats *b, uint64_t i)
{
    return b->base + b->slope * (sim_tick)(b->k + i - 1);
}

/* How much later than due the i-th token of the stretch comes, when the request has `out` before it. */
struct line {
    const struct token_beats *b;
    sim_ns due_ns, tbt_ns;
    uint64_t out;
};

static bool is_late(const struct line *l, uint64_t i)
{
    return end_of(l->b, i) - l->due_ns > (sim_ns)(l->out + i - 1) * l->tbt_ns;
}

/* First i in [lo, hi] at which tokens begin to fall behind the line: steps take at least tbt from there. */
static uint64_t turning_point(const struct line *l, uint64_t lo, uint64_t hi)
{
    sim_wide tbt = (sim_wide)l->tbt_ns << SIM_TICKS_PER_NS_LOG2;

    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (duration_of(l->b, mid + 1) >= tbt) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

/* First i in [lo, hi] whose lateness is `late`, when all before it are not; hi + 1 = none. */
static uint64_t first_with(const struct line *l, bool late, uint64_t lo, uint64_t hi)
{
    hi++;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (is_late(l, mid) == late) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

/* Lateness is convex in i where steps do not become shorter; there the tokens on time lie together. */
static uint64_t count_on_time(const struct line *l)
{
    uint64_t n = l->b->n, low, count = 0;

    if (l->b->slope < 0) {
        for (uint64_t i = 1; i <= n; i++) {
            count += !is_late(l, i);
        }
        return count;
    }
    if (!is_late(l, 1) && !is_late(l, n)) {
        return n;
    }
    low = turning_point(l, 1, n);
    if (is_late(l, low)) {
        return 0;
    }
    return first_with(l, true, low, n) - first_with(l, false, 1, low);
}

static bool has_late_gap(const struct token_stretch *s, const struct token_track *r, bool first)
{
    sim_wide tbt = (sim_wide)r->tbt_ns << SIM_TICKS_PER_NS_LOG2;
    const struct token_beats *b = &s->b;
    sim_wide gap = s->gap;

    if (first) {
        gap = r->last_ns == b->began_ns ? b->first_tick
                                        : (sim_wide)(end_of(b, 1) - r->last_ns) << SIM_TICKS_PER_NS_LOG2;
    }
    return gap > tbt || (b->n > 1 && (duration_of(b, 2) > tbt || duration_of(b, b->n) > tbt));
}

static void add_stretch(struct token_track *r, const struct token_stretch *s, bool first)
{
    struct line l = {.b = &s->b, .due_ns = r->due_ns, .tbt_ns = r->tbt_ns, .out = r->out};

    r->on_time += (uint32_t)(r->due_ns == SIM_NEVER || r->tbt_ns == 0 ? s->b.n : count_on_time(&l));
    r->late_gap |= r->tbt_ns > 0 && has_late_gap(s, r, first);
    r->out += (uint32_t)s->b.n;
    r->last_ns = end_of(&s->b, s->b.n);
}

/* ---- requests ---- */

/* `first`: its last token did not come with the step before the first of these stretches. */
static void settle(struct tokens *t, struct token_track *r)
{
    for (uint32_t i = r->from; i < t->n_stretch; i++) {
        add_stretch(r, &t->stretch[i], i == r->from);
    }
    r->from = t->n_stretch;
}

/* All stretches are counted and can go. The next step of a request then counts as its first here, which
 * comes to the same: its last token is the end of the last stretch. */
static void settle_all(struct tokens *t)
{
    for (uint32_t i = 0; i < t->n_tracks; i++) {
        if (t->track[i].on && t->track[i].beating) {
            settle(t, &t->track[i]);
            t->track[i].from = 0;
        }
    }
    t->n_stretch = 0;
}

static struct token_track *track_of(struct tokens *t, req_id r)
{
    return r < t->n_tracks && t->track[r].on ? &t->track[r] : NULL;
}

bool tokens_watch(struct tokens *t, req_id r, sim_ns due_ns, sim_ns tbt_ns)
{
    if (!grow_array((void **)&t->track, &t->cap_tracks, r + 1, sizeof(*t->track))) {
        return false;
    }
    while (t->n_tracks <= r) {
        t->track[t->n_tracks++] = (struct token_track){.on = false};
    }
    t->track[r] = (struct token_track){.on = true, .due_ns = due_ns, .tbt_ns = tbt_ns};
    return true;
}

void tokens_one(struct tokens *t, req_id r, sim_ns now)
{
    struct token_track *k = track_of(t, r);

    if (!k) {
        return;
    }
    k->late_gap |= k->out > 0 && k->tbt_ns > 0 && now - k->last_ns > k->tbt_ns;
    if (k->due_ns == SIM_NEVER || (k->out > 0 && k->tbt_ns == 0) ||
        now - k->due_ns <= (sim_ns)k->out * k->tbt_ns) {
        k->on_time++;
    }
    k->out++;
    k->last_ns = now;
}

void tokens_beats(struct tokens *t, const struct token_beats *b)
{
    struct token_stretch *s;

    if (t->n_beating == 0) {
        return;
    }
    if (t->n_stretch == TOKEN_STRETCHES) {
        settle_all(t);
    }
    s = &t->stretch[t->n_stretch++];
    s->b = *b;
    s->gap = t->last_end_ns == b->began_ns
                 ? b->first_tick
                 : (sim_wide)(end_of(b, 1) - t->last_end_ns) << SIM_TICKS_PER_NS_LOG2;
    t->last_end_ns = end_of(b, b->n);
}

void tokens_pause(struct tokens *t, req_id r)
{
    struct token_track *k = track_of(t, r);

    if (k && k->beating) {
        settle(t, k);
        k->beating = false;
        t->n_beating--;
    }
}

void tokens_resume(struct tokens *t, req_id r)
{
    struct token_track *k = track_of(t, r);

    if (k && !k->beating) {
        if (t->n_beating++ == 0) {
            t->n_stretch = 0;
        }
        k->beating = true;
        k->from = t->n_stretch;
    }
}

const struct token_track *tokens_left(struct tokens *t, req_id r)
{
    struct token_track *k = track_of(t, r);

    if (k) {
        tokens_pause(t, r);
        k->on = false;
    }
    return k;
}
