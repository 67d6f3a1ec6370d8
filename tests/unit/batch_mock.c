/* SPDX-License-Identifier: Apache-2.0 */
#include "batch_mock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOCK_BLOCKS = 1 << 14, MOCK_TOKENS = 1 << 15, NO_BLOCK = -1 };

struct block {
    uint32_t refs;
    bool hashed;
    uint64_t hash;
    uint64_t published; /* when it got its hash: of equals the first one is found */
};

struct mreq {
    struct mock_spec spec;
    uint32_t *token; /* ids: prompt, then outputs */
    uint32_t computed, target; /* of the prefill; computed == target: it is through */
    uint32_t planned_out, out;
    int *blk;
    uint32_t n_blk;
    uint32_t host_blk;
    bool running, waiting, swapped, done, refused;
    bool chunk_now, token_now; /* planned in the step under construction */
    uint32_t chunk_now_tok;
    uint64_t first_step, first_ms, last_ms;
};

struct flight {
    bool empty;
    uint32_t n;
    req_id r[MOCK_LIST]; /* who gets a token */
};

struct engine {
    const struct batcher_ops *ops;
    void *st;
    struct arena arena;
    struct batcher_traits traits;
    struct req *reqs;
    struct mreq q[MOCK_REQS];
    uint32_t n_req;
    req_id waiting[MOCK_REQS], running[MOCK_REQS], swapped[MOCK_REQS];
    uint32_t n_waiting, n_running, n_swapped;
    uint32_t pick_at; /* blocked requests before this are passed over in this step */
    bool try_others;
    req_id victim;
    struct block *block;
    int *free_list;
    uint64_t n_blk, n_free, host_free, n_published;
    struct mock_step step;
    bool planning, decoded_all, decoding_one;
    struct flight flight[2];
    uint32_t n_flight;
    uint64_t steps, now_ms, decode_iter;
    struct sched_view view;
};

/* ---- lists ---- */
static uint32_t list_find(const req_id *l, uint32_t n, req_id r)
{
    uint32_t i = 0;
    while (i < n && l[i] != r) {
        i++;
    }
    return i;
}

static void list_insert(req_id *l, uint32_t *n, uint32_t at, req_id r)
{
    memmove(l + at + 1, l + at, (*n - at) * sizeof *l);
    l[at] = r;
    (*n)++;
}

static void list_remove(req_id *l, uint32_t *n, req_id r)
{
    uint32_t at = list_find(l, *n, r);
    assert_true(at < *n);
    memmove(l + at, l + at + 1, (*n - at - 1) * sizeof *l);
    (*n)--;
}

/* ---- blocks ---- */
static uint64_t blocks_for(const struct engine *m, uint64_t tok)
{
    return (tok + m->traits.block_tok - 1) / m->traits.block_tok;
}

/* Hash of the first n blocks of a request's tokens. */
static uint64_t chain_hash(const struct engine *m, const struct mreq *q, uint32_t n)
{
    uint64_t h = 14695981039346656037u;
    for (uint32_t i = 0; i < n * m->traits.block_tok; i++) {
        h = (h ^ q->token[i]) * 1099511628211u;
        h ^= h >> 29;
    }
    return h;
}

static int cached_block(const struct engine *m, uint64_t hash)
{
    int best = NO_BLOCK;
    for (uint64_t i = 0; i < m->n_blk; i++) {
        const struct block *b = &m->block[i];
        if (b->hashed && b->hash == hash &&
            (best == NO_BLOCK || b->published < m->block[best].published)) {
            best = (int)i;
        }
    }
    return best;
}

static uint32_t context_of(const struct mreq *q)
{
    return q->spec.prompt_tok + q->planned_out;
}

/* Blocks of the longest cached prefix; their numbers go to `ret`. */
static uint32_t hit_blocks(const struct engine *m, const struct mreq *q, int *ret)
{
    uint32_t n = 0, most = (context_of(q) - 1) / m->traits.block_tok;
    while (m->traits.prefix_cache && n < most) {
        int b = cached_block(m, chain_hash(m, q, n + 1));
        if (b == NO_BLOCK) {
            break;
        }
        ret[n++] = b;
    }
    return n;
}

