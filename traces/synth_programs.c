/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests with goals: conversations of several turns, single answers with a deadline, programs made of
 * stages of calls (JITServe, arXiv 2504.20068; its artifact's workload). A program is a session and a stage
 * a turn of it; calls of a stage run side by side, and the next stage is sent a gap after all of them were
 * answered. A program can also be a graph of calls, each of which is sent a gap of its own after those that it
 * waits for. Times in the trace assume `pace` for each output token; with load.sessions answers decide. */
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/slo_class.h"
#include "traces/dist.h"
#include "traces/gaps.h"
#include "traces/reader.h"
#include "traces/synth.h"

#define BLOCK_TOK   16
#define MOST_STAGES 64
#define MOST_SHAPES 8
#define MOST_CALLS  64 /* of a graph */
#define MOST_AFTER  16

struct shape {
    size_t n;
    uint32_t calls[MOST_STAGES]; /* by stage */
    const struct graph_call {
        uint32_t depth, n_after;
        uint64_t after[MOST_AFTER];
    } * graph; /* n calls; NULL = stages */
    uint32_t n_depth;
};

struct programs {
    /* options */
    double rate, cv, duration_s;
    int64_t programs, requests, clients, levels, context_tok;
    struct opt_doubles mix;
    const char *prompt_text, *output_text, *turns_text, *message_text, *call_prompt_text, *call_output_text;
    const char *stages_text, *graphs_text;
    double think_mu, think_sigma, tool_s, pace_s;
    double ttft_s, tbt_s, ttlt_s;
    /* state */
    struct dist *prompt, *output, *turns, *message;
    struct dist *call_prompt[MOST_SHAPES], *call_output[MOST_SHAPES]; /* by shape */
    struct shape shape[MOST_SHAPES];
    size_t n_shape;
    struct rng_stream s;
    uint64_t made; /* programs begun */
    uint64_t given; /* requests */
    double clock_s;
    /* the program whose calls are being given out */
    bool busy;
    uint64_t id;
    enum slo_class class;
    uint32_t client, stage, n_stage, call;
    const struct shape *calls; /* NULL = one call a stage */
    double call_end_s[MOST_CALLS]; /* of a graph */
    size_t nth_shape;          /* which it is */
    double at_s, end_s, gap_s; /* of the stage; when its last call is answered */
    uint64_t history_tok;      /* conversation so far */
    double level;
    uint64_t *hash;
    size_t cap_hash;
};

#define AT(field) offsetof(struct programs, field)
#define ROW_S(n, field, def, help)                                                                   \
    {n, OPT_DOUBLE, AT(field), 0, 1e9, def, "s", help, NULL}
#define ROW_LENGTHS(n, field, def, help)                                                             \
    {n, OPT_STRING, AT(field), 1, 0, def, "tok", help, NULL}
static const struct opt_row programs_options[] = {
    {"rate", OPT_DOUBLE, AT(rate), 1e-9, 1e9, "1", "1/s",
     "conversations, single requests and programs that begin per second", NULL},
    {"cv", OPT_DOUBLE, AT(cv), 0, 100, "1", "1", "coefficient of variation of the gaps between them", NULL},
    ROW_S("duration", duration_s, "0", "no new one begins after this (0 = until `programs`)"),
    {"programs", OPT_INT, AT(programs), 0, 1e9, "0", "1",
     "how many begin (0 = until `duration`; 1000 when both are 0)", NULL},
    {"requests", OPT_INT, AT(requests), 0, 1e15, "0", "1",
     "end after this many requests, in the middle of a program if need be (0 = do not)", NULL},
    {"mix", OPT_DOUBLES, AT(mix), 0, 1e9, "1;1;0.142857;0", "1",
     "weights of latency;deadline;compound;best-effort (JITServe: 1 : 1 : 1/7)", NULL},
    {"clients", OPT_INT, AT(clients), 1, 65536, "1", "1", "clients, all alike", NULL},
    ROW_LENGTHS("prompt", prompt_text, "lognormal(median=225,mean=344)", "prompts of single requests and first turns"),
    ROW_LENGTHS("output", output_text, "lognormal(median=225,mean=344)",
                "answers (JITServe's chatbot: median 225, P95 1024)"),
    ROW_LENGTHS("turns", turns_text, "1", "turns of a conversation of the latency class"),
    ROW_LENGTHS("message", message_text, "lognormal(median=40,mean=80)", "what a further turn adds to the conversation"),
    {"context", OPT_INT, AT(context_tok), 16, 1 << 30, "32768", "tok",
     "a conversation ends when it has grown beyond this", NULL},
    {"think_mu", OPT_DOUBLE, AT(think_mu), -20, 20, "4.82", "1",
     "time between answer and next turn is log-normal: mu of seconds (Bailian chat: 4.82)", NULL},
    {"think_sigma", OPT_DOUBLE, AT(think_sigma), 0, 10, "1.25", "1", "and its sigma (1.25)", NULL},
    {"stages", OPT_STRING, AT(stages_text), 1, 0, "3;1;3;1|1;1;1;1;1;1", "1",
     "calls of each stage of a compound program; alternatives, equally likely, are separated by | "
     "(JITServe: tree of thought, deep research)", NULL},
    {"graphs", OPT_STRING, AT(graphs_text), 1, 0, NULL, "1",
     "compound programs as graphs instead: for each call the numbers of those before it that it waits for, "
     "joined by +, or - for none; calls are separated by ; and alternatives by | (a fork of three: "
     "-;1;1;1;2+3+4)", NULL},
    ROW_LENGTHS("call_prompt", call_prompt_text, "lognormal(median=498,mean=1911)",
                "prompts of calls (JITServe's deep research: mean 1,911, P95 7,573); alternatives, one for each "
                "of those of stages or graphs, are separated by |"),
    ROW_LENGTHS("call_output", call_output_text, "1..256",
                "answers of calls (JITServe: at most 256), as call_prompt"),
    ROW_S("tool", tool_s, "0.925", "mean time between stages, exponential (Continuum's SWE traces: 0.925)"),
    ROW_S("pace", pace_s, "0.02", "assumed time of an output token in the trace's own times"),
    ROW_S("ttft", ttft_s, "0.8", "TTFT goal of the latency class at level 1 (0 = none)"),
    ROW_S("tbt", tbt_s, "0.08", "TBT goal of the latency class at level 1 (0 = none)"),
    ROW_S("ttlt", ttlt_s, "8", "deadline at level 1, of a program for each of its stages (0 = none)"),
    {"levels", OPT_INT, AT(levels), 1, 1000, "4", "1",
     "goals are multiplied by 1 .. levels, in turns", NULL},
    OPT_END,
};

/* ---- options ---- */

static int bad_stages(const struct programs *g, struct err *e)
{
    return err_set(e, SIM_E_CONFIG, "stages '%.100s': 1 to %d shapes separated by |, each 1 to %d numbers "
                   "of calls in 1..1000 separated by ;", g->stages_text, MOST_SHAPES, MOST_STAGES);
}

static int parse_stages(struct programs *g, struct err *e)
{
    const char *p = g->stages_text;
    for (;;) {
        if (g->n_shape == MOST_SHAPES) {
            return bad_stages(g, e);
        }
        struct shape *s = &g->shape[g->n_shape++];
        do {
            char *end;
            long n = strtol(p, &end, 10);
            if (end == p || n < 1 || n > 1000 || s->n == MOST_STAGES || (*end && !strchr(";|", *end))) {
                return bad_stages(g, e);
            }
            s->calls[s->n++] = (uint32_t)n;
            p = end;
        } while (*p == ';' && p++);
        if (*p == '\0') {
            return 0;
        }
        p++;
    }
}

static int bad_graphs(const struct programs *g, struct err *e)
{
    return err_set(e, SIM_E_CONFIG, "graphs '%.100s': 1 to %d graphs separated by |, each 1 to %d calls "
                   "separated by ;, each - or up to %d numbers of calls before it joined by +",
                   g->graphs_text, MOST_SHAPES, MOST_CALLS, MOST_AFTER);
}

/* "-" or "1+2" of call number `n`; false = wrong. */
static bool parse_call(const char **p, struct graph_call *calls, size_t n)
{
    struct graph_call *c = &calls[n];
    if (**p == '-') {
        (*p)++;
        return true;
    }
    do {
        char *end;
        unsigned long after = strtoul(*p, &end, 10);
        if (**p < '0' || **p > '9' || after < 1 || after > n || c->n_after == MOST_AFTER) {
            return false;
        }
        for (uint32_t i = 0; i < c->n_after; i++) {
            if (c->after[i] == after) {
                return false;
            }
        }
        c->after[c->n_after++] = after;
        c->depth = c->depth > calls[after - 1].depth ? c->depth : calls[after - 1].depth + 1;
        *p = end;
    } while (**p == '+' && (*p)++);
    return true;
}

static int parse_graphs(struct programs *g, struct arena *a, struct err *e)
{
    const char *p = g->graphs_text;
    for (;;) {
        struct graph_call *calls = arena_calloc(a, MOST_CALLS, sizeof(*calls));
        if (!calls) {
            return err_set(e, SIM_E_NOMEM, "out of memory for graphs of calls");
        }
        if (g->n_shape == MOST_SHAPES) {
            return bad_graphs(g, e);
        }
        struct shape *s = &g->shape[g->n_shape++];
        s->graph = calls;
        do {
            if (s->n == MOST_CALLS || !parse_call(&p, calls, s->n) || (*p && !strchr(";|", *p))) {
                return bad_graphs(g, e);
            }
            s->n_depth = s->n_depth > calls[s->n].depth + 1 ? s->n_depth : calls[s->n].depth + 1;
            s->n++;
        } while (*p == ';' && p++);
        if (*p == '\0') {
            return 0;
        }
        p++;
    }
}

/* One text for all shapes, or one for each. */
static int parse_by_shape(const struct programs *g, struct dist **to, const char *text, const char *what,
                          struct arena *a, struct err *e)
{
    size_t n = 0;
    for (const char *p = text; p; n++) {
        const char *bar = strchr(p, '|');
        const char *one = arena_strndup(a, p, bar ? (size_t)(bar - p) : strlen(p));
        if (!one) {
            return err_set(e, SIM_E_NOMEM, "out of memory for lengths of calls");
        }
        if (n < g->n_shape && dist_parse(&to[n], one, what, a, e) < 0) {
            return e->code;
        }
        p = bar ? bar + 1 : NULL;
    }
    if (n != 1 && n != g->n_shape) {
        return err_set(e, SIM_E_CONFIG, "%s: %zu alternatives, where there are %zu shapes of programs", what, n, g->n_shape);
    }
    for (size_t i = n; i < g->n_shape; i++) {
        to[i] = to[0];
    }
    return 0;
}

static int parse_lengths(struct programs *g, struct arena *a, struct err *e)
{
    const struct {
        struct dist **to;
        const char *text, *what;
    } all[] = {{&g->prompt, g->prompt_text, "prompt"},
               {&g->output, g->output_text, "output"},
               {&g->turns, g->turns_text, "turns"},
               {&g->message, g->message_text, "message"}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (dist_parse(all[i].to, all[i].text, all[i].what, a, e) < 0) {
            return e->code;
        }
    }
    if (parse_by_shape(g, g->call_prompt, g->call_prompt_text, "call_prompt", a, e) < 0) {
        return e->code;
    }
    return parse_by_shape(g, g->call_output, g->call_output_text, "call_output", a, e);
}

static int programs_open(void *state, struct trace *t, struct err *e)
{
    struct programs *g = state;
    double all = 0;
    if (g->mix.n == 0 || g->mix.n > 4) {
        return err_set(e, SIM_E_CONFIG, "mix: %zu weights, where latency;deadline;compound;best-effort "
                       "takes 1 to 4", g->mix.n);
    }
    for (size_t i = 0; i < g->mix.n; i++) {
        all += g->mix.v[i];
    }
    if (!(all > 0)) {
        return err_set(e, SIM_E_CONFIG, "mix: all weights are 0");
    }
    if (g->programs == 0 && !(g->duration_s > 0)) {
        g->programs = 1000;
    }
    for (int64_t c = 0; c < g->clients; c++) {
        char name[16];
        uint32_t id;
        int n = snprintf(name, sizeof(name), "%lld", (long long)c);
        if (trace_client_id(t, name, (size_t)n, &id, e) < 0) {
            return e->code;
        }
    }
    g->s = rng_stream(trace_seed(t), trace_replication(t), "programs");
    trace_set_unsorted(t);
    bool graphs = g->graphs_text && *g->graphs_text;
    trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | TRACE_CLIENTS | TRACE_HASHES |
                          (graphs ? (unsigned)TRACE_CALLS : 0));
    int rc = graphs ? parse_graphs(g, trace_arena(t), e) : parse_stages(g, e);
    return rc < 0 ? rc : parse_lengths(g, trace_arena(t), e);
}

