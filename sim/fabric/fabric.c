/* SPDX-License-Identifier: Apache-2.0
 *
 * Event-driven fluid flows. Between two changes every active flow has a constant rate, so its end is
 * known when its rate is set; a flow whose rate a change does not touch keeps its end to the last bit.
 * That makes the ends independent of how often the caller looks.
 *
 * Inside, time is kept in ticks of 2^-20 ns: a flow that ends in the middle of a nanosecond gives its
 * share back right then. Tuned for tens to hundreds of flows at once (expert and KV copies of a few GPUs, rings over a
 * cluster): at each change rates are solved anew, but only over the flows that share links, directly or through
 * others, with those that came or went. The others' rates would come out the same to the last bit: no number of theirs takes
 * part in the arithmetic of these. */
#include <math.h>
#include <string.h>

#include "sim/fabric/fabric.h"

#define TICK_BITS   SIM_TICKS_PER_NS_LOG2
#define NEVER_TICK  ((sim_wide)SIM_NEVER << TICK_BITS)
/* Rounding of doubles must not push an end that lies on a whole nanosecond beyond it. */
#define SNAP_TICKS  1024
#define MAX_WEIGHT  1024.0

struct flow {
    const struct flow_client *client;
    uint64_t tag, seq;
    sim_wide key;       /* waiting: start of the transfer; ended: end in whole ns, in ticks */
    double bytes;
    double weight;
    double left_bytes;  /* at set_tick */
    double rate;        /* bytes per tick */
    double next_rate;   /* of the solution under way; 0 = not fixed yet */
    sim_wide set_tick, end_tick;
    uint32_t n_path;
    bool touched;       /* a change may reach it */
    uint32_t source, sink;
    link_id path[FABRIC_MAX_PATH];
};

struct link {
    struct link_spec spec;
    struct link_fault fault; /* bytes_per_s 0 = none */
    double bytes_per_tick;
    double done_bytes;       /* of flows that have ended */
    uint32_t n_active;
    sim_wide busy_since, busy_ticks;
    double left_rate;        /* while solving */
    uint32_t n_open;         /* flows without a rate, while solving */
    bool touched;            /* a flow through it came or went, or shares another link with one that may change */
    double open_weight;      /* of them together */
};

/* Flow slots by number: a binary heap on (key, seq). */
struct heap {
    flow_id *slot;
    uint32_t n;
};

struct fabric {
    struct arena *arena;
    sim_wide clock;
    uint64_t next_seq;
    struct link *links;
    uint32_t n_links, cap_links;
    link_id *hot;            /* links with an active flow, while solving */
    struct flow *flows;
    uint32_t n_flows, cap_flows;
    flow_id *spare;
    uint32_t n_spare;
    flow_id *active;
    uint32_t n_active;
    flow_id *reach;          /* of the active flows, in their order, those that a change reaches */
    uint32_t n_reach;
    struct heap waiting, ended;
    sim_wide next_end;       /* of the active flows, or NEVER_TICK */
};

/* ---- heap ---- */

static bool flow_before(const struct fabric *f, flow_id a, flow_id b)
{
    const struct flow *x = &f->flows[a];
    const struct flow *y = &f->flows[b];
    return x->key != y->key ? x->key < y->key : x->seq < y->seq;
}

