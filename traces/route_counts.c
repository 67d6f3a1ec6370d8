/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts of experts, of pairs of them, or their order alone. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "traces/route_file.h"

#define ROWS_MAX  ((size_t)1 << 26)
#define TABLE_MAX ((size_t)1 << 27) /* numbers in the tables: 1 GiB */

struct count_row {
    uint32_t layer, expert, peer;
    double value; /* count or rank */
};

struct counting {
    struct route_file *f;
    int col_layer, col_expert, col_peer, col_count, col_rank;
    struct count_row *row;
    size_t n, cap;
    uint32_t first_layer, last_layer, experts;
};

static int read_value(const struct counting *c, double *ret, struct err *e)
{
    int column = c->col_count >= 0 ? c->col_count : c->col_rank;
    enum num_fault fault = num_double(route_file_text(c->f, column), ret);
    if (fault == NUM_OK && *ret < 0) {
        fault = NUM_NEGATIVE;
    }
    if (fault == NUM_OK && *ret > 1e15) {
        fault = NUM_RANGE;
    }
    return fault == NUM_OK ? 0
                           : route_file_bad(c->f, e, "column '%.40s': '%.60s' %s", c->f->head.field[column],
                                            route_file_text(c->f, column), num_fault_text(fault));
}

static int read_row(struct counting *c, struct count_row *r, struct err *e)
{
    uint64_t layer, expert, peer = 0;
    int rc = route_file_uint(c->f, c->col_layer, ROUTE_LAYERS_MAX, &layer, e);
    rc = rc == 0 ? route_file_uint(c->f, c->col_expert, ROUTE_EXPERTS_MAX - 1, &expert, e) : rc;
    rc = rc == 0 && c->col_peer >= 0 ? route_file_uint(c->f, c->col_peer, ROUTE_EXPERTS_MAX - 1, &peer, e) : rc;
    rc = rc == 0 ? read_value(c, &r->value, e) : rc;
    if (rc < 0) {
        return rc;
    }
    if (c->col_peer >= 0 && peer == expert) {
        return route_file_bad(c->f, e, "expert %u as its own peer", (unsigned)expert);
    }
    r->layer = (uint32_t)layer;
    r->expert = (uint32_t)expert;
    r->peer = (uint32_t)peer;
    return 0;
}

static int push(struct counting *c, const struct count_row *r, struct err *e)
{
    uint32_t most = r->expert > r->peer ? r->expert : r->peer;
    if (c->n == ROWS_MAX) {
        return route_file_bad(c->f, e, "more than %zu rows", ROWS_MAX);
    }
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 256;
        struct count_row *more = reallocarray(c->row, cap, sizeof(*more));
        if (!more) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        c->row = more;
        c->cap = cap;
    }
    c->first_layer = c->n == 0 || r->layer < c->first_layer ? r->layer : c->first_layer;
    c->last_layer = r->layer > c->last_layer ? r->layer : c->last_layer;
    c->experts = most + 1 > c->experts ? most + 1 : c->experts;
    c->row[c->n++] = *r;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    const struct count_row *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* The i-th of n in order is worth the mean of a normal law's (i + 1/2)/n upper quantile. */
static void ranks_to_counts(struct counting *c, double cv)
{
    qsort(c->row, c->n, sizeof(*c->row), by_value);
    for (size_t i = 0; i < c->n; i++) {
        double z = gsl_cdf_ugaussian_Qinv(((double)i + 0.5) / (double)c->n);
        c->row[i].value = fmax(1 + cv * z, 1e-3);
    }
}

static int fill(struct route_counts *ret, struct counting *c, struct arena *a, struct err *e)
{
    size_t n = c->experts, layers = c->last_layer - c->first_layer + 1;
    size_t size = ret->paired ? layers * n * n : layers * n;
    if (size > TABLE_MAX) {
        return err_set(e, SIM_E_DATA, "%s: %zu layers of %zu experts are too many", trace_input_name(c->f->in),
                       layers, n);
    }
    ret->layers = (uint32_t)layers;
    ret->experts = (uint32_t)n;
    ret->count = arena_calloc(a, layers * n, sizeof(double));
    ret->pair = ret->paired ? arena_calloc(a, size, sizeof(double)) : NULL;
    if (!ret->count || (ret->paired && !ret->pair)) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct count_row *r = &c->row[i];
        size_t at = (r->layer - c->first_layer) * n + r->expert;
        ret->count[at] += r->value;
        if (ret->paired) {
            ret->pair[at * n + r->peer] += r->value;
        }
    }
    return 0;
}

static int find_columns(struct counting *c, struct err *e)
{
    c->col_peer = route_file_column(c->f, "peer");
    c->col_count = route_file_column(c->f, "count");
    c->col_rank = route_file_column(c->f, "rank");
    int rc = route_file_need(c->f, "layer", &c->col_layer, e);
    rc = rc == 0 ? route_file_need(c->f, "expert", &c->col_expert, e) : rc;
    if (rc == 0 && c->col_count < 0 && (c->col_rank < 0 || c->col_peer >= 0)) {
        rc = route_file_need(c->f, c->col_peer >= 0 ? "count" : "count rank", &c->col_count, e);
    }
    return rc;
}

static int read_all(struct route_counts *ret, struct counting *c, double cv, struct arena *a, struct err *e)
{
    struct count_row r;
    int rc = find_columns(c, e);
    while (rc >= 0 && (rc = route_file_next(c->f, e)) == 1) {
        rc = read_row(c, &r, e);
        rc = rc == 0 ? push(c, &r, e) : rc;
    }
    if (rc < 0) {
        return rc;
    }
    if (c->n == 0) {
        return err_set(e, SIM_E_DATA, "%s: no counts", trace_input_name(c->f->in));
    }
    ret->ranked = c->col_count < 0;
    ret->paired = c->col_peer >= 0;
    if (ret->ranked) {
        ranks_to_counts(c, cv);
    }
    return fill(ret, c, a, e);
}

int route_counts_read(struct route_counts *ret, struct route_file *f, double cv, struct arena *a, struct err *e)
{
    struct counting c = {.f = f};
    memset(ret, 0, sizeof(*ret));
    int rc = read_all(ret, &c, cv, a, e);
    free(c.row);
    return rc;
}
