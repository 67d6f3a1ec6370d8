/* SPDX-License-Identifier: Apache-2.0
 *
 * Files about expert routing: CSV, plain or gzip, columns found by name. */
#ifndef STEELYARD_ROUTE_FILE_H
#define STEELYARD_ROUTE_FILE_H

#include "traces/csv.h"
#include "traces/input.h"
#include "traces/routes.h"

struct route_file {
    struct trace_input *in;
    struct csv head, row;
    char *head_text;
};

/* Opens and reads the header line. */
int route_file_open(struct route_file *f, const char *path, struct arena *a, struct err *e);
int route_file_open_memory(struct route_file *f, const void *data, size_t size, const char *name,
                           struct arena *a, struct err *e);
void route_file_close(struct route_file *f);
/* 1 = a row, 0 = end, < 0. Blank lines are passed over. */
int route_file_next(struct route_file *f, struct err *e);
/* Column by the first of several names ("prompt sequence req_id") that is there, or -1. */
int route_file_column(const struct route_file *f, const char *names);
/* The same, SIM_E_DATA when there is none. */
int route_file_need(const struct route_file *f, const char *names, int *ret, struct err *e);
int route_file_uint(const struct route_file *f, int column, uint64_t max, uint64_t *ret, struct err *e);
const char *route_file_text(const struct route_file *f, int column);
/* SIM_E_DATA "path:line: ...". */
int route_file_bad(const struct route_file *f, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- recorded routes ---- */
struct route_record {
    uint32_t layers, top_k;
    uint32_t experts;   /* highest number + 1 */
    bool by_number;     /* every set of experts ascends: their order says nothing */
    const char *model;  /* of the column `model`; NULL without */
    uint32_t sequences, tokens;
    uint32_t *start;    /* [sequences + 1] */
    uint16_t *expert;   /* [token][layer][top_k] */
    size_t cap_tokens, cap_sequences;
};

/* Two forms of the column `experts`. With a column `layer`: numbers separated by blanks, one row for each
 * token and layer, layers of a token ascending side by side. Without: all layers of a token in one text,
 * a character for each expert (A-Z a-z 0-9 + / are 0 to 63), ascending inside a layer; top_k is where the
 * ascent breaks off, unless given (0 = not). A sequence ends where the columns `prompt` (`sequence`, `req_id`)
 * or `pos` (`token`, `token_idx`) do not go on. `model` picks the rows of one model; NULL = all, which
 * must be of one. Release with route_record_release also after a failure. */
int route_record_read(struct route_record *ret, struct route_file *f, const char *model, uint32_t top_k,
                      struct arena *a, struct err *e);
void route_record_release(struct route_record *r);

/* ---- how often experts are used ---- */
struct route_counts {
    uint32_t layers, experts;
    bool ranked;   /* the file had only an order: counts are made up from `cv` */
    bool paired;
    double *count; /* [layer][expert] */
    double *pair;  /* [layer][expert][peer] joint uses, or NULL */
};

/* Columns layer, expert and count; or layer, expert and rank (0 = most used of all layers), for which counts
 * are taken as normal with the coefficient of variation `cv`, in that order; or layer, expert, peer and
 * count. The lowest layer is layer 0. Memory is the arena's. */
int route_counts_read(struct route_counts *ret, struct route_file *f, double cv, struct arena *a, struct err *e);

#endif
