/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines are linked lists: tuned for tens of jobs (experts of a layer, blocks of a swap). */
#include "sim/fabric/copy.h"

struct waiting {
    struct copy_job job;
    bool begun; /* a part of it has been copied */
    bool of_first; /* client */
    struct waiting *next;
};

struct line {
    struct waiting *first, **last;
    uint32_t n, n_first; /* jobs; of the engine's first client */
};

struct copy_engines {
    struct fabric *fabric;
    struct arena *arena;
    uint32_t n_engines, n_running;
    sim_ns call_ns;
    struct line line[COPY_URGENCIES];
    struct waiting *spare;
    const struct flow_client *last; /* whose job was taken last */
    const struct flow_client *first, *second;
    bool begun, several, many;      /* there was a job; jobs were of more than one client, of more than two */
    struct waiting **rest;          /* with turns, by engine: what follows the part that it is at; else NULL */
    struct flow_client own;         /* hears of parts */
};

static void append(struct line *l, struct waiting *w)
{
    w->next = NULL;
    *l->last = w;
    l->last = &w->next;
    l->n++;
    l->n_first += w->of_first;
}

static void unlink_at(struct line *l, struct waiting **at)
{
    struct waiting *w = *at;
    *at = w->next;
    if (l->last == &w->next) {
        l->last = at;
    }
    l->n--;
    l->n_first -= w->of_first;
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

static void tell_started(struct copy_engines *c, sim_ns now, const struct waiting *w)
{
    c->last = w->job.client;
    if (!w->begun && w->job.client && w->job.client->started) {
        w->job.client->started(w->job.client->ctx, now, w->job.tag);
    }
}

static int start_flow(struct copy_engines *c, sim_ns now, const struct copy_job *j, struct err *e)
{
    struct flow_spec s = {.path = j->route->path, .n_path = j->route->n_path, .bytes = j->bytes,
                          .weight = j->route->weight, .delay_ns = (sim_ns)j->calls * c->call_ns,
                          .tag = j->tag, .client = j->client, .source = j->route->source,
                          .sink = j->route->sink};
    if (fabric_start_flow(c->fabric, now, &s) == FLOW_NONE) {
        return err_set(e, SIM_E_CONFIG, "the fabric cannot take a copy of %g bytes over %u links",
                       j->bytes, j->route->n_path);
    }
    c->n_running++;
    return 0;
}

/* ---- turns ---- */

/* Calls that fit into a turn, at least one, when the link is its own. */
static uint32_t calls_of_turn(const struct copy_engines *c, const struct copy_job *j)
{
    double one = (double)c->call_ns + j->bytes / j->calls / j->route->bytes_per_s * 1e9;
    double n = one > 0 ? COPY_TURN_NS / one : j->calls;
    return n >= j->calls ? j->calls : n < 1 ? 1 : (uint32_t)n;
}

static uint32_t free_engine(const struct copy_engines *c)
{
    uint32_t i = 0;
    while (c->rest[i]) {
        i++;
    }
    return i;
}

static struct waiting *take_spare(struct copy_engines *c)
{
    struct waiting *w = c->spare;
    if (w) {
        c->spare = w->next;
        return w;
    }
    return arena_alloc(c->arena, sizeof *w);
}

static void put_away(struct copy_engines *c, struct waiting *w)
{
    w->next = c->spare;
    c->spare = w;
}

/* The first calls of a job; the others follow when they have ended. */
static int start_part(struct copy_engines *c, sim_ns now, const struct waiting *w, uint32_t calls, struct err *e)
{
    struct waiting *rest = take_spare(c);
    struct copy_job part = w->job;
    uint32_t at = free_engine(c);
    if (!rest) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a copy");
    }
    part.bytes = w->job.bytes * calls / w->job.calls;
    part.calls = calls;
    part.client = &c->own;
    part.tag = at;
    *rest = *w;
    rest->begun = true;
    rest->job.bytes -= part.bytes;
    rest->job.calls -= calls;
    c->rest[at] = rest;
    return start_flow(c, now, &part, e);
}

static int start(struct copy_engines *c, sim_ns now, const struct waiting *w, struct err *e)
{
    uint32_t calls = c->rest && c->several && w->job.calls > 1 ? calls_of_turn(c, &w->job) : w->job.calls;
    int rc = calls < w->job.calls ? start_part(c, now, w, calls, e) : start_flow(c, now, &w->job, e);
    if (rc == 0) {
        tell_started(c, now, w);
    }
    return rc;
}

/* ---- lines ---- */

int copy_submit(struct copy_engines *c, sim_ns now, const struct copy_job *j, struct err *e)
{
    c->first = c->begun ? c->first : j->client;
    c->begun = true;
    c->many = c->many || (c->several && j->client != c->first && j->client != c->second);
    c->second = c->several || j->client == c->first ? c->second : j->client;
    c->several = c->several || j->client != c->first;
    if (c->n_running < c->n_engines) {
        return start(c, now, &(struct waiting){.job = *j, .of_first = j->client == c->first}, e);
    }
    struct waiting *w = take_spare(c);
    if (!w) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a copy");
    }
    *w = (struct waiting){.job = *j, .of_first = j->client == c->first};
    append(&c->line[j->urgency], w);
    return 0;
}

/* Nobody else than the client of last time is in line: lines of one client may be thousands of jobs long. */
static bool is_alone(const struct copy_engines *c, const struct line *l)
{
    return !c->several || (!c->many && l->n_first == (c->last == c->first ? l->n : 0));
}

/* The first in line of somebody else than last time, or just the first. */
static struct waiting **next_in(const struct copy_engines *c, struct line *l)
{
    for (struct waiting **at = &l->first; *at && !is_alone(c, l); at = &(*at)->next) {
        if ((*at)->job.client != c->last) {
            return at;
        }
    }
    return &l->first;
}

int copy_ended(struct copy_engines *c, sim_ns now, struct err *e)
{
    c->n_running--;
    for (int u = 0; u < COPY_URGENCIES; u++) {
        struct waiting **at = next_in(c, &c->line[u]);
        struct waiting *w = *at;
        if (w) {
            unlink_at(&c->line[u], at);
            int rc = start(c, now, w, e);
            put_away(c, w);
            return rc;
        }
    }
    return 0;
}

/* What is left goes to the front of its line: behind it wait later jobs of its client, and others' turn comes
 * first anyway. */
static int part_ended(void *ctx, sim_ns now, uint64_t at, struct err *e)
{
    struct copy_engines *c = ctx;
    struct waiting *w = c->rest[at];
    struct line *l = &c->line[w->job.urgency];
    c->rest[at] = NULL;
    w->next = l->first;
    l->last = l->first ? l->last : &w->next;
    l->first = w;
    l->n++;
    l->n_first += w->of_first;
    return copy_ended(c, now, e);
}

int copy_take_turns(struct copy_engines *c, struct err *e)
{
    c->own = (struct flow_client){.ended = part_ended, .ctx = c};
    c->rest = c->rest ? c->rest : arena_calloc(c->arena, c->n_engines, sizeof *c->rest);
    return c->rest ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for copy engines");
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
