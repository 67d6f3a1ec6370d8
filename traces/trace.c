/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/trace.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/names.h"
#include "traces/reader.h"
#include "traces/store.h"

#define SYNTH_PREFIX "synth:"
#define TOK_MAX      (1u << 30)
#define TIME_MAX_NS  ((sim_ns)3155760000000000000) /* 100 years */

struct trace {
    struct arena arena;
    const char *path;
    const struct trace_ops *ops;
    void *state;
    struct trace_input *in;
    /* The last stage of reader -> sort -> spread; each stage calls the one before. */
    int (*pull)(struct trace *t, struct arrival *a, struct err *e);
    sim_ns last_ns;
    uint64_t count;
    uint64_t left_out;
    uint64_t total;
    uint64_t seed;
    uint32_t rep;
    unsigned caps;
    struct names clients, sessions;
    bool unsorted, opened;
    struct store sorted;
    size_t sorted_pos;
    sim_ns spread_ns;
    int (*spread_from)(struct trace *t, struct arrival *a, struct err *e);
    struct store tick, ahead; /* requests of one tick; the first of the next */
    size_t tick_pos;
};

/* ---- what readers call ---- */

struct arena *trace_arena(struct trace *t)
{
    return &t->arena;
}

void trace_leave_out(struct trace *t)
{
    t->left_out++;
}

uint64_t trace_left_out(const struct trace *t)
{
    return t->left_out;
}

const char *trace_path(const struct trace *t)
{
    return t->path;
}

bool trace_is_file(const struct trace *t)
{
    return t->in && trace_input_is_file(t->in);
}

struct trace_input *trace_input_of(struct trace *t)
{
    return t->in;
}

uint64_t trace_seed(const struct trace *t)
{
    return t->seed;
}

uint32_t trace_replication(const struct trace *t)
{
    return t->rep;
}

int trace_line(struct trace *t, char **ret, size_t *ret_n, struct err *e)
{
    int rc;
    do {
        rc = trace_input_line(t->in, ret, ret_n, e);
    } while (rc == 1 && strspn(*ret, " \t") == *ret_n);
    return rc;
}

static const char *place(const struct trace *t, char *buf, size_t size)
{
    uint64_t line = t->in ? trace_input_line_number(t->in) : 0;
    if (line == 0) {
        snprintf(buf, size, "%s", t->path);
    } else {
        snprintf(buf, size, "%s:%llu", t->path, (unsigned long long)line);
    }
    return buf;
}

int trace_bad(const struct trace *t, struct err *e, const char *fmt, ...)
{
    char at[512], text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(e, SIM_E_DATA, "%s: %s", place(t, at, sizeof(at)), text);
}

int trace_bad_number(const struct trace *t, const char *column, const char *text, enum num_fault f,
                     struct err *e)
{
    return trace_bad(t, e, "column '%.60s': '%.60s' %s", column, text, num_fault_text(f));
}

int trace_bad_json(const struct trace *t, const struct jscan *s, struct err *e)
{
    size_t line, column;
    jscan_place(s, &line, &column);
    uint64_t read = t->in ? trace_input_line_number(t->in) : 0;
    return err_set(e, SIM_E_DATA, "%s:%llu:%zu: %s", t->path,
                   (unsigned long long)(read ? read : line), column, s->fault ? s->fault : "not JSON");
}

int trace_client_id(struct trace *t, const char *name, size_t len, uint32_t *ret, struct err *e)
{
    *ret = names_id(&t->clients, name, len);
    return *ret != NAMES_FULL ? 0 : err_set(e, SIM_E_NOMEM, "%s: too many clients", t->path);
}

int trace_session_id(struct trace *t, const char *name, size_t len, uint64_t *ret, struct err *e)
{
    if (len == 0) {
        *ret = 0;
        return 0;
    }
    uint32_t id = names_id(&t->sessions, name, len);
    *ret = (uint64_t)id + 1;
    return id != NAMES_FULL ? 0 : err_set(e, SIM_E_NOMEM, "%s: too many sessions", t->path);
}

void trace_set_caps(struct trace *t, unsigned caps)
{
    t->caps = caps;
}

void trace_set_total(struct trace *t, uint64_t total)
{
    t->total = total;
}

void trace_set_unsorted(struct trace *t)
{
    t->unsorted = true;
}

void trace_set_spread(struct trace *t, sim_ns width_ns)
{
    t->spread_ns = width_ns;
}

