/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/engine/kv.h"

#include <stdlib.h>
#include <string.h>

#include "sim/engine/kv_internal.h"

static int back_end(struct kv *kv, const struct kv_config *c, struct arena *a, struct err *e)
{
    if (c->identity && blocks_init(kv, a, e) < 0) {
        return e->code;
    }
    if (!c->identity && c->group_blk && groups_init(kv, c->group_blk, a) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the KV manager");
    }
    if (kv->blocks || kv->groups) {
        kv->class_head = arena_calloc(a, c->block_tok, sizeof(struct kv_seq *));
        kv->class_tail = arena_calloc(a, c->block_tok, sizeof(struct kv_seq *));
        if (!kv->class_head || !kv->class_tail) {
            blocks_release(kv);
            groups_release(kv);
            return err_set(e, SIM_E_NOMEM, "out of memory for the KV manager");
        }
    }
    return 0;
}

struct kv *kv_new(const struct kv_config *c, struct arena *a, struct err *e)
{
    struct kv *kv = arena_alloc(a, sizeof(*kv));

    if (!kv) {
        err_set(e, SIM_E_NOMEM, "out of memory for the KV manager");
        return NULL;
    }
    kv->block_tok = c->block_tok;
    kv->block_log2 = c->block_tok & (c->block_tok - 1) ? UINT32_MAX
                                                       : (uint32_t)__builtin_ctz(c->block_tok);
    kv->cache = c->prefix_cache;
    kv->total = kv->free = kv->low_water = c->blocks;
    kv->class_count = arena_calloc(a, c->block_tok, sizeof(*kv->class_count));
    if (!kv->class_count || runs_init(&kv->runs, c->blocks) < 0) {
        err_set(e, SIM_E_NOMEM, "out of memory for the KV manager");
        return NULL;
    }
    if (back_end(kv, c, a, e) < 0) {
        runs_release(&kv->runs);
        return NULL;
    }
    return kv;
}

void kv_release(struct kv *kv)
{
    if (kv) {
        runs_release(&kv->runs);
        blocks_release(kv);
        groups_release(kv);
    }
}

void kv_seq_release(struct kv_seq *s)
{
    free(s->id);
    free(s->key);
    free(s->blk);
    free(s->stamp);
    memset(s, 0, sizeof(*s));
}

static void note_free(struct kv *kv)
{
    kv->version++;
    if (kv->free < kv->low_water) {
        kv->low_water = kv->free;
    }
}

/* Blocks without a name. */
static int take_any(struct kv *kv, struct kv_seq *s, uint64_t n)
{
    if (kv->groups) {
        return groups_take(kv, s, n);
    }
    runs_take(&kv->runs, n);
    return 0;
}

uint32_t kv_lookup(struct kv *kv, struct kv_seq *s, uint32_t n_tok)
{
    uint32_t max_blk = (n_tok - 1) / kv->block_tok;
    uint64_t left;

    if (!kv->cache || kv->groups) {
        return 0;
    }
    if (kv->blocks) {
        blocks_hash(kv, s);
        return blocks_lookup(kv, s, max_blk);
    }
    left = runs_left(&kv->runs, s->run);
    left = left < s->full_blk ? left : s->full_blk;
    return left < max_blk ? (uint32_t)left : max_blk;
}

uint32_t kv_idle_hits(struct kv *kv, struct kv_seq *s, uint32_t hit_blk)
{
    return kv->blocks ? blocks_idle(kv, s, hit_blk) : hit_blk;
}

int kv_take(struct kv *kv, struct kv_seq *s, uint32_t hit_blk, uint64_t upto_tok,
            uint64_t content_tok)
{
    uint32_t upto_blk = (uint32_t)kv_blocks_for(kv, upto_tok);
    int rc = 0;

    if (kv->blocks) {
        blocks_hash(kv, s);
        kv->free -= kv_idle_hits(kv, s, hit_blk) + (upto_blk - hit_blk);
        rc = kv->no_memory ? SIM_E_NOMEM : blocks_take(kv, s, hit_blk, upto_blk);
        if (rc == 0) {
            s->n_blk = upto_blk;
            blocks_publish(kv, s, content_tok);
        }
    } else {
        if (hit_blk > 0) {
            runs_revive(&kv->runs, s->run, hit_blk);
        }
        kv_forget(kv, s);
        rc = take_any(kv, s, upto_blk - hit_blk);
        kv->free -= upto_blk;
        s->n_blk = upto_blk;
    }
    note_free(kv);
    return rc;
}

