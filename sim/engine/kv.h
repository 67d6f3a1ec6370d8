/* SPDX-License-Identifier: Apache-2.0
 *
 * Paged KV memory of one replica, with vLLM V1's block cache (engines.md 1.5; vLLM 0.15-0.19
 * v1/core/block_pool.py): blocks are taken from the front of a free queue, a finished or preempted
 * sequence gives its blocks back deepest first at the end of it, a freed block keeps its content until
 * it is taken again, and can be revived by a hit until then.
 *
 * Blocks without identity are just counted. Decoding sequences are not visited one by one: a sequence
 * needs a block when its length wraps, so a histogram over (length mod block size) tells how many do.
 * Two back ends keep what identity is needed for:
 *   runs   - no prefix hashes in the trace: a sequence can only find its own blocks again after a
 *            preemption, so the free queue is kept as runs of blocks;
 *   blocks - prefix hashes: every block has a number, a hash and a reference count.
 * A third one knows where blocks lie, for what copies cost (kv_groups.c). */
#ifndef STEELYARD_KV_H
#define STEELYARD_KV_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct kv_config {
    uint64_t blocks; /* usable ones (without vLLM's null block) */
    uint32_t block_tok;
    bool prefix_cache;
    bool identity; /* the trace has prefix hashes, or a test asks for numbered blocks */
    uint32_t group_blk; /* blocks of a group that lies side by side; 0 = scattered blocks */
};

struct kv_extent;

/* KV of one sequence. Zeroed = holds nothing. */
struct kv_seq {
    uint32_t n_blk;    /* blocks held, while not decoding */
    uint32_t full_blk; /* of the blocks given back last, how many were full: those can be revived */
    bool fixed;        /* holds a reservation for its whole life: does not grow while decoding */
    uint64_t run;      /* runs: 1 + number of the run given back last; 0 = none */
    /* blocks: chained hash of each full prompt block, the block table, and stamps that tell whether a
     * block given back has been taken by somebody else since. malloc'd, reused with the slot. */
    uint64_t serial;   /* of the request; orders sequences of one class */
    uint32_t n_id, cap_id, id_tok, prompt_tok; /* as the trace gives them; hashed when first looked up, */
    uint64_t *id;                              /* so that a long queue holds ids only */
    bool keyed;
    uint32_t n_key, cap_key, cap_blk;
    uint64_t *key;
    uint32_t *blk;
    uint32_t *stamp;
    struct kv_seq *class_prev, *class_next;
    struct kv_extent *group_first, *group_last; /* groups: its extents in order of the sequence */
};

/* Visible for the inline functions below only. */
/* The free queue as runs of blocks of one origin. A run that a preempted sequence gave back can be
 * revived from its shallow end; allocation eats it from the deep end, which is its front. */
struct kv_run {
    uint64_t count;
    bool own; /* given back by a sequence that may come again: keep apart */
};

struct kv_runs {
    struct kv_run *ring;
    uint64_t cap;        /* power of two */
    uint64_t head, tail; /* absolute numbers; run i lies at ring[i & (cap-1)] */
};

struct kv_blocks;
struct kv_groups;

struct kv {
    uint32_t block_tok;
    uint32_t block_log2; /* UINT32_MAX when block_tok is no power of two */
    bool cache;
    uint64_t total, free, low_water; /* low_water: fewest free so far */
    uint64_t *class_count;           /* decoding sequences with base mod block_tok == i */
    uint64_t n_decoding;
    uint64_t given; /* blocks given back so far */
    uint64_t version;
    struct kv_runs runs;
    struct kv_blocks *blocks; /* NULL = runs */
    struct kv_groups *groups; /* instead of runs; NULL = blocks lie anywhere */
    struct kv_seq **class_head, **class_tail; /* blocks and groups: decoding sequences by class, in
                                                 order of admission */
    bool no_memory;           /* for the hashes of a prompt; the next take fails */
};

struct kv *kv_new(const struct kv_config *c, struct arena *a, struct err *e);
void kv_release(struct kv *kv); /* what is not in the arena */
void kv_seq_release(struct kv_seq *s);

static inline uint64_t kv_free(const struct kv *kv)
{
    return kv->free;
}

static inline uint64_t kv_total(const struct kv *kv)
{
    return kv->total;
}

