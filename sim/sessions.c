/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sessions.h"

#include <math.h>
#include <stdlib.h>

/* ---- heap by (time, index) ---- */

static bool before(const struct sessions *s, uint32_t a, uint32_t b)
{
    return s->at_ns[a] != s->at_ns[b] ? s->at_ns[a] < s->at_ns[b] : a < b;
}

static void heap_add(struct sessions *s, uint32_t i)
{
    uint32_t at = s->n_heap++;

    while (at > 0 && before(s, i, s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = i;
}

static uint32_t heap_take(struct sessions *s)
{
    uint32_t top = s->heap[0], last = s->heap[--s->n_heap], at = 0;

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= s->n_heap) {
            break;
        }
        if (child + 1 < s->n_heap && before(s, s->heap[child + 1], s->heap[child])) {
            child++;
        }
        if (!before(s, s->heap[child], last)) {
            break;
        }
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return top;
}

/* ---- who follows whom ---- */

/* The stage of a session that the trace has reached. */
struct last_stage {
    uint64_t session; /* 0 = empty */
    uint32_t first, last; /* its first call and its last one so far */
    bool numbered;        /* some turn of the session is not 0 */
};

struct stage_table {
    struct last_stage *slot;
    uint32_t mask;
};

static struct last_stage *stage_of(const struct stage_table *t, uint64_t session)
{
    uint32_t i = (uint32_t)(session * 0x9E3779B97F4A7C15u >> 32) & t->mask;

    while (t->slot[i].session != 0 && t->slot[i].session != session) {
        i = (i + 1) & t->mask;
    }
    return &t->slot[i];
}

/* Sessions without turn numbers are told apart first: there all turns are 0. */
static void find_numbered(const struct sessions *s, const struct stage_table *t)
{
    for (uint32_t i = 0; i < s->n; i++) {
        const struct arrival *a = &s->all[i];

        if (a->session != 0) {
            struct last_stage *l = stage_of(t, a->session);

            l->session = a->session;
            l->first = UINT32_MAX;
            l->numbered |= a->turn > 0 || a->slo_class == SLO_COMPOUND;
        }
    }
}

static void link_call(struct sessions *s, struct last_stage *l, uint32_t i)
{
    if (l->first == UINT32_MAX) {
        l->first = i;
    } else if (l->numbered && s->all[i].turn == s->all[l->last].turn) {
        s->peer[l->last] = i + 1;
    } else {
        s->next_stage[l->first] = i + 1;
        l->first = i;
    }
    s->stage[i] = l->first;
    s->unanswered[l->first]++;
    l->last = i;
}

static int link_stages(struct sessions *s)
{
    struct stage_table t = {.mask = 15};

    while (t.mask < 2 * (uint64_t)s->n) {
        t.mask = 2 * t.mask + 1;
    }
    t.slot = calloc((size_t)t.mask + 1, sizeof(*t.slot));
    if (!t.slot) {
        return SIM_E_NOMEM;
    }
    find_numbered(s, &t);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->all[i].session != 0 && !s->graph.is[i]) {
            link_call(s, stage_of(&t, s->all[i].session), i);
        }
    }
    free(t.slot);
    return 0;
}

/* Calls behind the first stage of a session wait for answers. */
static void hold_back(struct sessions *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t next = s->next_stage[i];

        for (uint32_t c = next; c != 0; c = s->peer[c - 1]) {
            s->at_ns[c - 1] = SIM_NEVER;
            s->outstanding++;
        }
        if (s->graph.waits_for[i] > 0) {
            s->at_ns[i] = SIM_NEVER;
            s->outstanding++;
        }
    }
}

/* ---- graphs of calls ---- */

/* Calls by their numbers. Sessions with an edge are graphs, all of their calls. */
struct call_names {
    struct u64_map session, call; /* session -> number + 1; (number, call) -> index + 1 */
    struct u64_map graphs;        /* sessions that are graphs */
};

