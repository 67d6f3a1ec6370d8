/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX (1 << 24)
#define SEQS_MAX   65536

struct place {
    const char *name;
    unsigned line;
    struct err *e;
};

static int bad(const struct place *at, const char *what)
{
    return err_set(at->e, SIM_E_DATA, "%s:%u: %s", at->name, at->line, what);
}

static int count_of(const struct place *at, const struct json_in *v, const char *key, int lo, int hi,
                    int *ret)
{
    int64_t n;

    if (!json_in_int(json_in_get(v, key), lo, hi, &n)) {
        return err_set(at->e, SIM_E_DATA, "%s:%u: '%s' has to be a whole number in %d..%d", at->name,
                       at->line, key, lo, hi);
    }
    *ret = (int)n;
    return 0;
}

/* ---- first line ---- */

static bool positive(const struct json_in *v, const char *key)
{
    return json_in_number(json_in_get(v, key), 0) > 0;
}

/* Why such a model cannot be executed, or NULL. */
static const char *unsupported(const struct plan_model *m, const struct json_in *v)
{
    if (positive(v, "experts")) {
        return "models with experts cannot be replayed, dense ones only";
    }
    if (positive(v, "kv_lora_rank")) {
        return "models with latent attention cannot be replayed";
    }
    if (positive(v, "sliding_window")) {
        return "models with a sliding window cannot be replayed";
    }
    if (json_in_number(json_in_get(v, "ffn_matrices"), 3) < 3) {
        return "models without a gated feed-forward block cannot be replayed";
    }
    if (m->head_dim != 64 && m->head_dim != 128) {
        return "only models with a head_dim of 64 or 128 can be replayed";
    }
    if (m->heads % m->kv_heads != 0 || m->heads / m->kv_heads > 16) {
        return "only models with 1 to 16 query heads for each KV head can be replayed";
    }
    if (m->hidden % 8 != 0 || m->ffn % 8 != 0 || m->vocab % 8 != 0) {
        return "only models whose hidden size, ffn and vocab are multiples of 8 can be replayed";
    }
    return NULL;
}

static int read_model(struct plan *p, const struct json_in *v, const struct place *at)
{
    struct plan_model *m = &p->model;
    const char *why;

    if (!v || v->type != JSON_IN_OBJECT) {
        return bad(at, "the plan names no model, so it cannot be replayed");
    }
    snprintf(m->name, sizeof(m->name), "%s", json_in_string(json_in_get(v, "name"), "?"));
    if (count_of(at, v, "layers", 1, 1024, &m->layers) < 0 ||
        count_of(at, v, "hidden", 8, 1 << 17, &m->hidden) < 0 ||
        count_of(at, v, "heads", 1, 1024, &m->heads) < 0 ||
        count_of(at, v, "kv_heads", 1, 1024, &m->kv_heads) < 0 ||
        count_of(at, v, "head_dim", 8, 1024, &m->head_dim) < 0 ||
        count_of(at, v, "ffn", 8, 1 << 20, &m->ffn) < 0 ||
        count_of(at, v, "vocab", 8, 1 << 22, &m->vocab) < 0) {
        return at->e->code;
    }
    m->tied_embedding = json_in_get(v, "tied_embedding") && json_in_get(v, "tied_embedding")->number > 0;
    why = unsupported(m, v);
    return why ? bad(at, why) : 0;
}

static int read_head(struct plan *p, const char *text, size_t len, const struct place *at)
{
    const struct json_in *v;

    if (json_in_parse(&p->head, text, len, at->name, at->line, at->e) < 0) {
        return at->e->code;
    }
    v = p->head.root;
    if (strcmp(json_in_string(json_in_get(v, "format"), ""), "steelyard-plan") != 0 ||
        json_in_number(json_in_get(v, "version"), 0) < 1 || json_in_number(json_in_get(v, "version"), 0) > 1) {
        return bad(at, "this is no plan of version 1 (steelyard run --plan-out)");
    }
    if (count_of(at, v, "tp", 1, 1024, &p->tp) < 0 ||
        count_of(at, v, "block_tok", 1, 65536, &p->block_tok) < 0) {
        return at->e->code;
    }
    if (p->tp > 1) {
        return bad(at, "a plan of several GPUs (tp > 1) cannot be replayed on one");
    }
    return read_model(p, json_in_get(v, "model"), at);
}

