/* SPDX-License-Identifier: Apache-2.0
 *
 * Adaptive replacement cache (Megiddo and Modha, FAST'03), as Fate uses it for experts (arXiv 2502.12224):
 * T1 holds experts used once since they came, T2 those used again; B1 and B2 remember who left them. A
 * load of somebody in B1 makes the target size p of T1 grow, of somebody in B2 shrink. The lists are tags
 * with the time of the last touch: a room has at most some hundred experts. */
#include "policies/experts.h"

enum arc_list { ARC_NONE, ARC_T1, ARC_T2, ARC_B1, ARC_B2, ARC_LISTS };

struct arc {
    uint8_t *list;   /* by item, enum arc_list */
    bool *used;      /* by item: since it came */
    uint64_t *at;    /* by item: time of the last touch */
    uint64_t clock;
    double *target;  /* by room */
};

static int arc_init(void *st, const struct expert_env *env, struct err *e)
{
    struct arc *c = st;
    size_t n = (size_t)env->layers * env->experts;
    c->list = arena_calloc(env->arena, n, sizeof *c->list);
    c->used = arena_calloc(env->arena, n, sizeof *c->used);
    c->at = arena_calloc(env->arena, n, sizeof *c->at);
    c->target = arena_calloc(env->arena, env->rooms, sizeof *c->target);
    return c->list && c->used && c->at && c->target ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for arc");
}

/* The first load after a use counts as that use. */
static void arc_used(void *st, const struct expert_view *v, uint32_t item)
{
    struct arc *c = st;
    (void)v;
    if (c->list[item] == ARC_T1 && c->used[item]) {
        c->list[item] = ARC_T2;
    }
    c->used[item] = true;
    c->at[item] = ++c->clock;
}

static void arc_loaded(void *st, const struct expert_view *v, uint32_t item)
{
    struct arc *c = st;
    bool ghost = c->list[item] == ARC_B1 || c->list[item] == ARC_B2;
    (void)v;
    c->list[item] = ghost ? ARC_T2 : ARC_T1;
    c->used[item] = ghost;
    c->at[item] = ++c->clock;
}

static void count(const struct arc *c, const struct expert_view *v, uint32_t room, uint32_t n[ARC_LISTS])
{
    uint32_t from, to;
    expert_room(v, room, &from, &to);
    for (uint32_t i = from; i < to; i++) {
        n[c->list[i]]++;
    }
}

/* Touched longest ago in `list` of the room; among evictable ones when `leave`. */
static uint32_t oldest(const struct arc *c, const struct expert_view *v, uint32_t room, enum arc_list list,
                       bool leave)
{
    uint32_t from, to, best = EXPERT_NONE;
    expert_room(v, room, &from, &to);
    for (uint32_t i = from; i < to; i++) {
        bool may = c->list[i] == list && (!leave || expert_evictable(v, i));
        if (may && (best == EXPERT_NONE || c->at[i] < c->at[best])) {
            best = i;
        }
    }
    return best;
}

/* Ghosts: T1 and B1 together hold at most `slots`, all lists at most twice that. */
static void arc_evicted(void *st, const struct expert_view *v, uint32_t item)
{
    struct arc *c = st;
    uint32_t room = expert_room_of(v, item), n[ARC_LISTS] = {0}, old;
    c->list[item] = c->list[item] == ARC_T2 ? ARC_B2 : ARC_B1;
    c->at[item] = ++c->clock;
    count(c, v, room, n);
    if (n[ARC_B1] > 0 && n[ARC_T1] + n[ARC_B1] > v->slots[room]) {
        old = oldest(c, v, room, ARC_B1, false);
        c->list[old] = ARC_NONE;
        n[ARC_B1]--;
    }
    if (n[ARC_B2] > 0 && n[ARC_T1] + n[ARC_T2] + n[ARC_B1] + n[ARC_B2] > 2 * v->slots[room]) {
        old = oldest(c, v, room, ARC_B2, false);
        c->list[old] = ARC_NONE;
    }
}

static void adapt(struct arc *c, const struct expert_view *v, uint32_t room, uint32_t incoming,
                  const uint32_t n[ARC_LISTS])
{
    double *p = &c->target[room], b1 = n[ARC_B1], b2 = n[ARC_B2];
    if (c->list[incoming] == ARC_B1) {
        *p += b2 > b1 ? b2 / b1 : 1;
        *p = *p < v->slots[room] ? *p : v->slots[room];
    } else if (c->list[incoming] == ARC_B2) {
        *p -= b1 > b2 ? b1 / b2 : 1;
        *p = *p > 0 ? *p : 0;
    }
}

static uint32_t arc_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    struct arc *c = st;
    uint32_t n[ARC_LISTS] = {0};
    uint32_t first = oldest(c, v, room, ARC_T1, true), second = oldest(c, v, room, ARC_T2, true);
    if (first == EXPERT_NONE && second == EXPERT_NONE) {
        return EXPERT_NONE; /* nobody may leave: asked again, and p moves then */
    }
    count(c, v, room, n);
    adapt(c, v, room, incoming, n);
    bool from_t1 = n[ARC_T1] > 0 && (n[ARC_T1] > c->target[room] ||
                                     (c->list[incoming] == ARC_B2 && n[ARC_T1] >= c->target[room]));
    if (from_t1) {
        return first != EXPERT_NONE ? first : second;
    }
    return second != EXPERT_NONE ? second : first;
}

const struct evict_ops evict_arc = {
    .name = "arc",
    .summary = "adaptive replacement cache: recency and frequency, balanced by who is missed",
    .source = "Megiddo and Modha, FAST'03; Fate (arXiv 2502.12224)",
    .state_size = sizeof(struct arc),
    .init = arc_init,
    .used = arc_used,
    .loaded = arc_loaded,
    .evicted = arc_evicted,
    .victim = arc_victim,
};
