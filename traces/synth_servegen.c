/* SPDX-License-Identifier: Apache-2.0
 *
 * Load of many clients as ServeGen describes it (alibaba/ServeGen, Apache-2.0): for each client and window
 * of 600 s a mean rate and the spread of the gaps - Gamma with the window's CV or Weibull with its fitted
 * shape - and for each client the quantiles of its lengths. Inside a window gaps are a renewal process
 * that was under way before (the first gap is a remainder), so that the mean number of requests is the
 * window's rate times its length however bursty they come. */
#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "traces/dist.h"
#include "traces/gaps.h"
#include "traces/reader.h"
#include "traces/synth.h"

#define WINDOW_S  600.0
#define MOST_LEVELS 64

struct window {
    double start_s, rate, cv, shape;
    bool weibull;
};

struct sg_client {
    const char *name;
    struct window *window;
    size_t n_window, cap_window, at_window;
    double expected;      /* requests in the part of the trace that is played */
    struct dist *prompt, *output;
    uint64_t k;           /* requests drawn in the present window */
    double at_s;          /* of the pending request, trace time */
};

struct servegen {
    /* options */
    const char *windows_path, *quantiles_path;
    int64_t most_clients, requests;
    double start_s, duration_s, rate;
    /* state */
    struct sg_client *client;
    size_t n_client, cap_client;
    double speed; /* rates are multiplied by it */
    uint32_t *heap;
    uint32_t n_heap;
    uint64_t given;
    struct rng_stream gaps, prompts, outputs;
};

#define AT(field) offsetof(struct servegen, field)
static const struct opt_row servegen_options[] = {
    {"windows", OPT_STRING, AT(windows_path), 1, 0, NULL, "1",
     "CSV with client, t_s, rate, cv, dist (G or W), shape: a row for each window of 600 s", NULL},
    {"quantiles", OPT_STRING, AT(quantiles_path), 1, 0, NULL, "1",
     "CSV with client, field, mean, q0000 .. q1000: lengths by client", NULL},
    {"clients", OPT_INT, AT(most_clients), 0, 1e6, "0", "1",
     "only the clients with the most requests in this part (0 = all)", NULL},
    {"start", OPT_DOUBLE, AT(start_s), 0, 1e9, "0", "s", "where in the recording to begin", NULL},
    {"duration", OPT_DOUBLE, AT(duration_s), 1, 1e9, "3600", "s", "length of the trace", NULL},
    {"requests", OPT_INT, AT(requests), 0, 1e15, "0", "1", "end after this many requests (0 = do not)", NULL},
    {"rate", OPT_DOUBLE, AT(rate), 0, 1e9, "0", "1/s",
     "mean rate of all clients together; windows keep their proportions (0 = as recorded)", NULL},
    OPT_END,
};

/* ---- reading ---- */

struct table {
    struct trace_input *in;
    struct csv head, row;
    const char *path;
};

static int table_bad(const struct table *f, struct err *e, const char *why)
{
    return err_set(e, SIM_E_DATA, "%s:%llu: %s", f->path,
                   (unsigned long long)trace_input_line_number(f->in), why);
}

static int table_open(struct table *f, const char *path, const char *what, struct arena *a, struct err *e)
{
    char *line;
    size_t n;
    *f = (struct table){.path = path};
    if (!path) {
        return err_set(e, SIM_E_CONFIG, "synth:servegen: which file? %s=PATH is missing", what);
    }
    int rc = trace_input_open(&f->in, path, a, e);
    rc = rc == 0 ? trace_input_line(f->in, &line, &n, e) : rc;
    if (rc <= 0) {
        return rc < 0 ? rc : table_bad(f, e, "no header line");
    }
    char *copy = arena_strndup(a, line, n);
    return copy && csv_split(&f->head, copy) > 0 ? 0 : table_bad(f, e, "no header line");
}

static void table_close(struct table *f)
{
    if (f->in) {
        trace_input_close(f->in);
    }
    csv_release(&f->head);
    csv_release(&f->row);
}

/* 1, 0 at the end, < 0. */
static int table_next(struct table *f, struct err *e)
{
    char *line;
    size_t n;
    int rc;
    do {
        rc = trace_input_line(f->in, &line, &n, e);
    } while (rc == 1 && n == 0);
    if (rc == 1 && csv_split(&f->row, line) != (int)f->head.n) {
        return table_bad(f, e, "another number of fields than the header");
    }
    return rc;
}

