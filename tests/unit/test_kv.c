/* SPDX-License-Identifier: Apache-2.0
 *
 * Both back ends of the KV manager against a plain model of vLLM V1's block pool: a list of free blocks,
 * a list of blocks per sequence, every full block named by all tokens up to its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim/core/rng.h"
#include "sim/engine/kv_internal.h"

/* ---- content: a node is a block of tokens behind a given prefix ---- */

#define MAX_BLOCK_TOK 16
#define MAX_NODES     8192

struct token {
    uint64_t what, place;
};

struct node {
    int parent;
    struct token tok[MAX_BLOCK_TOK];
};

struct content {
    struct node node[MAX_NODES];
    int n;
};

static int content_node(struct content *c, uint32_t block_tok, int parent, const struct token *tok)
{
    size_t size = block_tok * sizeof(*tok);

    for (int i = 1; i < c->n; i++) {
        if (c->node[i].parent == parent && memcmp(c->node[i].tok, tok, size) == 0) {
            return i;
        }
    }
    assert_true(c->n < MAX_NODES);
    c->node[c->n].parent = parent;
    memcpy(c->node[c->n].tok, tok, size);
    return c->n++;
}

/* ---- the model (engines.md 1.5; vLLM v1/core/block_pool.py, kv_cache_manager.py) ---- */

#define MAX_BLOCKS 128
#define MAX_SEQ    12
#define SEQ_BLOCKS 64

struct model_block {
    int refs;
    int node;         /* 0 = no hash */
    uint64_t entered; /* order of entry into the hash table */
};

struct model {
    struct model_block block[MAX_BLOCKS + 1];
    uint32_t queue[MAX_BLOCKS];
    uint32_t n_queue, n;
    uint64_t clock;
    bool cache;
};

struct model_seq {
    int node[SEQ_BLOCKS];
    uint32_t blk[SEQ_BLOCKS];
    uint32_t n_blk;
};

static void model_init(struct model *m, uint32_t blocks, bool cache)
{
    memset(m, 0, sizeof(*m));
    m->n = m->n_queue = blocks;
    m->cache = cache;
    for (uint32_t i = 0; i < blocks; i++) {
        m->queue[i] = i + 1;
    }
}

static void model_unqueue(struct model *m, uint32_t b)
{
    uint32_t i = 0;

    while (m->queue[i] != b) {
        i++;
    }
    m->n_queue--;
    memmove(m->queue + i, m->queue + i + 1, (m->n_queue - i) * sizeof(*m->queue));
}

static uint32_t model_find(const struct model *m, int node)
{
    uint32_t best = 0;

    for (uint32_t b = 1; b <= m->n; b++) {
        if (m->block[b].node == node && (!best || m->block[b].entered < m->block[best].entered)) {
            best = b;
        }
    }
    return best;
}

static uint32_t model_lookup(const struct model *m, const struct model_seq *s, uint32_t n_tok,
                             uint32_t block_tok)
{
    uint32_t n = 0;

    while (m->cache && n < (n_tok - 1) / block_tok && model_find(m, s->node[n])) {
        n++;
    }
    return n;
}

static uint32_t model_idle(const struct model *m, const struct model_seq *s, uint32_t hit)
{
    uint32_t idle = 0;

    for (uint32_t i = 0; i < hit; i++) {
        idle += m->block[model_find(m, s->node[i])].refs == 0;
    }
    return idle;
}

static void model_append(struct model *m, struct model_seq *s, uint32_t n)
{
    while (n-- > 0) {
        uint32_t b = m->queue[0];

        assert_true(m->n_queue > 0);
        model_unqueue(m, b);
        m->block[b] = (struct model_block){.refs = 1};
        s->blk[s->n_blk++] = b;
    }
}

static void model_publish(struct model *m, const struct model_seq *s, uint64_t content_tok,
                          uint32_t block_tok)
{
    for (uint32_t i = 0; m->cache && i < content_tok / block_tok; i++) {
        struct model_block *b = &m->block[s->blk[i]];

        if (b->node == 0) {
            b->node = s->node[i];
            b->entered = ++m->clock;
        }
    }
}

static void model_touch(struct model *m, struct model_seq *s, uint32_t hit)
{
    for (uint32_t i = 0; i < hit; i++) {
        uint32_t b = model_find(m, s->node[i]);

        if (m->block[b].refs++ == 0) {
            model_unqueue(m, b);
        }
        s->blk[s->n_blk++] = b;
    }
}

