/* SPDX-License-Identifier: Apache-2.0
 *
 * Serving the running requests in order of admission, exactly as an engine does that walks its list,
 * but without the walk where its outcome is known: see fast_is_exact. */
#include "policies/batch/step.h"

const struct opt_choice auto_switch_choices[] = {
    [SWITCH_AUTO] = {"auto", "as the version does by default"},
    [SWITCH_ON] = {"on", "on"},
    [SWITCH_OFF] = {"off", "off"},
    {NULL, NULL},
};

uint32_t step_chunk_tok(const struct step *s, uint32_t left_tok)
{
    uint32_t n = left_tok;
    if (s->rules->chunk_max_tok && n > s->rules->chunk_max_tok) {
        n = s->rules->chunk_max_tok;
    }
    if (n > s->budget_tok) {
        n = (uint32_t)s->budget_tok;
    }
    if (s->rules->chunk_unit_tok && n < left_tok) {
        n -= n % s->rules->chunk_unit_tok;
    }
    return n;
}

static bool is_younger(const struct req *a, const struct req *b)
{
    return a->arrival_ns != b->arrival_ns ? a->arrival_ns > b->arrival_ns : a->serial > b->serial;
}

/* Not through: those whose last token is on its way cannot be pushed out. */
static req_id youngest_running(const struct engine *e)
{
    req_id best = REQ_NONE;
    for (req_id r = eng_first_running(e); r != REQ_NONE; r = eng_next_running(e, r)) {
        bool open = eng_is_decoding(e, r) || eng_left_tok(e, r) > 0;
        if (open && (best == REQ_NONE || is_younger(eng_req(e, r), eng_req(e, best)))) {
            best = r;
        }
    }
    return best;
}

req_id step_victim(struct engine *e, const struct step_rules *rules)
{
    req_id v = eng_victim(e);
    if (!rules->victim_by_arrival || v != eng_last_running(e)) {
        return v; /* a policy without an opinion names the last admitted */
    }
    req_id y = youngest_running(e);
    return y != REQ_NONE ? y : v;
}

static bool stands_before(const struct engine *e, req_id a, req_id b)
{
    for (req_id r = b; r != REQ_NONE; r = eng_next_running(e, r)) {
        if (r == a) {
            return false;
        }
    }
    return true;
}

/* `for_whom` is being served. Tokens that this step had given to the victim go back to the budget
 * (vLLM V1, v1/core/sched/scheduler.py, since priority victims can stand anywhere). */
static void push_out(struct step *s, req_id v, req_id for_whom)
{
    bool decoded = eng_is_decoding(s->e, v) &&
                   (s->decoded_all || (v != for_whom && stands_before(s->e, v, for_whom)));
    uint32_t had_tok = eng_plan_prefill_tok(s->e);
    /* A lone request is not swapped: it would come back to the same shortage for ever. */
    bool swapped = s->rules->swap && eng_n_running(s->e) > 1 && eng_is_decoding(s->e, v) &&
                   eng_swap_out(s->e, v);
    if (!swapped) {
        eng_preempt(s->e, v);
    }
    uint32_t chunk_tok = had_tok - eng_plan_prefill_tok(s->e);
    s->budget_tok += chunk_tok ? chunk_tok : decoded;
}

static bool fits(struct step *s, req_id r, uint32_t chunk_tok)
{
    if (s->rules->wants_free_block && eng_kv_free(s->e) == 0) {
        return false;
    }
    return chunk_tok ? eng_chunk(s->e, r, chunk_tok) : eng_decode_one(s->e, r);
}

/* Give r a chunk (or, with 0, one token), pushing out others until it fits. False: r itself went. */
static bool serve(struct step *s, req_id r, uint32_t chunk_tok)
{
    while (!fits(s, r, chunk_tok)) {
        req_id v = step_victim(s->e, s->rules);
        if (v == REQ_NONE) {
            return false;
        }
        push_out(s, v, r);
        if (v == r) {
            return false;
        }
    }
    s->budget_tok -= chunk_tok ? chunk_tok : 1;
    return true;
}

/* The engine's own loop: the running list from old to young while budget lasts; it ends where a
 * request had to push out itself. */
static void walk(struct step *s)
{
    for (req_id r = eng_first_running(s->e); r != REQ_NONE && s->budget_tok > 0;) {
        bool decode = eng_is_decoding(s->e, r);
        uint32_t n = decode ? 0 : step_chunk_tok(s, eng_left_tok(s->e, r));
        if ((decode || n) && !serve(s, r, n)) {
            break;
        }
        r = eng_next_running(s->e, r);
    }
    eng_decode_close(s->e);
}

