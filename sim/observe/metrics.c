/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/observe/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/observe/service.h"

static int init_ears(struct metrics *m, uint32_t replicas, struct arena *a)
{
    m->ear = arena_calloc(a, replicas, sizeof(*m->ear));
    if (!m->ear) {
        return SIM_E_NOMEM;
    }
    for (; m->n_ears < replicas; m->n_ears++) {
        m->ear[m->n_ears] = (struct metrics_ear){.m = m, .replica = m->n_ears};
        if (tokens_init(&m->ear[m->n_ears].tokens, a) < 0) {
            return SIM_E_NOMEM;
        }
    }
    return 0;
}

int metrics_init(struct metrics *m, const struct run_config *c, const struct run_hooks *h, uint32_t replicas,
                 struct arena *a, struct err *e)
{
    struct hist *all[] = {&m->ttft, &m->tpot, &m->itl, &m->e2el, &m->queue};

    memset(m, 0, sizeof(*m));
    for (size_t i = 0; i < SIZE_CLASSES; i++) {
        if (c->slowdown && hist_init(&m->slowdown[i], a) < 0) {
            return err_set(e, SIM_E_NOMEM, "out of memory for histograms");
        }
    }
    attain_init(&m->attain, c);
    if (init_ears(m, replicas, a) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the tokens of requests");
    }
    m->cfg = c;
    m->hooks = h;
    m->arena = a;
    m->bin_s = SERVICE_FIRST_BIN_S;
    m->output_delay_ns = (sim_ns)llround(c->output_delay_s * 1e9);
    m->warmup_ns = (sim_ns)llround(c->warmup_s * 1e9);
    m->keep_series = c->series_step_s > 0;
    m->point_every = 1;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (hist_init(all[i], a) < 0) {
            return err_set(e, SIM_E_NOMEM, "out of memory for histograms");
        }
    }
    if (m->keep_series) {
        m->point_t = arena_calloc(a, SERIES_POINTS, sizeof(double));
        m->point_kv = arena_calloc(a, SERIES_POINTS, sizeof(double));
        m->point_running = arena_calloc(a, SERIES_POINTS, sizeof(double));
        m->point_waiting = arena_calloc(a, SERIES_POINTS, sizeof(double));
        if (!m->point_t || !m->point_kv || !m->point_running || !m->point_waiting) {
            return err_set(e, SIM_E_NOMEM, "out of memory for series");
        }
    }
    return 0;
}

void metrics_release(struct metrics *m)
{
    for (uint32_t c = 0; c < m->n_clients; c++) {
        free(m->clients[c].served);
        free(m->clients[c].asked);
    }
    for (uint32_t i = 0; i < m->n_ears; i++) {
        tokens_release(&m->ear[i].tokens);
    }
    free(m->clients);
    attain_release(&m->attain);
}

static struct client_stats *client_of(struct metrics *m, uint32_t client)
{
    if (client >= m->n_clients) {
        if (!grow_array((void **)&m->clients, &m->cap_clients, client + 1, sizeof(*m->clients))) {
            m->out_of_memory = true;
            return NULL;
        }
        for (uint32_t c = m->n_clients; c <= client; c++) {
            m->clients[c] = (struct client_stats){.weight = 1};
            if (c < SERVICE_CLIENTS) {
                m->clients[c].served = calloc(SERVICE_BINS, sizeof(double));
                m->clients[c].asked = calloc(SERVICE_BINS, sizeof(double));
                m->out_of_memory |= !m->clients[c].served || !m->clients[c].asked;
            }
        }
        m->n_clients = client + 1;
    }
    return m->out_of_memory ? NULL : &m->clients[client];
}

static double in_seconds(sim_ns t)
{
    return (double)t / 1e9;
}

static req_id id_of(const struct metrics_ear *ear, const struct req *r)
{
    return (req_id)(r - ear->engine->reqs);
}

