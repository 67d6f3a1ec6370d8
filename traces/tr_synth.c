/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/synth.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "traces/dist.h"
#include "traces/gaps.h"
#include "traces/reader.h"

#define SOURCES_MAX 65536
#define ENTITY_LOG2 40 /* requests of one source before entities meet */
#define LATEST_S    3.2e9

enum process { PROC_POISSON, PROC_GAMMA, PROC_UNIFORM, PROC_MODULATED };
enum stop { STOP_AUTO, STOP_TIME, STOP_COUNT };

/* One stream of arrivals: a client in a phase, or all clients of a phase when they share one. */
struct source {
    uint32_t phase, client;
    double start_s, end_s; /* end: infinity when only `requests` ends the trace */
    double rate, rate_end; /* rate_end < 0: no ramp */
    double at_s;           /* of the pending request, from start_s */
    uint64_t k;            /* its number */
    uint64_t limit;        /* stop=count */
    sim_ns at_ns;
    double period_rate; /* modulated: of the period that at_s is in */
    uint64_t period;
};

struct synth {
    const struct synth_kind *kind; /* NULL = an arrival process, all of the below */
    void *kind_state;
    /* options */
    int64_t process, stop, requests, clients, phases, max_output;
    double duration_s, skew, on_s, off_s, alpha, period_s;
    bool shared;
    struct opt_doubles rates, rates_end, cv, on_off;
    const char *prompt_text, *output_text;
    /* state */
    uint32_t n_clients;
    double *rate; /* phases x clients */
    struct dist **prompt, **output;
    size_t n_prompt, n_output;
    struct source *source;
    uint32_t *heap, n_heap; /* of sources, by time of the pending request */
    struct rng_stream arrivals, who, prompts, outputs, modulation;
    uint64_t made;
};

static const struct opt_choice process_choices[] = {
    {"poisson", "exponential gaps"},
    {"gamma", "gamma gaps with the given cv"},
    {"uniform", "even gaps, each client from a random offset"},
    {"modulated", "Poisson whose rate is multiplied by a new gamma number (mean 1) every period"},
    {NULL, NULL},
};
static const struct opt_choice stop_choices[] = {
    {"auto", "count for even gaps, else time"},
    {"time", "the last request comes before the duration is over"},
    {"count", "rate x duration requests, as in the VTC artifact"},
    {NULL, NULL},
};

#define AT(field) offsetof(struct synth, field)
const struct opt_row synth_options[] = {
    {"process", OPT_CHOICE, AT(process), 1, 0, "poisson", "1", "arrival process", process_choices},
    {"rates", OPT_DOUBLES, AT(rates), 0, 1e9, "1", "1/s",
     "mean rate of each client (a;b;c), for several phases one after the other; one number with "
     "clients=N is the total", NULL},
    {"rates_end", OPT_DOUBLES, AT(rates_end), 0, 1e9, "", "1/s",
     "rate of each client at the end of its phase: a linear ramp", NULL},
    {"cv", OPT_DOUBLES, AT(cv), 0.01, 100, "1", "1",
     "coefficient of variation of the gaps (gamma), one or one per client", NULL},
    {"duration", OPT_DOUBLE, AT(duration_s), 0, 3e9, "0", "s",
     "length of the trace (0 = until `requests`)", NULL},
    {"requests", OPT_INT, AT(requests), 0, 1e15, "0", "1",
     "requests in all (0 = until `duration`; 1000 when both are 0)", NULL},
    {"prompt", OPT_STRING, AT(prompt_text), 1, 0, "256", "tok",
     "prompt lengths, one or one per client (a;b): 256, 16..511, lognormal(median=,mean=), "
     "zipf(theta=,max=), quantiles(p:x,..), mix(w:..), file(PATH)", NULL},
    {"output", OPT_STRING, AT(output_text), 1, 0, "256", "tok", "output lengths, as prompt", NULL},
    {"max_output", OPT_INT, AT(max_output), 0, 1 << 30, "0", "tok",
     "declared output limit (0 = none)", NULL},
    {"clients", OPT_INT, AT(clients), 0, SOURCES_MAX, "0", "1",
     "split one total rate among this many clients (0 = as many as rates)", NULL},
    {"skew", OPT_DOUBLE, AT(skew), 0, 10, "1", "1",
     "with clients=N: the share of client k falls with (k+1)^-skew", NULL},
    {"shared", OPT_BOOL, AT(shared), 1, 0, "off", "1",
     "one process of the total rate, a client drawn for each request by its share", NULL},
    {"stop", OPT_CHOICE, AT(stop), 1, 0, "auto", "1", "what ends a client's requests", stop_choices},
    {"phases", OPT_INT, AT(phases), 1, 1000, "1", "1",
     "equal parts of the duration, each with its own rates", NULL},
    {"on", OPT_DOUBLE, AT(on_s), 0, 1e9, "0", "s",
     "clients chosen by on_off send for this long ... (0 = always)", NULL},
    {"off", OPT_DOUBLE, AT(off_s), 0, 1e9, "0", "s", "... and are silent for this long", NULL},
    {"on_off", OPT_DOUBLES, AT(on_off), 0, 1, "", "1",
     "1 for each client (of each phase) that goes on and off; empty = all", NULL},
    {"alpha", OPT_DOUBLE, AT(alpha), 0.01, 1000, "0.5", "1",
     "shape of the modulating gamma distribution (BurstGPT: 0.5)", NULL},
    {"period", OPT_DOUBLE, AT(period_s), 1, 1e9, "1200", "s",
     "how long a modulated rate holds (BurstGPT: 20 min)", NULL},
    OPT_END,
};

