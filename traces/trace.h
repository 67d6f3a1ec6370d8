/* SPDX-License-Identifier: Apache-2.0
 *
 * Traces: a reader only yields arrivals, in order of time, one at a time, and never holds the trace.
 * To add a format: one file with a struct trace_ops and one word in traces/meson.build. */
#ifndef STEELYARD_TRACE_H
#define STEELYARD_TRACE_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/opt.h"
#include "sim/core/slo_class.h"
#include "sim/core/types.h"

/* One request as it arrives. Missing is the value in brackets. */
struct arrival {
    sim_ns time_ns;         /* since the start of the trace; never decreases */
    uint32_t client;        /* dense id, 0.. in order of first appearance; names: trace_client_name */
    uint32_t prompt_tok;    /* >= 1 */
    uint32_t output_tok;    /* >= 1: what the request really generates; hidden from policies */
    uint32_t max_output_tok; /* declared limit (max_tokens) [0 = not declared] */
    int32_t priority;       /* lower runs first, as in vLLM [0] */
    float ttft_slo_ms, tpot_slo_ms, e2e_slo_ms; /* [0 = none] */
    uint8_t slo_class;      /* enum slo_class [SLO_NONE] */
    uint64_t session;       /* 0 = none; requests of one conversation share it */
    uint32_t turn;          /* 0.. inside the session; calls of a program that share one run side by side */
    sim_ns gap_ns;          /* think or tool time since the previous turn, or the last that it waits for, was answered [-1] */
    /* Calls of a program as a graph: the call's own number in its session, and the numbers of those whose
     * answers it waits for, each of them before it in the trace. Ids are borrowed, as `hash` is. Sessions
     * with such calls have no stages: turn is then the depth, where it is given. */
    uint32_t call;          /* [0 = none] */
    uint32_t n_after;       /* [0] */
    const uint64_t *after;
    sim_ns began_ns;        /* when the first call of its compound program came; set as a run goes [-1] */
    /* Prefix identity: id i stands for prompt tokens [i*hash_tok, (i+1)*hash_tok); equal ids at all
     * positions up to i mean an equal prefix. The last id may stand for fewer tokens than hash_tok,
     * and tokens behind the last id are not shared. Borrowed until the next call on the trace. */
    const uint64_t *hash;
    uint32_t n_hash;        /* [0] */
    uint32_t hash_tok;      /* tokens per id */
    /* Measured by the run that the trace was recorded from, for `replay` [NaN]. */
    double measured_ttft_s, measured_e2e_s;
};

enum trace_caps {
    TRACE_ARRIVALS = 1u << 0, /* has times (else: lengths only, a generator must supply arrivals) */
    TRACE_OUTPUT = 1u << 1,   /* has output lengths */
    TRACE_HASHES = 1u << 2,
    TRACE_MEASURED = 1u << 3,
    TRACE_CLIENTS = 1u << 4,
    TRACE_CALLS = 1u << 5     /* programs are graphs of calls */
};

struct trace; /* an open trace */
struct store; /* traces/store.h */

/* What a format must provide. `input` below is a line source that hides plain, gzip and stdin. */
struct trace_input;
struct trace_ops {
    const char *name;    /* "azure", for --set trace.format and `list traces` */
    const char *summary; /* one line */
    const char *source;  /* where files of this format come from */
    /* How sure that this head of a file (first bytes, decompressed, at most 4 KiB, NUL-terminated) is
     * of this format: 0 = no ... 100 = certain (a magic, a full header line). Highest wins. */
    int (*probe)(const char *head, size_t n);
    size_t state_size; /* zeroed, from the trace's arena */
    const struct opt_row *options; /* or NULL; parsed into the state from "format{k=v}" */
    /* After a failed open, close is called as well: it must bear a state half built. */
    int (*open)(void *state, struct trace *t, struct err *e);
    /* 1 = *a filled, 0 = end, < 0 = error that names file and line. Need not set client when the
     * format has none (0). The core checks order, zero lengths and ranges. */
    int (*next)(void *state, struct trace *t, struct arrival *a, struct err *e);
    void (*close)(void *state);
    /* Of a reader that sorts: all of its requests, sorted, before the first is handed out. NULL = nothing
     * to do. 0 or < 0. */
    int (*sorted)(void *state, struct trace *t, struct store *all, struct err *e);
};

/* Open `path` ("-" = standard input; gzip by its magic). `format` NULL or "auto" = probe, else a name
 * with options ("azure", "native{unsorted=on}"). Times that go backwards are SIM_E_DATA naming the
 * line, except for formats whose source is unsorted by nature, which sort in `open`.
 * A generator is opened by spec: path "synth:azure-conv{requests=10000}" (see traces/synth.h). */
int trace_open(struct trace **ret, const char *path, const char *format, uint64_t seed, uint32_t rep,
               struct err *e);
/* The same from memory; `name` stands for the path in messages. `data` must outlive the trace. */
int trace_open_memory(struct trace **ret, const void *data, size_t size, const char *name,
                      const char *format, uint64_t seed, uint32_t rep, struct err *e);
/* 1 = *a filled, 0 = end, < 0 = error. A trace without any request is SIM_E_DATA. Every arrival has
 * been checked: times from 0 and not decreasing, lengths in 1..2^30. */
int trace_next(struct trace *t, struct arrival *a, struct err *e);
void trace_close(struct trace *t);

unsigned trace_caps(const struct trace *t);
const char *trace_format_name(const struct trace *t);
/* Number of clients known so far (at least 1) and their names as the trace spells them ("0", "adapter-3"). */
uint32_t trace_clients(const struct trace *t);
const char *trace_client_name(const struct trace *t, uint32_t client);
/* Requests in the whole trace when known without reading it (packed, synth), else 0: for ETA. */
uint64_t trace_total(const struct trace *t);
/* Rows so far that are no request - failed calls without token counts, as an option of the format says. */
uint64_t trace_left_out(const struct trace *t);
/* Share of the input consumed, 0..1, or -1 when unknown. */
double trace_progress(const struct trace *t);
/* Does any format's probe take these first bytes of a file? */
bool trace_format_known(const char *head, size_t n);

/* Registry, generated by meson; NULL-terminated. */
extern const struct trace_ops *const trace_formats[];
const struct trace_ops *trace_format_find(const char *name);

#endif