static void model_give(struct model *m, struct model_seq *s)
{
    while (s->n_blk > 0) {
        uint32_t b = s->blk[--s->n_blk];

        if (--m->block[b].refs == 0) {
            m->queue[m->n_queue++] = b;
        }
    }
}

/* ---- the world: the same calls to the model, to numbered blocks and to runs ---- */

enum place { AWAY, WAITING, HOLDING, DECODING };

struct seq {
    enum place place;
    struct model_seq m;
    struct kv_seq kv[2];
    uint64_t no, serial;
    uint32_t prompt_tok, context_tok, computed_tok;
    uint64_t base;
};

struct world {
    struct arena arena;
    struct content content;
    struct model m;
    struct kv *kv[2]; /* blocks, runs */
    int n_kv;
    uint32_t block_tok, id_tok;
    struct seq seq[MAX_SEQ];
    uint64_t p, next_no, next_serial;
    struct rng_stream rng;
    uint64_t draws;
    int key_node_n;
};

static uint64_t roll(struct world *w, uint64_t lo, uint64_t hi)
{
    return rng_range(w->rng, 0, w->draws++, lo, hi);
}

static void world_init(struct world *w, uint64_t seed, uint32_t blocks, uint32_t block_tok,
                       uint32_t id_tok, bool cache)
{
    struct err e = {0};

    memset(w, 0, sizeof(*w));
    w->content.n = 1;
    w->block_tok = block_tok;
    w->id_tok = id_tok;
    w->p = (uint64_t)1 << 40;
    w->rng = rng_stream(seed, 0, "kv");
    model_init(&w->m, blocks, cache);
    w->n_kv = id_tok ? 1 : 2;
    for (int i = 0; i < w->n_kv; i++) {
        struct kv_config c = {.blocks = blocks, .block_tok = block_tok, .prefix_cache = cache,
                              .identity = i == 0};

        w->kv[i] = kv_new(&c, &w->arena, &e);
        assert_non_null(w->kv[i]);
    }
}

static void world_release(struct world *w)
{
    for (int i = 0; i < w->n_kv; i++) {
        for (int s = 0; s < MAX_SEQ; s++) {
            kv_seq_release(&w->seq[s].kv[i]);
        }
        kv_release(w->kv[i]);
    }
    arena_release(&w->arena);
}

static uint64_t need(const struct world *w, const struct seq *s, uint32_t hit, uint64_t upto)
{
    return (upto + w->block_tok - 1) / w->block_tok - hit + model_idle(&w->m, &s->m, hit);
}

/* Same queue of the same numbers; a public block has a key. */
static void check_queue(const struct world *w)
{
    const struct kv_blocks *b = w->kv[0]->blocks;
    uint32_t at = b->block[0].free_next;

    for (uint32_t i = 0; i < w->m.n_queue; i++) {
        assert_int_equal(at, w->m.queue[i]);
        at = b->block[at].free_next;
    }
    assert_int_equal(at, 0);
    for (uint32_t i = 1; i <= w->m.n; i++) {
        assert_int_equal(b->block[i].refs, w->m.block[i].refs);
        if (b->block[i].key) {
            assert_true(w->m.block[i].node != 0);
        }
    }
}

static void check(struct world *w)
{
    struct err e = {0};

    check_queue(w);
    for (int i = 0; i < w->n_kv; i++) {
        assert_int_equal(kv_free(w->kv[i]), w->m.n_queue);
        assert_int_equal(kv_check(w->kv[i], &e), 0);
        for (struct seq *s = w->seq; s < w->seq + MAX_SEQ; s++) {
            if (s->place == WAITING) {
                uint32_t hit = model_lookup(&w->m, &s->m, s->context_tok, w->block_tok);

                assert_int_equal(kv_lookup(w->kv[i], &s->kv[i], s->context_tok), hit);
                assert_int_equal(kv_idle_hits(w->kv[i], &s->kv[i], hit), model_idle(&w->m, &s->m, hit));
            }
        }
    }
}

/* ---- the life of a sequence ---- */