/* ---- steps ---- */

static int64_t blocks_for(const struct plan *p, int64_t tok)
{
    return (tok + p->block_tok - 1) / p->block_tok;
}

static int read_chunk(const struct json_in *v, struct plan_chunk *ret, const struct place *at)
{
    int64_t start = 0, n = 0, last = 0;

    if (v->type != JSON_IN_ARRAY || v->n != 3 || !json_in_int(v->first, 0, TOKENS_MAX, &start) ||
        !json_in_int(v->first->next, 1, TOKENS_MAX, &n) ||
        !json_in_int(v->first->next->next, 0, 1, &last)) {
        return bad(at, "a chunk has to be [tokens in KV, new tokens, 0 or 1]");
    }
    *ret = (struct plan_chunk){.start_tok = (int)start, .n_tok = (int)n, .last = last == 1};
    return 0;
}

static int read_chunks(struct plan_step *s, const struct json_in *list, const struct place *at)
{
    if (!list || list->type != JSON_IN_ARRAY || list->n > SEQS_MAX) {
        return bad(at, "'chunks' has to be a list");
    }
    s->chunks = calloc(list->n + 1, sizeof(*s->chunks));
    if (!s->chunks) {
        return err_set(at->e, SIM_E_NOMEM, "out of memory for a plan");
    }
    for (const struct json_in *v = list->first; v; v = v->next) {
        if (read_chunk(v, &s->chunks[s->n_chunk], at) < 0) {
            return at->e->code;
        }
        s->prefill_tok += s->chunks[s->n_chunk++].n_tok;
    }
    return 0;
}

static int read_decodes(struct plan_step *s, const struct json_in *list, const struct place *at)
{
    if (!list || list->type != JSON_IN_ARRAY || list->n > SEQS_MAX) {
        return bad(at, "'decode' has to be a list");
    }
    s->ctx = calloc(list->n + 1, sizeof(*s->ctx));
    if (!s->ctx) {
        return err_set(at->e, SIM_E_NOMEM, "out of memory for a plan");
    }
    for (const struct json_in *v = list->first; v; v = v->next) {
        int64_t ctx;

        if (!json_in_int(v, 1, TOKENS_MAX, &ctx)) {
            return bad(at, "a context of 'decode' has to be a positive whole number");
        }
        s->ctx[s->n_decode++] = (int32_t)ctx;
        s->decode_tok += ctx;
    }
    return 0;
}