/* ---- the stages ---- */

static int no_memory(const struct trace *t, struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "%s: out of memory", t->path);
}

static int bad_arrival(const struct trace *t, const struct arrival *a, struct err *e)
{
    if (a->time_ns < 0) {
        return trace_bad(t, e, "the arrival time %.9g s is negative", (double)a->time_ns * 1e-9);
    }
    if (a->time_ns > TIME_MAX_NS) {
        return trace_bad(t, e, "the arrival time %.9g s is beyond 100 years", (double)a->time_ns * 1e-9);
    }
    if (a->prompt_tok == 0 || a->output_tok == 0) {
        return trace_bad(t, e, "a request with 0 %s tokens", a->prompt_tok == 0 ? "prompt" : "output");
    }
    if (a->prompt_tok > TOK_MAX || a->output_tok > TOK_MAX) {
        return trace_bad(t, e, "a request with %u prompt and %u output tokens: at most 2^30 of each",
                         a->prompt_tok, a->output_tok);
    }
    if (a->measured_e2e_s < a->measured_ttft_s) {
        return trace_bad(t, e, "measured: the request ended after %.9g s, before its first token after %.9g s",
                         a->measured_e2e_s, a->measured_ttft_s);
    }
    if (a->n_hash > 0 && a->hash_tok == 0) {
        return trace_bad(t, e, "prefix ids without the number of tokens that one stands for");
    }
    return trace_bad(t, e, "client %u has no name", a->client);
}

static inline bool arrival_fits(const struct trace *t, const struct arrival *a)
{
    return (uint64_t)a->time_ns <= (uint64_t)TIME_MAX_NS && a->prompt_tok - 1 < TOK_MAX &&
           a->output_tok - 1 < TOK_MAX && (a->n_hash == 0 || a->hash_tok > 0) &&
           !(a->measured_e2e_s < a->measured_ttft_s) && (a->client == 0 || a->client < t->clients.n);
}

static int out_of_order(const struct trace *t, const struct arrival *a, struct err *e)
{
    bool can_sort = t->ops->options && opt_find(t->ops->options, "unsorted");
    return trace_bad(t, e, "the arrival at %.9g s comes after one at %.9g s%s%s%s",
                     (double)a->time_ns * 1e-9, (double)t->last_ns * 1e-9,
                     can_sort ? "; to sort first, give the format " : "", can_sort ? t->ops->name : "",
                     can_sort ? "{unsorted=on}" : "");
}

static int pull_reader(struct trace *t, struct arrival *a, struct err *e)
{
    int rc = t->ops->next(t->state, t, a, e);
    if (rc <= 0) {
        return rc;
    }
    if (!arrival_fits(t, a)) {
        return bad_arrival(t, a, e);
    }
    if (a->time_ns < t->last_ns && !t->unsorted) {
        return out_of_order(t, a, e);
    }
    t->last_ns = a->time_ns;
    return 1;
}

static int pull_sorted(struct trace *t, struct arrival *a, struct err *e)
{
    if (t->sorted_pos == t->sorted.n) {
        return 0;
    }
    return store_get(&t->sorted, t->sorted_pos++, a) ? 1 : no_memory(t, e);
}

/* Client ids in order of first appearance in the sorted trace. */
static int renumber_clients(struct trace *t, struct err *e)
{
    uint32_t n = t->clients.n, next = 0;
    uint32_t *to = malloc((n ? n : 1) * sizeof(*to));
    if (!to) {
        return no_memory(t, e);
    }
    memset(to, 0xff, (n ? n : 1) * sizeof(*to));
    for (size_t i = 0; n > 0 && i < t->sorted.n; i++) {
        uint32_t *c = &t->sorted.row[i].a.client;
        if (to[*c] == UINT32_MAX) {
            to[*c] = next++;
        }
        *c = to[*c];
    }
    for (uint32_t i = 0; i < n; i++) {
        to[i] = to[i] == UINT32_MAX ? next++ : to[i];
    }
    bool ok = names_renumber(&t->clients, to);
    free(to);
    return ok ? 0 : no_memory(t, e);
}

static int fill_sorted(struct trace *t, struct err *e)
{
    struct arrival a;
    int rc;
    while ((rc = pull_reader(t, &a, e)) == 1) {
        if (!store_push(&t->sorted, &a)) {
            return no_memory(t, e);
        }
    }
    if (rc == 0 && !store_sort(&t->sorted)) {
        return no_memory(t, e);
    }
    t->total = t->sorted.n;
    t->pull = pull_sorted;
    if (rc == 0) {
        rc = renumber_clients(t, e);
    }
    return rc == 0 && t->ops->sorted ? t->ops->sorted(t->state, t, &t->sorted, e) : rc;
}

