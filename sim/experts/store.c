/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/experts/store.h"

#include <math.h>
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

static double piece_bytes(const struct store *s, uint32_t item)
{
    return s->cfg.expert_bytes * (double)s->share[item] / s->cfg.pieces;
}

static void on_started(void *ctx, sim_ns now, uint64_t tag)
{
    struct store *s = ctx;
    uint64_t at = tag / STORE_PIECES;

    int way = at >= s->items ? TO_HOST : TO_GPU;

    s->started[way]++;
    s->begun_bytes[way] += piece_bytes(s, (uint32_t)(at % s->items));
    s->began_ns[at % s->items] = now;
}

static int piece_ended(void *ctx, sim_ns now, uint64_t tag, struct err *e);

/* Behind the store's own link: the one that it shares. */
static int go_shared(struct store *s, int way, struct err *e)
{
    const struct gpu_link *g = s->cfg.shared;
    const struct topo_route *r = way == TO_GPU ? &g->in : &g->out;
    struct topo_route *w = &s->way[way];

    if (r->n_path == FABRIC_MAX_PATH) {
        return err_set(e, SIM_E_CONFIG, "topology: %u links between a GPU and its memory are too many", r->n_path);
    }
    memcpy(&w->path[1], r->path, r->n_path * sizeof r->path[0]);
    w->n_path += r->n_path;
    w->weight = r->weight;
    w->latency_ns = r->latency_ns;
    s->engine[way] = way == TO_GPU ? g->engine_in : g->engine_out;
    return copy_take_turns(s->engine[way], e);
}

static int add_way(struct store *s, int way, double bytes_per_s, struct err *e)
{
    struct link_spec l = {.name = way == TO_GPU ? "experts.h2d" : "experts.d2h", .bytes_per_s = bytes_per_s};

    if (fabric_add_link(s->fabric, &l, &s->link[way], e) < 0) {
        return e->code;
    }
    s->way[way] = (struct topo_route){.n_path = 1, .path = {s->link[way]}, .weight = 1,
                                      .bytes_per_s = bytes_per_s};
    if (s->cfg.shared) {
        return go_shared(s, way, e);
    }
    s->engine[way] = copy_new(s->fabric, 1, s->cfg.call_ns, s->arena);
    return s->engine[way] ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for the expert store");
}

static bool take_tables(struct store *s)
{
    size_t n = s->items;

    s->state = arena_calloc(s->arena, n, 1);
    s->held = arena_calloc(s->arena, n, 1);
    s->needed = arena_calloc(s->arena, n, 1);
    s->want = arena_calloc(s->arena, n, 1);
    s->behind = arena_calloc(s->arena, n, sizeof *s->behind);
    s->again = arena_calloc(s->arena, n, 1);
    s->kept = arena_calloc(s->arena, n, 1);
    s->pieces_left = arena_calloc(s->arena, n, 1);
    s->share = arena_calloc(s->arena, n, sizeof *s->share);
    s->began_ns = arena_calloc(s->arena, n, sizeof *s->began_ns);
    s->used = arena_calloc(s->arena, s->rooms, sizeof *s->used);
    s->slots = arena_calloc(s->arena, s->rooms, sizeof *s->slots);
    s->later = arena_calloc(s->arena, n, sizeof *s->later);
    return s->later && s->state && s->held && s->needed && s->want && s->behind && s->again && s->kept && s->pieces_left &&
           s->share && s->began_ns && s->used && s->slots;
}

/* Every room the same, but for `shallow` first ones that hold all of their experts; what the others cannot
 * share evenly goes to the first of them. Without slots on the average the others have none. */
static int share_slots(struct store *s, struct err *e)
{
    uint32_t full = s->cfg.shallow, rest = s->rooms - full;
    int64_t left = (int64_t)s->cfg.slots * s->rooms - (int64_t)full * s->cfg.experts;

    if (full == 0) {
        left = (int64_t)s->cfg.slots * rest;
    } else if (s->cfg.slots == 0 && full < s->rooms) {
        left = 0;
    } else if (full >= s->rooms || left < rest) {
        return err_set(e, SIM_E_CONFIG, "experts.shallow: %u full layers of %u experts leave no slot to each of the "
                       "others", full, s->cfg.experts);
    }
    for (uint32_t r = 0; r < s->rooms; r++) {
        uint32_t more = r >= full && r - full < left % rest;

        s->slots[r] = r < full ? s->cfg.experts : (uint32_t)(left / rest) + more;
    }
    return 0;
}

