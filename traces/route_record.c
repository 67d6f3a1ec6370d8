/* SPDX-License-Identifier: Apache-2.0
 *
 * Recorded routes, read into memory. */
#include <stdlib.h>
#include <string.h>

#include "traces/route_file.h"

#define NUMBERS_MAX ((size_t)1 << 29) /* expert numbers of a recording: 1 GiB */

struct reading {
    struct route_record *r;
    struct route_file *f;
    const char *model;
    struct arena *arena;
    int col_model, col_sequence, col_pos, col_layer, col_experts;
    uint16_t *row;       /* experts of the token at work, all layers */
    uint32_t row_n;      /* numbers in it */
    uint32_t width;      /* numbers of a token, once known */
    uint32_t break_gcd;  /* of the places where packed experts do not ascend */
    char *sequence;      /* of the token at work; NULL before the first */
    uint64_t pos, layer; /* of the row last read */
    bool at_token;
};

/* ---- building ---- */

static bool grow(void **v, size_t *cap, size_t need, size_t size)
{
    size_t want = *cap ? *cap * 2 : 1024;
    if (need <= *cap) {
        return true;
    }
    want = want < need ? need : want;
    void *more = reallocarray(*v, want, size);
    *v = more ? more : *v;
    *cap = more ? want : *cap;
    return more != NULL;
}

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory");
}

static int push_token(struct reading *d, struct err *e)
{
    struct route_record *r = d->r;
    d->width = d->width ? d->width : d->row_n;
    if (d->row_n != d->width) {
        return route_file_bad(d->f, e, "a token with %u experts over all layers, the first one has %u", d->row_n,
                              d->width);
    }
    if (((size_t)r->tokens + 1) * d->width > NUMBERS_MAX) {
        return route_file_bad(d->f, e, "more than %zu expert numbers", NUMBERS_MAX);
    }
    if (!grow((void **)&r->expert, &r->cap_tokens, (size_t)r->tokens + 1, d->width * sizeof(*r->expert))) {
        return no_memory(e);
    }
    memcpy(r->expert + (size_t)r->tokens * d->width, d->row, d->width * sizeof(*d->row));
    r->tokens++;
    d->row_n = 0;
    return 0;
}

static int begin_sequence(struct reading *d, struct err *e)
{
    struct route_record *r = d->r;
    if (!grow((void **)&r->start, &r->cap_sequences, (size_t)r->sequences + 2, sizeof(*r->start))) {
        return no_memory(e);
    }
    r->start[r->sequences++] = r->tokens;
    return 0;
}

/* ---- one row ---- */

#define ROW_MAX (ROUTE_LAYERS_MAX * ROUTE_TOP_K_MAX)

static int add_expert(struct reading *d, uint64_t expert, struct err *e)
{
    if (d->row_n == ROW_MAX) {
        return route_file_bad(d->f, e, "more than %d experts for one token", ROW_MAX);
    }
    d->row[d->row_n++] = (uint16_t)expert;
    d->r->experts = expert + 1 > d->r->experts ? (uint32_t)expert + 1 : d->r->experts;
    return 0;
}

static int listed_experts(struct reading *d, struct err *e)
{
    char *text = d->f->row.field[d->col_experts], *save = NULL;
    uint32_t from = d->row_n;
    for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
        uint64_t expert;
        enum num_fault fault = num_uint(p, ROUTE_EXPERTS_MAX - 1, &expert);
        if (fault != NUM_OK) {
            return route_file_bad(d->f, e, "column 'experts': '%.40s' %s", p, num_fault_text(fault));
        }
        for (uint32_t i = from; i < d->row_n; i++) {
            if (d->row[i] == expert) {
                return route_file_bad(d->f, e, "expert %u twice in a layer", (unsigned)expert);
            }
        }
        d->r->by_number = d->r->by_number && (d->row_n == from || d->row[d->row_n - 1] < expert);
        int rc = add_expert(d, expert, e);
        if (rc < 0) {
            return rc;
        }
    }
    uint32_t k = d->row_n - from;
    d->r->top_k = d->r->top_k ? d->r->top_k : k;
    if (k == 0 || k != d->r->top_k || k > ROUTE_TOP_K_MAX) {
        return route_file_bad(d->f, e, "%u experts for a token in a layer, %u expected (at most %d)", k,
                              d->r->top_k, ROUTE_TOP_K_MAX);
    }
    return 0;
}

