/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of the KV manager only. */
#ifndef STEELYARD_KV_INTERNAL_H
#define STEELYARD_KV_INTERNAL_H

#include "sim/engine/kv.h"

struct kv_block {
    uint64_t key; /* 0 = no content that others could find */
    uint32_t refs;
    uint32_t stamp;                /* counts how often the block was taken */
    uint32_t free_prev, free_next; /* free queue, 0 = the sentinel */
    uint32_t same_next;            /* next block with the same key, in order of entry; 0 = none */
};

struct kv_blocks {
    struct kv_block *block; /* 1..n; 0 is the sentinel of the free queue */
    uint32_t n;
    uint32_t *slot; /* open addressing: first block of each key; 0 = empty */
    uint32_t slots; /* power of two */
};

/* Blocks [start, start + count); the first `used` of an owner's are in use, the rest is its to fill. */
struct kv_extent {
    uint64_t start, count, used;
    struct kv_seq *owner; /* NULL = free */
    struct kv_extent *prev, *next; /* by address */
    struct kv_extent *seq_next;
};

struct kv_groups {
    uint32_t group_blk;
    uint32_t n;
    struct kv_extent *first;
};

int runs_init(struct kv_runs *r, uint64_t blocks);
void runs_release(struct kv_runs *r);
void runs_take_slow(struct kv_runs *r, uint64_t n);

/* Take n blocks from the front; nearly always the front run has more than that. */
static inline void runs_take(struct kv_runs *r, uint64_t n)
{
    struct kv_run *front = &r->ring[r->head & (r->cap - 1)];

    if (r->head != r->tail && front->count > n) {
        front->count -= n;
    } else {
        runs_take_slow(r, n);
    }
}

/* Returns the number of the run + 1, or 0 when the blocks cannot be told apart later. */
uint64_t runs_give(struct kv_runs *r, uint64_t n, bool own);
uint64_t runs_left(const struct kv_runs *r, uint64_t handle);
void runs_revive(struct kv_runs *r, uint64_t handle, uint64_t n);
void runs_disown(struct kv_runs *r, uint64_t handle);

int blocks_init(struct kv *kv, struct arena *a, struct err *e);
void blocks_release(struct kv *kv);
void blocks_hash(struct kv *kv, struct kv_seq *s);
uint32_t blocks_lookup(const struct kv *kv, const struct kv_seq *s, uint32_t max_blk);
uint32_t blocks_idle(const struct kv *kv, const struct kv_seq *s, uint32_t hit_blk);
int blocks_take(struct kv *kv, struct kv_seq *s, uint32_t hit_blk, uint32_t upto_blk);
int blocks_append(struct kv *kv, struct kv_seq *s, uint32_t n);
void blocks_publish(struct kv *kv, struct kv_seq *s, uint64_t content_tok);
void blocks_give(struct kv *kv, struct kv_seq *s, uint64_t content_tok);

int groups_init(struct kv *kv, uint32_t group_blk, struct arena *a);
void groups_release(struct kv *kv);
/* The caller has checked that n blocks are free. */
int groups_take(struct kv *kv, struct kv_seq *s, uint64_t n);
void groups_adopt(struct kv_seq *to, struct kv_seq *from);
void groups_give(struct kv *kv, struct kv_seq *s);
uint32_t groups_between(const struct kv_seq *s, uint64_t from_blk, uint64_t to_blk);
int groups_check(const struct kv *kv, struct err *e);

#endif