static void free_list_remove(struct engine *m, int b)
{
    uint64_t i = 0;
    while (m->free_list[i] != b) {
        i++;
        assert_true(i < m->n_free);
    }
    memmove(m->free_list + i, m->free_list + i + 1, (m->n_free - i - 1) * sizeof *m->free_list);
    m->n_free--;
}

static void block_take(struct engine *m, struct mreq *q)
{
    assert_true(m->n_free > 0);
    int b = m->free_list[0];
    free_list_remove(m, b);
    m->block[b] = (struct block){.refs = 1};
    q->blk[q->n_blk++] = b;
}

static void block_revive(struct engine *m, struct mreq *q, int b)
{
    if (m->block[b].refs++ == 0) {
        free_list_remove(m, b);
    }
    q->blk[q->n_blk++] = b;
}

static void blocks_release(struct engine *m, struct mreq *q)
{
    while (q->n_blk) {
        int b = q->blk[--q->n_blk];
        if (--m->block[b].refs == 0) {
            m->free_list[m->n_free++] = b;
        }
    }
}

static bool blocks_grow(struct engine *m, struct mreq *q, uint64_t tok)
{
    uint64_t want = blocks_for(m, tok);
    if (want > q->n_blk && want - q->n_blk > m->n_free) {
        return false;
    }
    while (q->n_blk < want) {
        block_take(m, q);
    }
    return true;
}

/* Full blocks of the first `tok` tokens can be found by others from now on. */
static void blocks_publish(struct engine *m, struct mreq *q, uint32_t tok)
{
    for (uint32_t i = 0; m->traits.prefix_cache && i < tok / m->traits.block_tok; i++) {
        struct block *b = &m->block[q->blk[i]];
        if (!b->hashed) {
            b->hashed = true;
            b->hash = chain_hash(m, q, i + 1);
            b->published = ++m->n_published;
        }
    }
}

/* ---- state ---- */
static bool is_decoding(const struct mreq *q)
{
    return q->running && q->computed == q->target && q->planned_out < q->spec.output_tok;
}

/* Decoding, and not served in the step under construction. */
static bool can_decode(const struct mreq *q)
{
    return is_decoding(q) && !q->token_now;
}

static void refresh(struct engine *m)
{
    for (uint32_t i = 0; i < m->n_req; i++) {
        struct req *p = &m->reqs[i];
        const struct mreq *q = &m->q[i];
        p->computed_tok = q->computed;
        p->generated_tok = q->out;
        p->join_iter = m->decode_iter;
        p->state = q->waiting                              ? REQ_WAITING
                   : q->swapped                            ? REQ_SWAPPED
                   : q->running && q->computed < q->target ? REQ_PREFILLING
                   : q->running                            ? REQ_DECODING
                                                           : REQ_FREE;
    }
    m->view = (struct sched_view){.now_ns = eng_now(m), .reqs = m->reqs, .decode_iter = m->decode_iter,
                                  .n_running = m->n_running, .n_waiting = m->n_waiting};
}

static void plan_token(struct mreq *q)
{
    q->planned_out++;
    q->token_now = true;
}

static void take_back(struct engine *m, struct mreq *q)
{
    if (q->token_now) {
        q->planned_out--;
    }
    m->step.prefill_tok -= q->chunk_now_tok;
    q->token_now = q->chunk_now = false;
    q->chunk_now_tok = 0;
}

static void leave_step(struct engine *m, req_id r)
{
    struct mock_step *s = &m->step;
    for (uint32_t i = 0; i < s->n_chunks; i++) {
        if (s->chunk[i].r == r) {
            memmove(s->chunk + i, s->chunk + i + 1, (--s->n_chunks - i) * sizeof *s->chunk);
            i--;
        }
    }
    if (list_find(s->decoded, s->n_decoded, r) < s->n_decoded) {
        list_remove(s->decoded, &s->n_decoded, r);
    }
    take_back(m, &m->q[r]);
}

static void leave_running(struct engine *m, req_id r)
{
    struct mreq *q = &m->q[r];
    assert_true(m->planning && q->running);
    leave_step(m, r);
    list_remove(m->running, &m->n_running, r);
    blocks_release(m, q);
    q->running = false;
}