static int value_of(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static int packed_experts(struct reading *d, struct err *e)
{
    for (const char *p = d->f->row.field[d->col_experts]; *p; p++) {
        int v = value_of(*p);
        if (v < 0) {
            return route_file_bad(d->f, e, "column 'experts': '%c' is no expert (A-Z a-z 0-9 + /)", *p);
        }
        if (d->row_n > 0 && d->row[d->row_n - 1] >= v) {
            d->break_gcd = gcd(d->row_n, d->break_gcd);
        }
        int rc = add_expert(d, (uint64_t)v, e);
        if (rc < 0) {
            return rc;
        }
    }
    d->break_gcd = gcd(d->row_n, d->break_gcd);
    return d->row_n > 0 ? 0 : route_file_bad(d->f, e, "column 'experts' is empty");
}

/* ---- rows to tokens ---- */

static int same_model(struct reading *d, bool *ret_take, struct err *e)
{
    const char *name = d->col_model >= 0 ? route_file_text(d->f, d->col_model) : NULL;
    *ret_take = !d->model || !name || strcmp(name, d->model) == 0;
    if (!name || !*ret_take) {
        return 0;
    }
    if (!d->r->model) {
        d->r->model = arena_strdup(d->arena, name);
        return d->r->model ? 0 : no_memory(e);
    }
    if (strcmp(name, d->r->model) != 0) {
        return route_file_bad(d->f, e, "routes of '%.60s' after those of '%.60s': say which with model=", name,
                              d->r->model);
    }
    return 0;
}

static int note_sequence(struct reading *d, uint64_t pos, struct err *e)
{
    const char *name = d->col_sequence >= 0 ? route_file_text(d->f, d->col_sequence) : "";
    bool goes_on = d->sequence && strcmp(d->sequence, name) == 0 && pos == d->pos + 1;
    d->pos = pos;
    if (goes_on) {
        return 0;
    }
    free(d->sequence);
    d->sequence = strdup(name);
    return d->sequence ? begin_sequence(d, e) : no_memory(e);
}

/* A row of a file that has a row for every layer: the next layer of the same token, or a new token. */
static int layer_row(struct reading *d, uint64_t pos, struct err *e)
{
    uint64_t layer;
    int rc = route_file_uint(d->f, d->col_layer, ROUTE_LAYERS_MAX - 1, &layer, e);
    if (rc < 0) {
        return rc;
    }
    bool same = d->at_token && pos == d->pos && layer > d->layer;
    if (!same) {
        rc = d->at_token ? push_token(d, e) : 0;
        rc = rc == 0 ? note_sequence(d, pos, e) : rc;
        if (rc < 0) {
            return rc;
        }
    } else if (layer != d->layer + 1) {
        return route_file_bad(d->f, e, "layer %u after layer %u", (unsigned)layer, (unsigned)d->layer);
    }
    d->at_token = true;
    d->layer = layer;
    return listed_experts(d, e);
}

static int packed_row(struct reading *d, uint64_t pos, struct err *e)
{
    int rc = note_sequence(d, pos, e);
    rc = rc == 0 ? packed_experts(d, e) : rc;
    return rc == 0 ? push_token(d, e) : rc;
}

static int read_row(struct reading *d, struct err *e)
{
    uint64_t pos;
    bool take;
    int rc = same_model(d, &take, e);
    if (rc < 0 || !take) {
        return rc;
    }
    rc = route_file_uint(d->f, d->col_pos, UINT32_MAX, &pos, e);
    if (rc < 0) {
        return rc;
    }
    return d->col_layer >= 0 ? layer_row(d, pos, e) : packed_row(d, pos, e);
}

static int find_columns(struct reading *d, struct err *e)
{
    d->col_model = route_file_column(d->f, "model");
    d->col_sequence = route_file_column(d->f, "prompt sequence req_id");
    d->col_layer = route_file_column(d->f, "layer");
    int rc = route_file_need(d->f, "pos token token_idx", &d->col_pos, e);
    return rc == 0 ? route_file_need(d->f, "experts", &d->col_experts, e) : rc;
}

/* Packed text: the largest k whose groups ascend everywhere. */
static int split_layers(struct reading *d, uint32_t top_k, struct err *e)
{
    struct route_record *r = d->r;
    const char *name = trace_input_name(d->f->in);
    if (d->col_layer < 0) {
        r->top_k = top_k ? top_k : d->break_gcd;
        if (d->break_gcd % r->top_k != 0) {
            return err_set(e, SIM_E_DATA, "%s: experts ascend in groups of %u, which top_k %u does not divide", name,
                           d->break_gcd, r->top_k);
        }
    } else if (top_k && top_k != r->top_k) {
        return err_set(e, SIM_E_DATA, "%s: %u experts for a token in a layer, top_k is %u", name, r->top_k, top_k);
    }
    if (r->top_k > ROUTE_TOP_K_MAX || d->width % r->top_k != 0 || d->width / r->top_k > ROUTE_LAYERS_MAX) {
        return err_set(e, SIM_E_DATA, "%s: %u experts for a token: cannot be layers of %u (at most %d); give top_k",
                       name, d->width, r->top_k, ROUTE_TOP_K_MAX);
    }
    r->layers = d->width / r->top_k;
    return 0;
}

static int read_all(struct reading *d, uint32_t top_k, struct err *e)
{
    int rc = find_columns(d, e);
    d->r->by_number = true;
    while (rc >= 0 && (rc = route_file_next(d->f, e)) == 1) {
        rc = read_row(d, e);
    }
    rc = rc == 0 && d->at_token ? push_token(d, e) : rc;
    if (rc < 0) {
        return rc;
    }
    if (d->r->tokens == 0) {
        return err_set(e, SIM_E_DATA, "%s: no routes%s%s", trace_input_name(d->f->in), d->model ? " of " : "",
                       d->model ? d->model : "");
    }
    d->r->start[d->r->sequences] = d->r->tokens;
    return split_layers(d, top_k, e);
}

int route_record_read(struct route_record *ret, struct route_file *f, const char *model, uint32_t top_k,
                      struct arena *a, struct err *e)
{
    struct reading d = {.r = ret, .f = f, .model = model, .arena = a};
    memset(ret, 0, sizeof(*ret));
    d.row = malloc(ROW_MAX * sizeof(*d.row));
    int rc = d.row ? read_all(&d, top_k, e) : no_memory(e);
    free(d.row);
    free(d.sequence);
    return rc;
}

void route_record_release(struct route_record *r)
{
    free(r->start);
    free(r->expert);
    memset(r, 0, sizeof(*r));
}
