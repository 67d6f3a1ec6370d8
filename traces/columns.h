/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader behind `native`, `vidur` and `columns`: CSV whose columns are found by their names. What
 * a column means is the table in columns_map.c; what is special about a known kind of file (a layout)
 * is there too. */
#ifndef STEELYARD_TRACE_COLUMNS_H
#define STEELYARD_TRACE_COLUMNS_H

#include "traces/reader.h"

enum column {
    COL_TIME,
    COL_CLIENT,
    COL_PROMPT,
    COL_OUTPUT,
    COL_MAX_OUTPUT,
    COL_PRIORITY,
    COL_TTFT_SLO,
    COL_TPOT_SLO,
    COL_E2E_SLO,
    COL_SLO_CLASS,
    COL_SESSION,
    COL_SUB, /* conversation inside a session: a sub-agent */
    COL_TURN,
    COL_GAP,
    COL_CALL,
    COL_AFTER,
    COL_HASH_TOK,
    COL_HASH,
    COL_TTFT,
    COL_E2E,
    COL_TOOK, /* how long the call took, where sessions are programs */
    COL_INDEX, /* row of the file beside it */
    COL_CHARS, /* characters of the output: a guess of its length */
    COL_COUNT
};

enum layout {
    LAYOUT_PLAIN,
    LAYOUT_CLAUDE_CODE,   /* coding sessions with session-local 64-token blocks */
    LAYOUT_SPANS,         /* API calls of agents; failed calls carry no lengths */
    LAYOUT_MOONCAKE,      /* 512-token blocks */
    LAYOUT_INFERENCE_SIM, /* failed requests without lengths, runs.json beside it */
    LAYOUT_LLMSERVINGSIM  /* ..__prefix_blocks.csv.gz beside it */
};

enum incomplete { INCOMPLETE_AUTO, INCOMPLETE_ERROR, INCOMPLETE_SKIP, INCOMPLETE_ONE };
enum tristate { TRI_AUTO, TRI_ON, TRI_OFF };
enum hash_scope { SCOPE_AUTO, SCOPE_TRACE, SCOPE_SESSION };

/* Prefix ids of the rows of a file that lies beside the requests. */
struct side_ids {
    struct id_list all;
    size_t n, cap;
    struct side_row {
        uint32_t first, n;
    } *row;
};

struct columns {
    /* options */
    double rate, cv, session_rate, spread_s;
    int64_t incomplete, unsorted, scope, time_unit, slo_class;
    bool programs;
    int64_t default_output, block_tok, prompt_cycle;
    const char *time_name, *prompt_name, *output_name, *client_name, *session_name;
    /* the file */
    struct csv_reader csv;
    int col[COL_COUNT];
    int64_t unit_ns[COL_COUNT]; /* of columns that are times */
    enum layout layout;
    bool native;
    uint64_t row;
    struct id_list ids, after;
    struct side_ids side;
    struct rng_stream arrivals, starts;
    sim_ns clock_ns;          /* of generated arrivals */
    sim_ns *start_ns;         /* of each session, when sessions are started at random */
    size_t n_start, cap_start;
    uint32_t *cycle_prompt;   /* prompt_cycle last known lengths */
    uint32_t requested_output; /* from runs.json; 0 = none */
};

extern const struct opt_row columns_options[], native_options[];

int columns_open(void *state, struct trace *t, struct err *e);
int native_open(void *state, struct trace *t, struct err *e);
int columns_next(void *state, struct trace *t, struct arrival *a, struct err *e);
void columns_close(void *state);

/* Does the header line of `head` name a prompt length (or one of the kinds of file that are explained
 * in an error message)? */
bool columns_know_header(const char *head);

/* columns_map.c: fill col, unit_ns and layout from the header. */
int columns_map(struct columns *c, struct trace *t, struct err *e);
/* columns_programs.c: sessions as graphs of calls. Row by row, `call` holds the number of the conversation
 * (main one or sub-agent's) and measured_e2e_s how long the call took. */
int columns_link_programs(void *state, struct trace *t, struct store *all, struct err *e);
/* columns_side.c: files that lie beside the requests. */
int columns_side(struct columns *c, struct trace *t, struct err *e);

#endif
