/* SPDX-License-Identifier: Apache-2.0
 *
 * Equinox (arXiv 2508.16646): two counters per client, of the service that its user feels (UFC: weighted
 * tokens, the less the later they come) and of what it takes from the machine (RFC: throughput times
 * utilisation), both charged in advance with predictions of a mixture of experts and put right at the
 * end; the client with the least holistic score goes first.
 * The paper's equations are not public. Stand-ins, every constant an option:
 *     UFC += (wp*p + wq*q) * g(L) / weight,  g = 1/(1 + delta*L),  L = seconds waited + predicted service
 *     RFC += (T / peak) * u / weight,        T = (p + q) / service,  u = busy share of the service time
 *     score = alpha * UFC/max UFC + beta * RFC/max RFC, over the clients that wait
 * with service = prefill_time*p + token_time*q, busy while it prefills and `decode_util` of the decodes.
 * A client that comes back is lifted in both counters as VTC lifts. With beta = 0 and delta = 0 this is
 * VTC exactly. Chunked prefill ("stall-free") and adaptive batching, which asks for the
 * predicted lengths, are those of the batcher of this name. */
#include <math.h>
#include <stdlib.h>

#include "policies/predict/predict.h"
#include "policies/schedule/vtc.h"

struct equinox {
    struct vtc vtc; /* first: its callbacks serve here, its counters are the UFC */
    double alpha, beta, delta;
    double prefill_s, token_s, decode_util, peak_tok_s;
    const char *predictor_spec;
    struct predictor predictor;
    sim_wide *rfc; /* by account */
    sim_wide *rfc_charged; /* by req_id; 0 = not yet admitted */
    uint32_t rfc_cap, charged_cap;
};

/* The first of enum vtc_lift: "max" lifts by what one client's counter was, and here there are two. */
static const struct opt_choice lift_choices[] = {
    [VTC_LIFT_ARTIFACT] = {"artifact", "the least counters of the others that wait, nothing if nobody waits"},
    [VTC_LIFT_PAPER] = {"paper", "as artifact; if nobody waits, the counters of the last client to leave"},
    [VTC_LIFT_OFF] = {"off", "never"},
    {NULL, NULL},
};

#define ROW(n, t, field, lo, hi, d, u, h)                                                          \
    {.name = n, .type = t, .offset = offsetof(struct equinox, field), .min = lo, .max = hi,        \
     .def = d, .unit = u, .help = h}
static const struct opt_row equinox_options[] = {
    ROW("alpha", OPT_DOUBLE, alpha, 0, 1, "0.7", "1", "share of the user's counter in the score"),
    ROW("beta", OPT_DOUBLE, beta, 0, 1, "0.3", "1", "share of the machine's counter in the score"),
    ROW("delta", OPT_DOUBLE, delta, 0, 1e3, "0.1", "1", "what a second of latency takes off service"),
    METER_WEIGHT_ROWS_OF(struct equinox, vtc.conf, "4"),
    {.name = "lift", .type = OPT_CHOICE, .offset = offsetof(struct equinox, vtc.lift),
     .def = "artifact", .help = "what both counters of a client are raised to when it comes back",
     .choices = lift_choices},
    PREDICTOR_ROW(struct equinox, predictor_spec, "mope"),
    ROW("prefill_time", OPT_DOUBLE, prefill_s, 0, 10, "0.0002", "s", "prefill of a prompt token"),
    ROW("token_time", OPT_DOUBLE, token_s, 1e-6, 10, "0.03", "s", "a decode step"),
    ROW("decode_util", OPT_DOUBLE, decode_util, 0, 1, "0.3", "1", "utilisation while decoding"),
    ROW("peak", OPT_DOUBLE, peak_tok_s, 1e-3, 1e9, "1000", "1", "peak tokens per second"),
    OPT_END,
};
#undef ROW

static int equinox_init(void *st, struct policy_env *env, struct err *e)
{
    struct equinox *q = st;
    if (q->alpha + q->beta <= 0) {
        return err_set(e, SIM_E_CONFIG, "policy 'equinox': alpha and beta are both 0");
    }
    int rc = vtc_init(&q->vtc, env, e);
    return rc < 0 ? rc : predictor_open(&q->predictor, q->predictor_spec, env, "equinox", e);
}

static void equinox_release(void *st)
{
    struct equinox *q = st;
    vtc_release(&q->vtc);
    predictor_release(&q->predictor);
    free(q->rfc);
    free(q->rfc_charged);
    q->rfc = q->rfc_charged = NULL;
    q->rfc_cap = q->charged_cap = 0;
}

static bool waits(const struct equinox *q, uint32_t i)
{
    return q->vtc.clients[i].fifo.count > 0;
}

/* Client `i`, none of whose requests waited, has one now; `left` was the last to have none. */
static void lift_rfc(struct equinox *q, uint32_t i, uint32_t left)
{
    uint32_t least = CLIENT_NONE;
    for (uint32_t j = 0; j < q->vtc.meter.accounts.n; j++) {
        if (j != i && waits(q, j) && (least == CLIENT_NONE || q->rfc[j] < q->rfc[least])) {
            least = j;
        }
    }
    if (least == CLIENT_NONE && q->vtc.lift == VTC_LIFT_PAPER) {
        least = left;
    }
    if (q->vtc.lift != VTC_LIFT_OFF && least != CLIENT_NONE && q->rfc[least] > q->rfc[i]) {
        q->rfc[i] = q->rfc[least];
    }
}