/* ---- reading ---- */
const struct sched_view *eng_view(const struct engine *m)
{
    return &m->view;
}

const struct req *eng_req(const struct engine *m, req_id r)
{
    assert_true(r < m->n_req);
    return &m->reqs[r];
}

sim_ns eng_now(const struct engine *m)
{
    return (sim_ns)m->now_ms * 1000000;
}

uint32_t eng_max_output(const struct engine *m, req_id r)
{
    return m->q[r].spec.max_output_tok ? m->q[r].spec.max_output_tok : m->q[r].spec.output_tok;
}

uint32_t eng_forecast(const struct engine *m, req_id r)
{
    uint32_t most = eng_max_output(m, r), expected = m->q[r].spec.expected_tok;
    uint32_t tok = expected > m->q[r].out ? expected : m->q[r].out + 1;
    return expected && tok < most ? tok : most;
}

uint32_t eng_planned_output(const struct engine *m, req_id r)
{
    return m->q[r].planned_out;
}

uint32_t eng_context(const struct engine *m, req_id r)
{
    return context_of(&m->q[r]);
}

uint32_t eng_n_running(const struct engine *m)
{
    return m->n_running;
}

uint32_t eng_n_decoding(const struct engine *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_running; i++) {
        n += is_decoding(&m->q[m->running[i]]);
    }
    return n;
}

uint32_t eng_n_prefilling(const struct engine *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_running; i++) {
        n += m->q[m->running[i]].computed < m->q[m->running[i]].target;
    }
    return n;
}

uint32_t eng_n_waiting(const struct engine *m)
{
    return m->n_waiting;
}

uint32_t eng_n_swapped(const struct engine *m)
{
    return m->n_swapped;
}

req_id eng_first_running(const struct engine *m)
{
    return m->n_running ? m->running[0] : REQ_NONE;
}

req_id eng_next_running(const struct engine *m, req_id r)
{
    uint32_t i = list_find(m->running, m->n_running, r);
    assert_true(i < m->n_running); /* the list is walked from a request that is in it */
    return i + 1 < m->n_running ? m->running[i + 1] : REQ_NONE;
}

req_id eng_last_running(const struct engine *m)
{
    return m->n_running ? m->running[m->n_running - 1] : REQ_NONE;
}

static req_id prefilling_from(const struct engine *m, uint32_t i)
{
    for (; i < m->n_running; i++) {
        if (m->q[m->running[i]].computed < m->q[m->running[i]].target) {
            return m->running[i];
        }
    }
    return REQ_NONE;
}

req_id eng_first_prefilling(const struct engine *m)
{
    return prefilling_from(m, 0);
}

req_id eng_next_prefilling(const struct engine *m, req_id r)
{
    uint32_t i = list_find(m->running, m->n_running, r);
    assert_true(i < m->n_running && m->q[r].computed < m->q[r].target);
    return prefilling_from(m, i + 1);
}

req_id eng_first_swapped(const struct engine *m)
{
    return m->n_swapped ? m->swapped[0] : REQ_NONE;
}

bool eng_is_decoding(const struct engine *m, req_id r)
{
    return is_decoding(&m->q[r]);
}

/* ---- KV ---- */
uint32_t eng_block_tok(const struct engine *m)
{
    return m->traits.block_tok;
}

uint64_t eng_kv_free(const struct engine *m)
{
    return m->n_free;
}

uint64_t eng_kv_total(const struct engine *m)
{
    return m->n_blk;
}

uint32_t eng_kept(const struct engine *m, req_id r)
{
    (void)m, (void)r;
    return 0; /* nothing outlives its place */
}

uint32_t eng_hit(struct engine *m, req_id r)
{
    static int found[MOCK_BLOCKS];
    assert_true(m->q[r].waiting);
    return hit_blocks(m, &m->q[r], found) * m->traits.block_tok;
}

uint64_t eng_kv_need(struct engine *m, req_id r, uint32_t upto_tok)
{
    static int found[MOCK_BLOCKS];
    assert_true(m->q[r].waiting);
    uint32_t hits = hit_blocks(m, &m->q[r], found);
    uint64_t want = blocks_for(m, upto_tok), need = want > hits ? want - hits : 0;
    for (uint32_t i = 0; i < hits; i++) {
        need += m->block[found[i]].refs == 0;
    }
    return need;
}