static uint32_t waiting_elsewhere(const struct metrics *m, const struct metrics_ear *here)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->n_ears; i++) {
        n += &m->ear[i] != here ? m->ear[i].engine->n_waiting : 0;
    }
    return n;
}

static void on_arrived(void *o, const struct req *r, const struct live *l)
{
    struct metrics_ear *ear = o;
    struct metrics *m = ear->m;
    struct client_stats *c = client_of(m, r->client);

    m->arrivals++;
    m->asked_prompt += r->prompt_tok;
    m->asked_output += l->output_tok;
    m->out_of_memory |= !attain_arrived(&m->attain, &ear->tokens, r, id_of(ear, r));
    m->waiting_elsewhere = waiting_elsewhere(m, ear);
    m->last_arrival_ear = ear;
    m->in_system_at_last_arrival = ++m->in_system;
    if (m->in_system > m->peak_in_system) {
        m->peak_in_system = m->in_system;
    }
    if (c) {
        c->requests++;
        c->weight = (double)r->weight;
        service_ask(m, c, in_seconds(r->arrival_ns),
                    m->cfg->service_wp * r->prompt_tok + m->cfg->service_wq * l->output_tok);
    }
}

static bool within(double value_ms, float goal_ms)
{
    return !(goal_ms > 0) || value_ms <= (double)goal_ms;
}

/* All goals that hold for the request (engines.md 5.1: TPOT of a one-token answer is 0). */
static bool is_good(const struct req *r, sim_ns ttft, double tpot, sim_ns e2e)
{
    return within((double)ttft / 1e6, r->ttft_slo_ms) && within(tpot / 1e6, r->tpot_slo_ms) &&
           within((double)e2e / 1e6, r->e2e_slo_ms);
}

/* Boundaries as published for Equinox's experts, by output tokens. */
static size_t size_class(uint32_t output_tok)
{
    return output_tok < 53 ? 0 : output_tok <= 210 ? 1 : 2;
}

/* What a client felt and what it took: terms of the fairness counters. */
static void count_counters(struct metrics *m, struct client_stats *c, double service, uint32_t tok,
                           sim_ns e2e, sim_ns in_service)
{
    c->ufc += service / (1 + m->cfg->fairness_delta * in_seconds(e2e));
    c->throughput += in_service > 0 ? tok / in_seconds(in_service) : 0;
}

static void count_slowdown(struct metrics *m, const struct req *r, const struct live *l, sim_ns e2e)
{
    sim_ns alone = m->cfg->slowdown ? alone_ns(&m->alone, r->prompt_tok, l->output_tok) : 0;

    if (alone > 0) {
        hist_add(&m->slowdown[size_class(l->output_tok)], llround((double)e2e / (double)alone * 1e6), 1);
    }
}

static void count_completed(struct metrics *m, const struct req *r, const struct live *l, sim_ns now)
{
    struct client_stats *c = client_of(m, r->client);
    sim_ns first = r->first_token_ns + m->output_delay_ns, end = now + m->output_delay_ns;
    sim_ns ttft = first - r->arrival_ns, e2e = end - r->arrival_ns;
    double tpot = l->output_tok > 1 ? (double)(end - first) / (l->output_tok - 1) : 0;
    double v = m->cfg->service_wp * r->prompt_tok + m->cfg->service_wq * l->output_tok;

    if (!c) {
        return;
    }
    c->service += v;
    service_add(m, c, in_seconds(first), in_seconds(end), v);
    if (r->arrival_ns < m->warmup_ns) {
        return;
    }
    m->completed++;
    m->input_tok += r->prompt_tok;
    m->output_tok += l->output_tok;
    hist_add(&m->ttft, ttft, 1);
    hist_add(&m->e2el, e2e, 1);
    hist_add(&m->queue, l->admit_ns - r->arrival_ns, 1);
    if (l->output_tok > 1) {
        hist_add(&m->tpot, llround(tpot), 1);
        c->tpot_sum_ns += tpot;
        c->tpot_n++;
    }
    m->good += is_good(r, ttft, tpot, e2e);
    c->completed++;
    c->prompt_tok += r->prompt_tok;
    c->output_tok += l->output_tok;
    count_counters(m, c, v, r->prompt_tok + l->output_tok, e2e, now - l->admit_ns);
    count_slowdown(m, r, l, e2e);
    c->ttft_ns += ttft;
    c->e2e_ns += e2e;
}