static int read_step(struct plan_step *s, const struct json_in *v, const struct place *at)
{
    int64_t sum;

    if (!json_in_int(json_in_get(v, "step"), 0, INT64_MAX / 2, &s->step) ||
        !json_in_int(json_in_get(v, "start_ns"), 0, INT64_MAX / 2, &s->start_ns) ||
        !json_in_int(json_in_get(v, "dur_ns"), 0, INT64_MAX / 2, &s->dur_ns)) {
        return bad(at, "a step needs 'step', 'start_ns' and 'dur_ns', whole numbers");
    }
    if (read_chunks(s, json_in_get(v, "chunks"), at) < 0 ||
        read_decodes(s, json_in_get(v, "decode"), at) < 0) {
        return at->e->code;
    }
    if (!json_in_int(json_in_get(v, "decode_tok"), 0, INT64_MAX / 2, &sum) || sum != s->decode_tok) {
        return bad(at, "'decode_tok' is not the sum of 'decode'");
    }
    return s->n_chunk + s->n_decode > 0 ? 0 : bad(at, "an empty step");
}

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int size_up(struct plan *p, const struct plan_step *s, const struct place *at)
{
    int64_t rows = s->prefill_tok + s->n_decode, kv = s->decode_tok, blocks = 0, longest = p->max_ctx;

    for (int i = 0; i < s->n_chunk; i++) {
        int64_t upto = (int64_t)s->chunks[i].start_tok + s->chunks[i].n_tok;

        kv += upto;
        blocks += blocks_for(p, upto);
        longest = at_least(longest, upto);
    }
    for (int i = 0; i < s->n_decode; i++) {
        blocks += blocks_for(p, s->ctx[i]);
        longest = at_least(longest, s->ctx[i]);
    }
    if (rows > TOKENS_MAX || longest > TOKENS_MAX) {
        return bad(at, "a step of more than 16 million tokens");
    }
    p->max_rows = at_least(p->max_rows, rows);
    p->max_kv_tok = at_least(p->max_kv_tok, kv);
    p->max_blocks = at_least(p->max_blocks, blocks);
    p->max_seqs = (int)at_least(p->max_seqs, s->n_chunk + s->n_decode);
    p->max_decode = (int)at_least(p->max_decode, s->n_decode);
    p->max_ctx = (int)longest;
    return 0;
}

static struct plan_step *step_add(struct plan *p, const struct place *at)
{
    if (p->n_step == p->cap_step) {
        int64_t cap = p->cap_step ? 2 * p->cap_step : 256;
        struct plan_step *bigger = realloc(p->steps, (size_t)cap * sizeof(*bigger));

        if (!bigger) {
            err_set(at->e, SIM_E_NOMEM, "out of memory for a plan");
            return NULL;
        }
        p->steps = bigger;
        p->cap_step = cap;
    }
    p->steps[p->n_step] = (struct plan_step){0};
    return &p->steps[p->n_step++];
}

static int read_line(struct plan *p, const char *text, size_t len, const struct place *at)
{
    struct json_in_doc d;
    struct plan_step *s = step_add(p, at);
    int rc;

    if (!s || json_in_parse(&d, text, len, at->name, at->line, at->e) < 0) {
        return at->e->code;
    }
    rc = read_step(s, d.root, at);
    rc = rc == 0 ? size_up(p, s, at) : rc;
    json_in_release(&d);
    return rc;
}

/* ---- the whole ---- */

static bool blank(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r')) {
        i++;
    }
    return i == n;
}

static int read_lines(struct plan *p, const char *text, size_t len, struct place *at, int limit)
{
    const char *end = text + len;

    for (at->line = 1; text < end; at->line++) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((eol ? eol : end) - text);
        int rc = 0;

        if (at->line == 1) {
            rc = read_head(p, text, n, at);
        } else if (!blank(text, n)) {
            rc = read_line(p, text, n, at);
        }
        if (rc < 0) {
            return rc;
        }
        if (limit > 0 && p->n_step >= limit) {
            return 0;
        }
        text += eol ? n + 1 : n;
    }
    return p->n_step > 0 ? 0 : bad(at, "the plan has no steps");
}

int plan_parse(struct plan *ret, const char *text, size_t len, const char *name, int limit, struct err *e)
{
    struct place at = {.name = name, .line = 1, .e = e};
    int rc;

    *ret = (struct plan){0};
    rc = read_lines(ret, text, len, &at, limit);
    if (rc < 0) {
        plan_release(ret);
    }
    return rc;
}

int plan_read(struct plan *ret, const char *path, int limit, struct err *e)
{
    size_t len;
    char *text = file_read(path, (size_t)4 << 30, &len, e);
    int rc;

    if (!text) {
        return e->code;
    }
    rc = plan_parse(ret, text, len, path, limit, e);
    free(text);
    return rc;
}

void plan_release(struct plan *p)
{
    for (int64_t i = 0; i < p->n_step; i++) {
        free(p->steps[i].chunks);
        free(p->steps[i].ctx);
    }
    free(p->steps);
    json_in_release(&p->head);
    *p = (struct plan){0};
}