uint64_t eng_decode_need(const struct engine *m)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < m->n_running; i++) {
        const struct mreq *q = &m->q[m->running[i]];
        n += is_decoding(q) && blocks_for(m, context_of(q)) > q->n_blk;
    }
    return n;
}

/* ---- waiting ---- */
req_id eng_pick(struct engine *m)
{
    return m->pick_at < m->n_waiting ? m->waiting[m->pick_at] : REQ_NONE;
}

bool eng_displaces(const struct engine *m)
{
    (void)m;
    return false;
}

req_id eng_displace(struct engine *m, req_id waiting)
{
    (void)m, (void)waiting;
    return REQ_NONE;
}

bool eng_pick_blocked(struct engine *m, req_id r)
{
    assert_int_equal(r, eng_pick(m));
    m->pick_at += m->try_others;
    return m->try_others;
}

void eng_refuse(struct engine *m, req_id r, const char *why)
{
    assert_true(m->q[r].waiting);
    list_remove(m->waiting, &m->n_waiting, r);
    m->q[r].waiting = false;
    m->q[r].refused = m->q[r].done = true;
    m->step.refused[m->step.n_refused++] = r;
    m->step.why = why;
}

/* ---- building ---- */
uint32_t eng_plan_prefill_tok(const struct engine *m)
{
    return m->step.prefill_tok;
}

uint32_t eng_plan_chunks(const struct engine *m)
{
    return m->step.n_chunks;
}

bool eng_plan_decodes(const struct engine *m)
{
    return m->step.n_decoded > 0;
}

bool eng_plan_empty(const struct engine *m)
{
    return m->step.n_chunks == 0 && m->step.n_decoded == 0;
}

bool eng_preempted_now(const struct engine *m)
{
    return m->step.n_preempted + m->step.n_swapped_out > 0;
}

/* `n_tok` more tokens of the prefill; the blocks are there. */
static void add_chunk(struct engine *m, req_id r, uint32_t n_tok)
{
    struct mreq *q = &m->q[r];
    assert_false(q->chunk_now); /* one chunk per request and step */
    assert_true(n_tok >= 1 && n_tok <= q->target - q->computed);
    q->computed += n_tok;
    q->chunk_now = true;
    q->chunk_now_tok = n_tok;
    m->step.prefill_tok += n_tok;
    m->step.chunk[m->step.n_chunks++] = (struct mock_chunk){r, n_tok};
    blocks_publish(m, q, q->computed);
    if (q->computed == q->target) {
        plan_token(q);
    }
    refresh(m);
}

bool eng_admit(struct engine *m, req_id r, uint32_t n_tok, uint32_t reserve_tok)
{
    static int found[MOCK_BLOCKS];
    struct mreq *q = &m->q[r];
    assert_true(m->planning && q->waiting);
    assert_int_equal(r, eng_pick(m)); /* only the policy's pick may be admitted */
    uint32_t hits = hit_blocks(m, q, found), hit_tok = hits * m->traits.block_tok;
    uint32_t upto = hit_tok + n_tok > reserve_tok ? hit_tok + n_tok : reserve_tok;
    if (eng_kv_need(m, r, upto) > m->n_free) {
        return false;
    }
    for (uint32_t i = 0; i < hits; i++) {
        block_revive(m, q, found[i]);
    }
    assert_true(blocks_grow(m, q, upto));
    list_remove(m->waiting, &m->n_waiting, r);
    m->running[m->n_running++] = r;
    q->waiting = false;
    q->running = true;
    q->computed = hit_tok;
    q->target = context_of(q);
    m->step.admitted[m->step.n_admitted++] = r;
    add_chunk(m, r, n_tok);
    return true;
}

bool eng_chunk(struct engine *m, req_id r, uint32_t n_tok)
{
    struct mreq *q = &m->q[r];
    assert_true(m->planning && q->running);
    if (!blocks_grow(m, q, q->computed + n_tok)) {
        return false;
    }
    add_chunk(m, r, n_tok);
    return true;
}

