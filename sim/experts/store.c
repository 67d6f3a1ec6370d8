/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/experts/store.h"

#include <string.h>

enum { TO_GPU, TO_HOST };

static uint32_t room_of(const struct store *s, uint32_t item)
{
    return s->rooms == 1 ? 0 : item / s->cfg.experts;
}

static uint64_t tag_of(const struct store *s, int way, uint32_t item, uint32_t piece)
{
    return ((uint64_t)way * s->items + item) * STORE_PIECES + piece;
}

/* ---- set-up ---- */

static void on_started(void *ctx, sim_ns now, uint64_t tag)
{
    struct store *s = ctx;
    uint64_t item = tag / STORE_PIECES;

    if (item < s->items) {
        s->state[item] = EXPERT_IN_FLIGHT;
        s->wire[item]++;
    } else {
        item -= s->items;
    }
    s->began_ns[item] = now;
}

static int add_way(struct store *s, int way, double bytes_per_s, struct err *e)
{
    struct link_spec l = {.name = way == TO_GPU ? "experts.h2d" : "experts.d2h", .bytes_per_s = bytes_per_s};

    if (fabric_add_link(s->fabric, &l, &s->link[way], e) < 0) {
        return e->code;
    }
    s->way[way] = (struct topo_route){.n_path = 1, .path = {s->link[way]}, .weight = 1,
                                      .bytes_per_s = bytes_per_s};
    s->engine[way] = copy_new(s->fabric, 1, s->cfg.call_ns, s->arena);
    if (!s->engine[way]) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the expert store");
    }
    copy_watch(s->engine[way], on_started, s);
    return 0;
}

static bool take_tables(struct store *s)
{
    size_t n = s->items;

    s->state = arena_calloc(s->arena, n, 1);
    s->held = arena_calloc(s->arena, n, 1);
    s->needed = arena_calloc(s->arena, n, 1);
    s->urgent = arena_calloc(s->arena, n, 1);
    s->again = arena_calloc(s->arena, n, 1);
    s->pieces_left = arena_calloc(s->arena, n, 1);
    s->wire = arena_calloc(s->arena, n, sizeof *s->wire);
    s->began_ns = arena_calloc(s->arena, n, sizeof *s->began_ns);
    s->arrived_ns = arena_calloc(s->arena, n, sizeof *s->arrived_ns);
    s->used = arena_calloc(s->arena, s->rooms, sizeof *s->used);
    return s->state && s->held && s->needed && s->urgent && s->again && s->pieces_left && s->wire &&
           s->began_ns && s->arrived_ns && s->used;
}

int store_init(struct store *s, const struct store_config *c, struct expert_view *view, struct arena *a,
               struct err *e)
{
    *s = (struct store){.cfg = *c, .arena = a, .view = view, .items = c->layers * c->experts,
                        .rooms = c->global ? 1 : c->layers};
    if (c->slots == 0 || c->pieces == 0 || c->pieces > STORE_PIECES) {
        return err_set(e, SIM_E_CONFIG, "the expert store needs a slot per room and 1 to %d pieces per expert: "
                       "%u and %u are given", STORE_PIECES, c->slots, c->pieces);
    }
    s->fabric = fabric_new(a);
    if (!s->fabric || !take_tables(s)) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the expert store");
    }
    view->state = s->state;
    view->held = s->held;
    return add_way(s, TO_GPU, c->h2d_bytes_per_s, e) < 0 || add_way(s, TO_HOST, c->d2h_bytes_per_s, e) < 0
               ? e->code
               : 0;
}

bool store_place(struct store *s, uint32_t item)
{
    uint32_t room = room_of(s, item);

    if (s->used[room] == s->cfg.slots || s->state[item] != EXPERT_ABSENT) {
        return false;
    }
    s->used[room]++;
    s->state[item] = EXPERT_RESIDENT;
    if (s->cfg.evict->loaded) {
        s->cfg.evict->loaded(s->cfg.evict_st, s->view, item);
    }
    return true;
}

/* ---- copies ---- */

static int submit(struct store *s, sim_ns now, int way, uint32_t item, uint32_t piece, bool urgent, struct err *e)
{
    struct copy_job j = {.route = &s->way[way], .bytes = s->cfg.expert_bytes / s->cfg.pieces,
                         .calls = (s->cfg.calls + s->cfg.pieces - 1) / s->cfg.pieces,
                         .urgency = urgent ? COPY_URGENT : COPY_SPECULATIVE,
                         .tag = tag_of(s, way, item, piece)};

    return copy_submit(s->engine[way], now, &j, e);
}

