/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/opt.h"
#include "sim/core/rng.h"

static int open_trace(struct workload *w, struct err *e)
{
    const struct run_config *c = w->cfg;

    if (!c->trace) {
        return err_set(e, SIM_E_CONFIG, "no trace: give one with --trace (see steelyard list traces)");
    }
    if (trace_open(&w->trace, c->trace, c->trace_format, (uint64_t)c->seed, (uint32_t)c->replication,
                   e) < 0) {
        return e->code;
    }
    if (!(trace_caps(w->trace) & TRACE_ARRIVALS)) {
        return err_set(e, SIM_E_DATA, "%s has lengths but no arrival times: give them, as in "
                       "--set 'trace.format=columns{rate=2}'", c->trace);
    }
    return 0;
}

static int parse_weights(struct workload *w, struct arena *a, struct err *e)
{
    struct {
        struct opt_doubles v;
    } o = {{0, NULL}};
    const struct opt_row row = {.name = "client.weights", .type = OPT_DOUBLES, .min = 1, .max = 0};

    if (!w->cfg->client_weights || !w->cfg->client_weights[0]) {
        return 0;
    }
    if (opt_set(&row, &o, w->cfg->client_weights, a, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < o.v.n; i++) {
        if (!(o.v.v[i] > 0)) {
            return err_set(e, SIM_E_CONFIG, "client.weights: %g is not a positive weight", o.v.v[i]);
        }
    }
    w->weight = o.v.v;
    w->n_weight = o.v.n;
    return 0;
}

/* ---- bootstrap: blocks of the trace drawn with replacement ---- */

static int hold_one(struct workload *w, const struct arrival *a, size_t *cap, size_t *n_hash,
                    size_t *cap_hash)
{
    if (w->n_all == *cap) {
        size_t bigger = *cap ? 2 * *cap : 4096;
        struct arrival *all = realloc(w->all, bigger * sizeof(*all));

        if (!all) {
            return SIM_E_NOMEM;
        }
        w->all = all;
        *cap = bigger;
    }
    while (*n_hash + a->n_hash + a->n_after > *cap_hash) {
        size_t bigger = *cap_hash ? 2 * *cap_hash : 65536;
        uint64_t *hashes = realloc(w->hashes, bigger * sizeof(*hashes));

        if (!hashes) {
            return SIM_E_NOMEM;
        }
        w->hashes = hashes;
        *cap_hash = bigger;
    }
    if (a->n_hash) {
        memcpy(w->hashes + *n_hash, a->hash, a->n_hash * sizeof(*a->hash));
    }
    if (a->n_after) {
        memcpy(w->hashes + *n_hash + a->n_hash, a->after, a->n_after * sizeof(*a->after));
    }
    w->all[w->n_all] = *a;
    w->all[w->n_all].hash = NULL;
    w->all[w->n_all++].after = NULL;
    *n_hash += a->n_hash + a->n_after;
    return 0;
}

static int hold_all(struct workload *w, struct err *e)
{
    struct arrival a;
    size_t cap = 0, n_hash = 0, cap_hash = 0, at = 0;
    int rc;

    while ((rc = trace_next(w->trace, &a, e)) > 0) {
        if (w->cfg->trace_limit && w->n_all == (size_t)w->cfg->trace_limit) {
            break;
        }
        if (hold_one(w, &a, &cap, &n_hash, &cap_hash) < 0) {
            return err_set(e, SIM_E_NOMEM, "out of memory for a trace of %zu requests", w->n_all);
        }
    }
    for (size_t i = 0; rc >= 0 && i < w->n_all; i++) {
        w->all[i].hash = w->hashes ? w->hashes + at : NULL;
        at += w->all[i].n_hash;
        w->all[i].after = w->hashes ? w->hashes + at : NULL;
        at += w->all[i].n_after;
    }
    return rc < 0 ? rc : 0;
}

static size_t first_at(const struct workload *w, sim_ns t)
{
    size_t lo = 0, hi = w->n_all;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (w->all[mid].time_ns < t) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static int order_add(struct workload *w, struct workload_turn turn, size_t *cap)
{
    if (w->n_order == *cap) {
        size_t bigger = *cap ? 2 * *cap : 4096;
        struct workload_turn *order = realloc(w->order, bigger * sizeof(*order));

        if (!order) {
            return SIM_E_NOMEM;
        }
        w->order = order;
        *cap = bigger;
    }
    w->order[w->n_order++] = turn;
    return 0;
}

/* All requests of the block at `start`, which now begins at `at`. */
static int order_block(struct workload *w, sim_ns start, sim_ns block, sim_ns at, uint32_t copy, size_t *cap)
{
    for (size_t i = first_at(w, start); i < w->n_all && w->all[i].time_ns < start + block; i++) {
        struct workload_turn turn = {w->all[i].time_ns - start + at, (uint32_t)i, copy};

        if (order_add(w, turn, cap) < 0) {
            return SIM_E_NOMEM;
        }
    }
    return 0;
}

static int resample(struct workload *w, struct err *e)
{
    const struct run_config *c = w->cfg;
    sim_ns block = (sim_ns)llround(c->load_bootstrap_s * 1e9);
    struct rng_stream s = rng_stream((uint64_t)c->seed, (uint32_t)c->replication, "bootstrap");
    size_t cap = 0;
    sim_ns span;
    uint64_t blocks;
    uint32_t *drawn;
    int rc = 0;

    if (hold_all(w, e) < 0 || w->n_all == 0) {
        return e->code;
    }
    span = w->all[w->n_all - 1].time_ns + 1;
    blocks = (uint64_t)((span + block - 1) / block);
    drawn = calloc(blocks, sizeof(*drawn));
    for (uint64_t b = 0; drawn && b < blocks && rc == 0; b++) {
        /* Replication 0 is the trace as it is. */
        uint64_t from = c->replication == 0 ? b : rng_range(s, b, 0, 0, blocks - 1);

        rc = order_block(w, (sim_ns)from * block, block, (sim_ns)b * block, drawn[from]++, &cap);
    }
    if (!drawn || rc < 0) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory for a resampled trace");
    }
    free(drawn);
    if (rc < 0) {
        return rc;
    }
    return w->n_order > 0 ? 0
                          : err_set(e, SIM_E_DATA, "load.bootstrap drew only empty blocks of %s", c->trace);
}

/* ---- goals ---- */

static int reach_client(struct workload *w, uint32_t client)
{
    uint32_t n = trace_clients(w->trace);
    const struct goal_set **of;

    if (client < w->n_goals_of) {
        return 0;
    }
    of = realloc(w->goals_of, n * sizeof(*of));
    if (!of) {
        return SIM_E_NOMEM;
    }
    w->goals_of = of;
    while (w->n_goals_of < n) {
        const char *name = trace_client_name(w->trace, w->n_goals_of);

        of[w->n_goals_of++] = goals_of_client(&w->goals, name ? name : "");
    }
    return 0;
}

static int add_goals(struct workload *w, struct arrival *a, struct err *e)
{
    if (!w->goals.any) {
        return 0;
    }
    if (w->goals.n_client > 0 && reach_client(w, a->client) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the goals of clients");
    }
    goals_apply(&w->goals, a->client < w->n_goals_of ? w->goals_of[a->client] : NULL, a);
    return 0;
}

/* ---- compound programs ---- */

/* Room for the last of w->programs. */
static bool grow_began(struct workload *w)
{
    uint32_t cap = w->cap_began ? 2 * w->cap_began : 256;
    sim_ns *began;
    if (w->programs.n <= w->cap_began) {
        return true;
    }
    began = realloc(w->began_ns, cap * sizeof(*began));
    if (!began) {
        return false;
    }
    w->began_ns = began;
    w->cap_began = cap;
    return true;
}

/* The deadline of a compound program counts from its first call. */
static int add_began(struct workload *w, struct arrival *a, struct err *e)
{
    uint32_t *number;
    a->began_ns = a->time_ns;
    if (a->slo_class != SLO_COMPOUND || a->session == 0) {
        return 0;
    }
    number = u64_map_add(&w->programs, a->session);
    if (number && *number == 0 && !grow_began(w)) {
        number = NULL;
    }
    if (!number) {
        return err_set(e, SIM_E_NOMEM, "out of memory for compound programs");
    }
    if (*number == 0) {
        *number = w->programs.n;
        w->began_ns[*number - 1] = a->time_ns;
    }
    a->began_ns = w->began_ns[*number - 1];
    return 0;
}

static int open_sessions(struct workload *w, struct err *e)
{
    if (w->cfg->load_bootstrap_s > 0 || w->cfg->trace_repeat > 1) {
        return err_set(e, SIM_E_CONFIG,
                       "load.sessions does not go together with load.bootstrap or trace.repeat");
    }
    if (hold_all(w, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < w->n_all; i++) { /* the class says which calls make up a program */
        if (add_goals(w, &w->all[i], e) < 0) {
            return e->code;
        }
    }
    if (sessions_init(&w->sessions, w->all, w->n_all, w->cfg->load_scale, e) < 0) {
        return err_wrap(e, "%s: ", w->cfg->trace);
    }
    return 0;
}

int workload_open(struct workload *w, const struct run_config *c, struct arena *a, struct err *e)
{
    memset(w, 0, sizeof(*w));
    w->cfg = c;
    w->by_session = c->load_sessions;
    if (parse_weights(w, a, e) < 0 || goals_parse(&w->goals, c, a, e) < 0 || open_trace(w, e) < 0) {
        return e->code;
    }
    if (w->by_session) {
        return open_sessions(w, e);
    }
    if (c->load_bootstrap_s > 0 && resample(w, e) < 0) {
        return e->code;
    }
    return 0;
}

/* ---- handing out ---- */

/* A repeated pass is new text: its prefixes match each other, not those of earlier passes. */
static int salt(struct workload *w, struct arrival *a, struct err *e)
{
    if (w->pass == 0 || a->n_hash == 0) {
        return 0;
    }
    if (a->n_hash > w->cap_salted) {
        uint64_t *bigger = realloc(w->salted, 2 * (size_t)a->n_hash * sizeof(*bigger));

        if (!bigger) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %u prefix ids", a->n_hash);
        }
        w->salted = bigger;
        w->cap_salted = 2 * a->n_hash;
    }
    for (uint32_t i = 0; i < a->n_hash; i++) {
        w->salted[i] = a->hash[i] ^ ((uint64_t)w->pass << 44);
    }
    a->hash = w->salted;
    return 0;
}

/* A session that is played again is another one, wherever it is told apart: programs and their deadlines,
 * routers by session, KV that is kept for it. */
static void other_session(struct arrival *a, uint64_t again)
{
    if (a->session != 0) {
        a->session ^= again << 40;
    }
}

static int raw_next(struct workload *w, struct arrival *ret, struct err *e)
{
    if (w->cfg->load_bootstrap_s <= 0) {
        if (w->cfg->trace_limit && w->in_pass == (uint64_t)w->cfg->trace_limit) {
            return 0;
        }
        return trace_next(w->trace, ret, e);
    }
    if (w->in_pass == w->n_order) {
        return 0;
    }
    *ret = w->all[w->order[w->in_pass].i];
    ret->time_ns = w->order[w->in_pass].time_ns;
    other_session(ret, w->order[w->in_pass].copy);
    return 1;
}

/* Start over one mean gap after the last arrival. */
static int next_pass(struct workload *w, struct err *e)
{
    sim_ns gap = w->in_pass > 1 ? w->last_raw_ns / (sim_ns)(w->in_pass - 1) : 0;

    w->offset_ns += w->last_raw_ns + gap;
    w->in_pass = 0;
    w->pass++;
    if (w->cfg->load_bootstrap_s > 0) {
        return 0;
    }
    trace_close(w->trace);
    w->trace = NULL;
    return open_trace(w, e);
}

static int next_of_session(struct workload *w, struct arrival *ret)
{
    uint32_t i = 0;
    sim_ns at = 0;
    int rc = sessions_next(&w->sessions, &i, &at);

    if (rc == 1) {
        *ret = w->all[i];
        ret->time_ns = at;
        ret->turn = sessions_turn(&w->sessions, i);
        ret->prompt_tok += (uint32_t)w->cfg->prompt_extra_tok;
        w->given++;
    }
    return rc;
}

static int next_in_time(struct workload *w, struct arrival *ret, struct err *e)
{
    int rc = raw_next(w, ret, e);

    if (rc == 0 && w->pass + 1 < w->cfg->trace_repeat && w->in_pass > 0) {
        if (next_pass(w, e) < 0) {
            return e->code;
        }
        rc = raw_next(w, ret, e);
    }
    if (rc <= 0) {
        return rc;
    }
    if (salt(w, ret, e) < 0) {
        return e->code;
    }
    other_session(ret, (uint64_t)w->pass << 12);
    w->last_raw_ns = ret->time_ns;
    w->in_pass++;
    w->given++;
    ret->time_ns += w->offset_ns;
    if (w->cfg->load_scale > 0 && w->cfg->load_scale != 1) { /* 1 = untouched, to the last digit */
        ret->time_ns = (sim_ns)llround((double)ret->time_ns / w->cfg->load_scale);
    }
    ret->prompt_tok += (uint32_t)w->cfg->prompt_extra_tok;
    return 1;
}

int workload_next(struct workload *w, struct arrival *ret, struct err *e)
{
    int rc;

    if (w->cfg->load_concurrency > 0 && w->in_flight >= w->cfg->load_concurrency) {
        return 2;
    }
    rc = w->by_session ? next_of_session(w, ret) : next_in_time(w, ret, e);
    if (rc == 1 && !w->by_session && add_goals(w, ret, e) < 0) {
        return e->code;
    }
    if (rc == 1) {
        w->in_flight++;
        if (ret->time_ns < w->slot_ns) {
            ret->time_ns = w->slot_ns;
        }
        rc = add_began(w, ret, e) < 0 ? e->code : 1;
    }
    return rc;
}

void workload_left(struct workload *w, uint64_t serial, sim_ns now, struct arrival *pending)
{
    sim_ns seen = now + llround(w->cfg->output_delay_s * 1e9);
    struct err ignored = {0};

    if (w->cfg->load_concurrency > 0 && w->in_flight-- == w->cfg->load_concurrency) {
        w->slot_ns = seen; /* who comes next had to wait for this slot */
    }
    if (w->by_session && sessions_answered(&w->sessions, serial, seen) && pending &&
        sessions_peek(&w->sessions) < pending->time_ns) {
        sessions_unread(&w->sessions);
        w->given--;
        next_of_session(w, pending);
        (void)add_began(w, pending, &ignored); /* without memory its deadline counts from now */
    }
}

float workload_weight(const struct workload *w, uint32_t client)
{
    return client < w->n_weight ? (float)w->weight[client] : 1.0f;
}

double workload_progress(const struct workload *w)
{
    double share = w->by_session && w->n_all ? (double)w->given / (double)w->n_all
                 : w->n_order ? (double)w->in_pass / (double)w->n_order
                 : w->trace  ? trace_progress(w->trace)
                             : -1;

    return share < 0 ? -1 : ((double)w->pass + share) / (double)w->cfg->trace_repeat;
}

void workload_close(struct workload *w)
{
    if (w->trace) {
        trace_close(w->trace);
    }
    sessions_release(&w->sessions);
    u64_map_release(&w->programs);
    free(w->began_ns);
    free(w->salted);
    free(w->all);
    free(w->hashes);
    free(w->order);
    free(w->goals_of);
}
