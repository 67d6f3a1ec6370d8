/* SPDX-License-Identifier: Apache-2.0
 *
 * Block groups: blocks of a sequence that lie side by side, so that one copy call moves many of
 * them (FastSwitch, arXiv 2411.18424; serving.md 3.1, rule 1). A sequence gets a group, fills it,
 * and gets another one; what it has not filled yet may be taken by others when the pool is tight.
 * The pool is a list of extents in order of address. Tuned for hundreds of extents: groups are
 * taken rarely, so that walking the list for the best fit costs nothing beside the steps in
 * between. */
#include <stdlib.h>

#include "sim/engine/kv_internal.h"

static void link_after(struct kv_groups *g, struct kv_extent *at, struct kv_extent *x)
{
    x->prev = at;
    x->next = at ? at->next : g->first;
    *(at ? &at->next : &g->first) = x;
    if (x->next) {
        x->next->prev = x;
    }
    g->n++;
}

static void unlink_free(struct kv_groups *g, struct kv_extent *x)
{
    *(x->prev ? &x->prev->next : &g->first) = x->next;
    if (x->next) {
        x->next->prev = x->prev;
    }
    g->n--;
    free(x);
}

int groups_init(struct kv *kv, uint32_t group_blk, struct arena *a)
{
    struct kv_groups *g = arena_alloc(a, sizeof(*g));
    struct kv_extent *all = calloc(1, sizeof(*all));

    if (!g || !all) {
        free(all);
        return SIM_E_NOMEM;
    }
    *g = (struct kv_groups){.group_blk = group_blk};
    all->count = kv->total;
    link_after(g, NULL, all);
    kv->groups = g;
    return 0;
}

void groups_release(struct kv *kv)
{
    while (kv->groups && kv->groups->first) {
        unlink_free(kv->groups, kv->groups->first);
    }
}

/* Cut `x` so that it keeps its first `count` blocks; the rest is returned, free and unowned. */
static struct kv_extent *split(struct kv_groups *g, struct kv_extent *x, uint64_t count)
{
    struct kv_extent *rest = calloc(1, sizeof(*rest));

    if (rest) {
        rest->start = x->start + count;
        rest->count = x->count - count;
        x->count = count;
        link_after(g, x, rest);
    }
    return rest;
}

/* The smallest free extent with room for `want`, else the largest one; NULL when all have owners.
 */
static struct kv_extent *best_fit(const struct kv_groups *g, uint64_t want)
{
    struct kv_extent *best = NULL;

    for (struct kv_extent *x = g->first; x; x = x->next) {
        if (x->owner) {
            continue;
        }
        bool fits = x->count >= want;

        if (!best || (best->count >= want ? fits && x->count < best->count : x->count > best->count)) {
            best = x;
        }
    }
    return best;
}

static uint64_t spare_of(const struct kv_extent *x)
{
    return x->owner ? x->count - x->used : 0;
}

/* The pool is tight: half of the largest unfilled rest of a group, or all that is needed of it. */
static struct kv_extent *steal(struct kv_groups *g, uint64_t n)
{
    struct kv_extent *from = NULL;

    for (struct kv_extent *x = g->first; x; x = x->next) {
        from = spare_of(x) > (from ? spare_of(from) : 0) ? x : from;
    }
    if (!from) {
        return NULL;
    }
    uint64_t spare = spare_of(from), take = n < spare ? n : spare;

    take = take > spare / 2 ? take : spare / 2;
    return split(g, from, from->count - take);
}

static void own(struct kv_extent *x, struct kv_seq *s)
{
    x->owner = s;
    x->used = 0;
    x->seq_next = NULL;
    *(s->group_last ? &s->group_last->seq_next : &s->group_first) = x;
    s->group_last = x;
}

static int add_group(struct kv *kv, struct kv_seq *s, uint64_t n)
{
    struct kv_groups *g = kv->groups;
    uint64_t want = n > g->group_blk ? n : g->group_blk;
    struct kv_extent *x = best_fit(g, want);

    if (!x) {
        x = steal(g, n);
    } else if (x->count > want && !split(g, x, want)) {
        return SIM_E_NOMEM;
    }
    if (!x) {
        return SIM_E_NOMEM;
    }
    own(x, s);
    return 0;
}

int groups_take(struct kv *kv, struct kv_seq *s, uint64_t n)
{
    while (n > 0) {
        struct kv_extent *x = s->group_last;
        uint64_t room = x ? x->count - x->used : 0;

        if (room == 0) {
            if (add_group(kv, s, n) < 0) {
                return SIM_E_NOMEM;
            }
            continue;
        }
        room = room < n ? room : n;
        x->used += room;
        n -= room;
    }
    return 0;
}

void groups_adopt(struct kv_seq *to, struct kv_seq *from)
{
    for (struct kv_extent *x = from->group_first; x; x = x->seq_next) {
        x->owner = to;
    }
    to->group_first = from->group_first;
    to->group_last = from->group_last;
    from->group_first = from->group_last = NULL;
}

static void melt(struct kv_groups *g, struct kv_extent *x)
{
    if (x->next && !x->next->owner) {
        x->count += x->next->count;
        unlink_free(g, x->next);
    }
    if (x->prev && !x->prev->owner) {
        x->prev->count += x->count;
        unlink_free(g, x);
    }
}

void groups_give(struct kv *kv, struct kv_seq *s)
{
    struct kv_extent *next;

    for (struct kv_extent *x = s->group_first; x; x = next) {
        next = x->seq_next;
        x->owner = NULL;
        x->used = 0;
        x->seq_next = NULL;
        melt(kv->groups, x);
    }
    s->group_first = s->group_last = NULL;
}

uint32_t groups_between(const struct kv_seq *s, uint64_t from_blk, uint64_t to_blk)
{
    uint64_t at = 0;
    uint32_t n = 0;

    for (const struct kv_extent *x = s->group_first; x && at < to_blk; x = x->seq_next) {
        at += x->used;
        n += x->used > 0 && at > from_blk;
    }
    return n;
}

int groups_check(const struct kv *kv, struct err *e)
{
    uint64_t at = 0, used = 0;

    for (const struct kv_extent *x = kv->groups->first; x; x = x->next) {
        if (x->start != at || x->count == 0 || x->used > x->count || (!x->owner && x->used)) {
            return err_set(e, SIM_E_CHECK, "KV extent at block %llu is torn", (unsigned long long)at);
        }
        if (!x->owner && x->next && !x->next->owner) {
            return err_set(e, SIM_E_CHECK, "two free KV extents side by side at block %llu",
                           (unsigned long long)at);
        }
        at += x->count;
        used += x->used;
    }
    if (at != kv->total || used != kv->total - kv->free) {
        return err_set(e, SIM_E_CHECK, "KV groups cover %llu blocks and hold %llu, %llu of %llu are in use",
                       (unsigned long long)at, (unsigned long long)used,
                       (unsigned long long)(kv->total - kv->free), (unsigned long long)kv->total);
    }
    return 0;
}