static void name_blocks(struct world *w, struct seq *s, const uint64_t *id, uint32_t n_id)
{
    uint64_t known = (uint64_t)n_id * w->id_tok;
    int parent = 0;

    known = known < s->prompt_tok ? known : s->prompt_tok;
    for (uint32_t b = 0; b < SEQ_BLOCKS; b++) {
        struct token tok[MAX_BLOCK_TOK];

        for (uint32_t i = 0; i < w->block_tok; i++) {
            uint64_t t = (uint64_t)b * w->block_tok + i;

            tok[i] = t < known ? (struct token){id[t / w->id_tok], t % w->id_tok}
                               : (struct token){UINT64_MAX - s->no, t};
        }
        parent = s->m.node[b] = content_node(&w->content, w->block_tok, parent, tok);
    }
}

static void arrive(struct world *w, struct seq *s, uint32_t prompt_tok, const uint64_t *id, uint32_t n_id)
{
    struct err e = {0};

    s->place = WAITING;
    s->no = ++w->next_no;
    s->prompt_tok = s->context_tok = prompt_tok;
    s->computed_tok = 0;
    s->m.n_blk = 0;
    name_blocks(w, s, id, n_id);
    if (n_id) {
        assert_int_equal(kv_seq_set_prefix(w->kv[0], &s->kv[0], id, n_id, w->id_tok, prompt_tok, &e), 0);
    }
}

/* false = it does not fit, and nothing happened. */
static bool admit(struct world *w, struct seq *s, uint32_t n_tok, uint32_t hold_tok, bool fixed)
{
    uint32_t hit = model_lookup(&w->m, &s->m, s->context_tok, w->block_tok);
    uint32_t upto = hit * w->block_tok + n_tok;
    uint32_t hold = hold_tok > upto ? hold_tok : upto;

    if (need(w, s, hit, hold) > w->m.n_queue) {
        return false;
    }
    model_touch(&w->m, &s->m, hit);
    model_append(&w->m, &s->m, (hold + w->block_tok - 1) / w->block_tok - hit);
    model_publish(&w->m, &s->m, upto, w->block_tok);
    s->serial = ++w->next_serial;
    for (int i = 0; i < w->n_kv; i++) {
        s->kv[i].serial = s->serial;
        assert_int_equal(kv_take(w->kv[i], &s->kv[i], hit, hold, upto), 0);
        s->kv[i].fixed = fixed;
    }
    s->computed_tok = upto;
    s->place = HOLDING;
    return true;
}

static bool chunk(struct world *w, struct seq *s, uint32_t n_tok)
{
    uint32_t upto = s->computed_tok + n_tok;
    uint32_t blk = (upto + w->block_tok - 1) / w->block_tok;

    blk = blk > s->m.n_blk ? blk - s->m.n_blk : 0;
    if (blk > w->m.n_queue) {
        return false;
    }
    model_append(&w->m, &s->m, blk);
    model_publish(&w->m, &s->m, upto, w->block_tok);
    for (int i = 0; i < w->n_kv; i++) {
        assert_int_equal(kv_extend(w->kv[i], &s->kv[i], upto, upto), 0);
    }
    s->computed_tok = upto;
    return true;
}

static void join(struct world *w, struct seq *s)
{
    s->base = w->p - s->context_tok;
    s->place = DECODING;
    for (int i = 0; i < w->n_kv; i++) {
        kv_join(w->kv[i], &s->kv[i], s->base);
    }
}

static void leave(struct world *w, struct seq *s)
{
    for (int i = 0; s->place == DECODING && i < w->n_kv; i++) {
        kv_leave(w->kv[i], &s->kv[i], s->base, w->p);
    }
    if (s->place == DECODING) {
        s->computed_tok = (uint32_t)(w->p - s->base);
    }
    for (int i = 0; i < w->n_kv; i++) {
        kv_give(w->kv[i], &s->kv[i], s->computed_tok);
    }
    model_give(&w->m, &s->m);
}

static void preempt(struct world *w, struct seq *s)
{
    bool decoded = s->place == DECODING;

    leave(w, s);
    s->place = WAITING;
    s->context_tok = decoded ? s->computed_tok + 1 : s->context_tok;
    s->computed_tok = 0;
}

static void finish(struct world *w, struct seq *s)
{
    leave(w, s);
    for (int i = 0; i < w->n_kv; i++) {
        kv_forget(w->kv[i], &s->kv[i]);
        s->kv[i].n_key = 0;
        s->kv[i].n_id = 0;
        s->kv[i].keyed = false;
    }
    s->place = AWAY;
}