static uint64_t name_of(const struct call_names *n, const struct arrival *a, uint64_t call)
{
    return (uint64_t)*u64_map_find(&n->session, a->session) << 32 | call;
}

static int note_call(struct call_names *n, const struct arrival *a, uint32_t i, struct err *e)
{
    uint32_t *number = u64_map_add(&n->session, a->session), *call;

    if (number && *number == 0) {
        *number = n->session.n;
    }
    if (!number || (a->n_after > 0 && !u64_map_add(&n->graphs, a->session))) {
        return err_set(e, SIM_E_NOMEM, "out of memory for graphs of calls");
    }
    if (a->call == 0) {
        return 0;
    }
    call = u64_map_add(&n->call, name_of(n, a, a->call));
    if (!call) {
        return err_set(e, SIM_E_NOMEM, "out of memory for graphs of calls");
    }
    if (*call != 0) {
        return err_set(e, SIM_E_DATA, "session %llu has two calls with number %u (at %.9g s)",
                       (unsigned long long)a->session, a->call, (double)a->time_ns * 1e-9);
    }
    *call = i + 1;
    return 0;
}

static int link_after(struct sessions *s, const struct call_names *n, uint32_t i, uint32_t *n_edge,
                      struct err *e)
{
    const struct arrival *a = &s->all[i];
    struct call_graph *g = &s->graph;

    for (uint32_t k = 0; k < a->n_after; k++) {
        const uint32_t *call = u64_map_find(&n->call, name_of(n, a, a->after[k]));

        if (!call) {
            return err_set(e, SIM_E_DATA, "session %llu: the call at %.9g s waits for call %llu, which does "
                           "not come before it", (unsigned long long)a->session, (double)a->time_ns * 1e-9,
                           (unsigned long long)a->after[k]);
        }
        g->edge[*n_edge] = (struct call_edge){i, g->followers[*call - 1]};
        g->followers[*call - 1] = ++*n_edge;
        g->waits_for[i]++;
        g->depth[i] = g->depth[*call - 1] + 1 > g->depth[i] ? g->depth[*call - 1] + 1 : g->depth[i];
    }
    return 0;
}

static int link_all_after(struct sessions *s, struct call_names *n, struct err *e)
{
    uint32_t n_edge = 0;
    int rc = 0;

    for (uint32_t i = 0; i < s->n && rc == 0; i++) {
        const struct arrival *a = &s->all[i];

        if (a->session != 0) { /* those that come before are named by now */
            rc = note_call(n, a, i, e);
            rc = rc == 0 && a->n_after > 0 ? link_after(s, n, i, &n_edge, e) : rc;
        }
    }
    for (uint32_t i = 0; i < s->n; i++) {
        s->graph.is[i] = s->all[i].session != 0 && u64_map_find(&n->graphs, s->all[i].session);
    }
    return rc;
}

static int link_graphs(struct sessions *s, struct err *e)
{
    struct call_graph *g = &s->graph;
    struct call_names names = {.session = {0}};
    size_t edges = 0;
    int rc;

    for (uint32_t i = 0; i < s->n; i++) {
        edges += s->all[i].n_after;
    }
    g->is = calloc(s->n + 1, sizeof(*g->is));
    g->waits_for = calloc(s->n + 1, sizeof(*g->waits_for));
    g->depth = calloc(s->n + 1, sizeof(*g->depth));
    g->followers = calloc(s->n + 1, sizeof(*g->followers));
    g->edge = calloc(edges + 1, sizeof(*g->edge));
    if (!g->is || !g->waits_for || !g->depth || !g->followers || !g->edge || edges >= UINT32_MAX) {
        return err_set(e, SIM_E_NOMEM, "out of memory for %zu waiting calls", edges);
    }
    rc = edges > 0 ? link_all_after(s, &names, e) : 0;
    u64_map_release(&names.session);
    u64_map_release(&names.call);
    u64_map_release(&names.graphs);
    return rc;
}