static void heap_push(const struct fabric *f, struct heap *h, flow_id id)
{
    uint32_t i = h->n++;
    while (i > 0 && flow_before(f, id, h->slot[(i - 1) / 2])) {
        h->slot[i] = h->slot[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->slot[i] = id;
}

static flow_id heap_pop(const struct fabric *f, struct heap *h)
{
    flow_id top = h->slot[0];
    flow_id last = h->slot[--h->n];
    uint32_t i = 0;
    for (uint32_t c = 1; c < h->n; c = 2 * i + 1) {
        if (c + 1 < h->n && flow_before(f, h->slot[c + 1], h->slot[c])) {
            c++;
        }
        if (!flow_before(f, h->slot[c], last)) {
            break;
        }
        h->slot[i] = h->slot[c];
        i = c;
    }
    h->slot[i] = last;
    return top;
}

static sim_wide heap_key(const struct fabric *f, const struct heap *h)
{
    return h->n ? f->flows[h->slot[0]].key : NEVER_TICK;
}

/* ---- time ---- */

static sim_wide tick_of(sim_ns t)
{
    return (sim_wide)t << TICK_BITS;
}

static sim_ns ns_up(sim_wide tick)
{
    sim_wide ns = (tick + (1 << TICK_BITS) - 1) >> TICK_BITS;
    return ns >= SIM_NEVER ? SIM_NEVER : (sim_ns)ns;
}

static sim_wide snap(sim_wide tick)
{
    sim_wide near = ((tick + (1 << (TICK_BITS - 1))) >> TICK_BITS) << TICK_BITS;
    sim_wide off = tick - near;
    return off <= SNAP_TICKS && off >= -SNAP_TICKS ? near : tick;
}

static sim_wide end_of(sim_wide now, double left_bytes, double rate)
{
    double ticks = rint(left_bytes / rate);
    if (!(ticks < (double)SIM_NEVER)) { /* 2^63 ticks are 2.4 hours: beyond, whole ns will do */
        double ns = ceil(left_bytes / rate / SIM_TICKS_PER_NS);
        return ns < 4e18 ? snap(now) + tick_of((sim_ns)ns) : NEVER_TICK;
    }
    return snap(now + (sim_wide)(int64_t)ticks);
}

/* ---- rates ---- */

static bool uses(const struct flow *w, link_id l)
{
    for (uint32_t k = 0; k < w->n_path; k++) {
        if (w->path[k] == l) {
            return true;
        }
    }
    return false;
}

static void touch(struct fabric *f, const struct flow *w)
{
    for (uint32_t k = 0; k < w->n_path; k++) {
        f->links[w->path[k]].touched = true;
    }
}

static bool is_reached(const struct fabric *f, const struct flow *w)
{
    for (uint32_t k = 0; k < w->n_path; k++) {
        if (f->links[w->path[k]].touched) {
            return true;
        }
    }
    return false;
}

/* From the links of flows that came or went to all that hangs together with them. */
static void spread(struct fabric *f)
{
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < f->n_active; i++) {
            struct flow *w = &f->flows[f->active[i]];
            if (!w->touched && is_reached(f, w)) {
                w->touched = more = true;
                touch(f, w);
            }
        }
    }
    f->n_reach = 0;
    for (uint32_t i = 0; i < f->n_active; i++) {
        if (f->flows[f->active[i]].touched) {
            f->reach[f->n_reach++] = f->active[i];
        }
    }
}

/* ---- a fault: posted writes that collapse ---- */

#define PARTIES 64 /* that are told apart */

static uint32_t note(uint32_t *seen, uint32_t n, uint32_t who)
{
    for (uint32_t i = 0; i < n; i++) {
        if (seen[i] == who) {
            return n;
        }
    }
    if (n < PARTIES) {
        seen[n++] = who;
    }
    return n;
}

static bool collapses(const struct fabric *f, link_id id)
{
    const struct link_fault *x = &f->links[id].fault;
    uint32_t source[PARTIES], sink[PARTIES], n = 0, m = 0;
    for (uint32_t i = 0; i < f->n_reach; i++) {
        const struct flow *w = &f->flows[f->reach[i]];
        if (w->source > 0 && uses(w, id)) {
            n = note(source, n, w->source);
            m = note(sink, m, w->sink);
        }
    }
    return n >= x->sources && m >= x->sinks;
}

static double rate_of_link(const struct fabric *f, link_id id)
{
    const struct link *l = &f->links[id];
    bool faulty = l->fault.bytes_per_s > 0 && collapses(f, id);
    return faulty ? fmin(l->fault.bytes_per_s / (1e9 * SIM_TICKS_PER_NS), l->bytes_per_tick) : l->bytes_per_tick;
}

static void open_links(struct fabric *f, uint32_t *ret_n_hot)
{
    uint32_t n_hot = 0;
    for (uint32_t i = 0; i < f->n_reach; i++) {
        struct flow *w = &f->flows[f->reach[i]];
        w->touched = false;
        w->next_rate = 0;
        for (uint32_t k = 0; k < w->n_path; k++) {
            struct link *l = &f->links[w->path[k]];
            l->touched = false;
            if (l->n_open++ == 0) {
                l->left_rate = rate_of_link(f, w->path[k]);
                l->open_weight = 0;
                f->hot[n_hot++] = w->path[k];
            }
            l->open_weight += w->weight;
        }
    }
    *ret_n_hot = n_hot;
}