static int load(struct store *s, sim_ns now, uint32_t item, bool urgent, struct err *e)
{
    s->state[item] = EXPERT_QUEUED;
    s->urgent[item] = urgent;
    s->pieces_left[item] = (uint8_t)s->cfg.pieces;
    s->outstanding++;
    s->n.requests++;
    for (uint32_t i = 0; i < s->cfg.pieces; i++) {
        if (submit(s, now, TO_GPU, item, i, urgent, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static void hurry(struct store *s, uint32_t item)
{
    s->urgent[item] = true;
    for (uint32_t i = 0; i < s->cfg.pieces; i++) {
        copy_hurry(s->engine[TO_GPU], tag_of(s, TO_GPU, item, i), COPY_URGENT);
    }
}

/* Only whole: nothing of it may be on the wire or have passed. */
static void take_out(struct store *s, uint32_t item)
{
    for (uint32_t i = 0; i < s->cfg.pieces; i++) {
        copy_cancel(s->engine[TO_GPU], tag_of(s, TO_GPU, item, i));
    }
    s->state[item] = EXPERT_ABSENT;
    s->held[item] = 0;
    s->used[room_of(s, item)]--;
    s->outstanding--;
    s->n.cancelled++;
}

static int evict(struct store *s, sim_ns now, uint32_t item, struct err *e)
{
    s->used[room_of(s, item)]--;
    s->n.evictions++;
    s->held[item] = 0;
    s->state[item] = EXPERT_ABSENT;
    if (s->cfg.evict->evicted) {
        s->cfg.evict->evicted(s->cfg.evict_st, s->view, item);
    }
    if (!s->cfg.writeback) {
        return 0;
    }
    s->state[item] = EXPERT_EVICTING;
    s->pieces_left[item] = (uint8_t)s->cfg.pieces;
    for (uint32_t i = 0; i < s->cfg.pieces; i++) {
        if (submit(s, now, TO_HOST, item, i, true, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* ---- ends ---- */

static void arrive(struct store *s, uint32_t item, sim_ns now)
{
    s->state[item] = s->needed[item] ? EXPERT_PINNED : EXPERT_RESIDENT;
    s->arrived_ns[item] = now;
    s->outstanding--;
    s->n.loads++;
    if (s->cfg.evict->loaded) {
        s->cfg.evict->loaded(s->cfg.evict_st, s->view, item);
    }
}

/* Back on the host. Somebody may have asked for it meanwhile. */
static int gone(struct store *s, uint32_t item, sim_ns now, struct err *e)
{
    s->state[item] = EXPERT_ABSENT;
    s->n.writebacks++;
    if (!s->again[item]) {
        return 0;
    }
    s->again[item] = 0;
    return store_request(s, now, item, STORE_DEMAND, e) == STORE_ERROR ? e->code : 0;
}

static int piece_ended(struct store *s, sim_ns now, uint64_t tag, struct err *e)
{
    uint64_t at = tag / STORE_PIECES;
    int way = at >= s->items ? TO_HOST : TO_GPU;
    uint32_t item = (uint32_t)(way == TO_HOST ? at - s->items : at);

    if (s->cfg.copied) {
        s->cfg.copied(s->cfg.copied_ctx, item, way == TO_GPU, s->began_ns[item], now);
    }
    s->ended[way]++;
    *(way == TO_GPU ? &s->n.h2d_bytes : &s->n.d2h_bytes) += s->cfg.expert_bytes / s->cfg.pieces;
    if (way == TO_GPU) {
        s->wire[item]--;
    }
    s->pieces_left[item]--;
    if (copy_ended(s->engine[way], now, e) < 0) {
        return e->code;
    }
    if (s->pieces_left[item] > 0) {
        return 0;
    }
    if (way == TO_GPU) {
        arrive(s, item, now);
        return 0;
    }
    return gone(s, item, now, e);
}

int store_advance(struct store *s, sim_ns now, struct err *e)
{
    for (sim_ns t = fabric_next(s->fabric); t <= now; t = fabric_next(s->fabric)) {
        uint64_t tag;

        while (fabric_poll(s->fabric, t, &tag)) {
            if (piece_ended(s, t, tag, e) < 0) {
                return e->code;
            }
        }
    }
    return 0;
}

sim_ns store_next(const struct store *s)
{
    return fabric_next(s->fabric);
}

/* ---- requests ---- */

/* The prefetch of `room` that was queued and that nobody needs, highest number: later layers go first. */
static uint32_t queued_guess(const struct store *s, uint32_t room)
{
    uint32_t n = s->items / s->rooms;

    for (uint32_t i = (room + 1) * n; i-- > room * n;) {
        if (s->state[i] == EXPERT_QUEUED && !s->needed[i] && s->pieces_left[i] == s->cfg.pieces) {
            return i;
        }
    }
    return EXPERT_NONE;
}

static void end_holds(struct store *s, uint32_t room)
{
    uint32_t n = s->items / s->rooms;

    memset(&s->held[(size_t)room * n], 0, n);
}

/* A free slot of the room for `item`: 1, 0 when there is none, < 0 on an error. */
static int make_room(struct store *s, sim_ns now, uint32_t item, enum store_want want, struct err *e)
{
    uint32_t room = room_of(s, item), v;

    if (s->used[room] < s->cfg.slots) {
        return 1;
    }
    v = s->cfg.evict->victim(s->cfg.evict_st, s->view, room, item);
    if (v == EXPERT_NONE && want == STORE_DEMAND && (v = queued_guess(s, room)) != EXPERT_NONE) {
        take_out(s, v);
        return 1;
    }
    if (v == EXPERT_NONE && want == STORE_DEMAND) {
        end_holds(s, room);
        v = s->cfg.evict->victim(s->cfg.evict_st, s->view, room, item);
    }
    if (v == EXPERT_NONE) {
        return 0;
    }
    if (v >= s->items || room_of(s, v) != room || !expert_evictable(s->view, v)) {
        return err_set(e, SIM_E_CHECK, "eviction policy %s names expert %u, which cannot leave room %u",
                       s->cfg.evict->name, v, room);
    }
    return evict(s, now, v, e) < 0 ? e->code : 1;
}

enum store_answer store_request(struct store *s, sim_ns now, uint32_t item, enum store_want want, struct err *e)
{
    bool urgent = want != STORE_GUESS;
    int rc;

    switch (s->state[item]) {
    case EXPERT_RESIDENT:
    case EXPERT_PINNED:
        return STORE_HERE;
    case EXPERT_QUEUED:
    case EXPERT_IN_FLIGHT:
        s->n.joined += urgent && s->state[item] == EXPERT_IN_FLIGHT;
        s->n.hurried += urgent && s->state[item] == EXPERT_QUEUED && !s->urgent[item];
        if (urgent && !s->urgent[item]) {
            hurry(s, item);
        }
        return STORE_COMING;
    case EXPERT_EVICTING:
        if (!urgent) {
            return STORE_FULL;
        }
        s->again[item] = 1;
        return STORE_COMING;
    default:
        break;
    }
    rc = make_room(s, now, item, want, e);
    if (rc <= 0) {
        return rc < 0 ? STORE_ERROR : STORE_FULL;
    }
    s->used[room_of(s, item)]++;
    return load(s, now, item, urgent, e) < 0 ? STORE_ERROR : STORE_COMING;
}

void store_need(struct store *s, uint32_t item, bool needed)
{
    s->needed[item] = needed;
    if (needed && s->state[item] == EXPERT_RESIDENT) {
        s->state[item] = EXPERT_PINNED;
    } else if (!needed && s->state[item] == EXPERT_PINNED) {
        s->state[item] = EXPERT_RESIDENT;
    }
}

void store_hold(struct store *s, uint32_t item)
{
    s->held[item] = 1;
}

void store_gate(struct store *s, uint32_t layer)
{
    uint32_t from = layer * s->cfg.experts;

    for (uint32_t i = from; i < from + s->cfg.experts; i++) {
        s->held[i] = 0;
        if (s->state[i] == EXPERT_QUEUED && !s->needed[i] && s->pieces_left[i] == s->cfg.pieces) {
            take_out(s, i);
        }
    }
}

/* ---- invariants ---- */

static int check_slots(const struct store *s, struct err *e)
{
    uint64_t outstanding = 0;

    for (uint32_t room = 0; room < s->rooms; room++) {
        uint32_t n = s->items / s->rooms, used = 0;

        for (uint32_t i = room * n; i < (room + 1) * n; i++) {
            bool coming = s->state[i] == EXPERT_QUEUED || s->state[i] == EXPERT_IN_FLIGHT;

            used += s->state[i] != EXPERT_ABSENT && s->state[i] != EXPERT_EVICTING;
            outstanding += coming;
            if ((s->state[i] == EXPERT_PINNED && !s->needed[i]) ||
                (s->state[i] == EXPERT_RESIDENT && s->needed[i])) {
                return err_set(e, SIM_E_CHECK, "expert %u is pinned without need, or needed and not pinned", i);
            }
        }
        if (used != s->used[room] || used > s->cfg.slots) {
            return err_set(e, SIM_E_CHECK, "room %u of the expert store: %u slots taken, %u counted, %u there",
                           room, used, s->used[room], s->cfg.slots);
        }
    }
    if (outstanding != s->outstanding || s->n.requests != s->n.loads + s->n.cancelled + s->outstanding) {
        return err_set(e, SIM_E_CHECK, "%llu loads asked for, %llu ended, %llu cancelled, %llu on their way",
                       (unsigned long long)s->n.requests, (unsigned long long)s->n.loads,
                       (unsigned long long)s->n.cancelled, (unsigned long long)outstanding);
    }
    return 0;
}

/* What the link says that it carried lies between the pieces that ended and those that have begun. */
int store_check(const struct store *s, struct err *e)
{
    double piece = s->cfg.expert_bytes / s->cfg.pieces;

    for (int way = TO_GPU; way <= TO_HOST; way++) {
        double carried = fabric_link_bytes(s->fabric, s->link[way]), slack = 1 + 1e-9 * carried;
        double least = (double)s->ended[way] * piece, most = least + copy_running(s->engine[way]) * piece;

        if (carried < least - slack || carried > most + slack) {
            return err_set(e, SIM_E_CHECK, "%s carried %.0f bytes for %.0f to %.0f of experts",
                           fabric_link(s->fabric, s->link[way])->name, carried, least, most);
        }
    }
    return check_slots(s, e);
}
