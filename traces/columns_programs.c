/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded sessions of agents as programs: a graph of calls that a simulated engine can answer at its own
 * pace. Who waited for whom was not recorded; it is taken from when calls began and ended.
 *   Files with sub-agents: a call waits for the one before it in its conversation; the first call of a
 *   sub-agent for the last call of the main conversation before it; a call of the main conversation also for
 *   the last calls of the sub-agents that were through when it began.
 *   Other files: a call waits for those that had ended when it began, save those that one of these had
 *   waited for itself. Calls that overlap do not wait for each other; but the clocks of recordings are not
 *   exact, so the last tenth of a call may overlap.
 * Numbers of calls count from 1 in each session, turns are depths, gaps count from the end of the last call
 * that is waited for. */
#include <math.h>
#include <stdlib.h>

#include "sim/core/u64_map.h"
#include "traces/columns.h"
#include "traces/store.h"

#define MOST_BACK  256 /* calls of a session that are looked back at */
#define MOST_AFTER 64
#define CERTAIN    0.9 /* share of a call that surely was over */

struct linker {
    struct store *all;
    struct u64_map session;      /* -> number + 1 */
    struct u64_map conversation; /* -> index + 1 of its last row so far, then of all */
    struct u64_map last;         /* conversation -> index + 1 of its last row of all */
    struct session_state {
        uint32_t last;    /* index + 1 of the session's last row so far */
        uint32_t main;    /* the same, of its main conversation */
        uint32_t open[MOST_AFTER]; /* last rows of sub-agents that nobody has waited for yet */
        uint32_t n_open, calls;
    } * state;
    uint32_t *before; /* index + 1 of the row of the session before this one */
    uint64_t after[MOST_AFTER];
    uint32_t waits_for[MOST_AFTER]; /* their rows */
    uint32_t n_after;
};

static sim_ns began(const struct linker *l, uint32_t i)
{
    return l->all->row[i].a.time_ns;
}

/* When `share` of the call was over. */
static sim_ns ended(const struct linker *l, uint32_t i, double share)
{
    double took_s = l->all->row[i].a.measured_e2e_s;
    return began(l, i) + (took_s > 0 && took_s < 1e8 ? (sim_ns)llround(share * took_s * 1e9) : 0);
}

static void wait_for(struct linker *l, uint32_t row)
{
    if (l->n_after < MOST_AFTER) {
        l->waits_for[l->n_after++] = row;
    }
}

/* ---- whom a call waits for ---- */

/* With `latest` the latest beginning among the calls that had ended: those that ended after it. */
static void by_times(struct linker *l, const struct session_state *s, uint32_t i)
{
    sim_ns latest = -1;
    uint32_t n = 0;
    for (uint32_t k = s->last; k != 0 && n++ < MOST_BACK; k = l->before[k - 1]) {
        bool over = ended(l, k - 1, CERTAIN) <= began(l, i);
        latest = over && began(l, k - 1) > latest ? began(l, k - 1) : latest;
    }
    n = 0;
    for (uint32_t k = s->last; k != 0 && n++ < MOST_BACK; k = l->before[k - 1]) {
        sim_ns end = ended(l, k - 1, CERTAIN);
        if (end <= began(l, i) && (end > latest || began(l, k - 1) == latest)) {
            wait_for(l, k - 1);
        }
    }
}

static void join_open(struct linker *l, struct session_state *s, uint32_t i)
{
    uint32_t left = 0;
    for (uint32_t k = 0; k < s->n_open; k++) {
        if (began(l, s->open[k]) < began(l, i)) {
            wait_for(l, s->open[k]);
        } else {
            s->open[left++] = s->open[k];
        }
    }
    s->n_open = left;
}