/* The link that gives its open flows least per weight; ties go to the lower number. */
static link_id bottleneck(const struct fabric *f, uint32_t n_hot, double *ret_share)
{
    link_id best = UINT32_MAX;
    for (uint32_t i = 0; i < n_hot; i++) {
        const struct link *l = &f->links[f->hot[i]];
        if (l->n_open == 0) {
            continue;
        }
        double share = l->left_rate / l->open_weight;
        if (best == UINT32_MAX || share < *ret_share || (share == *ret_share && f->hot[i] < best)) {
            best = f->hot[i];
            *ret_share = share;
        }
    }
    return best;
}

static void fix_flows(struct fabric *f, link_id through, double share)
{
    for (uint32_t i = 0; i < f->n_reach; i++) {
        struct flow *w = &f->flows[f->reach[i]];
        if (w->next_rate > 0 || !uses(w, through)) {
            continue;
        }
        w->next_rate = share * w->weight;
        for (uint32_t k = 0; k < w->n_path; k++) {
            struct link *l = &f->links[w->path[k]];
            l->left_rate -= w->next_rate;
            l->open_weight -= w->weight;
            l->n_open--;
        }
    }
}

static double left_at(const struct flow *w, sim_wide now)
{
    double left = w->left_bytes - w->rate * (double)(now - w->set_tick);
    return left > 0 ? left : 0;
}

static void take_rates(struct fabric *f)
{
    f->next_end = NEVER_TICK;
    for (uint32_t i = 0; i < f->n_reach; i++) {
        struct flow *w = &f->flows[f->reach[i]];
        if (w->next_rate != w->rate) {
            w->left_bytes = left_at(w, f->clock);
            w->set_tick = f->clock;
            w->rate = w->next_rate;
            w->end_tick = end_of(f->clock, w->left_bytes, w->rate);
        }
    }
    for (uint32_t i = 0; i < f->n_active; i++) {
        const struct flow *w = &f->flows[f->active[i]];
        f->next_end = w->end_tick < f->next_end ? w->end_tick : f->next_end;
    }
}

/* Max-min fair rates: again and again the tightest link fixes its flows at an equal share per weight,
 * and what they take is gone for the others. A link keeps at least its share for each flow that is
 * still open, so no share can come out as 0 (weights span a millionfold at most). */
static void solve(struct fabric *f)
{
    uint32_t n_hot = 0;
    spread(f);
    open_links(f, &n_hot);
    double share = 0;
    link_id l;
    while ((l = bottleneck(f, n_hot, &share)) != UINT32_MAX) {
        fix_flows(f, l, share);
    }
    take_rates(f);
}

/* ---- changes ---- */

static void end_flow(struct fabric *f, flow_id id)
{
    struct flow *w = &f->flows[id];
    w->key = tick_of(ns_up(f->clock));
    heap_push(f, &f->ended, id);
    for (uint32_t k = 0; k < w->n_path; k++) {
        f->links[w->path[k]].done_bytes += w->bytes;
    }
}

static void activate(struct fabric *f, flow_id id)
{
    struct flow *w = &f->flows[id];
    if (w->n_path == 0 || w->bytes == 0) {
        end_flow(f, id);
        return;
    }
    w->set_tick = f->clock;
    w->rate = 0;
    f->active[f->n_active++] = id;
    for (uint32_t k = 0; k < w->n_path; k++) {
        struct link *l = &f->links[w->path[k]];
        l->touched = true;
        if (l->n_active++ == 0) {
            l->busy_since = f->clock;
        }
    }
}

static void deactivate(struct fabric *f, uint32_t place)
{
    flow_id id = f->active[place];
    struct flow *w = &f->flows[id];
    f->active[place] = f->active[--f->n_active];
    for (uint32_t k = 0; k < w->n_path; k++) {
        struct link *l = &f->links[w->path[k]];
        l->touched = true;
        if (--l->n_active == 0) {
            l->busy_ticks += f->clock - l->busy_since;
        }
    }
    end_flow(f, id);
}

static void change(struct fabric *f, sim_wide t)
{
    f->clock = t;
    for (uint32_t i = f->n_active; i-- > 0;) {
        if (f->flows[f->active[i]].end_tick <= t) {
            deactivate(f, i);
        }
    }
    while (heap_key(f, &f->waiting) <= t && f->waiting.n) {
        activate(f, heap_pop(f, &f->waiting));
    }
    solve(f);
}

static sim_wide next_change(const struct fabric *f)
{
    sim_wide start = heap_key(f, &f->waiting);
    return start < f->next_end ? start : f->next_end;
}