/* ---- one program ---- */

/* What is drawn once for a program, and for each of its calls. */
enum draw { DRAW_GAP, DRAW_CLASS, DRAW_CLIENT, DRAW_SHAPE, DRAW_TURNS, DRAW_PER_CALL };
enum call_draw { CALL_PROMPT, CALL_OUTPUT, CALL_PAUSE, CALL_DRAWS };

static double draw(const struct programs *g, enum draw what)
{
    return rng_uniform(g->s, g->id, what);
}

static double draw_call(const struct programs *g, enum call_draw what)
{
    uint64_t call = (uint64_t)g->stage * 1000 + (g->call % 1000);
    return rng_uniform(g->s, g->id, DRAW_PER_CALL + call * CALL_DRAWS + what);
}

static enum slo_class draw_class(const struct programs *g)
{
    static const enum slo_class classes[] = {SLO_LATENCY, SLO_DEADLINE, SLO_COMPOUND, SLO_BEST_EFFORT};
    double all = 0, u;
    size_t last = 0;
    for (size_t i = 0; i < g->mix.n; i++) {
        all += g->mix.v[i];
        last = g->mix.v[i] > 0 ? i : last;
    }
    u = draw(g, DRAW_CLASS) * all;
    for (size_t i = 0; i < last; i++) {
        if (u <= g->mix.v[i]) {
            return classes[i];
        }
        u -= g->mix.v[i];
    }
    return classes[last];
}