static int by_serial(const void *a, const void *b)
{
    const struct seq *x = *(struct seq *const *)a, *y = *(struct seq *const *)b;

    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static uint32_t decoding(struct world *w, struct seq **ret)
{
    uint32_t n = 0;

    for (struct seq *s = w->seq; s < w->seq + MAX_SEQ; s++) {
        if (s->place == DECODING) {
            ret[n++] = s;
        }
    }
    qsort(ret, n, sizeof(*ret), by_serial);
    return n;
}

static bool wants_block(const struct world *w, const struct seq *s, uint64_t p)
{
    return p - s->base > (uint64_t)s->m.n_blk * w->block_tok;
}

static void model_one(struct world *w, struct seq *s, uint64_t p)
{
    if (wants_block(w, s, p)) {
        model_append(&w->m, &s->m, 1);
    }
    model_publish(&w->m, &s->m, p - s->base, w->block_tok);
}

/* Up to `limit` steps of everybody; returns how many the free blocks allowed. */
static uint64_t step_all(struct world *w, uint64_t limit)
{
    struct seq *who[MAX_SEQ];
    uint32_t n = decoding(w, who);
    uint64_t done = 0;
    uint64_t first_need = 0;

    for (uint32_t i = 0; i < n; i++) {
        first_need += wants_block(w, who[i], w->p + 1);
    }
    for (int i = 0; i < w->n_kv; i++) {
        assert_int_equal(kv_step_need(w->kv[i], w->p + 1), first_need);
    }
    for (; done < limit; done++) {
        uint64_t wants = 0;

        for (uint32_t i = 0; i < n; i++) {
            wants += wants_block(w, who[i], w->p + 1 + done);
        }
        if (wants > w->m.n_queue) {
            break;
        }
        for (uint32_t i = 0; i < n; i++) {
            model_one(w, who[i], w->p + 1 + done);
        }
    }
    for (int i = 0; i < w->n_kv; i++) {
        assert_int_equal(kv_steps_possible(w->kv[i], w->p + 1, limit, 0), done);
        assert_int_equal(kv_step(w->kv[i], w->p + 1, done), 0);
    }
    w->p += done;
    return done;
}

/* One step in which each has a chance of 2 in 3 to be served; the others stay where they are. */
static void step_some(struct world *w)
{
    struct seq *who[MAX_SEQ];
    uint32_t n = decoding(w, who);
    bool served[MAX_SEQ];

    for (uint32_t i = 0; i < n; i++) {
        served[i] = roll(w, 0, 2) > 0 && !(wants_block(w, who[i], w->p + 1) && w->m.n_queue == 0);
        if (!served[i] && w->m.n_queue > 0) {
            continue;
        }
        for (int k = 0; k < w->n_kv; k++) {
            bool ok = kv_step_one(w->kv[k], &who[i]->kv[k], who[i]->base, w->p + 1);

            assert_int_equal(ok, !wants_block(w, who[i], w->p + 1) || w->m.n_queue > 0);
            served[i] = ok;
        }
        if (served[i]) {
            model_one(w, who[i], w->p + 1);
        }
    }
    w->p++;
    for (uint32_t i = 0; i < n; i++) {
        for (int k = 0; !served[i] && k < w->n_kv; k++) {
            kv_stall(w->kv[k], &who[i]->kv[k], who[i]->base);
        }
        who[i]->base += !served[i];
    }
}

/* ---- random lives ---- */

static uint64_t longest_tok(const struct world *w)
{
    return (uint64_t)(SEQ_BLOCKS - 8) * w->block_tok;
}

static void arrive_random(struct world *w, struct seq *s)
{
    uint64_t id[64];
    uint32_t most = 6 * w->block_tok;
    uint32_t prompt = (uint32_t)roll(w, 1, most);
    uint32_t n_id = 0;

    if (w->id_tok && roll(w, 0, 4) > 0) {
        n_id = (uint32_t)roll(w, 1, (prompt + w->id_tok - 1) / w->id_tok);
    }
    n_id = n_id < 64 ? n_id : 64;
    for (uint32_t i = 0; i < n_id; i++) {
        id[i] = roll(w, 1, 2); /* few ids: prefixes meet, and differ late */
    }
    if (roll(w, 0, 3) == 0) {
        prompt = (prompt + w->block_tok - 1) / w->block_tok * w->block_tok;
    }
    arrive(w, s, prompt, id, n_id);
}

static void live_once(struct world *w, struct seq *s)
{
    uint32_t left = s->context_tok - s->computed_tok;

    switch (s->place) {
    case AWAY:
        arrive_random(w, s);
        return;
    case WAITING: {
        uint32_t hit = model_lookup(&w->m, &s->m, s->context_tok, w->block_tok);
        bool fixed = roll(w, 0, 7) == 0;
        uint32_t life = fixed ? s->context_tok + 3 * w->block_tok : 0;

        admit(w, s, (uint32_t)roll(w, 1, s->context_tok - hit * w->block_tok), life, fixed);
        return;
    }
    case HOLDING:
        if (left == 0) {
            join(w, s);
        } else if (roll(w, 0, 9) == 0 || !chunk(w, s, (uint32_t)roll(w, 1, left))) {
            preempt(w, s);
        }
        return;
    case DECODING:
        if (roll(w, 0, 1) == 0 || w->p - s->base > longest_tok(w)) {
            finish(w, s);
        } else {
            preempt(w, s);
        }
        return;
    }
}

/* Reservations last: whoever holds one ends before it is used up. */
static void end_reserved(struct world *w)
{
    for (struct seq *s = w->seq; s < w->seq + MAX_SEQ; s++) {
        bool grown = s->place == DECODING && w->p - s->base + 2 * w->block_tok > longest_tok(w);

        if (grown || (s->place == DECODING && s->kv[0].fixed &&
                      w->p + 2 - s->base > (uint64_t)s->m.n_blk * w->block_tok)) {
            finish(w, s);
        }
    }
}

static uint64_t shortest_reserve(struct world *w, uint64_t limit)
{
    for (struct seq *s = w->seq; s < w->seq + MAX_SEQ; s++) {
        uint64_t left = (uint64_t)s->m.n_blk * w->block_tok - (w->p - s->base);

        if (s->place == DECODING && s->kv[0].fixed && left < limit) {
            limit = left;
        }
    }
    return limit;
}

static void random_life(uint64_t seed, uint32_t block_tok, uint32_t id_tok, bool cache)
{
    struct world *w = malloc(sizeof(*w));

    assert_non_null(w);
    world_init(w, seed, 20 + (uint32_t)(seed % 3) * 30, block_tok, id_tok, cache);
    for (int i = 0; i < 400 && w->content.n < MAX_NODES - 2 * SEQ_BLOCKS; i++) {
        uint64_t what = roll(w, 0, 9);

        end_reserved(w);
        if (what < 2) {
            step_all(w, shortest_reserve(w, roll(w, 1, 2 * block_tok)));
        } else if (what < 3) {
            step_some(w);
        } else {
            live_once(w, &w->seq[roll(w, 0, MAX_SEQ - 1)]);
        }
        check(w);
    }
    world_release(w);
    free(w);
}

static void test_random_without_hashes(void **state)
{
    static const uint32_t sizes[] = {1, 2, 4, 16};

    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        random_life(seed, sizes[seed % 4], 0, seed % 5 != 0);
    }
}