/* ---- options ---- */

static const struct synth_preset *find_preset(const char *name)
{
    for (const struct synth_preset *p = synth_presets; p->name; p++) {
        if (strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

static const struct synth_kind *const kinds[] = {&synth_servegen, &synth_programs};

/* The generator of a name that is no arrival process. */
static const struct synth_kind *find_kind(const char *name)
{
    const struct synth_preset *p = find_preset(name);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i]->name, name) == 0) {
            return kinds[i];
        }
    }
    return p ? p->kind : NULL;
}

static bool is_process(const char *name)
{
    for (size_t i = 0; process_choices[i].name; i++) {
        if (strcmp(process_choices[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int unknown_name(const char *name, struct err *e)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; process_choices[i].name; i++) {
        names[n++] = process_choices[i].name;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        names[n++] = kinds[i]->name;
    }
    for (size_t i = 0; synth_presets[i].name && n < 64; i++) {
        names[n++] = synth_presets[i].name;
    }
    const char *near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "synth:%s: no such generator%s%s%s", name,
                   near ? "; did you mean '" : " (poisson, gamma, uniform, modulated or a preset such as "
                                               "azure-conv)", near ? near : "", near ? "'?" : "");
}

/* "NAME{k=v}" -> "synth:NAME{what the name stands for,k=v}": later values win. */
static int apply_spec(struct synth *s, struct trace *t, const char *spec, struct err *e)
{
    struct arena *a = trace_arena(t);
    const char *name = opt_spec_name(spec, a);
    if (!name) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    const struct synth_preset *p = find_preset(name);
    if (!p && !is_process(name)) {
        return unknown_name(name, e);
    }
    const char *base = p ? p->options : arena_printf(a, "process=%s", name);
    const char *rest = strchr(spec, '{');
    const char *full = rest ? arena_printf(a, "%s{%s,%s", name, base, rest + 1)
                            : arena_printf(a, "%s{%s}", name, base);
    if (!base || !full) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return opt_spec_apply(full, synth_options, s, a, e);
}

static int open_kind(struct synth *s, struct trace *t, const char *spec, struct err *e)
{
    struct arena *a = trace_arena(t);
    const char *name = opt_spec_name(spec, a);
    const struct synth_preset *p = name ? find_preset(name) : NULL;
    const char *rest = strchr(spec, '{');
    const char *full = !p     ? spec
                       : rest ? arena_printf(a, "%s{%s,%s", name, p->options, rest + 1)
                              : arena_printf(a, "%s{%s}", name, p->options);
    void *state = arena_alloc(a, s->kind->state_size);
    if (!name || !full || !state) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    memset(state, 0, s->kind->state_size);
    s->kind_state = state;
    int rc = opt_spec_apply(full, s->kind->options, state, a, e);
    return rc < 0 ? rc : s->kind->open(state, t, e);
}

static int bad_list(struct trace *t, const char *name, size_t have, size_t want, struct err *e)
{
    return err_set(e, SIM_E_CONFIG, "%.60s: %s lists %zu values where %zu are needed", trace_path(t), name,
                   have, want);
}

/* rates -> phases x clients */
static int set_rates(struct synth *s, struct trace *t, struct err *e)
{
    size_t phases = (size_t)s->phases, n = s->rates.n;
    bool split = s->clients > 0 && n == phases && (size_t)s->clients * phases != n;
    if (n == 0 || n % phases != 0 || n > SOURCES_MAX) {
        return bad_list(t, "rates", n, phases, e);
    }
    s->n_clients = split ? (uint32_t)s->clients : (uint32_t)(n / phases);
    if (s->clients > 0 && s->n_clients != (uint32_t)s->clients) {
        return bad_list(t, "rates", n, (size_t)s->clients * phases, e);
    }
    s->shared = s->shared || split;
    s->rate = arena_calloc(trace_arena(t), phases * s->n_clients, sizeof(double));
    if (!s->rate) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    double weights = 0;
    for (uint32_t c = 0; c < s->n_clients; c++) {
        weights += pow(c + 1.0, -s->skew);
    }
    for (size_t i = 0; i < phases * s->n_clients; i++) {
        size_t c = i % s->n_clients, p = i / s->n_clients;
        s->rate[i] = split ? s->rates.v[p] * pow((double)c + 1, -s->skew) / weights : s->rates.v[i];
    }
    return 0;
}

static int set_lengths(struct synth *s, struct trace *t, const char *text, const char *what,
                       struct dist ***ret, size_t *ret_n, struct err *e)
{
    struct arena *a = trace_arena(t);
    size_t n = 1;
    for (const char *p = text; *p; p++) {
        n += *p == ';';
    }
    if (n != 1 && n != s->n_clients) {
        return bad_list(t, what, n, s->n_clients, e);
    }
    *ret = arena_calloc(a, n, sizeof(**ret));
    *ret_n = n;
    for (size_t i = 0; *ret && i < n; i++) {
        size_t len = strcspn(text, ";");
        const char *one = arena_strndup(a, text, len);
        int rc = one ? dist_parse(&(*ret)[i], one, what, a, e) : SIM_E_NOMEM;
        if (rc < 0) {
            return rc;
        }
        text += len + (text[len] == ';');
    }
    return *ret ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

static int check_lists(struct synth *s, struct trace *t, struct err *e)
{
    size_t all = (size_t)s->phases * s->n_clients;
    if (s->rates_end.n != 0 && s->rates_end.n != all) {
        return bad_list(t, "rates_end", s->rates_end.n, all, e);
    }
    if (s->cv.n != 1 && s->cv.n != s->n_clients) {
        return bad_list(t, "cv", s->cv.n, s->n_clients, e);
    }
    if (s->on_off.n != 0 && s->on_off.n != all) {
        return bad_list(t, "on_off", s->on_off.n, all, e);
    }
    if ((s->phases > 1 || s->rates_end.n > 0) && s->duration_s <= 0) {
        return err_set(e, SIM_E_CONFIG, "%.60s: phases and ramps need a duration", trace_path(t));
    }
    if (s->on_s > 0 && s->off_s <= 0) {
        return err_set(e, SIM_E_CONFIG, "%.60s: on needs off", trace_path(t));
    }
    if (s->rates_end.n > 0 && (s->shared || s->process == PROC_MODULATED)) {
        return err_set(e, SIM_E_CONFIG, "%.60s: a ramp cannot be shared or modulated", trace_path(t));
    }
    return 0;
}

/* ---- arrivals of one source ---- */

static uint64_t entity_of(const struct synth *s, const struct source *o)
{
    uint64_t id = (uint64_t)o->phase * s->n_clients + o->client;
    return id << ENTITY_LOG2 | o->k;
}

static double draw_gap(const struct synth *s, const struct source *o)
{
    double cv = s->cv.v[s->cv.n > 1 ? o->client : 0];
    double u = rng_uniform(s->arrivals, entity_of(s, o), 0);
    return gap_inverse(u, s->process == PROC_UNIFORM ? 0 : s->process == PROC_GAMMA ? cv : 1);
}

static void draw_period(const struct synth *s, struct source *o)
{
    uint64_t id = (uint64_t)o->phase * s->n_clients + o->client;
    double u = rng_uniform(s->modulation, id << ENTITY_LOG2 | o->period, 0);
    o->period_rate = o->rate * gamma_inverse(u, s->alpha) / s->alpha;
}

/* Unit-rate time `gap` is stretched by the rate of each period that it crosses. */
static void advance_modulated(const struct synth *s, struct source *o, double gap)
{
    for (;;) {
        double end = (double)(o->period + 1) * s->period_s;
        double room = (end - o->at_s) * o->period_rate;
        if (gap < room) {
            o->at_s += gap / o->period_rate;
            return;
        }
        gap -= room;
        o->at_s = end;
        o->period++;
        if (end > LATEST_S) {
            return;
        }
        draw_period(s, o);
    }
}

/* Even gaps: the next one is 1/rate at the present time (VTC artifact). Random ones: the time at which
 * the integral of the linear rate has grown by `gap`. */
static void advance_ramp(const struct synth *s, struct source *o, double gap)
{
    double slope = (o->rate_end - o->rate) / (o->end_s - o->start_s);
    double now = o->rate + slope * o->at_s;
    if (s->process == PROC_UNIFORM || slope == 0) {
        o->at_s += now > 0 ? gap / now : (double)INFINITY;
        return;
    }
    double square = now * now + 2 * slope * gap;
    o->at_s += square >= 0 ? (sqrt(square) - now) / slope : (double)INFINITY;
}

static void advance(const struct synth *s, struct source *o)
{
    double gap = draw_gap(s, o);
    if (s->process == PROC_MODULATED) {
        advance_modulated(s, o, gap);
    } else if (o->rate_end >= 0) {
        advance_ramp(s, o, gap);
    } else {
        o->at_s += gap / o->rate;
    }
    double at = o->start_s + o->at_s;
    o->at_ns = at < LATEST_S ? (sim_ns)llround(at * 1e9) : SIM_NEVER;
}

static bool is_over(const struct source *o)
{
    bool timed = o->limit == UINT64_MAX;
    return o->at_ns == SIM_NEVER || o->k >= o->limit || (timed && o->start_s + o->at_s > o->end_s);
}

/* Is a client silent at this time of its phase? */
static bool is_off(const struct synth *s, const struct source *o, uint32_t client)
{
    size_t i = (size_t)o->phase * s->n_clients + client;
    if (s->on_s <= 0 || (s->on_off.n > 0 && s->on_off.v[i] == 0)) {
        return false;
    }
    return fmod(o->at_s, s->on_s + s->off_s) >= s->on_s;
}

static void start_source(struct synth *s, struct source *o)
{
    bool even = s->process == PROC_UNIFORM;
    bool count = s->stop == STOP_COUNT || (s->stop == STOP_AUTO && even);
    double mean = o->rate_end >= 0 ? (o->rate + o->rate_end) / 2 : o->rate;
    o->limit = UINT64_MAX;
    if (count && isfinite(o->end_s)) {
        o->limit = (uint64_t)floor(mean * (o->end_s - o->start_s) + 1e-9);
    }
    if (even && o->rate_end < 0 && o->rate > 0) {
        o->at_s = rng_uniform(s->arrivals, entity_of(s, o), 1) / o->rate; /* the random offset */
    }
    draw_period(s, o);
    advance(s, o);
}

/* ---- the heap of sources ---- */

static bool before(const struct synth *s, uint32_t a, uint32_t b)
{
    sim_ns x = s->source[a].at_ns, y = s->source[b].at_ns;
    return x < y || (x == y && a < b);
}

static void sift_down(struct synth *s, uint32_t i)
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

static void make_source(struct synth *s, uint32_t phase, uint32_t client, uint32_t i)
{
    struct source *o = &s->source[i];
    size_t at = (size_t)phase * s->n_clients + client;
    double part = s->duration_s / (double)s->phases;
    double total = 0;
    for (uint32_t c = 0; c < s->n_clients; c++) {
        total += s->rate[(size_t)phase * s->n_clients + c];
    }
    *o = (struct source){.phase = phase, .client = client, .at_ns = SIM_NEVER};
    o->start_s = s->duration_s > 0 ? part * phase : 0;
    o->end_s = s->duration_s > 0 ? part * (phase + 1) : (double)INFINITY;
    o->rate = s->shared ? total : s->rate[at];
    o->rate_end = s->rates_end.n > 0 ? s->rates_end.v[at] : -1;
    if (o->rate > 0 || o->rate_end > 0) {
        start_source(s, o);
    }
    if (!is_over(o)) {
        s->heap[s->n_heap++] = i;
    }
}

static int make_sources(struct synth *s, struct trace *t, struct err *e)
{
    uint32_t per_phase = s->shared ? 1 : s->n_clients;
    size_t n = (size_t)s->phases * per_phase;
    s->source = arena_calloc(trace_arena(t), n, sizeof(*s->source));
    s->heap = arena_calloc(trace_arena(t), n, sizeof(*s->heap));
    if (!s->source || !s->heap) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        make_source(s, (uint32_t)(i / per_phase), (uint32_t)(i % per_phase), (uint32_t)i);
    }
    if (s->n_heap == 0) {
        return err_set(e, SIM_E_CONFIG, "%.200s: no requests: the rates are 0 or the duration is too short",
                       trace_path(t));
    }
    for (uint32_t i = s->n_heap; i-- > 0;) {
        sift_down(s, i);
    }
    return 0;
}

static int name_clients(struct synth *s, struct trace *t, struct err *e)
{
    char name[16];
    uint32_t id;
    int rc = 0;
    for (uint32_t c = 0; rc == 0 && c < s->n_clients; c++) {
        int n = snprintf(name, sizeof(name), "%u", c);
        rc = trace_client_id(t, name, (size_t)n, &id, e);
    }
    return rc;
}

static void start_streams(struct synth *s, const struct trace *t)
{
    uint64_t seed = trace_seed(t);
    uint32_t rep = trace_replication(t);
    s->arrivals = rng_stream(seed, rep, "arrivals");
    s->who = rng_stream(seed, rep, "client");
    s->prompts = rng_stream(seed, rep, "prompt");
    s->outputs = rng_stream(seed, rep, "output");
    s->modulation = rng_stream(seed, rep, "modulation");
}

static int open_synth(void *state, struct trace *t, struct err *e)
{
    struct synth *s = state;
    const char *path = trace_path(t);
    if (strncmp(path, "synth:", 6) != 0) {
        return err_set(e, SIM_E_USAGE, "a generator is opened by its name as the trace: "
                       "synth:azure-conv{requests=1000}");
    }
    const char *name = opt_spec_name(path + 6, trace_arena(t));
    s->kind = name ? find_kind(name) : NULL;
    if (s->kind) {
        trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | TRACE_CLIENTS);
        return open_kind(s, t, path + 6, e);
    }
    int rc = apply_spec(s, t, path + 6, e);
    if (rc == 0) {
        rc = set_rates(s, t, e);
    }
    if (rc == 0) {
        rc = check_lists(s, t, e);
    }
    if (rc == 0) {
        rc = set_lengths(s, t, s->prompt_text, "prompt", &s->prompt, &s->n_prompt, e);
    }
    if (rc == 0) {
        rc = set_lengths(s, t, s->output_text, "output", &s->output, &s->n_output, e);
    }
    if (rc < 0) {
        return rc;
    }
    if (s->requests == 0 && s->duration_s <= 0) {
        s->requests = 1000;
    }
    start_streams(s, t);
    trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | TRACE_CLIENTS);
    trace_set_total(t, s->duration_s > 0 ? 0 : (uint64_t)s->requests);
    rc = name_clients(s, t, e);
    return rc == 0 ? make_sources(s, t, e) : rc;
}