static int need(const struct table *f, const char *const *names, int *ret, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        ret[i] = csv_find(&f->head, names[i]);
        if (ret[i] < 0) {
            return err_set(e, SIM_E_DATA, "%s:1: no column '%s'", f->path, names[i]);
        }
    }
    return 0;
}

static int number(const struct table *f, int col, double lo, double hi, double *ret, struct err *e)
{
    if (num_double(f->row.field[col], ret) != NUM_OK || !(*ret >= lo) || *ret > hi) {
        return err_set(e, SIM_E_DATA, "%s:%llu: column '%s': '%.40s' is not a number in %g..%g", f->path,
                       (unsigned long long)trace_input_line_number(f->in), f->head.field[col],
                       f->row.field[col], lo, hi);
    }
    return 0;
}

/* Rows of one client stand together; the last one is most likely meant. */
static struct sg_client *client_of(struct servegen *s, const char *name)
{
    for (size_t i = s->n_client; i-- > 0;) {
        if (strcmp(s->client[i].name, name) == 0) {
            return &s->client[i];
        }
    }
    return NULL;
}

static struct sg_client *client_add(struct servegen *s, const char *name, struct arena *a)
{
    struct sg_client *c = client_of(s, name);
    if (c) {
        return c;
    }
    if (s->n_client == s->cap_client) {
        size_t cap = s->cap_client ? 2 * s->cap_client : 64;
        struct sg_client *all = realloc(s->client, cap * sizeof(*all));
        if (!all) {
            return NULL;
        }
        s->client = all;
        s->cap_client = cap;
    }
    const char *own = arena_strdup(a, name);
    if (!own) {
        return NULL;
    }
    s->client[s->n_client] = (struct sg_client){.name = own};
    return &s->client[s->n_client++];
}

static int add_window(struct sg_client *c, const struct window *w)
{
    if (c->n_window == c->cap_window) {
        size_t cap = c->cap_window ? 2 * c->cap_window : 16;
        struct window *all = realloc(c->window, cap * sizeof(*all));
        if (!all) {
            return SIM_E_NOMEM;
        }
        c->window = all;
        c->cap_window = cap;
    }
    c->window[c->n_window++] = *w;
    return 0;
}

static int read_window(struct servegen *s, struct table *f, const int *col, struct arena *a, struct err *e)
{
    struct window w;
    if (number(f, col[1], 0, 1e9, &w.start_s, e) < 0 || number(f, col[2], 1e-9, 1e7, &w.rate, e) < 0 ||
        number(f, col[3], 0, 1e6, &w.cv, e) < 0 || number(f, col[5], 1e-3, 1e9, &w.shape, e) < 0) {
        return e->code;
    }
    const char *dist = f->row.field[col[4]];
    w.weibull = strcmp(dist, "W") == 0;
    if (!w.weibull && strcmp(dist, "G") != 0) {
        return table_bad(f, e, "column 'dist': neither G (Gamma) nor W (Weibull)");
    }
    if (w.start_s + WINDOW_S <= s->start_s || w.start_s >= s->start_s + s->duration_s) {
        return 0;
    }
    struct sg_client *c = client_add(s, f->row.field[col[0]], a);
    if (c && c->n_window > 0 && w.start_s < c->window[c->n_window - 1].start_s + WINDOW_S) {
        return table_bad(f, e, "the windows of a client overlap or go back in time");
    }
    return c && add_window(c, &w) == 0 ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for windows");
}

static int read_windows(struct servegen *s, struct arena *a, struct err *e)
{
    static const char *const names[] = {"client", "t_s", "rate", "cv", "dist", "shape"};
    struct table f;
    int col[6], more;
    int rc = table_open(&f, s->windows_path, "windows", a, e);
    rc = rc == 0 ? need(&f, names, col, 6, e) : rc;
    while (rc == 0 && (more = table_next(&f, e)) != 0) {
        rc = more < 0 ? more : read_window(s, &f, col, a, e);
    }
    table_close(&f);
    return rc;
}

static int read_lengths(struct servegen *s, struct table *f, const int *col, struct arena *a, struct err *e)
{
    const char *field = f->row.field[col[1]];
    bool out = strcmp(field, "output_tokens") == 0;
    bool in = strcmp(field, "input_tokens") == 0 || strcmp(field, "text_tokens") == 0;
    struct sg_client *c = in || out ? client_of(s, f->row.field[col[0]]) : NULL;
    double p[MOST_LEVELS], x[MOST_LEVELS], mean;
    size_t n = 0;
    if (!c) {
        return 0;
    }
    for (size_t i = 0; i < f->head.n && n < MOST_LEVELS; i++) {
        uint64_t level;
        const char *name = f->head.field[i];
        if (name[0] != 'q' || num_uint(name + 1, 1000, &level) != NUM_OK) {
            continue;
        }
        if (number(f, (int)i, 0, 1 << 30, &x[n], e) < 0) {
            return e->code;
        }
        p[n++] = (double)level / 1000;
    }
    if (number(f, col[2], 0, 1 << 30, &mean, e) < 0) {
        return e->code;
    }
    struct dist **to = out ? &c->output : &c->prompt;
    int rc = dist_quantiles(to, p, x, n, mean, a, e);
    return rc == 0 ? 0 : err_wrap(e, "%s:%llu: ", f->path, (unsigned long long)trace_input_line_number(f->in));
}