static void test_random_with_hashes(void **state)
{
    static const uint32_t sizes[] = {1, 2, 4, 16}, ids[] = {1, 3, 4, 8, 16, 24};

    (void)state;
    for (uint64_t seed = 0; seed < 96; seed++) {
        random_life(1000 + seed, sizes[seed % 4], ids[seed / 4 % 6], true);
    }
}

/* ---- vectors of engines.md section 7 ---- */

/* 2. A full hit leaves one token, in whole blocks. */
static void test_full_hit(void **state)
{
    static const struct {
        uint32_t tok, hit;
    } want[] = {{160, 144}, {161, 160}, {16, 0}, {17, 16}, {1, 0}, {15, 0}, {32, 16}};
    uint64_t id[11] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

    (void)state;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        struct kv_config c = {.blocks = 64, .block_tok = 16, .prefix_cache = true, .identity = true};
        struct arena a = {0};
        struct err e = {0};
        struct kv *kv = kv_new(&c, &a, &e);
        struct kv_seq first = {0}, second = {0};

        assert_int_equal(kv_seq_set_prefix(kv, &first, id, 11, 16, 176, &e), 0);
        assert_int_equal(kv_take(kv, &first, 0, 176, 176), 0);
        kv_give(kv, &first, 176);
        assert_int_equal(kv_seq_set_prefix(kv, &second, id, 11, 16, want[i].tok, &e), 0);
        assert_int_equal(16 * kv_lookup(kv, &second, want[i].tok), want[i].hit);
        kv_seq_release(&first);
        kv_seq_release(&second);
        kv_release(kv);
        arena_release(&a);
    }
}

