/* SPDX-License-Identifier: Apache-2.0
 *
 * Building blocks of scheduler policies: FIFOs and heaps over request slots, tables over clients.
 * All grow by doubling with malloc as slots and clients appear, so a policy frees them in `release`.
 * Zeroed structs are valid and empty, except struct req_fifo (REQ_FIFO_EMPTY). */
#ifndef STEELYARD_QUEUE_H
#define STEELYARD_QUEUE_H

#include "policies/req.h"

/* What a policy's arrive() answers when a table could not grow. */

/* Grow the array at *items (cap *cap) so that index `i` exists; new bytes are zero. */
bool table_reach(void **items, uint32_t *cap, size_t item_size, uint32_t i);

/* ---- FIFOs: a request is in at most one of the FIFOs that share a struct req_links ---- */
struct req_links {
    struct req_link {
        req_id prev, next;
    } * at; /* indexed by req_id */
    uint32_t cap;
};

struct req_fifo {
    req_id head, tail;
    uint32_t count;
};

#define REQ_FIFO_EMPTY ((struct req_fifo){REQ_NONE, REQ_NONE, 0})

/* Make room for slot `r`; must precede the first push of that slot. */
bool req_links_reach(struct req_links *l, req_id r);
void req_links_release(struct req_links *l);
void req_fifo_push_back(struct req_fifo *q, struct req_links *l, req_id r);
void req_fifo_push_front(struct req_fifo *q, struct req_links *l, req_id r);
void req_fifo_remove(struct req_fifo *q, struct req_links *l, req_id r);

/* ---- binary min-heap over (key, then, serial), with removal by slot ---- */
struct req_heap_item {
    int64_t key, then;
    uint64_t serial;
    req_id r;
};

struct req_heap {
    struct req_heap_item *items;
    uint32_t n, cap;
    uint32_t *pos; /* by req_id: index in items + 1, 0 = absent */
    uint32_t pos_cap;
};

/* Make room for slot `r`: from then on it can always be pushed, even when all others are in. */
bool req_heap_reach(struct req_heap *h, req_id r);
void req_heap_release(struct req_heap *h);
/* `item.r` must be absent, and req_heap_reach must have succeeded for it at some time. */
void req_heap_push(struct req_heap *h, struct req_heap_item item);
void req_heap_remove(struct req_heap *h, req_id r); /* nothing happens if `r` is absent */
/* The keys in `items` were changed in place: make it a heap again. */
void req_heap_reorder(struct req_heap *h);
static inline bool req_heap_has(const struct req_heap *h, req_id r)
{
    return r < h->pos_cap && h->pos[r] != 0;
}
static inline req_id req_heap_top(const struct req_heap *h)
{
    return h->n ? h->items[0].r : REQ_NONE;
}

/* ---- rows per client, in the order in which the clients first appeared ---- */
struct client_table {
    char *rows;
    size_t row_size;
    uint32_t n, cap;
    uint32_t *index_of; /* by client: row + 1, 0 = unknown; client numbers are dense */
    uint32_t ids_cap;
};

#define CLIENT_NONE UINT32_MAX

/* Row index of a client, or CLIENT_NONE. */
uint32_t client_table_find(const struct client_table *t, uint32_t client);
/* As find, but adds a zeroed row for a new client. CLIENT_NONE = no memory. Rows may move. */
uint32_t client_table_add(struct client_table *t, uint32_t client);
void client_table_release(struct client_table *t);
static inline void *client_table_row(const struct client_table *t, uint32_t i)
{
    return t->rows + (size_t)i * t->row_size;
}

#endif
