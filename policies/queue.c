/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/queue.h"

#include <stdlib.h>
#include <string.h>

#include "policies/policy.h"

const char policy_no_memory[] = "no memory left for the scheduler's tables";

bool table_reach(void **items, uint32_t *cap, size_t item_size, uint32_t i)
{
    if (i < *cap) {
        return true;
    }
    uint64_t want = *cap ? *cap : 16;
    while (want <= i) {
        want *= 2;
    }
    if (want > UINT32_MAX || want > SIZE_MAX / item_size) {
        return false;
    }
    char *p = realloc(*items, (size_t)want * item_size);
    if (!p) {
        return false;
    }
    memset(p + (size_t)*cap * item_size, 0, (size_t)(want - *cap) * item_size);
    *items = p;
    *cap = (uint32_t)want;
    return true;
}

/* ---- FIFOs ---- */

bool req_links_reach(struct req_links *l, req_id r)
{
    void *at = l->at;
    bool ok = table_reach(&at, &l->cap, sizeof *l->at, r);
    l->at = at;
    return ok;
}

void req_links_release(struct req_links *l)
{
    free(l->at);
    *l = (struct req_links){0};
}

void req_fifo_push_back(struct req_fifo *q, struct req_links *l, req_id r)
{
    l->at[r] = (struct req_link){.prev = q->tail, .next = REQ_NONE};
    if (q->tail == REQ_NONE) {
        q->head = r;
    } else {
        l->at[q->tail].next = r;
    }
    q->tail = r;
    q->count++;
}

void req_fifo_push_front(struct req_fifo *q, struct req_links *l, req_id r)
{
    l->at[r] = (struct req_link){.prev = REQ_NONE, .next = q->head};
    if (q->head == REQ_NONE) {
        q->tail = r;
    } else {
        l->at[q->head].prev = r;
    }
    q->head = r;
    q->count++;
}

void req_fifo_remove(struct req_fifo *q, struct req_links *l, req_id r)
{
    struct req_link k = l->at[r];
    if (k.prev == REQ_NONE) {
        q->head = k.next;
    } else {
        l->at[k.prev].next = k.next;
    }
    if (k.next == REQ_NONE) {
        q->tail = k.prev;
    } else {
        l->at[k.next].prev = k.prev;
    }
    q->count--;
}

/* ---- heap ---- */

static bool item_before(const struct req_heap_item *a, const struct req_heap_item *b)
{
    if (a->key != b->key) {
        return a->key < b->key;
    }
    if (a->then != b->then) {
        return a->then < b->then;
    }
    return a->serial < b->serial;
}

static void heap_place(struct req_heap *h, uint32_t i, struct req_heap_item item)
{
    h->items[i] = item;
    h->pos[item.r] = i + 1;
}

static void heap_up(struct req_heap *h, uint32_t i, struct req_heap_item item)
{
    while (i > 0 && item_before(&item, &h->items[(i - 1) / 2])) {
        heap_place(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_place(h, i, item);
}

static void heap_down(struct req_heap *h, uint32_t i, struct req_heap_item item)
{
    for (uint32_t c; (c = 2 * i + 1) < h->n; i = c) {
        c += c + 1 < h->n && item_before(&h->items[c + 1], &h->items[c]);
        if (!item_before(&h->items[c], &item)) {
            break;
        }
        heap_place(h, i, h->items[c]);
    }
    heap_place(h, i, item);
}

bool req_heap_reach(struct req_heap *h, req_id r)
{
    void *items = h->items, *pos = h->pos;
    bool ok = table_reach(&items, &h->cap, sizeof *h->items, r) &&
              table_reach(&pos, &h->pos_cap, sizeof *h->pos, r);
    h->items = items;
    h->pos = pos;
    return ok;
}

void req_heap_release(struct req_heap *h)
{
    free(h->items);
    free(h->pos);
    *h = (struct req_heap){0};
}

void req_heap_push(struct req_heap *h, struct req_heap_item item)
{
    heap_up(h, h->n++, item);
}

void req_heap_remove(struct req_heap *h, req_id r)
{
    if (!req_heap_has(h, r)) {
        return;
    }
    uint32_t i = h->pos[r] - 1;
    struct req_heap_item last = h->items[--h->n];
    h->pos[r] = 0;
    if (i == h->n) {
        return;
    }
    if (i > 0 && item_before(&last, &h->items[(i - 1) / 2])) {
        heap_up(h, i, last);
    } else {
        heap_down(h, i, last);
    }
}

void req_heap_reorder(struct req_heap *h)
{
    for (uint32_t i = h->n / 2; i-- > 0;) {
        heap_down(h, i, h->items[i]);
    }
}

/* ---- clients ---- */

uint32_t client_table_find(const struct client_table *t, uint32_t client)
{
    return client < t->ids_cap && t->index_of[client] ? t->index_of[client] - 1 : CLIENT_NONE;
}

uint32_t client_table_add(struct client_table *t, uint32_t client)
{
    uint32_t i = client_table_find(t, client);
    if (i != CLIENT_NONE) {
        return i;
    }
    void *rows = t->rows, *ids = t->index_of;
    bool ok = table_reach(&rows, &t->cap, t->row_size, t->n) &&
              table_reach(&ids, &t->ids_cap, sizeof *t->index_of, client);
    t->rows = rows;
    t->index_of = ids;
    if (!ok) {
        return CLIENT_NONE;
    }
    t->index_of[client] = ++t->n;
    return t->n - 1;
}

void client_table_release(struct client_table *t)
{
    free(t->rows);
    free(t->index_of);
    *t = (struct client_table){.row_size = t->row_size};
}
