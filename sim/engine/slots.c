/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots for live requests, the lists they hang in, and the heap of who finishes next. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/engine/engine.h"

#define KEEP_BLK 1024

int engine_fail(struct engine *e, int code, const char *fmt, ...)
{
    char text[900];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(e->err, code, "%s", text);
}

bool grow_array(void **p, uint32_t *cap, uint32_t need, size_t size)
{
    uint32_t want = *cap ? *cap : 16;
    void *bigger;

    if (need <= *cap) {
        return true;
    }
    while (want < need) {
        want *= 2;
    }
    bigger = realloc(*p, want * size);
    if (!bigger) {
        return false;
    }
    *p = bigger;
    *cap = want;
    return true;
}

/* One segment more. The public columns are one array, so that a policy can index it; what decoding
 * sequences point into stays where it is. */
static int slots_grow(struct engine *e)
{
    uint32_t seg = e->cap_slots >> SEGMENT_LOG2;
    uint32_t cap = e->cap_slots + (1u << SEGMENT_LOG2);
    struct req *reqs = realloc(e->reqs, cap * sizeof(*reqs));
    struct live **segments;

    if (!reqs) {
        return SIM_E_NOMEM;
    }
    e->reqs = reqs;
    e->view.reqs = reqs;
    segments = realloc(e->segments, (seg + 1) * sizeof(*segments));
    if (!segments) {
        return SIM_E_NOMEM;
    }
    e->segments = segments;
    segments[seg] = calloc(1u << SEGMENT_LOG2, sizeof(**segments));
    if (!segments[seg]) {
        return SIM_E_NOMEM;
    }
    e->cap_slots = cap;
    return 0;
}

req_id slot_take(struct engine *e, struct err *err)
{
    req_id r = e->free_slot;

    if (r != REQ_NONE) {
        e->free_slot = e->reqs[r].q_next;
    } else {
        if (e->n_slots == e->cap_slots && slots_grow(e) < 0) {
            err_set(err, SIM_E_NOMEM, "out of memory for %u live requests", e->n_slots);
            return REQ_NONE;
        }
        r = e->n_slots++;
    }
    memset(&e->reqs[r], 0, sizeof(e->reqs[r]));
    e->reqs[r].first_token_ns = SIM_NEVER;
    return r;
}

void slot_give(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);
    struct kv_seq kv = l->kv;

    kv_forget(e->kv, &kv);
    memset(l, 0, sizeof(*l));
    /* Keep the buffers of the sequence for the next user of the slot, but not those of a very long one:
     * in an overloaded run there are as many slots as requests that wait. */
    if (kv.cap_blk > KEEP_BLK || kv.cap_key > KEEP_BLK) {
        kv_seq_release(&kv);
    }
    l->kv.id = kv.id;
    l->kv.cap_id = kv.cap_id;
    l->kv.key = kv.key;
    l->kv.cap_key = kv.cap_key;
    l->kv.blk = kv.blk;
    l->kv.stamp = kv.stamp;
    l->kv.cap_blk = kv.cap_blk;
    e->reqs[r].state = REQ_FREE;
    e->reqs[r].q_next = e->free_slot;
    e->free_slot = r;
}

/* ---- running requests, in order of admission ---- */

void running_append(struct engine *e, req_id r)
{
    struct req *q = &e->reqs[r];

    q->q_next = REQ_NONE;
    q->q_prev = e->view.running_tail;
    if (q->q_prev == REQ_NONE) {
        e->view.running_head = r;
    } else {
        e->reqs[q->q_prev].q_next = r;
    }
    e->view.running_tail = r;
    e->n_running++;
    if (e->n_running > e->n.peak_running) {
        e->n.peak_running = e->n_running;
    }
    live_of(e, r)->admit_no = ++e->next_admit_no;
    live_of(e, r)->kv.serial = e->next_admit_no;
}

void running_remove(struct engine *e, req_id r)
{
    struct req *q = &e->reqs[r];

    if (q->q_prev == REQ_NONE) {
        e->view.running_head = q->q_next;
    } else {
        e->reqs[q->q_prev].q_next = q->q_next;
    }
    if (q->q_next == REQ_NONE) {
        e->view.running_tail = q->q_prev;
    } else {
        e->reqs[q->q_next].q_prev = q->q_prev;
    }
    e->n_running--;
}