static int tell_hook(const struct metrics_ear *ear, const struct req *r, const struct live *l, bool rejected,
                     bool met_goals, const char *why, sim_ns now, struct err *e)
{
    const struct metrics *m = ear->m;
    bool started = r->first_token_ns != SIM_NEVER;
    struct request_row row = {
        .serial = r->serial,
        .client = r->client,
        .replica = ear->replica,
        .prompt_tok = r->prompt_tok,
        .output_tok = why ? 0 : l->output_tok,
        .cached_tok = l->hit_tok,
        .preemptions = l->preemptions,
        .arrival_ns = r->arrival_ns,
        .admit_ns = l->admit_ns,
        .first_token_ns = started ? r->first_token_ns + m->output_delay_ns : SIM_NEVER,
        .finish_ns = why ? SIM_NEVER : now + m->output_delay_ns,
        .status = !why ? REQUEST_OK : rejected ? REQUEST_REJECTED : REQUEST_REFUSED,
        .reason = why,
        .client_name = m->client_name(m->client_name_ctx, r->client),
        .measured_ttft_s = l->measured_ttft_s,
        .measured_e2e_s = l->measured_e2e_s,
        .slo_class = (enum slo_class)r->slo_class,
        .ttft_slo_ms = r->ttft_slo_ms,
        .tpot_slo_ms = r->tpot_slo_ms,
        .e2e_slo_ms = r->e2e_slo_ms,
        .met_goals = met_goals,
        .session = r->session,
    };

    return m->hooks->request(m->hooks->ctx, &row, e);
}

/* Why requests could not be served at all, each reason with the first request that it met. */
static void count_refused(struct metrics *m, const struct req *r, const struct live *l, const char *why)
{
    uint32_t k = 0;

    while (k < m->n_refusals && strcmp(m->refused[k].why, why) != 0) {
        k++;
    }
    if (k == REFUSAL_REASONS) {
        k--;
    }
    if (k == m->n_refusals) {
        m->refused[m->n_refusals++] = (struct refusals){
            .why = arena_strdup(m->arena, why), .first = *r, .first_output_tok = l->output_tok};
        m->out_of_memory |= !m->refused[k].why;
    }
    m->refused[k].n++;
}

/* Whether all goals were met. */
static bool count_goals(struct metrics_ear *ear, const struct req *r, const struct live *l, const char *why,
                        sim_ns now)
{
    struct metrics *m = ear->m;
    enum attain_verdict v = attain_left(&m->attain, &ear->tokens, r, id_of(ear, r), l, why, now);
    struct client_stats *c = v == ATTAIN_NONE ? NULL : client_of(m, r->client);

    if (c) {
        c->slo_all++;
        c->slo_met += v == ATTAIN_MET;
    }
    return v == ATTAIN_MET;
}

static int on_left(void *o, const struct req *r, const struct live *l, bool rejected, const char *why,
                   struct err *e)
{
    struct metrics_ear *ear = o;
    struct metrics *m = ear->m;
    sim_ns now = ear->engine->now;
    sim_ns waited = (l->admit_ns == SIM_NEVER ? now : l->admit_ns) - r->arrival_ns;