/* ---- requests ---- */

static uint32_t draw_client(const struct synth *s, const struct source *o)
{
    const double *rate = &s->rate[(size_t)o->phase * s->n_clients];
    double u = rng_uniform(s->who, entity_of(s, o), 0) * o->rate;
    uint32_t last = s->n_clients - 1;
    for (uint32_t c = 0; c < last; c++) {
        if (u <= rate[c] && rate[c] > 0) {
            return c;
        }
        u -= rate[c];
    }
    return last;
}

static void fill(const struct synth *s, const struct source *o, uint32_t client, struct arrival *a)
{
    uint64_t id = entity_of(s, o);
    arrival_init(a);
    a->time_ns = o->at_ns;
    a->client = client;
    a->prompt_tok = dist_draw(s->prompt[s->n_prompt > 1 ? client : 0], rng_uniform(s->prompts, id, 0));
    a->output_tok = dist_draw(s->output[s->n_output > 1 ? client : 0], rng_uniform(s->outputs, id, 0));
    a->max_output_tok = (uint32_t)s->max_output;
}

static void next_of_source(struct synth *s, struct source *o)
{
    o->k++;
    advance(s, o);
    if (is_over(o)) {
        s->heap[0] = s->heap[--s->n_heap];
    }
    sift_down(s, 0);
}

static int next_synth(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct synth *s = state;
    if (s->kind) {
        return s->kind->next(s->kind_state, t, a, e);
    }
    while (s->n_heap > 0 && (s->requests == 0 || s->made < (uint64_t)s->requests)) {
        struct source *o = &s->source[s->heap[0]];
        uint32_t client = s->shared ? draw_client(s, o) : o->client;
        bool off = is_off(s, o, client);
        if (!off) {
            fill(s, o, client, a);
            s->made++;
        }
        next_of_source(s, o);
        if (!off) {
            return 1;
        }
    }
    return 0;
}

static void close_synth(void *state)
{
    struct synth *s = state;
    if (s->kind && s->kind_state) {
        s->kind->close(s->kind_state);
    }
}

const struct trace_ops trace_synth = {
    .name = "synth",
    .summary = "generators: poisson, gamma, uniform, modulated, servegen, programs and presets (synth:azure-conv)",
    .source = "generated; opened by the path synth:NAME{k=v,...}",
    .state_size = sizeof(struct synth),
    .options = synth_options,
    .open = open_synth,
    .next = next_synth,
    .close = close_synth,
};