static void side_append(struct engine *e, req_id *head, req_id *tail, req_id r)
{
    struct live *l = live_of(e, r);

    l->prefill_next = REQ_NONE;
    l->prefill_prev = *tail;
    if (*tail == REQ_NONE) {
        *head = r;
    } else {
        live_of(e, *tail)->prefill_next = r;
    }
    *tail = r;
}

static void side_remove(struct engine *e, req_id *head, req_id *tail, req_id r)
{
    struct live *l = live_of(e, r);

    if (l->prefill_prev == REQ_NONE) {
        *head = l->prefill_next;
    } else {
        live_of(e, l->prefill_prev)->prefill_next = l->prefill_next;
    }
    if (l->prefill_next == REQ_NONE) {
        *tail = l->prefill_prev;
    } else {
        live_of(e, l->prefill_next)->prefill_prev = l->prefill_prev;
    }
}

void prefilling_append(struct engine *e, req_id r)
{
    side_append(e, &e->prefill_head, &e->prefill_tail, r);
    e->n_prefilling++;
}

void prefilling_remove(struct engine *e, req_id r)
{
    side_remove(e, &e->prefill_head, &e->prefill_tail, r);
    e->n_prefilling--;
}

void swapped_append(struct engine *e, req_id r)
{
    side_append(e, &e->swapped_head, &e->swapped_tail, r);
    e->n_swapped++;
}

void swapped_remove(struct engine *e, req_id r)
{
    side_remove(e, &e->swapped_head, &e->swapped_tail, r);
    e->n_swapped--;
}

/* ---- who finishes next: binary heap by (finish_index, serial) ---- */

static bool before(const struct engine *e, req_id a, req_id b)
{
    uint64_t fa = live_of(e, a)->finish_index;
    uint64_t fb = live_of(e, b)->finish_index;

    return fa != fb ? fa < fb : e->reqs[a].serial < e->reqs[b].serial;
}

static void heap_put(struct engine *e, uint32_t at, req_id r)
{
    e->heap[at] = r;
    live_of(e, r)->heap_at = at;
}

static void heap_up(struct engine *e, uint32_t at, req_id r)
{
    while (at > 0 && before(e, r, e->heap[(at - 1) / 2])) {
        heap_put(e, at, e->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(e, at, r);
}

static void heap_down(struct engine *e, uint32_t at, req_id r)
{
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= e->n_heap) {
            break;
        }
        if (child + 1 < e->n_heap && before(e, e->heap[child + 1], e->heap[child])) {
            child++;
        }
        if (!before(e, e->heap[child], r)) {
            break;
        }
        heap_put(e, at, e->heap[child]);
        at = child;
    }
    heap_put(e, at, r);
}

int finish_heap_add(struct engine *e, req_id r)
{
    if (!grow_array((void **)&e->heap, &e->cap_heap, e->n_heap + 1, sizeof(*e->heap))) {
        return engine_fail(e, SIM_E_NOMEM, "out of memory for %u decoding requests", e->n_heap);
    }
    e->n_heap++;
    heap_up(e, e->n_heap - 1, r);
    return 0;
}

void finish_heap_remove(struct engine *e, req_id r)
{
    uint32_t at = live_of(e, r)->heap_at;
    req_id last = e->heap[--e->n_heap];

    if (last == r) {
        return;
    }
    if (at > 0 && before(e, last, e->heap[(at - 1) / 2])) {
        heap_up(e, at, last);
    } else {
        heap_down(e, at, last);
    }
}

void finish_heap_later(struct engine *e, req_id r)
{
    heap_down(e, live_of(e, r)->heap_at, r);
}

/* ---- who takes part in a step ---- */

static bool listed(const req_id *list, uint32_t n, req_id r)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i] == r) {
            return true;
        }
    }
    return false;
}

/* Those that end with this step have left the decoding set already; those whose prefill it ends have
 * joined it already. */
uint64_t step_context(const struct engine *e, const struct step *s, req_id r)
{
    const struct live *l = live_of(e, r);

    if (l->state == LIVE_ENDING) {
        return listed(s->ending, s->n_ending, r) ? l->context_tok : 0;
    }
    if (l->state != LIVE_DECODE || l->join_index >= s->index || listed(s->stalled, s->n_stalled, r)) {
        return 0;
    }
    return s->index - l->base;
}