uint32_t eng_left_tok(const struct engine *m, req_id r)
{
    return m->q[r].target - m->q[r].computed;
}

static void decode(struct engine *m, req_id r)
{
    struct mreq *q = &m->q[r];
    assert_true(blocks_grow(m, q, context_of(q)));
    blocks_publish(m, q, context_of(q));
    plan_token(q);
    m->step.decoded[m->step.n_decoded++] = r;
}

bool eng_decode_all(struct engine *m)
{
    assert_true(m->planning && !m->decoded_all && !m->decoding_one);
    assert_int_equal(m->step.n_chunks, 0); /* decodes come first in a step */
    if (eng_decode_need(m) > m->n_free) {
        return false;
    }
    for (uint32_t i = 0; i < m->n_running; i++) {
        if (can_decode(&m->q[m->running[i]])) {
            decode(m, m->running[i]);
        }
    }
    m->decoded_all = true;
    return true;
}

bool eng_decode_one(struct engine *m, req_id r)
{
    const struct mreq *q = &m->q[r];
    assert_true(m->planning && !m->decoded_all && can_decode(q));
    m->decoding_one = true;
    if (blocks_for(m, context_of(q)) > q->n_blk && m->n_free == 0) {
        return false;
    }
    decode(m, r);
    return true;
}

void eng_decode_close(struct engine *m)
{
    assert_true(m->planning && !m->decoded_all);
    m->decoding_one = false;
}

void eng_preempt(struct engine *m, req_id r)
{
    struct mreq *q = &m->q[r];
    leave_running(m, r);
    q->computed = q->target = 0;
    if (q->planned_out < q->spec.output_tok) { /* else its last token is on its way */
        q->waiting = true;
        list_insert(m->waiting, &m->n_waiting, 0, r);
    }
    m->step.preempted[m->step.n_preempted++] = r;
    refresh(m);
}

bool eng_swap_out(struct engine *m, req_id r)
{
    struct mreq *q = &m->q[r];
    uint32_t n = q->n_blk;
    assert_true(is_decoding(q) || q->token_now);
    if (n > m->host_free) {
        return false;
    }
    leave_running(m, r);
    m->host_free -= n;
    q->host_blk = n;
    q->swapped = true;
    m->swapped[m->n_swapped++] = r;
    m->step.n_swapped_out++;
    refresh(m);
    return true;
}

bool eng_swap_in(struct engine *m, req_id r)
{
    struct mreq *q = &m->q[r];
    assert_true(m->planning && q->swapped && !m->decoded_all);
    if (!blocks_grow(m, q, (uint64_t)q->host_blk * m->traits.block_tok)) {
        return false;
    }
    list_remove(m->swapped, &m->n_swapped, r);
    m->running[m->n_running++] = r;
    m->host_free += q->host_blk;
    q->host_blk = 0;
    q->swapped = false;
    q->running = true;
    m->step.n_swapped_in++;
    refresh(m);
    return true;
}

/* Not one whose last token is on its way (vLLM would take such a one, too: its blocks come free one
 * step early and nothing is lost). */
req_id eng_victim(struct engine *m)
{
    if (m->victim != REQ_NONE && m->q[m->victim].running) {
        return m->victim;
    }
    for (uint32_t i = m->n_running; i-- > 0;) {
        const struct mreq *q = &m->q[m->running[i]];
        if (q->planned_out < q->spec.output_tok || q->token_now) {
            return m->running[i];
        }
    }
    return REQ_NONE;
}

