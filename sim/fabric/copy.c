/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines are linked lists: tuned for tens of jobs (experts of a layer, blocks of a swap). */
#include "sim/fabric/copy.h"

struct waiting {
    struct copy_job job;
    struct waiting *next;
};

struct line {
    struct waiting *first, **last;
    uint32_t n;
};

struct copy_engines {
    struct fabric *fabric;
    struct arena *arena;
    uint32_t n_engines, n_running;
    sim_ns call_ns;
    struct line line[COPY_URGENCIES];
    struct waiting *spare;
    const struct flow_client *last; /* whose job was taken last */
};

static void append(struct line *l, struct waiting *w)
{
    w->next = NULL;
    *l->last = w;
    l->last = &w->next;
    l->n++;
}

static void unlink_at(struct line *l, struct waiting **at)
{
    struct waiting *w = *at;
    *at = w->next;
    if (l->last == &w->next) {
        l->last = at;
    }
    l->n--;
}

/* The link that points at the job with this tag, or NULL. */
static struct waiting **find(struct line *l, const struct flow_client *client, uint64_t tag)
{
    for (struct waiting **at = &l->first; *at; at = &(*at)->next) {
        if ((*at)->job.tag == tag && (*at)->job.client == client) {
            return at;
        }
    }
    return NULL;
}

struct copy_engines *copy_new(struct fabric *f, uint32_t n_engines, sim_ns call_ns, struct arena *a)
{
    struct copy_engines *c = arena_alloc(a, sizeof *c);
    if (c) {
        *c = (struct copy_engines){.fabric = f, .arena = a, .call_ns = call_ns,
                                   .n_engines = n_engines > 0 ? n_engines : 1};
        for (int u = 0; u < COPY_URGENCIES; u++) {
            c->line[u].last = &c->line[u].first;
        }
    }
    return c;
}

static int start(struct copy_engines *c, sim_ns now, const struct copy_job *j, struct err *e)
{
    struct flow_spec s = {.path = j->route->path, .n_path = j->route->n_path, .bytes = j->bytes,
                          .weight = j->route->weight, .delay_ns = (sim_ns)j->calls * c->call_ns,
                          .tag = j->tag, .client = j->client};
    if (fabric_start_flow(c->fabric, now, &s) == FLOW_NONE) {
        return err_set(e, SIM_E_CONFIG, "the fabric cannot take a copy of %g bytes over %u links",
                       j->bytes, j->route->n_path);
    }
    c->n_running++;
    c->last = j->client;
    if (j->client && j->client->started) {
        j->client->started(j->client->ctx, now, j->tag);
    }
    return 0;
}

int copy_submit(struct copy_engines *c, sim_ns now, const struct copy_job *j, struct err *e)
{
    if (c->n_running < c->n_engines) {
        return start(c, now, j, e);
    }
    struct waiting *w = c->spare;
    if (w) {
        c->spare = w->next;
    } else if (!(w = arena_alloc(c->arena, sizeof *w))) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a copy");
    }
    w->job = *j;
    append(&c->line[j->urgency], w);
    return 0;
}

static void put_away(struct copy_engines *c, struct waiting *w)
{
    w->next = c->spare;
    c->spare = w;
}

/* The first in line of somebody else than last time, or just the first. */
static struct waiting **next_in(struct line *l, const struct flow_client *last)
{
    for (struct waiting **at = &l->first; *at; at = &(*at)->next) {
        if ((*at)->job.client != last) {
            return at;
        }
    }
    return &l->first;
}

int copy_ended(struct copy_engines *c, sim_ns now, struct err *e)
{
    c->n_running--;
    for (int u = 0; u < COPY_URGENCIES; u++) {
        struct waiting **at = next_in(&c->line[u], c->last);
        struct waiting *w = *at;
        if (w) {
            unlink_at(&c->line[u], at);
            put_away(c, w);
            return start(c, now, &w->job, e);
        }
    }
    return 0;
}

bool copy_hurry(struct copy_engines *c, const struct flow_client *client, uint64_t tag,
                enum copy_urgency urgency)
{
    for (int u = 0; u < COPY_URGENCIES; u++) {
        struct waiting **at = find(&c->line[u], client, tag);
        if (at) {
            struct waiting *w = *at;
            unlink_at(&c->line[u], at);
            w->job.urgency = urgency;
            append(&c->line[urgency], w);
            return true;
        }
    }
    return false;
}

bool copy_cancel(struct copy_engines *c, const struct flow_client *client, uint64_t tag)
{
    for (int u = 0; u < COPY_URGENCIES; u++) {
        struct waiting **at = find(&c->line[u], client, tag);
        if (at) {
            struct waiting *w = *at;
            unlink_at(&c->line[u], at);
            put_away(c, w);
            return true;
        }
    }
    return false;
}

uint32_t copy_waiting(const struct copy_engines *c)
{
    return c->line[COPY_URGENT].n + c->line[COPY_SPECULATIVE].n;
}

uint32_t copy_running(const struct copy_engines *c)
{
    return c->n_running;
}