static void advance(struct fabric *f, sim_wide to)
{
    for (sim_wide t = next_change(f); t <= to && t < NEVER_TICK; t = next_change(f)) {
        change(f, t);
    }
    if (to > f->clock) {
        f->clock = to;
    }
}

/* ---- memory ---- */

static void *grown(struct arena *a, const void *old, size_t n, size_t cap, size_t size)
{
    void *p = arena_calloc(a, cap, size);
    if (p && n) {
        memcpy(p, old, n * size);
    }
    return p;
}

static int grow_flows(struct fabric *f)
{
    uint32_t cap = f->cap_flows ? 2 * f->cap_flows : 64;
    void *flows = grown(f->arena, f->flows, f->n_flows, cap, sizeof *f->flows);
    void *spare = grown(f->arena, f->spare, f->n_spare, cap, sizeof *f->spare);
    void *active = grown(f->arena, f->active, f->n_active, cap, sizeof *f->active);
    void *reach = arena_calloc(f->arena, cap, sizeof *f->reach);
    void *waiting = grown(f->arena, f->waiting.slot, f->waiting.n, cap, sizeof *f->waiting.slot);
    void *ended = grown(f->arena, f->ended.slot, f->ended.n, cap, sizeof *f->ended.slot);
    if (!flows || !spare || !active || !reach || !waiting || !ended) {
        return SIM_E_NOMEM;
    }
    f->flows = flows;
    f->spare = spare;
    f->active = active;
    f->reach = reach;
    f->waiting.slot = waiting;
    f->ended.slot = ended;
    f->cap_flows = cap;
    return 0;
}

static int grow_links(struct fabric *f)
{
    uint32_t cap = f->cap_links ? 2 * f->cap_links : 8;
    void *links = grown(f->arena, f->links, f->n_links, cap, sizeof *f->links);
    void *hot = arena_calloc(f->arena, cap, sizeof *f->hot);
    if (!links || !hot) {
        return SIM_E_NOMEM;
    }
    f->links = links;
    f->hot = hot;
    f->cap_links = cap;
    return 0;
}

static flow_id take_slot(struct fabric *f)
{
    if (f->n_spare) {
        return f->spare[--f->n_spare];
    }
    if (f->n_flows == f->cap_flows && grow_flows(f) < 0) {
        return FLOW_NONE;
    }
    return f->n_flows++;
}

/* ---- interface ---- */

struct fabric *fabric_new(struct arena *a)
{
    struct fabric *f = arena_alloc(a, sizeof *f);
    if (f) {
        f->arena = a;
        f->next_end = NEVER_TICK;
    }
    return f;
}

static int check_spec(const struct link_spec *s, struct err *e)
{
    if (!(s->bytes_per_s >= 1e-6) || !isfinite(s->bytes_per_s)) { /* below, shares could vanish */
        return err_set(e, SIM_E_CONFIG, "link %s: bandwidth %g bytes/s is not a positive number",
                       s->name ? s->name : "?", s->bytes_per_s);
    }
    if (s->latency_ns < 0 || s->overhead_ns < 0) {
        return err_set(e, SIM_E_CONFIG, "link %s: latency and overhead cannot be negative",
                       s->name ? s->name : "?");
    }
    return 0;
}

int fabric_add_link(struct fabric *f, const struct link_spec *spec, link_id *ret, struct err *e)
{
    int rc = check_spec(spec, e);
    if (rc < 0) {
        return rc;
    }
    char *name = arena_strdup(f->arena, spec->name ? spec->name : "link");
    if (!name || (f->n_links == f->cap_links && grow_links(f) < 0)) {
        return err_set(e, SIM_E_NOMEM, "out of memory for link %s", spec->name);
    }
    struct link *l = &f->links[f->n_links];
    l->spec = *spec;
    l->spec.name = name;
    l->bytes_per_tick = spec->bytes_per_s / (1e9 * SIM_TICKS_PER_NS);
    *ret = f->n_links++;
    return 0;
}

int fabric_set_fault(struct fabric *f, link_id l, const struct link_fault *x, struct err *e)
{
    if (!(x->bytes_per_s >= 1e-6) || !isfinite(x->bytes_per_s)) {
        return err_set(e, SIM_E_CONFIG, "link %s: %g bytes/s after a collapse is not a positive number",
                       f->links[l].spec.name, x->bytes_per_s);
    }
    f->links[l].fault = *x;
    return 0;
}

static bool path_ok(const struct fabric *f, const link_id *path, uint32_t n)
{
    if (n > FABRIC_MAX_PATH) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (path[i] >= f->n_links) {
            return false;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (path[k] == path[i]) {
                return false;
            }
        }
    }
    return true;
}