/* ---- set-up ---- */
static int set_options(struct engine *m, const char *options, struct err *e)
{
    if (opt_defaults(m->ops->options, m->st, &m->arena, e) < 0) {
        return e->code;
    }
    char text[512];
    snprintf(text, sizeof text, "%s", options);
    for (char *save = NULL, *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char *value = strchr(p, '=');
        assert_non_null(value);
        *value++ = '\0';
        if (opt_set_by_name(m->ops->options, m->st, "", p, value, &m->arena, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

struct engine *mock_try_new(const struct batcher_ops *ops, const char *options,
                            const struct mock_setup *setup, struct err *e)
{
    struct engine *m = calloc(1, sizeof *m);
    assert_non_null(m);
    assert_true(setup->kv_blk <= MOCK_BLOCKS);
    m->ops = ops;
    m->victim = REQ_NONE;
    m->st = arena_alloc(&m->arena, ops->state_size);
    m->reqs = calloc(MOCK_REQS, sizeof *m->reqs);
    m->n_blk = m->n_free = setup->kv_blk;
    m->host_free = setup->host_blk;
    m->block = calloc(m->n_blk, sizeof *m->block);
    m->free_list = calloc(m->n_blk, sizeof *m->free_list);
    for (uint64_t i = 0; i < m->n_blk; i++) {
        m->free_list[i] = (int)i;
    }
    struct batcher_env env = {.arena = &m->arena, .gpu_mem_bytes = setup->gpu_mem_bytes,
                              .gpu_name = setup->gpu_name,
                              .max_context_tok = setup->max_context_tok, .traits = &m->traits};
    if (set_options(m, options, e) < 0 || ops->init(m->st, &env, e) < 0) {
        mock_free(m);
        return NULL;
    }
    return m;
}

struct engine *mock_new(const struct batcher_ops *ops, const char *options,
                        const struct mock_setup *setup)
{
    struct err e = {0};
    struct engine *m = mock_try_new(ops, options, setup, &e);
    if (!m) {
        fail_msg("%s", e.msg);
    }
    return m;
}

void mock_free(struct engine *m)
{
    for (uint32_t i = 0; i < m->n_req; i++) {
        free(m->q[i].token);
        free(m->q[i].blk);
    }
    free(m->reqs);
    free(m->block);
    free(m->free_list);
    arena_release(&m->arena);
    free(m);
}

static void fill_tokens(struct mreq *q, uint32_t serial)
{
    uint32_t n = q->spec.prompt_tok + q->spec.output_tok;
    assert_true(n < MOCK_TOKENS);
    q->token = calloc(n + 1, sizeof *q->token);
    q->blk = calloc(MOCK_TOKENS, sizeof *q->blk);
    for (uint32_t i = 0; i < n; i++) {
        bool shared = i < q->spec.prefix_tok && i < q->spec.prompt_tok;
        uint32_t owner = shared ? q->spec.prefix_id : 1000 + serial;
        q->token[i] = owner * MOCK_TOKENS + i;
    }
}

req_id mock_add(struct engine *m, struct mock_spec spec)
{
    assert_true(m->n_req < MOCK_REQS && spec.prompt_tok && spec.output_tok);
    req_id r = m->n_req++;
    m->q[r] = (struct mreq){.spec = spec, .waiting = true};
    fill_tokens(&m->q[r], r);
    m->reqs[r] = (struct req){.serial = r, .arrival_ns = eng_now(m), .client = spec.client,
                              .first_token_ns = SIM_NEVER, .prompt_tok = spec.prompt_tok};
    m->waiting[m->n_waiting++] = r;
    refresh(m);
    return r;
}

req_id mock_add_plain(struct engine *m, uint32_t prompt_tok, uint32_t output_tok)
{
    return mock_add(m, (struct mock_spec){.prompt_tok = prompt_tok, .output_tok = output_tok});
}

req_id mock_add_at(struct engine *m, struct mock_spec spec, uint64_t ms)
{
    assert_true(ms <= m->now_ms || mock_is_empty(m));
    m->now_ms = ms > m->now_ms ? ms : m->now_ms;
    req_id r = mock_add(m, spec);
    m->reqs[r].arrival_ns = (sim_ns)ms * 1000000;
    return r;
}

/* ---- running ---- */
/* In the order of the running list, as vLLM goes through the results of a step. */
static void send_off(struct engine *m)
{
    struct flight *f = &m->flight[m->n_flight++];
    *f = (struct flight){.empty = eng_plan_empty(m)};
    for (uint32_t i = 0; i < m->n_running; i++) {
        if (m->q[m->running[i]].token_now) {
            f->r[f->n++] = m->running[i];
        }
    }
    for (req_id r = 0; r < m->n_req; r++) {
        m->q[r].token_now = m->q[r].chunk_now = false;
        m->q[r].chunk_now_tok = 0;
    }
}

static void finish(struct engine *m, req_id r)
{
    struct mreq *q = &m->q[r];
    if (q->running) {
        list_remove(m->running, &m->n_running, r);
        blocks_release(m, q);
    }
    q->running = false;
    q->done = true;
}

static void retire(struct engine *m)
{
    struct flight f = m->flight[0];
    m->flight[0] = m->flight[1];
    m->n_flight--;
    m->now_ms += !f.empty;
    for (uint32_t i = 0; i < f.n; i++) {
        struct mreq *q = &m->q[f.r[i]];
        if (q->out++ == 0) {
            q->first_step = m->steps;
            q->first_ms = m->now_ms;
        }
        if (q->out == q->spec.output_tok) {
            q->last_ms = m->now_ms;
            finish(m, f.r[i]);
        }
    }
}

static void check_blocks(const struct engine *m)
{
    uint64_t refs = 0, held = 0, in_use = 0;
    for (uint64_t i = 0; i < m->n_blk; i++) {
        refs += m->block[i].refs;
        in_use += m->block[i].refs > 0;
    }
    for (uint32_t i = 0; i < m->n_req; i++) {
        held += m->q[i].n_blk;
    }
    assert_int_equal(refs, held);
    assert_int_equal(in_use + m->n_free, m->n_blk);
}

const struct mock_step *mock_step(struct engine *m)
{
    memset(&m->step, 0, sizeof m->step);
    m->planning = true;
    m->decoded_all = m->decoding_one = false;
    m->pick_at = 0;
    refresh(m);
    m->step.horizon = m->ops->plan(m->st, m);
    m->planning = false;
    assert_true(m->step.horizon >= 1);
    assert_false(m->decoding_one); /* eng_decode_close was called */
    if (m->step.n_chunks) {
        assert_int_equal(m->step.horizon, 1);
    }
    m->steps++;
    m->decode_iter += m->step.n_decoded > 0;
    send_off(m);
    if (m->n_flight == (m->traits.async_depth2 ? 2 : 1)) {
        retire(m);
    }
    check_blocks(m);
    return &m->step;
}

void mock_decode_steps(struct engine *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct mock_step *s = mock_step(m);
        assert_true(s->n_decoded > 0);
        assert_int_equal(s->n_chunks, 0);
    }
}

uint32_t mock_drain(struct engine *m, uint32_t most)
{
    uint32_t n = 0, idle = 0;
    while (m->n_running + m->n_waiting + m->n_swapped > 0) {
        assert_true(n < most);
        const struct mock_step *s = mock_step(m);
        bool moved = s->n_chunks + s->n_decoded + s->n_refused + s->n_swapped_in > 0;
        idle = moved ? 0 : idle + 1;
        assert_true(idle < 4); /* nothing runs, nothing leaves: it would hang */
        n++;
    }
    return n;
}

const struct batcher_traits *mock_traits(const struct engine *m)
{
    return &m->traits;
}

void *mock_state(struct engine *m)
{
    return m->st;
}

uint32_t mock_tokens_out(const struct engine *m, req_id r)
{
    return m->q[r].out;
}

bool mock_is_done(const struct engine *m, req_id r)
{
    return m->q[r].done;
}

uint32_t mock_blocks_held(const struct engine *m, req_id r)
{
    return m->q[r].n_blk;
}

uint64_t mock_steps(const struct engine *m)
{
    return m->steps;
}

uint64_t mock_first_token_step(const struct engine *m, req_id r)
{
    return m->q[r].first_step;
}

void mock_set_victim(struct engine *m, req_id v)
{
    m->victim = v;
}

void mock_set_try_others(struct engine *m, bool on)
{
    m->try_others = on;
}

uint64_t mock_now_ms(const struct engine *m)
{
    return m->now_ms;
}

uint64_t mock_first_ms(const struct engine *m, req_id r)
{
    return m->q[r].first_ms;
}

uint64_t mock_last_ms(const struct engine *m, req_id r)
{
    return m->q[r].last_ms;
}

bool mock_is_empty(const struct engine *m)
{
    return m->n_waiting + m->n_running + m->n_swapped == 0;
}