int kv_extend(struct kv *kv, struct kv_seq *s, uint64_t upto_tok, uint64_t content_tok)
{
    uint32_t upto_blk = (uint32_t)kv_blocks_for(kv, upto_tok);
    uint32_t more = upto_blk > s->n_blk ? upto_blk - s->n_blk : 0;
    int rc = 0;

    kv->free -= more;
    if (kv->blocks) {
        rc = blocks_append(kv, s, more);
        s->n_blk += more;
        blocks_publish(kv, s, content_tok);
    } else {
        rc = take_any(kv, s, more);
        s->n_blk += more;
    }
    note_free(kv);
    return rc;
}

void kv_give(struct kv *kv, struct kv_seq *s, uint64_t content_tok)
{
    uint64_t free_before = kv->free;

    s->fixed = false;
    if (kv->blocks) {
        blocks_give(kv, s, content_tok); /* counts kv->free itself: shared blocks stay in use */
    } else if (kv->groups) {
        groups_give(kv, s);
        kv->free += s->n_blk;
    } else {
        s->full_blk = (uint32_t)(content_tok / kv->block_tok);
        s->run = runs_give(&kv->runs, s->n_blk, kv->cache && content_tok > 0);
        kv->free += s->n_blk;
    }
    s->n_blk = 0;
    kv->given += kv->free - free_before;
    note_free(kv);
}

void kv_adopt(struct kv *kv, struct kv_seq *to, struct kv_seq *from)
{
    kv_forget(kv, to);
    kv_forget(kv, from);
    to->n_blk = from->n_blk;
    to->fixed = false;
    from->n_blk = 0;
    if (kv->blocks) {
        free(to->blk);
        free(to->stamp);
        to->blk = from->blk;
        to->stamp = from->stamp;
        to->cap_blk = from->cap_blk;
        from->blk = NULL;
        from->stamp = NULL;
        from->cap_blk = 0;
        blocks_hash(kv, to);
    }
    if (kv->groups) {
        groups_adopt(to, from);
    }
    note_free(kv);
}

void kv_forget(struct kv *kv, struct kv_seq *s)
{
    if (s->run) {
        runs_disown(&kv->runs, s->run);
    }
    s->run = 0;
    s->full_blk = 0;
}

/* ---- decoding sequences by class, where steps have to visit them ---- */

static void class_add(struct kv *kv, struct kv_seq *s, uint32_t class_no)
{
    struct kv_seq *after = kv->class_tail[class_no];

    while (after && after->serial > s->serial) {
        after = after->class_prev;
    }
    s->class_prev = after;
    s->class_next = after ? after->class_next : kv->class_head[class_no];
    *(after ? &after->class_next : &kv->class_head[class_no]) = s;
    *(s->class_next ? &s->class_next->class_prev : &kv->class_tail[class_no]) = s;
}

static void class_remove(struct kv *kv, struct kv_seq *s, uint32_t class_no)
{
    *(s->class_prev ? &s->class_prev->class_next : &kv->class_head[class_no]) = s->class_next;
    *(s->class_next ? &s->class_next->class_prev : &kv->class_tail[class_no]) = s->class_prev;
    s->class_prev = NULL;
    s->class_next = NULL;
}

static int class_step(struct kv *kv, uint64_t p)
{
    for (struct kv_seq *s = kv->class_head[kv_class(kv, p - 1)]; s; s = s->class_next) {
        if ((kv->blocks ? blocks_append(kv, s, 1) : groups_take(kv, s, 1)) < 0) {
            return SIM_E_NOMEM;
        }
        s->n_blk++;
    }
    return 0;
}

void kv_join(struct kv *kv, struct kv_seq *s, uint64_t base)
{
    if (s->fixed) {
        return;
    }
    kv->class_count[kv_class(kv, base)]++;
    kv->n_decoding++;
    if (kv->class_head) {
        class_add(kv, s, kv_class(kv, base));
    }
}

static void class_leave(struct kv *kv, struct kv_seq *s, uint64_t base)
{
    kv->class_count[kv_class(kv, base)]--;
    kv->n_decoding--;
    if (kv->class_head) {
        class_remove(kv, s, kv_class(kv, base));
    }
}