static int fill_tick(struct trace *t, struct err *e)
{
    struct store swap = t->tick;
    struct arrival a;
    int rc;
    t->tick = t->ahead;
    t->ahead = swap;
    store_clear(&t->ahead);
    t->tick_pos = 0;
    while ((rc = t->spread_from(t, &a, e)) == 1) {
        bool same = t->tick.n == 0 || t->tick.row[0].a.time_ns == a.time_ns;
        if (!store_push(same ? &t->tick : &t->ahead, &a)) {
            return no_memory(t, e);
        }
        if (!same) {
            break;
        }
    }
    return rc;
}

/* The k-th of n requests of a tick comes width*k/n later; a tick never reaches into the next one. */
static int pull_spread(struct trace *t, struct arrival *a, struct err *e)
{
    if (t->tick_pos == t->tick.n) {
        int rc = fill_tick(t, e);
        if (rc < 0 || t->tick.n == 0) {
            return rc;
        }
    }
    sim_ns width = t->spread_ns;
    sim_ns start = t->tick.row[0].a.time_ns;
    if (t->ahead.n > 0 && t->ahead.row[0].a.time_ns - start < width) {
        width = t->ahead.row[0].a.time_ns - start;
    }
    sim_ns shift = (sim_ns)((sim_wide)width * (sim_wide)t->tick_pos / (sim_wide)t->tick.n);
    if (!store_get(&t->tick, t->tick_pos++, a)) {
        return no_memory(t, e);
    }
    a->time_ns += shift;
    return 1;
}

static void empty_tick(struct trace *t)
{
    store_clear(&t->tick);
    t->tick_pos = 0;
}

static int start_stages(struct trace *t, struct err *e)
{
    int rc = t->unsorted ? fill_sorted(t, e) : 0;
    if (t->spread_ns > 0) {
        t->spread_from = t->pull;
        t->pull = pull_spread;
        empty_tick(t);
    }
    return rc;
}

/* ---- opening ---- */

static int known_formats(const char **names, int max)
{
    int n = 0;
    for (; trace_formats[n] && n < max; n++) {
        names[n] = trace_formats[n]->name;
    }
    return n;
}

static int find_format(struct trace *t, const char *spec, struct err *e)
{
    const char *names[32];
    const char *name = opt_spec_name(spec, &t->arena);
    if (!name) {
        return no_memory(t, e);
    }
    t->ops = trace_format_find(name);
    if (t->ops) {
        return 0;
    }
    int n = known_formats(names, 32);
    const char *near = text_nearest(name, names, (size_t)n);
    if (near) {
        return err_set(e, SIM_E_CONFIG, "'%s' is not a trace format; did you mean '%s'?", name, near);
    }
    return err_set(e, SIM_E_CONFIG, "'%s' is not a trace format; `steelyard list traces` names them",
                   name);
}

/* The first line for a message: printable, cut. */
static const char *first_line(const char *head, char buf[80])
{
    size_t i = 0;
    for (; i < 72 && head[i] && head[i] != '\n' && head[i] != '\r'; i++) {
        buf[i] = isprint((unsigned char)head[i]) ? head[i] : '?';
    }
    strcpy(buf + i, i == 72 ? "..." : "");
    return buf;
}

static int probe_format(struct trace *t, struct err *e)
{
    char head[TRACE_HEAD_MAX + 1], line[80];
    size_t n;
    int best = 0;
    int rc = trace_input_head(t->in, head, &n, e);
    if (rc < 0) {
        return rc;
    }
    if (n == 0) {
        return err_set(e, SIM_E_DATA, "%s: the file is empty", t->path);
    }
    for (size_t i = 0; trace_formats[i]; i++) {
        int sure = trace_formats[i]->probe ? trace_formats[i]->probe(head, n) : 0;
        if (sure > best) {
            best = sure;
            t->ops = trace_formats[i];
        }
    }
    if (best == 0) {
        return err_set(e, SIM_E_DATA, "%s: not a trace format that I know (it begins with '%s'); "
                       "name one with trace.format", t->path, first_line(head, line));
    }
    return 0;
}