static int by_conversation(struct linker *l, struct session_state *s, uint32_t i)
{
    const struct arrival *a = &l->all->row[i].a;
    bool main = a->call == a->session;
    uint32_t *mine = u64_map_add(&l->conversation, a->call);
    if (!mine) {
        return SIM_E_NOMEM;
    }
    if (*mine || s->main) {
        wait_for(l, (*mine ? *mine : s->main) - 1);
    }
    if (main) {
        join_open(l, s, i);
        s->main = i + 1;
    } else if (*u64_map_find(&l->last, a->call) == i + 1 && s->n_open < MOST_AFTER) {
        s->open[s->n_open++] = i;
    }
    *mine = i + 1;
    return 0;
}

/* ---- rows ---- */

static struct session_state *state_of(struct linker *l, uint64_t session)
{
    uint32_t *number = u64_map_add(&l->session, session);
    if (number && *number == 0) {
        void *more = l->session.n & (l->session.n - 1) /* room doubles at powers of two */
                         ? l->state
                         : realloc(l->state, 2 * (size_t)l->session.n * sizeof(*l->state));
        if (!more) {
            return NULL;
        }
        l->state = more;
        l->state[l->session.n - 1] = (struct session_state){.last = 0};
        *number = l->session.n;
    }
    return number ? &l->state[*number - 1] : NULL;
}

/* Calls that are waited for have their numbers and depths by now. */
static int finish_row(struct linker *l, struct session_state *s, uint32_t i, uint32_t *number, bool chains)
{
    struct arrival *a = &l->all->row[i].a;
    sim_ns end = -1;
    a->turn = 0;
    for (uint32_t k = 0; k < l->n_after; k++) {
        uint32_t w = l->waits_for[k];
        l->after[k] = number[w];
        a->turn = l->all->row[w].a.turn + 1 > a->turn ? l->all->row[w].a.turn + 1 : a->turn;
        end = ended(l, w, 1) > end ? ended(l, w, 1) : end;
    }
    if (!chains || l->n_after > 1 || a->gap_ns < 0) { /* else the file's is that since this very call */
        a->gap_ns = l->n_after == 0 ? -1 : a->time_ns > end ? a->time_ns - end : 0;
    }
    number[i] = ++s->calls;
    l->before[i] = s->last;
    s->last = i + 1;
    return store_set_after(l->all, i, l->after, l->n_after) ? 0 : SIM_E_NOMEM;
}

static int link_row(struct linker *l, const struct columns *c, uint32_t i, uint32_t *number)
{
    struct session_state *s = state_of(l, l->all->row[i].a.session);
    l->n_after = 0;
    if (!s) {
        return SIM_E_NOMEM;
    }
    bool chains = c->col[COL_SUB] >= 0;
    if (!chains) {
        by_times(l, s, i);
    } else if (by_conversation(l, s, i) < 0) {
        return SIM_E_NOMEM;
    }
    return finish_row(l, s, i, number, chains);
}

static int note_last(struct linker *l)
{
    for (uint32_t i = 0; i < l->all->n; i++) {
        uint32_t *last = u64_map_add(&l->last, l->all->row[i].a.call);
        if (!last) {
            return SIM_E_NOMEM;
        }
        *last = i + 1;
    }
    return 0;
}

int columns_link_programs(void *state, struct trace *t, struct store *all, struct err *e)
{
    const struct columns *c = state;
    if (!c->programs) {
        return 0;
    }
    struct linker l = {.all = all, .before = calloc(all->n + 1, sizeof(*l.before))};
    uint32_t *number = calloc(all->n + 1, sizeof(*number));
    int rc = l.before && number && all->n < UINT32_MAX ? note_last(&l) : SIM_E_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < all->n; i++) {
        rc = all->row[i].a.session ? link_row(&l, c, i, number) : 0;
    }
    for (uint32_t i = 0; rc == 0 && i < all->n; i++) {
        all->row[i].a.call = number[i];
    }
    u64_map_release(&l.session);
    u64_map_release(&l.conversation);
    u64_map_release(&l.last);
    free(l.state);
    free(l.before);
    free(number);
    return rc < 0 ? err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t)) : 0;
}