/* 3. What is scheduled is found in the same step: 320 common tokens, 40 of one's own. */
static void test_same_step(void **state)
{
    uint64_t a_id[45], b_id[45]; /* 8 tokens per id */
    struct world *w = malloc(sizeof(*w));

    (void)state;
    assert_non_null(w);
    for (uint32_t i = 0; i < 45; i++) {
        a_id[i] = b_id[i] = i + 1;
        b_id[i] += i >= 40 ? 100 : 0;
    }
    world_init(w, 1, 100, 16, 8, true);
    arrive(w, &w->seq[0], 360, a_id, 45);
    arrive(w, &w->seq[1], 360, b_id, 45);
    assert_int_equal(kv_lookup(w->kv[0], &w->seq[1].kv[0], 360), 0);
    assert_true(admit(w, &w->seq[0], 360, 0, false));
    assert_int_equal(kv_lookup(w->kv[0], &w->seq[1].kv[0], 360), 20);
    assert_true(admit(w, &w->seq[1], 40, 0, false));
    assert_int_equal(kv_free(w->kv[0]), 100 - 23 - 3);
    check(w);
    world_release(w);
    free(w);
}

/* 4. Preempt: A goes on in B's deepest blocks, and B's hit shrinks from the tail. */
static void preempt_vector(uint32_t id_tok)
{
    struct world *w = malloc(sizeof(*w));
    struct seq *a, *b;

    assert_non_null(w);
    world_init(w, 1, 10, 16, id_tok, true);
    a = &w->seq[0];
    b = &w->seq[1];
    arrive(w, a, 64, NULL, 0);
    arrive(w, b, 64, NULL, 0);
    assert_true(admit(w, a, 64, 0, false) && admit(w, b, 64, 0, false));
    assert_int_equal(kv_free(w->kv[0]), 2);
    join(w, a);
    join(w, b);
    assert_int_equal(step_all(w, 1), 1);
    assert_int_equal(kv_free(w->kv[0]), 0);
    assert_int_equal(step_all(w, 100), 15); /* 80 tokens each; the 81st needs a sixth block */
    preempt(w, b);
    assert_int_equal(kv_free(w->kv[0]), 5);
    assert_int_equal(step_all(w, 1), 1);
    assert_int_equal(b->context_tok, 81);
    for (int i = 0; i < w->n_kv; i++) {
        assert_int_equal(kv_free(w->kv[i]), 4);
        assert_int_equal(kv_lookup(w->kv[i], &b->kv[i], 81), 4); /* the fifth is A's now */
    }
    assert_false(admit(w, b, 81 - 64, 0, false));
    for (uint32_t hit = 3; hit > 0; hit--) {
        assert_int_equal(step_all(w, 16), 16);
        for (int i = 0; i < w->n_kv; i++) {
            assert_int_equal(kv_lookup(w->kv[i], &b->kv[i], 81), hit);
        }
    }
    finish(w, a);
    check(w);
    assert_true(admit(w, b, 81 - 16, 0, false));
    check(w);
    world_release(w);
    free(w);
}

static void test_preempt(void **state)
{
    (void)state;
    preempt_vector(0); /* numbered blocks and runs */
    preempt_vector(16);
}

/* Ids shorter than a block: all of them make the block's name, not only the last. */
static void test_short_ids(void **state)
{
    uint64_t one[2] = {1, 2}, other[2] = {3, 2};
    struct world *w = malloc(sizeof(*w));

    (void)state;
    assert_non_null(w);
    world_init(w, 1, 10, 16, 8, true);
    arrive(w, &w->seq[0], 16, one, 2);
    arrive(w, &w->seq[1], 17, other, 2);
    assert_true(admit(w, &w->seq[0], 16, 0, false));
    assert_int_equal(kv_lookup(w->kv[0], &w->seq[1].kv[0], 17), 0);
    world_release(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_hit),
        cmocka_unit_test(test_same_step),
        cmocka_unit_test(test_preempt),
        cmocka_unit_test(test_short_ids),
        cmocka_unit_test(test_random_without_hashes),
        cmocka_unit_test(test_random_with_hashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