/* false = no more programs. */
static bool begin(struct programs *g)
{
    g->id = g->made;
    if (g->programs > 0 && g->made == (uint64_t)g->programs) {
        return false;
    }
    g->clock_s += gap_inverse(draw(g, DRAW_GAP), g->cv) / g->rate;
    if (g->duration_s > 0 && g->clock_s > g->duration_s) {
        return false;
    }
    g->made++;
    g->class = draw_class(g);
    g->client = (uint32_t)(draw(g, DRAW_CLIENT) * (double)g->clients);
    g->calls = NULL;
    g->n_stage = g->class == SLO_LATENCY ? dist_draw(g->turns, draw(g, DRAW_TURNS)) : 1;
    if (g->class == SLO_COMPOUND) {
        g->nth_shape = (size_t)(draw(g, DRAW_SHAPE) * (double)g->n_shape);
        g->calls = &g->shape[g->nth_shape];
        g->n_stage = g->calls->graph ? g->calls->n_depth : (uint32_t)g->calls->n;
    }
    g->level = (double)(g->id % (uint64_t)g->levels + 1);
    g->stage = g->call = 0;
    g->at_s = g->end_s = g->clock_s;
    g->gap_s = -1;
    g->history_tok = 0;
    g->busy = true;
    return true;
}

