/* SPDX-License-Identifier: Apache-2.0
 *
 * Measured points: tables of runs of which only the settings and a few summary numbers are published -
 * so many requests of these lengths in flight, this mean TTFT. A file is recognised by the columns of its
 * header; each row becomes a point with the settings that replay needs. */
#ifndef STEELYARD_POINTS_H
#define STEELYARD_POINTS_H

#include "calibrate/sheet.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"

#define POINT_MEASURES 9

/* One published number and the simulated one that it is held against: a metric of a run, or
 * "e2el_per_token", the mean latency over the mean number of output tokens, which by Little's law is what
 * concurrency over output throughput measures in a steady state. */
struct measure {
    const char *name, *unit, *metric;
    double real, factor; /* simulated = metric * factor */
};

struct point {
    const char *set, *id;
    const char *engine, *version; /* "vllm", "0.12.0"; version "" = not recorded */
    const char *gpu, *model;      /* as the file spells them, or "" */
    const char *weight_dtype;     /* NULL = the model's own */
    uint32_t tp;
    uint32_t prompt_low, prompt_high, output_low, output_high; /* tokens, drawn evenly */
    uint32_t concurrency; /* requests in flight; a batch: all of them sent at once; 0 = open loop */
    double rate;          /* of the open loop, 1/s; 0 = all at once */
    uint32_t requests;    /* in all */
    const char *batcher;
    bool http;            /* requests come over HTTP */
    bool greedy;          /* the client asks for temperature 0 */
    const char *note;     /* what was assumed; NULL = nothing */
    const char *skip;     /* why the row cannot be simulated; NULL = it can */
    struct measure measure[POINT_MEASURES];
    uint32_t n_measures;
};

struct point_list {
    struct point *point; /* malloc'd; point_list_release */
    size_t n, cap;
    const char *format;  /* "silicon"; static */
};

/* 1 = read, 0 = the file is no such table (nothing else is said about it), < 0 = error "file:line: ...".
 * The input is closed in every case. */
int point_list_read(struct point_list *ret, struct trace_input *in, struct arena *a, struct err *e);
void point_list_release(struct point_list *p);
/* The one point of `vllm bench serve --save-result` without --save-detailed: 1 = read, 0 = it is something
 * else, < 0 = error. The GPU is not in such a file. */
int point_list_bench(struct point_list *ret, const char *text, size_t len, const char *name, struct arena *a,
                     struct err *e);

/* ---- for the readers: one row of a sheet into *p, which holds the defaults; < 0 = error ---- */
struct point_row {
    struct sheet sheet;
    struct arena *a;
    uint64_t line;
    int *column; /* of the format's names */
};
struct point_format {
    const char *name;
    const char *const *columns; /* all of them must be there; NULL-terminated */
    int (*read)(struct point_row *r, struct point *p, struct err *e);
};
extern const struct point_format point_silicon, point_mlenergy, point_splitwise, point_argonne, point_sweep,
    point_stages, point_ttft, point_rate, point_plain;

int point_add(struct point_list *p, const struct point *v, struct err *e);
/* Field i of the row, by the order of the format's columns, without blanks around it; lives as long as the arena. */
const char *point_text(struct point_row *r, int i);
/* A number within low..high; an empty field is NaN. */
int point_number(struct point_row *r, int i, double low, double high, double *ret, struct err *e);
/* The same for a whole number; an empty field is `empty`. */
int point_count(struct point_row *r, int i, uint32_t low, uint32_t high, uint32_t empty, uint32_t *ret,
                struct err *e);
void point_measure(struct point *p, const char *name, const char *unit, const char *metric, double real,
                   double factor);
/* Lengths around a nominal one. With equal lengths the requests of a closed loop end in one step and are
 * sent again together: the burst of the start never dissolves, which no real client shows. */
#define POINT_SPREAD 0.1
int point_lengths(struct point_row *r, struct point *p, int prompt, int output, double spread, struct err *e);
/* SIM_E_DATA "file:line: ..." */
int point_bad(const struct point_row *r, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Batcher of an engine by name and version; NULL = none imitates it. `budget`: tokens of a step, 0 = its
 * default; `seqs`: most running requests, 0 = its default. */
const char *point_batcher(const char *engine, const char *version, uint32_t budget, uint32_t seqs,
                          struct arena *a);

#endif