static const char *equinox_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct equinox *q = st;
    void *rfc = q->rfc, *charged = q->rfc_charged;
    /* Accounts are numbered from 0, so one more than there are is enough. */
    bool ok = table_reach(&rfc, &q->rfc_cap, sizeof *q->rfc, q->vtc.meter.accounts.n) &&
              table_reach(&charged, &q->charged_cap, sizeof *q->rfc_charged, r) &&
              predictor_reach(&q->predictor, r);
    q->rfc = rfc;
    q->rfc_charged = charged;
    if (!ok) {
        return policy_no_memory;
    }
    uint32_t left = q->vtc.last_left;
    const char *refused = vtc_arrive(&q->vtc, v, r);
    if (!refused) {
        uint32_t i = q->vtc.meter.slots[r].account;
        q->rfc_charged[r] = 0;
        if (q->vtc.clients[i].fifo.count == 1) {
            lift_rfc(q, i, left);
        }
    }
    return refused;
}

static double score(const struct equinox *q, uint32_t i, double top_ufc, double top_rfc)
{
    double ufc = (double)meter_account(&q->vtc.meter, i)->total, rfc = (double)q->rfc[i];
    return q->alpha * (top_ufc > 0 ? ufc / top_ufc : 0) + q->beta * (top_rfc > 0 ? rfc / top_rfc : 0);
}

static req_id equinox_next(void *st, const struct sched_view *v)
{
    struct equinox *q = st;
    if (q->beta <= 0) {
        return vtc_next(&q->vtc, v);
    }
    double top_ufc = 0, top_rfc = 0, best = 0;
    uint32_t n = q->vtc.meter.accounts.n, first = CLIENT_NONE;
    for (uint32_t i = 0; i < n; i++) {
        if (waits(q, i)) {
            top_ufc = fmax(top_ufc, (double)meter_account(&q->vtc.meter, i)->total);
            top_rfc = fmax(top_rfc, (double)q->rfc[i]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        double s = waits(q, i) ? score(q, i, top_ufc, top_rfc) : 0;
        if (waits(q, i) && (first == CLIENT_NONE || s < best)) {
            best = s;
            first = i;
        }
    }
    return first == CLIENT_NONE ? REQ_NONE : q->vtc.clients[first].fifo.head;
}

static double service_s(const struct equinox *q, double prompt, double output)
{
    return q->prefill_s * prompt + q->token_s * output;
}

static sim_wide rfc_charge(const struct equinox *q, const struct req *req, double output)
{
    double p = req->prompt_tok, s = service_s(q, p, output);
    if (s <= 0) {
        return 0;
    }
    double util = (q->prefill_s * p + q->token_s * output * q->decode_util) / s;
    return llround((p + output) / s / q->peak_tok_s * util / (double)req->weight * METER_UNIT);
}

static void equinox_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    struct equinox *q = st;
    const struct req *req = &v->reqs[r];
    vtc_unqueue(&q->vtc, r);
    if (q->vtc.meter.slots[r].charged_prompt) {
        return; /* recomputation after a preemption */
    }
    double output = predictor_predict(&q->predictor, v, r, 0);
    double latency_s =
        (double)(v->now_ns - req->arrival_ns) * 1e-9 + service_s(q, req->prompt_tok, output);
    meter_scale(&q->vtc.meter, r, 1 / (1 + q->delta * latency_s));
    meter_admit(&q->vtc.meter, r, output);
    q->rfc_charged[r] = rfc_charge(q, req, output);
    q->rfc[q->vtc.meter.slots[r].account] += q->rfc_charged[r];
}

static void equinox_finish(void *st, const struct sched_view *v, req_id r)
{
    struct equinox *q = st;
    const struct req *req = &v->reqs[r];
    q->rfc[q->vtc.meter.slots[r].account] +=
        rfc_charge(q, req, req_generated(v, req)) - q->rfc_charged[r];
    vtc_finish(&q->vtc, v, r);
    predictor_finish(&q->predictor, v, r);
}

static double equinox_forecast(void *st, const struct sched_view *v, req_id r)
{
    struct equinox *q = st;
    if (!q->predictor.ops) {
        return HUGE_VAL; /* predictor=none */
    }
    return predictor_predict(&q->predictor, v, r, req_generated(v, &v->reqs[r]));
}

/* RFCs stand still while others decode. UFCs do as long as nobody outgrows its prediction. */
static uint64_t equinox_horizon(void *st, const struct sched_view *v)
{
    struct equinox *q = st;
    if (q->beta <= 0) {
        return vtc_horizon(&q->vtc, v);
    }
    for (uint32_t i = 0; q->alpha > 0 && i < q->vtc.meter.n_active; i++) {
        const struct meter_account *a = meter_account(&q->vtc.meter, q->vtc.meter.active[i]);
        if (a->step != 0 || a->growth != 0) {
            return 1;
        }
    }
    uint64_t join = q->alpha > 0 ? meter_next_join(&q->vtc.meter) : UINT64_MAX;
    return join < UINT64_MAX ? join + 1 : UINT64_MAX;
}

static size_t equinox_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct equinox *)st)->predictor, ret, max);
}

const struct policy_ops policy_equinox = {
    .name = "equinox",
    .summary = "holistic fairness: service as users feel it and use of the machine, predicted",
    .source = "Equinox, arXiv 2508.16646; equations and weights are stand-ins",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct equinox),
    .options = equinox_options,
    .init = equinox_init,
    .release = equinox_release,
    .arrive = equinox_arrive,
    .next = equinox_next,
    .admit = equinox_admit,
    .first_token = vtc_first_token,
    .decode = vtc_decode,
    .finishing = vtc_finishing,
    .finish = equinox_finish,
    .preempt = vtc_preempt,
    .pause = vtc_pause,
    .resume = vtc_resume,
    .drop = vtc_drop,
    .forecast = equinox_forecast,
    .horizon = equinox_horizon,
    .stats = equinox_stats,
    .waiting = vtc_waiting,
};