static int read_quantiles(struct servegen *s, struct arena *a, struct err *e)
{
    static const char *const names[] = {"client", "field", "mean"};
    struct table f;
    int col[3], more;
    int rc = table_open(&f, s->quantiles_path, "quantiles", a, e);
    rc = rc == 0 ? need(&f, names, col, 3, e) : rc;
    while (rc == 0 && (more = table_next(&f, e)) != 0) {
        rc = more < 0 ? more : read_lengths(s, &f, col, a, e);
    }
    table_close(&f);
    return rc;
}

/* ---- which clients ---- */

/* The part of window w that is played. */
static double begin_of(const struct servegen *s, const struct window *w)
{
    return fmax(w->start_s, s->start_s);
}

static double end_of(const struct servegen *s, const struct window *w)
{
    return fmin(w->start_s + WINDOW_S, s->start_s + s->duration_s);
}

static void expect_requests(struct servegen *s)
{
    for (size_t i = 0; i < s->n_client; i++) {
        struct sg_client *c = &s->client[i];
        for (size_t k = 0; k < c->n_window; k++) {
            c->expected += c->window[k].rate * (end_of(s, &c->window[k]) - begin_of(s, &c->window[k]));
        }
    }
}

static double quietest_kept(const struct servegen *s)
{
    double level = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->n_client; i++) { /* the most_clients-th largest */
        size_t above = 0;
        for (size_t k = 0; k < s->n_client; k++) {
            above += s->client[k].expected > s->client[i].expected ||
                     (s->client[k].expected == s->client[i].expected && k < i);
        }
        if (above < (size_t)s->most_clients) {
            level = n++ == 0 ? s->client[i].expected : fmin(level, s->client[i].expected);
        }
    }
    return level;
}

static void drop_client(struct sg_client *c)
{
    free(c->window);
    *c = (struct sg_client){.name = NULL};
}

/* Clients whose lengths nobody knows are left out, then all but the busiest. */
static void choose_clients(struct servegen *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_client; i++) {
        if (s->client[i].prompt && s->client[i].output) {
            s->client[n++] = s->client[i];
        } else {
            drop_client(&s->client[i]);
        }
    }
    s->n_client = n;
    double least = s->most_clients > 0 ? quietest_kept(s) : 0;
    n = 0;
    for (size_t i = 0; i < s->n_client; i++) {
        bool keep = s->most_clients == 0 || (s->client[i].expected >= least && n < (size_t)s->most_clients);
        if (keep) {
            s->client[n++] = s->client[i];
        } else {
            drop_client(&s->client[i]);
        }
    }
    s->n_client = n;
}

static void set_speed(struct servegen *s)
{
    double all = 0;
    for (size_t i = 0; i < s->n_client; i++) {
        all += s->client[i].expected;
    }
    s->speed = s->rate > 0 && all > 0 ? s->rate * s->duration_s / all : 1;
}

/* ---- arrivals ---- */

static double gamma_shape(const struct window *w)
{
    return fmin(fmax(1 / (w->cv * w->cv), 1e-4), 1e6);
}

/* A gap of mean 1. */
static double whole_gap(const struct window *w, double u)
{
    if (w->weibull) {
        return pow(-log1p(-u), 1 / w->shape) / gsl_sf_gamma(1 + 1 / w->shape);
    }
    return gamma_inverse(u, gamma_shape(w)) / gamma_shape(w);
}

/* What is left of the gap in which a window begins: such gaps are found in proportion to their length
 * (Gamma: one more in the shape; Weibull: x^k is Gamma of shape 1 + 1/k), and cut anywhere. */
static double left_of_gap(const struct window *w, double u, double cut)
{
    if (w->weibull) {
        double x = pow(gamma_inverse(u, 1 + 1 / w->shape), 1 / w->shape);
        return cut * x / gsl_sf_gamma(1 + 1 / w->shape);
    }
    return cut * gamma_inverse(u, gamma_shape(w) + 1) / gamma_shape(w);
}