bool trace_format_known(const char *head, size_t n)
{
    for (size_t i = 0; trace_formats[i]; i++) {
        if (trace_formats[i]->probe && trace_formats[i]->probe(head, n) > 0) {
            return true;
        }
    }
    return false;
}

static bool wants_probe(const char *format)
{
    return !format || format[0] == '\0' || strcmp(format, "auto") == 0;
}

static int open_reader(struct trace *t, const char *spec, struct err *e)
{
    int rc = wants_probe(spec) ? probe_format(t, e) : find_format(t, spec, e);
    if (rc < 0) {
        return rc;
    }
    t->state = arena_alloc(&t->arena, t->ops->state_size);
    if (!t->state) {
        return no_memory(t, e);
    }
    static const struct opt_row none[] = {OPT_END};
    rc = opt_spec_apply(wants_probe(spec) ? t->ops->name : spec, t->ops->options ? t->ops->options : none,
                        t->state, &t->arena, e);
    if (rc < 0) {
        return rc;
    }
    t->opened = true;
    t->caps = TRACE_ARRIVALS | TRACE_OUTPUT;
    rc = t->ops->open(t->state, t, e);
    return rc < 0 ? rc : start_stages(t, e);
}

static struct trace *new_trace(const char *path, uint64_t seed, uint32_t rep, struct err *e)
{
    struct trace *t = calloc(1, sizeof(*t));
    if (!t) {
        err_set(e, SIM_E_NOMEM, "%s: out of memory", path);
        return NULL;
    }
    arena_init(&t->arena);
    t->path = strcmp(path, "-") == 0 ? "<stdin>" : arena_strdup(&t->arena, path);
    t->seed = seed;
    t->rep = rep;
    t->pull = pull_reader;
    return t;
}

static int finish_open(struct trace *t, int rc, struct trace **ret)
{
    if (rc < 0) {
        trace_close(t);
        return rc;
    }
    *ret = t;
    return 0;
}

int trace_open(struct trace **ret, const char *path, const char *format, uint64_t seed, uint32_t rep,
               struct err *e)
{
    *ret = NULL;
    struct trace *t = new_trace(path, seed, rep, e);
    if (!t) {
        return SIM_E_NOMEM;
    }
    if (strncmp(path, SYNTH_PREFIX, strlen(SYNTH_PREFIX)) == 0) {
        return finish_open(t, open_reader(t, "synth", e), ret);
    }
    int rc = trace_input_open(&t->in, path, &t->arena, e);
    return finish_open(t, rc < 0 ? rc : open_reader(t, format, e), ret);
}

int trace_open_memory(struct trace **ret, const void *data, size_t size, const char *name,
                      const char *format, uint64_t seed, uint32_t rep, struct err *e)
{
    *ret = NULL;
    struct trace *t = new_trace(name, seed, rep, e);
    if (!t) {
        return SIM_E_NOMEM;
    }
    int rc = trace_input_open_memory(&t->in, data, size, name, &t->arena, e);
    return finish_open(t, rc < 0 ? rc : open_reader(t, format, e), ret);
}

int trace_next(struct trace *t, struct arrival *a, struct err *e)
{
    int rc = t->pull(t, a, e);
    if (rc == 1) {
        t->count++;
        return 1;
    }
    if (rc == 0 && t->count == 0) {
        return err_set(e, SIM_E_DATA, "%s: the trace holds no request", t->path);
    }
    return rc;
}

void trace_close(struct trace *t)
{
    if (!t) {
        return;
    }
    if (t->opened && t->ops->close) {
        t->ops->close(t->state);
    }
    trace_input_close(t->in);
    store_release(&t->sorted);
    store_release(&t->tick);
    store_release(&t->ahead);
    names_release(&t->clients);
    names_release(&t->sessions);
    arena_release(&t->arena);
    free(t);
}

unsigned trace_caps(const struct trace *t)
{
    return t->caps;
}

const char *trace_format_name(const struct trace *t)
{
    return t->ops->name;
}

uint32_t trace_clients(const struct trace *t)
{
    return t->clients.n ? t->clients.n : 1;
}

const char *trace_client_name(const struct trace *t, uint32_t client)
{
    return client < t->clients.n ? t->clients.name[client] : "0";
}

uint64_t trace_total(const struct trace *t)
{
    return t->total;
}

double trace_progress(const struct trace *t)
{
    if (t->total > 0) {
        return (double)t->count / (double)t->total;
    }
    return t->in ? trace_input_progress(t->in) : -1;
}