int store_init(struct store *s, const struct store_config *c, struct expert_view *view, struct arena *a,
               struct err *e)
{
    *s = (struct store){.cfg = *c, .arena = a, .view = view, .items = c->layers * c->experts,
                        .rooms = c->global ? 1 : c->layers, .half = EXPERT_NONE,
                        .line = {{EXPERT_NONE, EXPERT_NONE, 0}, {EXPERT_NONE, EXPERT_NONE, 0}}};
    if (c->pieces == 0 || c->pieces > STORE_PIECES) {
        return err_set(e, SIM_E_CONFIG, "the expert store needs 1 to %d pieces per expert: %u are given", STORE_PIECES,
                       c->pieces);
    }
    s->client = (struct flow_client){.ended = piece_ended, .started = on_started, .ctx = s};
    s->fabric = c->shared ? c->shared->fabric : fabric_new(a);
    if (!s->fabric || !take_tables(s)) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the expert store");
    }
    view->slots = s->slots;
    view->state = s->state;
    view->held = s->held;
    return share_slots(s, e) < 0 || add_way(s, TO_GPU, c->h2d_bytes_per_s, e) < 0 || add_way(s, TO_HOST, c->d2h_bytes_per_s, e) < 0
               ? e->code
               : 0;
}

bool store_place(struct store *s, uint32_t item)
{
    uint32_t room = room_of(s, item);

    if (s->used[room] == s->slots[room] || s->state[item] != EXPERT_ABSENT) {
        return false;
    }
    s->used[room]++;
    s->share[item] = 1;
    s->state[item] = EXPERT_RESIDENT;
    if (s->cfg.evict->loaded) {
        s->cfg.evict->loaded(s->cfg.evict_st, s->view, item);
    }
    return true;
}

/* ---- lines ---- */

static struct store_line *line_of(struct store *s, uint32_t item)
{
    return &s->line[s->want[item] != STORE_GUESS];
}

static void join(struct store *s, uint32_t item)
{
    struct store_line *l = line_of(s, item);

    s->behind[item] = EXPERT_NONE;
    *(l->n++ > 0 ? &s->behind[l->last] : &l->first) = item;
    l->last = item;
}

static void leave(struct store *s, uint32_t item)
{
    struct store_line *l = line_of(s, item);
    uint32_t before = EXPERT_NONE, at = l->first;

    while (at != item) {
        before = at;
        at = s->behind[at];
    }
    *(before == EXPERT_NONE ? &l->first : &s->behind[before]) = s->behind[item];
    l->last = l->last == item ? before : l->last;
    l->n--;
}

uint32_t store_waiting(const struct store *s)
{
    return s->line[0].n + s->line[1].n;
}

static void take_out(struct store *s, uint32_t item)
{
    leave(s, item);
    s->state[item] = EXPERT_ABSENT;
    s->held[item] = 0;
    s->outstanding--;
    s->n.cancelled++;
}

/* ---- when ---- */

static double piece_s(const struct store *s, uint32_t item)
{
    uint32_t calls = (s->cfg.calls + s->cfg.pieces - 1) / s->cfg.pieces;

    return piece_bytes(s, item) / s->cfg.h2d_bytes_per_s + 1e-9 * (double)(calls * s->cfg.call_ns);
}

/* Of the piece that has been given to the copy engine, which may wait there for others (KV). */
static double piece_left_s(const struct store *s, sim_ns now)
{
    bool begun = s->started[TO_GPU] > s->ended[TO_GPU];
    uint32_t item = (uint32_t)(s->last_tag / STORE_PIECES);
    double left = piece_s(s, item) - (begun ? 1e-9 * (double)(now - s->began_ns[item]) : 0);

    return left > 0 ? left : 0;
}

double store_arrives_s(const struct store *s, uint32_t item, sim_ns now)
{
    bool copies = store_copies(s), now_its = copies && s->last_tag / STORE_PIECES == item;

    if (s->state[item] != EXPERT_IN_FLIGHT) {
        return HUGE_VAL;
    }
    return (copies ? piece_left_s(s, now) : 0) + (s->pieces_left[item] - now_its) * piece_s(s, item);
}

/* A guess lets a demand pass after the piece on the wire. */
double store_link_free_s(const struct store *s, bool demands, sim_ns now)
{
    double free_s = 0;

    if (store_copies(s)) {
        uint32_t item = (uint32_t)(s->last_tag / STORE_PIECES);

        free_s = piece_left_s(s, now) + (s->want[item] == STORE_GUESS ? 0 : (s->pieces_left[item] - 1) * piece_s(s, item));
    }
    for (uint32_t i = s->line[1].first; demands && i != EXPERT_NONE; i = s->behind[i]) {
        free_s += s->needed[i] ? s->cfg.pieces * piece_s(s, i) : 0;
    }
    return free_s;
}