static inline uint64_t kv_peak_used(const struct kv *kv)
{
    return kv->total - kv->low_water;
}

static inline uint32_t kv_block_tok(const struct kv *kv)
{
    return kv->block_tok;
}

/* Grows with every change of what a lookup could find. */
static inline uint64_t kv_version(const struct kv *kv)
{
    return kv->version;
}

static inline uint64_t kv_blocks_for(const struct kv *kv, uint64_t tok)
{
    tok += kv->block_tok - 1;
    return kv->block_log2 != UINT32_MAX ? tok >> kv->block_log2 : tok / kv->block_tok;
}

static inline uint32_t kv_class(const struct kv *kv, uint64_t base)
{
    return (uint32_t)(kv->block_log2 != UINT32_MAX ? base & (kv->block_tok - 1) : base % kv->block_tok);
}

/* Prefix ids of a new request's prompt; the chained hashes of its full blocks come from them. Copied. */
int kv_seq_set_prefix(struct kv *kv, struct kv_seq *s, const uint64_t *id, uint32_t n_id,
                      uint32_t id_tok, uint32_t prompt_tok, struct err *e);

/* Blocks at the head of a sequence of `n_tok` tokens that the cache holds now, at most
 * (n_tok - 1)/block: one token is always computed. */
uint32_t kv_lookup(struct kv *kv, struct kv_seq *s, uint32_t n_tok);
/* Of `hit_blk` found blocks, how many lie in the free queue (they count as needed). */
uint32_t kv_idle_hits(struct kv *kv, struct kv_seq *s, uint32_t hit_blk);
/* Hold `upto_tok` tokens, the first hit_blk blocks revived. The caller has checked kv_free. */
int kv_take(struct kv *kv, struct kv_seq *s, uint32_t hit_blk, uint64_t upto_tok,
            uint64_t content_tok);
/* Grow a sequence that is not decoding. content_tok: tokens whose content is known (full blocks of it
 * can be found by others from now on). */
int kv_extend(struct kv *kv, struct kv_seq *s, uint64_t upto_tok, uint64_t content_tok);
/* Give everything back; the first content_tok tokens have content worth finding again. */
void kv_give(struct kv *kv, struct kv_seq *s, uint64_t content_tok);
/* `to`, which holds nothing, takes over the blocks of `from`, which is not decoding. What `to` knows of its
 * prompt stays. */
void kv_adopt(struct kv *kv, struct kv_seq *to, struct kv_seq *from);
/* Forget what was given back (the request is gone). */
void kv_forget(struct kv *kv, struct kv_seq *s);

/* ---- decoding sequences: at decode index p such a sequence holds p - base tokens ---- */
void kv_join(struct kv *kv, struct kv_seq *s, uint64_t base);
/* Leave at index p: holds p - base tokens from now on, as a sequence of its own. */
void kv_leave(struct kv *kv, struct kv_seq *s, uint64_t base, uint64_t p);
/* Blocks needed for everybody to go from index p-1 to p. */
static inline uint64_t kv_step_need(const struct kv *kv, uint64_t p)
{
    return kv->class_count[kv_class(kv, p - 1)];
}
/* Everybody goes from index p-1 to p+k-1, step by step; needs have been checked. */
int kv_step(struct kv *kv, uint64_t p, uint64_t k);
/* How many of the steps p, p+1, ... the free blocks allow when `spare` have to stay free, at most
 * `limit`. */
uint64_t kv_steps_possible(const struct kv *kv, uint64_t p, uint64_t limit, uint64_t spare);
/* One sequence alone from index p-1 to p; false, and nothing changed, without a free block. */
bool kv_step_one(struct kv *kv, struct kv_seq *s, uint64_t base, uint64_t p);
/* A decoding sequence was left out of a step: it stays where it is, so its base moves by one. */
void kv_stall(struct kv *kv, struct kv_seq *s, uint64_t old_base);

/* Contiguous stretches that blocks [from_blk, to_blk) of a sequence lie in: scattered blocks are copied
 * one by one, as engines do that do not look for neighbours. */
uint32_t kv_extents(const struct kv *kv, const struct kv_seq *s, uint64_t from_blk, uint64_t to_blk);

/* Invariants: free + held = total, reference counts, queue length. 0 or SIM_E_CHECK. O(total). */
int kv_check(const struct kv *kv, struct err *e);

#endif