int sessions_init(struct sessions *s, const struct arrival *all, size_t n, double scale, struct err *e)
{
    *s = (struct sessions){.all = all, .n = (uint32_t)n};
    if (link_graphs(s, e) < 0) {
        return e->code;
    }
    s->stage = calloc(n + 1, sizeof(*s->stage));
    s->peer = calloc(n + 1, sizeof(*s->peer));
    s->next_stage = calloc(n + 1, sizeof(*s->next_stage));
    s->unanswered = calloc(n + 1, sizeof(*s->unanswered));
    s->at_ns = calloc(n + 1, sizeof(*s->at_ns));
    s->heap = calloc(n + 1, sizeof(*s->heap));
    s->of_serial = calloc(n + 1, sizeof(*s->of_serial));
    if (!s->stage || !s->peer || !s->next_stage || !s->unanswered || !s->at_ns || !s->heap ||
        !s->of_serial || link_stages(s) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the sessions of %zu requests", n);
    }
    hold_back(s);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->at_ns[i] != SIM_NEVER) {
            s->at_ns[i] = scale == 1 ? all[i].time_ns : llround((double)all[i].time_ns / scale);
            heap_add(s, i);
        }
    }
    return 0;
}

void sessions_release(struct sessions *s)
{
    free(s->graph.is);
    free(s->graph.waits_for);
    free(s->graph.depth);
    free(s->graph.followers);
    free(s->graph.edge);
    free(s->stage);
    free(s->peer);
    free(s->next_stage);
    free(s->unanswered);
    free(s->at_ns);
    free(s->heap);
    free(s->of_serial);
}

int sessions_next(struct sessions *s, uint32_t *ret, sim_ns *ret_at)
{
    if (s->n_heap == 0) {
        return s->outstanding > 0 ? 2 : 0;
    }
    *ret = heap_take(s);
    *ret_at = s->at_ns[*ret];
    s->of_serial[s->given++] = *ret;
    return 1;
}

void sessions_unread(struct sessions *s)
{
    heap_add(s, s->of_serial[--s->given]);
}

sim_ns sessions_peek(const struct sessions *s)
{
    return s->n_heap ? s->at_ns[s->heap[0]] : SIM_NEVER;
}

static sim_ns gap_before(const struct sessions *s, uint32_t call, uint32_t answered)
{
    sim_ns apart = s->all[call].time_ns - s->all[answered].time_ns;

    return s->all[call].gap_ns >= 0 ? s->all[call].gap_ns : apart;
}

uint32_t sessions_turn(const struct sessions *s, uint32_t i)
{
    return s->graph.is[i] ? s->graph.depth[i] : s->all[i].turn;
}

static bool call_answered(struct sessions *s, uint32_t i, sim_ns now)
{
    struct call_graph *g = &s->graph;
    bool some = false;

    for (uint32_t k = g->followers[i]; k != 0; k = g->edge[k - 1].next) {
        uint32_t c = g->edge[k - 1].call;

        if (--g->waits_for[c] == 0) {
            s->at_ns[c] = now + gap_before(s, c, i);
            s->outstanding--;
            heap_add(s, c);
            some = true;
        }
    }
    return some;
}

bool sessions_answered(struct sessions *s, uint64_t serial, sim_ns now)
{
    uint32_t i = s->of_serial[serial], stage = s->stage[i], next;

    if (s->graph.is[i]) {
        return call_answered(s, i, now);
    }
    if (s->all[i].session == 0 || --s->unanswered[stage] > 0) {
        return false;
    }
    next = s->next_stage[stage];
    for (uint32_t c = next; c != 0; c = s->peer[c - 1]) {
        s->at_ns[c - 1] = now + gap_before(s, c - 1, i);
        s->outstanding--;
        heap_add(s, c - 1);
    }
    return next != 0;
}

bool sessions_go_on(const struct sessions *s, uint64_t serial)
{
    return s->next_stage[s->stage[s->of_serial[serial]]] != 0;
}