void kv_leave(struct kv *kv, struct kv_seq *s, uint64_t base, uint64_t p)
{
    if (s->fixed) {
        return;
    }
    class_leave(kv, s, base);
    if (!kv->blocks) {
        s->n_blk = (uint32_t)kv_blocks_for(kv, p - base);
    }
}

/* Blocks that the partial cycle p .. p+k-1 takes, k < block_tok. */
static uint64_t partial_need(const struct kv *kv, uint64_t p, uint64_t k)
{
    uint64_t need = 0;

    for (uint64_t i = 0; i < k; i++) {
        need += kv_step_need(kv, p + i);
    }
    return need;
}

int kv_step(struct kv *kv, uint64_t p, uint64_t k)
{
    if (kv->class_head) {
        for (uint64_t i = 0; i < k; i++) {
            int rc = class_step(kv, p + i);

            kv->free -= kv_step_need(kv, p + i);
            if (rc < 0) {
                return rc;
            }
        }
    } else {
        uint64_t n = k / kv->block_tok * kv->n_decoding + partial_need(kv, p, k % kv->block_tok);

        runs_take(&kv->runs, n);
        kv->free -= n;
    }
    note_free(kv);
    return 0;
}

uint64_t kv_steps_possible(const struct kv *kv, uint64_t p, uint64_t limit, uint64_t spare)
{
    uint64_t cycles, done, left;
    uint64_t room = kv->free > spare ? kv->free - spare : 0;

    if (kv->n_decoding == 0) {
        return limit;
    }
    cycles = room / kv->n_decoding;
    if (cycles > limit / kv->block_tok) {
        return limit;
    }
    done = cycles * kv->block_tok;
    left = room - cycles * kv->n_decoding;
    while (done < limit && kv_step_need(kv, p + done) <= left) {
        left -= kv_step_need(kv, p + done);
        done++;
    }
    return done;
}

bool kv_step_one(struct kv *kv, struct kv_seq *s, uint64_t base, uint64_t p)
{
    if (s->fixed || kv_class(kv, p - 1) != kv_class(kv, base)) {
        return true;
    }
    if (kv->free == 0) {
        return false;
    }
    kv->free--;
    if (kv->class_head) {
        if ((kv->blocks ? blocks_append(kv, s, 1) : groups_take(kv, s, 1)) < 0) {
            return false;
        }
        s->n_blk++;
    } else {
        runs_take(&kv->runs, 1);
    }
    note_free(kv);
    return true;
}

void kv_stall(struct kv *kv, struct kv_seq *s, uint64_t old_base)
{
    if (s->fixed) {
        return;
    }
    class_leave(kv, s, old_base);
    kv_join(kv, s, old_base + 1);
}

uint32_t kv_extents(const struct kv *kv, const struct kv_seq *s, uint64_t from_blk, uint64_t to_blk)
{
    return kv->groups ? groups_between(s, from_blk, to_blk) : (uint32_t)(to_blk - from_blk);
}

static int check_blocks(const struct kv *kv, struct err *e)
{
    uint64_t queued = 0;

    for (uint32_t b = kv->blocks->block[0].free_next; b != 0; b = kv->blocks->block[b].free_next) {
        if (kv->blocks->block[b].refs != 0 || ++queued > kv->total) {
            return err_set(e, SIM_E_CHECK, "KV block %u is free and in use at once", b);
        }
    }
    if (queued != kv->free) {
        return err_set(e, SIM_E_CHECK, "KV free queue holds %llu blocks, %llu are counted free",
                       (unsigned long long)queued, (unsigned long long)kv->free);
    }
    return 0;
}

int kv_check(const struct kv *kv, struct err *e)
{
    uint64_t queued = 0;

    if (kv->free > kv->total) {
        return err_set(e, SIM_E_CHECK, "KV pool: %llu of %llu blocks free",
                       (unsigned long long)kv->free, (unsigned long long)kv->total);
    }
    if (kv->blocks) {
        return check_blocks(kv, e);
    }
    if (kv->groups) {
        return groups_check(kv, e);
    }
    for (uint64_t i = kv->runs.head; i != kv->runs.tail; i++) {
        queued += kv->runs.ring[i & (kv->runs.cap - 1)].count;
    }
    if (queued != kv->free) {
        return err_set(e, SIM_E_CHECK, "KV free runs hold %llu blocks, %llu are counted free",
                       (unsigned long long)queued, (unsigned long long)kv->free);
    }
    return 0;
}