static void walk_decodes(struct step *s)
{
    for (req_id r = eng_first_running(s->e); r != REQ_NONE && s->budget_tok > 0;) {
        if (eng_is_decoding(s->e, r) && !serve(s, r, 0)) {
            break;
        }
        r = eng_next_running(s->e, r);
    }
    eng_decode_close(s->e);
}

static req_id prefilling_after(const struct engine *e, req_id r)
{
    do {
        r = eng_next_running(e, r);
    } while (r != REQ_NONE && eng_left_tok(e, r) == 0);
    return r;
}

/* Chunks of the unfinished prefills, from old to young. */
static void serve_prefills(struct step *s)
{
    req_id r = eng_first_prefilling(s->e);
    while (r != REQ_NONE && s->budget_tok > 0) {
        /* Asked before r is served: with its last chunk r leaves the list of the prefilling. */
        req_id next = eng_next_prefilling(s->e, r);
        bool pushed = eng_preempted_now(s->e);
        uint32_t n = step_chunk_tok(s, eng_left_tok(s->e, r));
        if (n && !serve(s, r, n)) {
            return;
        }
        if (pushed != eng_preempted_now(s->e)) {
            next = prefilling_after(s->e, r); /* `next` may be among those who went */
        }
        r = next;
    }
}

/* No decoding request is younger than a prefilling one. */
static bool prefills_are_last(const struct engine *e)
{
    for (req_id r = eng_first_prefilling(e); r != REQ_NONE; r = eng_next_running(e, r)) {
        if (eng_is_decoding(e, r)) {
            return false;
        }
    }
    return true;
}

/* Budget and blocks suffice for everybody, whatever the order. */
static bool all_fit(const struct step *s)
{
    uint64_t tok = eng_n_decoding(s->e), blk = eng_decode_need(s->e);
    struct step unbound = *s;
    unbound.budget_tok = UINT32_MAX;
    for (req_id r = eng_first_prefilling(s->e); r != REQ_NONE; r = eng_next_prefilling(s->e, r)) {
        uint32_t n = step_chunk_tok(&unbound, eng_left_tok(s->e, r));
        tok += n;
        blk += n / eng_block_tok(s->e) + 1;
        if (tok > s->budget_tok || blk > eng_kv_free(s->e)) {
            return false;
        }
    }
    return tok <= s->budget_tok && blk <= eng_kv_free(s->e);
}

/* All decodes at once and then the prefills gives what the walk gives when the walk comes by the
 * decodes first, or when there is enough for all. Steps of only decodes, and of decodes with the
 * youngest prompts behind them, are nearly all steps of a run. */
static bool fast_is_exact(const struct step *s)
{
    if (eng_n_decoding(s->e) > s->budget_tok) {
        return false;
    }
    if (s->rules->wants_free_block && eng_n_decoding(s->e) &&
        eng_kv_free(s->e) <= eng_decode_need(s->e)) {
        return false;
    }
    return s->rules->decodes_first || prefills_are_last(s->e) || all_fit(s);
}

bool step_displace(struct step *s, req_id waiting)
{
    req_id v = eng_displace(s->e, waiting);
    if (v == REQ_NONE) {
        return false;
    }
    bool decoded = eng_is_decoding(s->e, v); /* admission comes after everybody was served */
    uint32_t had_tok = eng_plan_prefill_tok(s->e);
    eng_preempt(s->e, v);
    uint32_t chunk_tok = had_tok - eng_plan_prefill_tok(s->e);
    s->budget_tok += chunk_tok ? chunk_tok : decoded;
    return eng_pick(s->e) == waiting;
}

bool step_running(struct step *s)
{
    uint32_t n = eng_n_decoding(s->e);
    if (fast_is_exact(s) && (n == 0 || eng_decode_all(s->e))) {
        s->decoded_all = n > 0;
        s->budget_tok -= n;
        serve_prefills(s);
        return true;
    }
    if (!s->rules->decodes_first) {
        walk(s);
        return false;
    }
    walk_decodes(s);
    serve_prefills(s);
    return false;
}

uint64_t step_horizon(const struct engine *e, bool all_decoded)
{
    bool steady = all_decoded && eng_plan_decodes(e) && eng_plan_chunks(e) == 0 &&
                  eng_n_prefilling(e) == 0 && !eng_preempted_now(e);
    return steady ? UINT64_MAX : 1;
}

uint64_t step_prefill_debt(const struct engine *e)
{
    uint64_t blk = 0;
    for (req_id r = eng_first_prefilling(e); r != REQ_NONE; r = eng_next_prefilling(e, r)) {
        uint64_t done = eng_req(e, r)->computed_tok;
        blk += step_blocks(e, done + eng_left_tok(e, r)) - step_blocks(e, done);
    }
    return blk;
}
