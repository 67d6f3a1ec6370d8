/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/info.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Set of 64-bit numbers: open addressing, at most half full; 0 is kept apart. */
struct idset {
    uint64_t *slot;
    size_t n, cap;
    bool zero;
};

static size_t home(uint64_t id, size_t cap)
{
    return (size_t)(id * 0x9e3779b97f4a7c15u >> 20) & (cap - 1);
}

static uint64_t *find(const struct idset *s, uint64_t id)
{
    size_t i = home(id, s->cap);
    while (s->slot[i] && s->slot[i] != id) {
        i = (i + 1) & (s->cap - 1);
    }
    return &s->slot[i];
}

static bool idset_has(const struct idset *s, uint64_t id)
{
    return id == 0 ? s->zero : s->cap > 0 && *find(s, id) != 0;
}

static bool idset_grow(struct idset *s)
{
    struct idset more = {.cap = s->cap ? s->cap * 2 : 1024, .n = s->n, .zero = s->zero};
    more.slot = calloc(more.cap, sizeof(*more.slot));
    if (!more.slot) {
        return false;
    }
    for (size_t i = 0; i < s->cap; i++) {
        if (s->slot[i]) {
            *find(&more, s->slot[i]) = s->slot[i];
        }
    }
    free(s->slot);
    *s = more;
    return true;
}

static bool idset_add(struct idset *s, uint64_t id)
{
    if (s->n * 2 >= s->cap && !idset_grow(s)) {
        return false;
    }
    if (!idset_has(s, id)) {
        s->n++;
        if (id == 0) {
            s->zero = true;
        } else {
            *find(s, id) = id;
        }
    }
    return true;
}

struct gatherer {
    struct trace_info *info;
    struct arena *arena;
    struct idset ids, sessions;
    struct trace_client_info *client;
    size_t cap_clients;
    double gaps, gap_mean, gap_m2; /* Welford */
    sim_ns last_ns;
    uint64_t reused_tok;
};

static void add_gap(struct gatherer *g, sim_ns now)
{
    if (g->info->requests > 0) {
        double gap = (double)(now - g->last_ns) * 1e-9;
        g->gaps++;
        double delta = gap - g->gap_mean;
        g->gap_mean += delta / g->gaps;
        g->gap_m2 += delta * (gap - g->gap_mean);
    }
    g->last_ns = now;
}

static bool add_client(struct gatherer *g, const struct arrival *a)
{
    if (a->client >= g->cap_clients) {
        size_t cap = g->cap_clients ? g->cap_clients : 64;
        while (cap <= a->client) {
            cap *= 2;
        }
        struct trace_client_info *c = realloc(g->client, cap * sizeof(*c));
        if (!c) {
            return false;
        }
        memset(c + g->cap_clients, 0, (cap - g->cap_clients) * sizeof(*c));
        g->client = c;
        g->cap_clients = cap;
    }
    g->client[a->client].requests++;
    g->client[a->client].prompt_tok += a->prompt_tok;
    g->client[a->client].output_tok += a->output_tok;
    return true;
}

/* Leading ids that came before are hits of a cache that forgets nothing. */
static bool add_ids(struct gatherer *g, const struct arrival *a)
{
    uint64_t hit = 0;
    while (hit < a->n_hash && idset_has(&g->ids, a->hash[hit])) {
        hit++;
    }
    uint64_t tok = hit * a->hash_tok;
    g->reused_tok += tok < a->prompt_tok ? tok : a->prompt_tok;
    g->info->requests_with_ids += a->n_hash > 0;
    for (uint32_t i = (uint32_t)hit; i < a->n_hash; i++) {
        if (!idset_add(&g->ids, a->hash[i])) {
            return false;
        }
    }
    return true;
}

static bool add_arrival(struct gatherer *g, const struct arrival *a)
{
    struct trace_info *i = g->info;
    add_gap(g, a->time_ns);
    if (i->requests == 0) {
        i->first_s = (double)a->time_ns * 1e-9;
    }
    i->requests++;
    i->last_s = (double)a->time_ns * 1e-9;
    i->total_prompt_tok += a->prompt_tok;
    i->total_output_tok += a->output_tok;
    i->measured += !isnan(a->measured_e2e_s);
    i->requests_in_sessions += a->session != 0;
    hist_add(&i->prompt_tok, a->prompt_tok, 1);
    hist_add(&i->output_tok, a->output_tok, 1);
    return add_client(g, a) && add_ids(g, a) &&
           (a->session == 0 || idset_add(&g->sessions, a->session));
}

static int finish(struct gatherer *g, const struct trace *t, struct err *e)
{
    struct trace_info *i = g->info;
    i->rate_per_s = i->last_s > i->first_s ? (double)(i->requests - 1) / (i->last_s - i->first_s)
                                           : (double)NAN;
    i->gap_cv = g->gaps >= 2 && g->gap_mean > 0 ? sqrt(g->gap_m2 / g->gaps) / g->gap_mean : (double)NAN;
    i->sessions = g->sessions.n;
    i->distinct_ids = g->ids.n;
    i->reuse_share = i->requests_with_ids > 0 ? (double)g->reused_tok / (double)i->total_prompt_tok
                                              : (double)NAN;
    i->left_out = trace_left_out(t);
    i->clients = trace_clients(t);
    i->client = arena_calloc(g->arena, i->clients, sizeof(*i->client));
    if (!i->client) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    size_t n = i->clients < g->cap_clients ? i->clients : g->cap_clients;
    memcpy(i->client, g->client, n * sizeof(*i->client));
    return 0;
}

static int gather(struct gatherer *g, struct trace *t, int (*progress)(void *ctx, double share),
                  void *ctx, struct err *e)
{
    struct arrival a;
    int rc;
    while ((rc = trace_next(t, &a, e)) == 1) {
        if (!add_arrival(g, &a)) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        if (progress && g->info->requests % 65536 == 0 && progress(ctx, trace_progress(t)) != 0) {
            return err_set(e, SIM_E_INTR, "interrupted");
        }
    }
    return rc < 0 ? rc : finish(g, t, e);
}

int trace_info(struct trace_info *ret, struct trace *t, struct arena *a,
               int (*progress)(void *ctx, double share), void *ctx, struct err *e)
{
    struct gatherer g = {.info = ret, .arena = a};
    memset(ret, 0, sizeof(*ret));
    if (hist_init(&ret->prompt_tok, a) < 0 || hist_init(&ret->output_tok, a) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    int rc = gather(&g, t, progress, ctx, e);
    free(g.ids.slot);
    free(g.sessions.slot);
    free(g.client);
    return rc;
}