static void set_goals(const struct programs *g, struct arrival *a)
{
    double ms = 1000 * g->level;
    a->slo_class = (uint8_t)g->class;
    if (g->class == SLO_LATENCY) {
        a->ttft_slo_ms = (float)(g->ttft_s * ms);
        a->tpot_slo_ms = (float)(g->tbt_s * ms);
    } else if (g->class != SLO_BEST_EFFORT) {
        a->e2e_slo_ms = (float)(g->ttlt_s * ms * g->n_stage);
    }
}

/* Blocks of the conversation before this turn, full ones only. */
static int set_prefix(struct programs *g, uint64_t tok, struct arrival *a)
{
    size_t n = tok / BLOCK_TOK;
    if (n > g->cap_hash) {
        uint64_t *hash = realloc(g->hash, 2 * n * sizeof(*hash));
        if (!hash) {
            return SIM_E_NOMEM;
        }
        g->hash = hash;
        g->cap_hash = 2 * n;
    }
    for (size_t i = 0; i < n; i++) {
        g->hash[i] = (g->id + 1) << 24 | i;
    }
    a->hash = g->hash;
    a->n_hash = (uint32_t)n;
    a->hash_tok = n > 0 ? BLOCK_TOK : 0;
    return 0;
}

/* A turn repeats the conversation; its blocks are found again when the next turn repeats them. */
static int fill_turn(struct programs *g, struct arrival *a)
{
    const struct dist *d = g->stage == 0 ? g->prompt : g->message;
    uint64_t prompt = g->history_tok + dist_draw(d, draw_call(g, CALL_PROMPT));
    a->prompt_tok = (uint32_t)(prompt < (1u << 30) ? prompt : 1u << 30);
    a->output_tok = dist_draw(g->output, draw_call(g, CALL_OUTPUT));
    g->history_tok = prompt + a->output_tok;
    return g->class == SLO_LATENCY && g->n_stage > 1 ? set_prefix(g, a->prompt_tok, a) : 0;
}

