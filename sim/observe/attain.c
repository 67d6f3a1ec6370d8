/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/observe/attain.h"

#include <math.h>
#include <stdlib.h>

/* Weights of the artifact: its constants for prefill and decode. */
#define ARTIFACT_WP 1
#define ARTIFACT_WQ 8

void attain_init(struct attain *t, const struct run_config *c)
{
    *t = (struct attain){.cfg = c,
                         .output_delay_ns = (sim_ns)llround(c->output_delay_s * 1e9),
                         .warmup_ns = (sim_ns)llround(c->warmup_s * 1e9)};
}

void attain_release(struct attain *t)
{
    free(t->program);
    free(t->index);
}

static sim_ns limit_ns(float ms)
{
    return (sim_ns)llround((double)ms * 1e6);
}

/* ---- programs ---- */

static uint32_t *entry_of(struct attain *t, uint64_t session)
{
    uint32_t i = (uint32_t)(session * 0x9E3779B97F4A7C15u >> 32) & t->index_mask;

    while (t->index[i] != 0 && t->program[t->index[i] - 1].session != session) {
        i = (i + 1) & t->index_mask;
    }
    return &t->index[i];
}

static bool grow_index(struct attain *t)
{
    uint32_t mask = t->index ? 2 * t->index_mask + 1 : 255;
    uint32_t *index = calloc((size_t)mask + 1, sizeof(*index));

    if (!index) {
        return false;
    }
    free(t->index);
    t->index = index;
    t->index_mask = mask;
    for (uint32_t i = 0; i < t->n_programs; i++) {
        *entry_of(t, t->program[i].session) = i + 1;
    }
    return true;
}

static struct program *program_of(struct attain *t, uint64_t session)
{
    uint32_t *entry = t->index ? entry_of(t, session) : NULL;

    return entry && *entry ? &t->program[*entry - 1] : NULL;
}

static struct program *program_add(struct attain *t, const struct req *r)
{
    if (!t->index || 2 * (uint64_t)t->n_programs >= t->index_mask) {
        if (!grow_index(t)) {
            return NULL;
        }
    }
    if (!grow_array((void **)&t->program, &t->cap_programs, t->n_programs + 1, sizeof(*t->program))) {
        return NULL;
    }
    t->program[t->n_programs] = (struct program){.session = r->session, .client = r->client,
                                                 .first_ns = r->arrival_ns};
    *entry_of(t, r->session) = t->n_programs + 1;
    return &t->program[t->n_programs++];
}

static bool program_call(struct attain *t, const struct req *r)
{
    struct program *p = program_of(t, r->session);
    sim_ns limit = limit_ns(r->e2e_slo_ms);

    if (!p && !(p = program_add(t, r))) {
        return false;
    }
    p->running++;
    p->limit_ns = limit > p->limit_ns ? limit : p->limit_ns;
    return true;
}

static void program_answer(struct program *p, const struct req *r, const struct live *l, const char *why,
                           sim_ns end_ns)
{
    p->running--;
    p->failed |= why != NULL;
    p->last_ns = end_ns;
    if (!why) {
        p->in_tok += r->prompt_tok;
        p->out_tok += l->output_tok;
    }
}

void attain_programs(struct attain *t, void (*tell)(void *ctx, uint32_t client, bool met), void *ctx)
{
    struct attain_count *n = &t->of_class[SLO_COMPOUND];

    for (uint32_t i = 0; i < t->n_programs; i++) {
        const struct program *p = &t->program[i];
        bool in_time = p->limit_ns == 0 || p->last_ns - p->first_ns <= p->limit_ns;
        bool met = !p->failed && p->running == 0 && in_time;

        if (p->first_ns < t->warmup_ns) {
            continue;
        }
        n->all++;
        n->good += met;
        n->good_in += met ? p->in_tok : 0;
        n->good_out += met ? p->out_tok : 0;
        tell(ctx, p->client, met);
    }
}

/* ---- requests ---- */

/* The line of deadlines; without a TTFT goal it begins with one TBT. */
static bool watch(struct attain *t, struct tokens *tokens, const struct req *r, req_id id)
{
    sim_ns ttft = limit_ns(r->ttft_slo_ms), tbt = limit_ns(r->tpot_slo_ms);
    sim_ns shift = t->cfg->slo_tokens == SLO_TOKENS_ARTIFACT ? tbt : 0;
    sim_ns due = r->arrival_ns + (ttft > 0 ? ttft : tbt) + shift - t->output_delay_ns;

    return tokens_watch(tokens, id, ttft > 0 || tbt > 0 ? due : SIM_NEVER, tbt);
}

bool attain_arrived(struct attain *t, struct tokens *tokens, const struct req *r, req_id id)
{
    t->any |= r->slo_class != SLO_NONE;
    if (r->slo_class == SLO_LATENCY) {
        return watch(t, tokens, r, id);
    }
    if (r->slo_class == SLO_COMPOUND && r->session != 0) {
        return program_call(t, r);
    }
    return true;
}

static bool in_time(sim_ns took, float goal_ms)
{
    return !(goal_ms > 0) || took <= limit_ns(goal_ms);
}

/* Tokens of a latency-sensitive answer count one by one, the prompt with the first of them. */
static bool judge_latency(struct attain *t, const struct req *r, const struct token_track *k, sim_ns end)
{
    struct attain_count *n = &t->of_class[SLO_LATENCY];
    bool first = in_time(r->first_token_ns + t->output_delay_ns - r->arrival_ns, r->ttft_slo_ms);

    n->good_in += first ? r->prompt_tok : 0;
    n->good_out += k ? k->on_time : 0;
    return first && k && !k->late_gap && in_time(end - r->arrival_ns, r->e2e_slo_ms);
}

static bool judge_whole(struct attain *t, const struct req *r, const struct live *l, sim_ns end)
{
    struct attain_count *n = &t->of_class[r->slo_class];
    bool met = in_time(end - r->arrival_ns, r->e2e_slo_ms);

    n->good_in += met ? r->prompt_tok : 0;
    n->good_out += met ? l->output_tok : 0;
    return met;
}

enum attain_verdict attain_left(struct attain *t, struct tokens *tokens, const struct req *r, req_id id,
                                const struct live *l, const char *why, sim_ns now)
{
    const struct token_track *k = r->slo_class == SLO_LATENCY ? tokens_left(tokens, id) : NULL;
    sim_ns end = now + t->output_delay_ns;
    bool met;

    t->miscounted |= k && !why && k->out != l->output_tok;
    if (r->slo_class == SLO_COMPOUND && r->session != 0) {
        program_answer(program_of(t, r->session), r, l, why, end);
        return ATTAIN_NONE;
    }
    if (r->slo_class == SLO_NONE || r->arrival_ns < t->warmup_ns) {
        return ATTAIN_NONE;
    }
    met = !why && (r->slo_class == SLO_LATENCY ? judge_latency(t, r, k, end) : judge_whole(t, r, l, end));
    t->of_class[r->slo_class].all++;
    t->of_class[r->slo_class].good += met;
    return r->slo_class == SLO_BEST_EFFORT ? ATTAIN_NONE : met ? ATTAIN_MET : ATTAIN_MISSED;
}

double attain_tokens(const struct attain *t, enum slo_class class)
{
    const struct attain_count *n = &t->of_class[class];

    if (t->cfg->slo_tokens == SLO_TOKENS_ARTIFACT) {
        return ARTIFACT_WP * (double)n->good_in + ARTIFACT_WQ * (double)n->good_out;
    }
    return (class == SLO_LATENCY ? 0 : (double)n->good_in) + (double)n->good_out;
}