    m->in_system--;
    if (waited > m->longest_wait_ns && r->arrival_ns >= m->warmup_ns) {
        m->longest_wait_ns = waited;
    }
    m->last_leave_ns = now + m->output_delay_ns;
    bool met_goals = count_goals(ear, r, l, why, now);
    if (!why) {
        count_completed(m, r, l, now);
    } else if (rejected) {
        struct client_stats *c = client_of(m, r->client);

        if (c) {
            c->rejected++;
        }
    } else {
        count_refused(m, r, l, why);
    }
    if (m->cfg->check && m->attain.miscounted) {
        return err_set(e, SIM_E_CHECK, "request %llu left with %u tokens, but others were heard of",
                       (unsigned long long)r->serial, l->output_tok);
    }
    if (m->out_of_memory) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the metrics of %u clients", m->n_clients);
    }
    return m->hooks && m->hooks->request ? tell_hook(ear, r, l, rejected, met_goals, why, now, e) : 0;
}

static void on_gap(void *o, sim_ns ns, uint64_t n)
{
    hist_add(&((struct metrics_ear *)o)->m->itl, ns, n);
}

static void on_gaps(void *o, sim_tick base, sim_tick slope, uint64_t k, uint64_t n)
{
    hist_add_affine(&((struct metrics_ear *)o)->m->itl, base, slope, k, n);
}

static void on_token(void *o, const struct req *r, req_id id)
{
    struct metrics_ear *ear = o;

    (void)r;
    tokens_one(&ear->tokens, id, ear->engine->now);
}

static void on_beats(void *o, const struct token_beats *b)
{
    tokens_beats(&((struct metrics_ear *)o)->tokens, b);
}

static void on_pause(void *o, req_id id)
{
    tokens_pause(&((struct metrics_ear *)o)->tokens, id);
}

static void on_resume(void *o, req_id id)
{
    tokens_resume(&((struct metrics_ear *)o)->tokens, id);
}

static void thin_points(struct metrics *m)
{
    for (uint32_t i = 0; i < SERIES_POINTS / 2; i++) {
        m->point_t[i] = m->point_t[2 * i];
        m->point_kv[i] = m->point_kv[2 * i];
        m->point_running[i] = m->point_running[2 * i];
        m->point_waiting[i] = m->point_waiting[2 * i];
    }
    m->n_points = SERIES_POINTS / 2;
    m->point_every *= 2;
    m->point_phase = 0;
}

void metrics_sample(struct metrics *m, sim_ns at)
{
    uint64_t free = 0, total = 0;
    uint32_t running = 0, waiting = 0;
    double kv;

    for (uint32_t i = 0; i < m->n_ears; i++) {
        const struct engine *g = m->ear[i].engine;

        free += kv_free(g->kv);
        total += kv_total(g->kv);
        running += g->n_running;
        waiting += g->n_waiting;
        m->n_waiting_samples += g->n_waiting > 0;
    }
    kv = 1 - (double)free / (double)total;
    m->n_samples++;
    m->sum_kv += kv;
    m->sum_running += running;
    m->sum_waiting += waiting;
    if (!m->keep_series || m->point_phase++ % m->point_every != 0) {
        return;
    }
    m->point_t[m->n_points] = in_seconds(at);
    m->point_kv[m->n_points] = kv;
    m->point_running[m->n_points] = running;
    m->point_waiting[m->n_points] = waiting;
    if (++m->n_points == SERIES_POINTS) {
        thin_points(m);
    }
}

static void on_sample(void *o, sim_ns at)
{
    metrics_sample(((struct metrics_ear *)o)->m, at);
}

sim_ns metrics_tick_ns(const struct metrics *m)
{
    return (sim_ns)llround((m->keep_series ? m->cfg->series_step_s : 1.0) * 1e9);
}

struct engine_observer metrics_observer(struct metrics *m, uint32_t replica, struct engine *engine)
{
    struct metrics_ear *ear = &m->ear[replica];

    ear->engine = engine;
    return (struct engine_observer){
        .arrived = on_arrived,
        .left = on_left,
        .gap = on_gap,
        .gaps = on_gaps,
        .token = on_token,
        .beats = on_beats,
        .pause = on_pause,
        .resume = on_resume,
        .sample = on_sample,
        .tick_ns = metrics_tick_ns(m),
        .o = ear,
    };
}