static int fill_call(struct programs *g, struct arrival *a)
{
    if (!g->calls) {
        return fill_turn(g, a);
    }
    a->prompt_tok = dist_draw(g->call_prompt[g->nth_shape], draw_call(g, CALL_PROMPT));
    a->output_tok = dist_draw(g->call_output[g->nth_shape], draw_call(g, CALL_OUTPUT));
    return 0;
}

static double draw_pause(const struct programs *g)
{
    double u = draw_call(g, CALL_PAUSE);
    if (g->calls) {
        return g->tool_s * gap_inverse(u, 1);
    }
    return gsl_cdf_lognormal_Pinv(u, g->think_mu, g->think_sigma);
}

/* Of a graph: who waits for whom, and when it would come at the assumed pace. */
static void place_call(struct programs *g, struct arrival *a)
{
    const struct graph_call *c = &g->calls->graph[g->call];
    double from_s = g->clock_s;
    g->gap_s = c->n_after > 0 ? fmin(draw_pause(g), 1e7) : 0;
    for (uint32_t i = 0; i < c->n_after; i++) {
        from_s = fmax(from_s, g->call_end_s[c->after[i] - 1]);
    }
    g->at_s = from_s + g->gap_s;
    g->call_end_s[g->call] = g->at_s + g->pace_s * a->output_tok;
    a->call = g->call + 1;
    a->after = c->after;
    a->n_after = c->n_after;
    a->turn = c->depth;
    a->gap_ns = c->n_after > 0 ? (sim_ns)llround(g->gap_s * 1e9) : -1;
}

static void next_call(struct programs *g)
{
    if (g->calls && g->calls->graph) {
        g->busy = ++g->call < g->calls->n;
        return;
    }
    uint32_t calls = g->calls ? g->calls->calls[g->stage] : 1;
    if (++g->call < calls) {
        return;
    }
    g->gap_s = fmin(draw_pause(g), 1e7);
    g->call = 0;
    g->stage++;
    g->at_s = g->end_s + g->gap_s;
    g->busy = g->stage < g->n_stage && (g->calls || g->history_tok < (uint64_t)g->context_tok);
}

static int programs_next(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct programs *g = state;
    (void)t;
    if ((g->requests > 0 && g->given == (uint64_t)g->requests) || (!g->busy && !begin(g))) {
        return 0;
    }
    g->given++;
    arrival_init(a);
    if (fill_call(g, a) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory for prefix ids");
    }
    a->client = g->client;
    a->session = g->n_stage > 1 || g->calls ? g->id + 1 : 0;
    a->turn = g->stage;
    a->gap_ns = g->stage > 0 ? (sim_ns)llround(g->gap_s * 1e9) : -1;
    if (g->calls && g->calls->graph) {
        place_call(g, a);
    }
    a->time_ns = (sim_ns)llround(g->at_s * 1e9);
    set_goals(g, a);
    g->end_s = fmax(g->end_s, g->at_s + g->pace_s * a->output_tok);
    next_call(g);
    return 1;
}

static void programs_close(void *state)
{
    free(((struct programs *)state)->hash);
}

const struct synth_kind synth_programs = {
    .name = "programs",
    .state_size = sizeof(struct programs),
    .options = programs_options,
    .open = programs_open,
    .next = programs_next,
    .close = programs_close,
};