/* ---- copies ---- */

static int submit(struct store *s, sim_ns now, int way, uint32_t item, uint32_t piece, struct err *e)
{
    struct copy_job j = {.route = &s->way[way], .bytes = piece_bytes(s, item),
                         .calls = (s->cfg.calls + s->cfg.pieces - 1) / s->cfg.pieces,
                         .urgency = s->want[item] == STORE_GUESS ? COPY_SPECULATIVE : COPY_URGENT,
                         .tag = tag_of(s, way, item, piece), .client = &s->client};

    s->given[way]++;
    s->last_tag = way == TO_GPU ? j.tag : s->last_tag;
    return copy_submit(s->engine[way], now, &j, e);
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
        if (submit(s, now, TO_HOST, item, i, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static void end_holds(struct store *s, uint32_t room)
{
    uint32_t n = s->items / s->rooms;

    memset(&s->held[(size_t)room * n], 0, n);
}

/* A free slot of the room for `item`: 1, 0 when there is none, < 0 on an error. */
static int make_room(struct store *s, sim_ns now, uint32_t item, struct err *e)
{
    uint32_t room = room_of(s, item), v;

    if (s->used[room] < s->slots[room] || s->slots[room] == 0) {
        return s->slots[room] > 0;
    }
    v = s->cfg.evict->victim(s->cfg.evict_st, s->view, room, item);
    if (v == EXPERT_NONE && s->want[item] == STORE_DEMAND) {
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

static int next_piece(struct store *s, sim_ns now, uint32_t item, struct err *e)
{
    uint32_t piece = s->cfg.pieces - s->pieces_left[item];

    return submit(s, now, TO_GPU, item, piece, e) < 0 ? e->code : 1;
}

/* The first in line that finds a slot, or has kept its own, begins: 1, 0 when nobody does, < 0 on an error. */
static int start_from(struct store *s, sim_ns now, struct store_line *l, bool kept_only, struct err *e)
{
    for (uint32_t i = l->first; i != EXPERT_NONE; i = s->behind[i]) {
        int rc = s->kept[i] ? 1 : kept_only ? 0 : make_room(s, now, i, e);

        if (rc < 0) {
            return rc;
        }
        if (rc > 0) {
            leave(s, i);
            s->used[room_of(s, i)] += !s->kept[i];
            s->state[i] = EXPERT_IN_FLIGHT;
            s->pieces_left[i] = (uint8_t)s->cfg.pieces;
            return next_piece(s, now, i, e);
        }
    }
    return 0;
}

/* Demands before what is left of a guess before the next guess; while demands wait for slots, no guess that needs
 * one. */
int store_kick(struct store *s, sim_ns now, struct err *e)
{
    int rc;

    if (store_copies(s)) {
        if (s->cfg.shared && (s->line[1].n > 0 || s->want[s->last_tag / STORE_PIECES] != STORE_GUESS)) {
            /* Demands do not wait for a guess that waits for KV. */
            copy_hurry(s->engine[TO_GPU], &s->client, s->last_tag, COPY_URGENT);
        }
        return 0;
    }
    if (s->half != EXPERT_NONE && s->want[s->half] != STORE_GUESS) {
        rc = next_piece(s, now, s->half, e); /* hurried meanwhile */
        s->half = EXPERT_NONE;
        return rc < 0 ? rc : 0;
    }
    rc = start_from(s, now, &s->line[1], false, e);
    if (rc == 0 && s->half != EXPERT_NONE) {
        rc = next_piece(s, now, s->half, e);
        s->half = EXPERT_NONE;
    } else if (rc == 0) {
        rc = start_from(s, now, &s->line[0], s->line[1].n > 0, e);
    }
    return rc < 0 ? rc : 0;
}

/* ---- ends ---- */

/* What has served its gate and was no whole copy. */
static void drop_thin(struct store *s, uint32_t item)
{
    if (s->state[item] != EXPERT_RESIDENT || s->share[item] >= 1) {
        return;
    }
    s->state[item] = EXPERT_ABSENT;
    s->held[item] = 0;
    s->used[room_of(s, item)]--;
    s->n.evictions++;
    if (s->cfg.evict->evicted) {
        s->cfg.evict->evicted(s->cfg.evict_st, s->view, item);
    }
}

static void arrive(struct store *s, uint32_t item)
{
    s->state[item] = s->needed[item] ? EXPERT_PINNED : EXPERT_RESIDENT;
    s->outstanding--;
    s->n.loads++;
    if (s->kept[item]) {
        s->kept[item] = 0;
        return; /* it had never left */
    }
    if (s->cfg.evict->loaded) {
        s->cfg.evict->loaded(s->cfg.evict_st, s->view, item);
    }
    if (!s->held[item]) {
        drop_thin(s, item); /* its gate was faster */
    }
}

/* Back on the host. Somebody may have asked for it meanwhile. */
static void gone(struct store *s, uint32_t item)
{
    s->state[item] = EXPERT_ABSENT;
    s->n.writebacks++;
    if (s->again[item]) {
        s->again[item] = 0;
        store_request(s, item, STORE_DEMAND);
    }
}

/* A demand goes on with its next piece at once, a guess lets demands pass. */
static int piece_arrived(struct store *s, sim_ns now, uint32_t item, struct err *e)
{
    if (s->pieces_left[item] == 0) {
        arrive(s, item);
    } else if (s->want[item] == STORE_GUESS) {
        s->half = item;
    } else {
        return next_piece(s, now, item, e) < 0 ? e->code : 0;
    }
    return store_kick(s, now, e);
}

static int piece_ended(void *ctx, sim_ns now, uint64_t tag, struct err *e)
{
    struct store *s = ctx;
    uint64_t at = tag / STORE_PIECES;
    int way = at >= s->items ? TO_HOST : TO_GPU;
    uint32_t item = (uint32_t)(at % s->items);

    if (s->cfg.copied) {
        s->cfg.copied(s->cfg.copied_ctx, item, way == TO_GPU, s->began_ns[item], now);
    }
    s->ended[way]++;
    *(way == TO_GPU ? &s->n.h2d_bytes : &s->n.d2h_bytes) += piece_bytes(s, item);
    s->pieces_left[item]--;
    if (copy_ended(s->engine[way], now, e) < 0) {
        return e->code;
    }
    if (way == TO_GPU) {
        return piece_arrived(s, now, item, e);
    }
    if (s->pieces_left[item] == 0) {
        gone(s, item);
    }
    return store_kick(s, now, e);
}

static struct store_later *later_at(const struct store *s, uint32_t i)
{
    return &s->later[(s->later_first + i) % s->items];
}

static sim_ns next_later(const struct store *s)
{
    return s->later_n > 0 ? later_at(s, 0)->when : SIM_NEVER;
}

static int come_into_line(struct store *s, sim_ns now, struct err *e)
{
    while (next_later(s) <= now) {
        uint32_t item = later_at(s, 0)->item;

        s->later_first = (s->later_first + 1) % s->items;
        s->later_n--;
        store_request(s, item, STORE_GUESS);
    }
    return store_kick(s, now, e);
}

void store_request_later(struct store *s, uint32_t item, sim_ns when)
{
    uint32_t at = s->later_n;

    if (s->later_n == s->items) {
        return;
    }
    for (; at > 0 && later_at(s, at - 1)->when > when; at--) {
        *later_at(s, at) = *later_at(s, at - 1);
    }
    *later_at(s, at) = (struct store_later){when, item};
    s->later_n++;
}

/* Guesses of `layer` that are still being worked out come too late. */
static void forget_later(struct store *s, uint32_t layer)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->later_n; i++) {
        struct store_later l = *later_at(s, i);

        if (l.item / s->cfg.experts != layer) {
            *later_at(s, n++) = l;
        }
    }
    s->later_n = n;
}

int store_advance(struct store *s, sim_ns now, struct err *e)
{
    for (sim_ns t = next_later(s); t <= now && t != SIM_NEVER; t = next_later(s)) {
        if (fabric_deliver(s->fabric, t, e) < 0 || come_into_line(s, t, e) < 0) {
            return e->code;
        }
    }
    return fabric_deliver(s->fabric, now, e);
}

sim_ns store_next(const struct store *s)
{
    sim_ns wire = fabric_next(s->fabric), guess = next_later(s);

    return wire < guess ? wire : guess;
}

/* ---- requests ---- */

/* It is on its way already: a stronger wish changes its line. */
static void strengthen(struct store *s, uint32_t item, enum store_want want)
{
    bool queued = s->state[item] == EXPERT_QUEUED, jumps = s->want[item] == STORE_GUESS && want != STORE_GUESS;

    s->n.joined += want != STORE_GUESS && !queued;
    s->n.hurried += jumps && queued;
    if (queued && jumps) {
        leave(s, item);
    }
    s->want[item] = want > s->want[item] ? (uint8_t)want : s->want[item];
    if (queued && jumps) {
        join(s, item);
    }
}

bool store_request(struct store *s, uint32_t item, enum store_want want)
{
    switch (s->state[item]) {
    case EXPERT_RESIDENT:
    case EXPERT_PINNED:
        return true;
    case EXPERT_QUEUED:
    case EXPERT_IN_FLIGHT:
        strengthen(s, item, want);
        return false;
    case EXPERT_EVICTING:
        s->again[item] |= want == STORE_DEMAND;
        return false;
    default:
        break;
    }
    s->state[item] = EXPERT_QUEUED;
    s->share[item] = 1;
    s->want[item] = (uint8_t)want;
    s->outstanding++;
    s->n.requests++;
    join(s, item);
    return false;
}

bool store_request_thin(struct store *s, uint32_t item, enum store_want want, float share)
{
    bool absent = s->state[item] == EXPERT_ABSENT, here = store_request(s, item, want);

    if (absent) {
        s->share[item] = share;
    }
    return here;
}

/* A copy that computing has spent comes again into its slot, behind everything that was asked for. */
static void renew(struct store *s, uint32_t item)
{
    if (!s->cfg.spent || s->state[item] != EXPERT_RESIDENT) {
        return;
    }
    s->state[item] = EXPERT_ABSENT;
    s->kept[item] = 1;
    store_request(s, item, STORE_GUESS);
}

void store_need(struct store *s, uint32_t item, bool needed)
{
    s->needed[item] = needed;
    if (needed && s->state[item] == EXPERT_RESIDENT) {
        s->state[item] = EXPERT_PINNED;
    } else if (!needed && s->state[item] == EXPERT_PINNED) {
        s->state[item] = EXPERT_RESIDENT;
        drop_thin(s, item);
        renew(s, item);
    }
}

void store_hold(struct store *s, uint32_t item)
{
    s->held[item] = 1;
}

static void give_up_half(struct store *s, uint32_t layer)
{
    uint32_t item = s->half;

    if (item == EXPERT_NONE || item / s->cfg.experts != layer || s->needed[item] || s->kept[item]) {
        return;
    }
    s->half = EXPERT_NONE;
    s->state[item] = EXPERT_ABSENT;
    s->used[room_of(s, item)]--;
    s->outstanding--;
    s->n.cancelled++;
}

void store_gate(struct store *s, uint32_t layer)
{
    uint32_t from = layer * s->cfg.experts;

    for (uint32_t i = from; i < from + s->cfg.experts; i++) {
        s->held[i] = 0;
        if (s->state[i] == EXPERT_QUEUED && !s->needed[i] && !s->kept[i]) {
            take_out(s, i);
        }
        drop_thin(s, i);
    }
    forget_later(s, layer);
    give_up_half(s, layer);
}

void store_forget(struct store *s)
{
    for (uint32_t i = s->line[0].first, next; i != EXPERT_NONE; i = next) {
        next = s->behind[i];
        if (!s->kept[i]) {
            take_out(s, i);
        }
    }
    memset(s->held, 0, s->items);
}

/* ---- invariants ---- */

static int check_slots(const struct store *s, struct err *e)
{
    uint64_t outstanding = 0;

    for (uint32_t room = 0; room < s->rooms; room++) {
        uint32_t n = s->items / s->rooms, used = 0;

        for (uint32_t i = room * n; i < (room + 1) * n; i++) {
            bool coming = s->state[i] == EXPERT_QUEUED || s->state[i] == EXPERT_IN_FLIGHT;

            used += s->state[i] == EXPERT_IN_FLIGHT || expert_is_here(s->view, i) || s->kept[i];
            outstanding += coming;
            if ((s->state[i] == EXPERT_PINNED && !s->needed[i]) ||
                (s->state[i] == EXPERT_RESIDENT && s->needed[i])) {
                return err_set(e, SIM_E_CHECK, "expert %u is pinned without need, or needed and not pinned", i);
            }
        }
        if (used != s->used[room] || used > s->slots[room]) {
            return err_set(e, SIM_E_CHECK, "room %u of the expert store: %u slots taken, %u counted, %u there",
                           room, used, s->used[room], s->slots[room]);
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
    const double ended[2] = {s->n.h2d_bytes, s->n.d2h_bytes};

    for (int way = TO_GPU; way <= TO_HOST; way++) {
        double carried = fabric_link_bytes(s->fabric, s->link[way]), slack = 1 + 1e-9 * carried;
        double least = ended[way], most = s->begun_bytes[way];

        if (carried < least - slack || carried > most + slack) {
            return err_set(e, SIM_E_CHECK, "%s carried %.0f bytes for %.0f to %.0f of experts",
                           fabric_link(s->fabric, s->link[way])->name, carried, least, most);
        }
    }
    return check_slots(s, e);
}
