/* SPDX-License-Identifier: Apache-2.0
 *
 * What the core offers to a reader (struct trace_ops): lines, messages with a place, names, and the
 * filters that it runs behind the reader (sorting, spreading the requests of one clock tick). */
#ifndef STEELYARD_TRACE_READER_H
#define STEELYARD_TRACE_READER_H

#include "sim/core/rng.h"
#include "traces/csv.h"
#include "traces/input.h"
#include "traces/json_scan.h"
#include "traces/trace.h"

struct arena *trace_arena(struct trace *t);
const char *trace_path(const struct trace *t); /* for messages: "<stdin>" for "-" */
bool trace_is_file(const struct trace *t);     /* a path that other files can lie beside */
struct trace_input *trace_input_of(struct trace *t); /* NULL for a generator */
uint64_t trace_seed(const struct trace *t);
uint32_t trace_replication(const struct trace *t);

/* Next line that is not blank: 1, 0, < 0 as trace_input_line. */
int trace_line(struct trace *t, char **ret, size_t *ret_n, struct err *e);
/* The reader passes over a row that is no request; `run` and `trace info` say how many. */
void trace_leave_out(struct trace *t);
/* SIM_E_DATA "path:line: ..." about the line last read. */
int trace_bad(const struct trace *t, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with "column 'name': 'text' is ...". */
int trace_bad_number(const struct trace *t, const char *column, const char *text, enum num_fault f,
                     struct err *e);

/* SIM_E_DATA "path:line:column: ..." of a scan that failed; the scan covers one line of the input, or all
 * of it when no line has been read. */
int trace_bad_json(const struct trace *t, const struct jscan *s, struct err *e);
/* Whole number into 32 bits; `key` is for messages. */
int trace_json_u32(const struct trace *t, struct jscan *s, const char *key, uint32_t *ret, struct err *e);
/* A number of units into nanoseconds. */
int trace_json_time(const struct trace *t, struct jscan *s, const char *key, double unit_ns, sim_ns *ret,
                    struct err *e);

/* Dense client id of a name. */
int trace_client_id(struct trace *t, const char *name, size_t len, uint32_t *ret, struct err *e);
/* Dense session number, from 1, of a name ("" = 0). */
int trace_session_id(struct trace *t, const char *name, size_t len, uint64_t *ret, struct err *e);

/* To be called in `open`. */
void trace_set_caps(struct trace *t, unsigned caps);
void trace_set_total(struct trace *t, uint64_t total);
/* Rows may come in any order of time: the core reads all of them first and sorts (ties keep the order
 * of the file). */
void trace_set_unsorted(struct trace *t);
/* Rows with equal times came within `width_ns`: the k-th of n is moved by width * k / n. */
void trace_set_spread(struct trace *t, sim_ns width_ns);

/* A row without anything but the defaults of struct arrival. */
void arrival_init(struct arrival *a);

/* ---- CSV readers: the header and one row at a time ---- */
struct csv_reader {
    struct csv head, row;
    char *head_text; /* the header line, whose parts `head` points to */
};
int csv_reader_open(struct csv_reader *r, struct trace *t, struct err *e);
void csv_reader_close(struct csv_reader *r);
/* 1, 0 or < 0. A row with another number of fields than the header is an error. */
int csv_reader_next(struct csv_reader *r, struct trace *t, struct err *e);
/* Column of a name, or -1. */
int csv_reader_column(const struct csv_reader *r, const char *name);
/* Column of a name that must be there; SIM_E_DATA says what was found instead. */
int csv_reader_need(const struct csv_reader *r, struct trace *t, const char *name, int *ret,
                    struct err *e);
/* Fields of the present row as numbers; errors name file, line and column. */
int csv_reader_u32(const struct csv_reader *r, struct trace *t, int col, uint32_t *ret,
                   struct err *e);
int csv_reader_time(const struct csv_reader *r, struct trace *t, int col, int64_t unit_ns, sim_ns *ret,
                    struct err *e);

/* ---- hash ids written as "0 14-27 30" ---- */
struct id_list {
    uint64_t *id;
    uint32_t n, cap;
};
#define ID_LIST_MAX (1u << 22) /* ids of one request: 4 Mi blocks */
/* Appends; a range a-b counts b-a+1 ids. false: *ret_why is a text for messages. */
bool id_list_add(struct id_list *l, uint64_t first, uint64_t last, const char **ret_why);
bool id_list_parse(struct id_list *l, const char *text, const char **ret_why);
void id_list_release(struct id_list *l);

#endif