static sim_wide delay_of(const struct fabric *f, const struct flow_spec *s)
{
    sim_wide ns = s->delay_ns;
    for (uint32_t k = 0; k < s->n_path; k++) {
        const struct link_spec *l = &f->links[s->path[k]].spec;
        ns += l->latency_ns + (sim_wide)s->copies * l->overhead_ns;
    }
    return ns << TICK_BITS;
}

static bool spec_ok(const struct fabric *f, const struct flow_spec *s)
{
    bool weight_ok = s->weight == 0 || (s->weight >= 1.0 / MAX_WEIGHT && s->weight <= MAX_WEIGHT);
    return path_ok(f, s->path, s->n_path) && s->bytes >= 0 && isfinite(s->bytes) && weight_ok &&
           s->delay_ns >= 0;
}

flow_id fabric_start_flow(struct fabric *f, sim_ns now, const struct flow_spec *s)
{
    if (!spec_ok(f, s)) {
        return FLOW_NONE;
    }
    advance(f, tick_of(now));
    flow_id id = take_slot(f);
    if (id == FLOW_NONE) {
        return id;
    }
    struct flow *w = &f->flows[id];
    *w = (struct flow){.client = s->client, .tag = s->tag, .seq = f->next_seq++, .bytes = s->bytes,
                       .left_bytes = s->bytes, .weight = s->weight > 0 ? s->weight : 1,
                       .n_path = s->n_path, .source = s->source, .sink = s->sink};
    if (s->n_path) {
        memcpy(w->path, s->path, s->n_path * sizeof *s->path);
    }
    w->key = f->clock + delay_of(f, s);
    heap_push(f, &f->waiting, id);
    return id;
}

flow_id fabric_start(struct fabric *f, sim_ns now, const link_id *path, uint32_t n_path, double bytes,
                     uint32_t copies, uint64_t tag)
{
    struct flow_spec s = {.path = path, .n_path = n_path, .bytes = bytes, .copies = copies, .tag = tag};
    return fabric_start_flow(f, now, &s);
}

sim_ns fabric_next(const struct fabric *f)
{
    sim_wide t = next_change(f);
    sim_wide ended = heap_key(f, &f->ended);
    return ns_up(ended < t ? ended : t);
}

static flow_id take_ended(struct fabric *f, sim_ns now)
{
    advance(f, tick_of(now));
    if (f->ended.n == 0 || heap_key(f, &f->ended) > tick_of(now)) {
        return FLOW_NONE;
    }
    flow_id id = heap_pop(f, &f->ended);
    f->spare[f->n_spare++] = id;
    return id;
}

bool fabric_poll(struct fabric *f, sim_ns now, uint64_t *ret_tag)
{
    flow_id id = take_ended(f, now);
    if (id == FLOW_NONE) {
        return false;
    }
    *ret_tag = f->flows[id].tag;
    return true;
}

static int deliver_at(struct fabric *f, sim_ns t, struct err *e)
{
    for (flow_id id = take_ended(f, t); id != FLOW_NONE; id = take_ended(f, t)) {
        const struct flow_client *c = f->flows[id].client;
        int rc = c ? c->ended(c->ctx, t, f->flows[id].tag, e) : 0;
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int fabric_deliver(struct fabric *f, sim_ns now, struct err *e)
{
    for (sim_ns t = fabric_next(f); t <= now && t != SIM_NEVER; t = fabric_next(f)) {
        int rc = deliver_at(f, t, e);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

double fabric_link_bytes(const struct fabric *f, link_id l)
{
    double bytes = f->links[l].done_bytes;
    for (uint32_t i = 0; i < f->n_active; i++) {
        const struct flow *w = &f->flows[f->active[i]];
        if (uses(w, l)) {
            bytes += w->bytes - left_at(w, f->clock);
        }
    }
    return bytes;
}

sim_ns fabric_link_busy_ns(const struct fabric *f, link_id l)
{
    const struct link *k = &f->links[l];
    sim_wide ticks = k->busy_ticks + (k->n_active ? f->clock - k->busy_since : 0);
    return (sim_ns)((ticks + (1 << (TICK_BITS - 1))) >> TICK_BITS);
}

uint32_t fabric_links(const struct fabric *f)
{
    return f->n_links;
}

const struct link_spec *fabric_link(const struct fabric *f, link_id l)
{
    return &f->links[l].spec;
}
