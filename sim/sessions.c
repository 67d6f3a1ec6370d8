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

struct last_turn {
    uint64_t session; /* 0 = empty */
    uint32_t index;
};

static struct last_turn *slot_of(struct last_turn *table, uint32_t mask, uint64_t session)
{
    uint32_t i = (uint32_t)(session * 0x9E3779B97F4A7C15u >> 32) & mask;

    while (table[i].session != 0 && table[i].session != session) {
        i = (i + 1) & mask;
    }
    return &table[i];
}

static int link_turns(struct sessions *s)
{
    uint32_t cap = 16;
    struct last_turn *table;

    while (cap < 2 * s->n) {
        cap *= 2;
    }
    table = calloc(cap, sizeof(*table));
    if (!table) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        struct last_turn *t;

        if (s->all[i].session == 0) {
            continue;
        }
        t = slot_of(table, cap - 1, s->all[i].session);
        if (t->session != 0) {
            s->next_turn[t->index] = i + 1;
            s->at_ns[i] = SIM_NEVER;
            s->outstanding++;
        }
        *t = (struct last_turn){s->all[i].session, i};
    }
    free(table);
    return 0;
}

int sessions_init(struct sessions *s, const struct arrival *all, size_t n, double scale, struct err *e)
{
    *s = (struct sessions){.all = all, .n = (uint32_t)n};
    s->next_turn = calloc(n + 1, sizeof(*s->next_turn));
    s->at_ns = calloc(n + 1, sizeof(*s->at_ns));
    s->heap = calloc(n + 1, sizeof(*s->heap));
    s->of_serial = calloc(n + 1, sizeof(*s->of_serial));
    if (!s->next_turn || !s->at_ns || !s->heap || !s->of_serial || link_turns(s) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the sessions of %zu requests", n);
    }
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
    free(s->next_turn);
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

bool sessions_answered(struct sessions *s, uint64_t serial, sim_ns now)
{
    uint32_t i = s->of_serial[serial], next = s->next_turn[i];
    sim_ns gap;

    if (next == 0) {
        return false;
    }
    next--;
    gap = s->all[next].gap_ns >= 0 ? s->all[next].gap_ns : s->all[next].time_ns - s->all[i].time_ns;
    s->at_ns[next] = now + gap;
    s->outstanding--;
    heap_add(s, next);
    return true;
}