static uint64_t entity(const struct servegen *s, const struct sg_client *c)
{
    uint64_t window = (uint64_t)(c->window[c->at_window].start_s / WINDOW_S);
    return (uint64_t)(c - s->client) << 48 | window << 26 | c->k;
}

/* To the next request of the client; false = it has no more. */
static bool advance(const struct servegen *s, struct sg_client *c)
{
    while (c->at_window < c->n_window) {
        const struct window *w = &c->window[c->at_window];
        uint64_t id = entity(s, c);
        double u = rng_uniform(s->gaps, id, 0), rate = w->rate * s->speed;
        double gap = c->k == 0 ? left_of_gap(w, u, rng_uniform(s->gaps, id, 1)) : whole_gap(w, u);
        c->at_s = (c->k == 0 ? begin_of(s, w) : c->at_s) + gap / rate;
        if (c->at_s < end_of(s, w)) {
            c->k++;
            return true;
        }
        c->at_window++;
        c->k = 0;
    }
    return false;
}

static bool before(const struct servegen *s, uint32_t a, uint32_t b)
{
    double x = s->client[a].at_s, y = s->client[b].at_s;
    return x < y || (x == y && a < b);
}

static void sift_down(struct servegen *s, uint32_t i)
{
    for (;;) {
        uint32_t least = i, l = 2 * i + 1, r = 2 * i + 2;
        least = l < s->n_heap && before(s, s->heap[l], s->heap[least]) ? l : least;
        least = r < s->n_heap && before(s, s->heap[r], s->heap[least]) ? r : least;
        if (least == i) {
            return;
        }
        uint32_t swap = s->heap[i];
        s->heap[i] = s->heap[least];
        s->heap[least] = swap;
        i = least;
    }
}

static int start(struct servegen *s, struct trace *t, struct err *e)
{
    s->gaps = rng_stream(trace_seed(t), trace_replication(t), "servegen-gaps");
    s->prompts = rng_stream(trace_seed(t), trace_replication(t), "prompt");
    s->outputs = rng_stream(trace_seed(t), trace_replication(t), "output");
    s->heap = arena_calloc(trace_arena(t), s->n_client + 1, sizeof(*s->heap));
    if (!s->heap) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < s->n_client; i++) {
        uint32_t id;
        int rc = trace_client_id(t, s->client[i].name, strlen(s->client[i].name), &id, e);
        if (rc < 0) {
            return rc;
        }
        if (advance(s, &s->client[i])) {
            s->heap[s->n_heap++] = (uint32_t)i;
        }
    }
    for (uint32_t i = s->n_heap; i-- > 0;) {
        sift_down(s, i);
    }
    return 0;
}

static int servegen_open(void *state, struct trace *t, struct err *e)
{
    struct servegen *s = state;
    struct arena *a = trace_arena(t);
    if (read_windows(s, a, e) < 0 || read_quantiles(s, a, e) < 0) {
        return e->code;
    }
    expect_requests(s);
    choose_clients(s);
    if (s->n_client == 0) {
        return err_set(e, SIM_E_DATA, "%s: no client with known lengths has requests between %g and %g s",
                       s->windows_path, s->start_s, s->start_s + s->duration_s);
    }
    set_speed(s);
    return start(s, t, e);
}

static int servegen_next(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct servegen *s = state;
    (void)t;
    (void)e;
    if (s->n_heap == 0 || (s->requests > 0 && s->given == (uint64_t)s->requests)) {
        return 0;
    }
    s->given++;
    struct sg_client *c = &s->client[s->heap[0]];
    uint64_t id = entity(s, c);
    arrival_init(a);
    a->time_ns = (sim_ns)llround((c->at_s - s->start_s) * 1e9);
    a->client = s->heap[0];
    a->prompt_tok = dist_draw(c->prompt, rng_uniform(s->prompts, id, 0));
    a->output_tok = dist_draw(c->output, rng_uniform(s->outputs, id, 0));
    if (!advance(s, c)) {
        s->heap[0] = s->heap[--s->n_heap];
    }
    sift_down(s, 0);
    return 1;
}

static void servegen_close(void *state)
{
    struct servegen *s = state;
    for (size_t i = 0; i < s->n_client; i++) {
        free(s->client[i].window);
    }
    free(s->client);
}

const struct synth_kind synth_servegen = {
    .name = "servegen",
    .state_size = sizeof(struct servegen),
    .options = servegen_options,
    .open = servegen_open,
    .next = servegen_next,
    .close = servegen_close,
};
