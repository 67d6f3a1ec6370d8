/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbered, reference-counted blocks with content hashes, after vLLM V1's BlockPool (engines.md 1.5).
 * Tuned for prompts of hundreds of blocks that share long prefixes: one hash-table probe per block on
 * lookup, no allocation on the way. */
#include <stdlib.h>
#include <string.h>

#include "sim/engine/kv_internal.h"

/* splitmix64's finaliser (Steele et al., OOPSLA'14): spreads ids that are small and consecutive. */
static uint64_t mix64(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

int blocks_init(struct kv *kv, struct arena *a, struct err *e)
{
    struct kv_blocks *b = arena_alloc(a, sizeof(*b));
    uint32_t slots = 64;

    if (kv->total >= UINT32_MAX / 4) {
        return err_set(e, SIM_E_CONFIG, "KV pool of %llu blocks is too large for a prefix cache",
                       (unsigned long long)kv->total);
    }
    while (slots < 2 * kv->total) {
        slots *= 2;
    }
    if (b) {
        b->n = (uint32_t)kv->total;
        b->slots = slots;
        b->block = calloc((size_t)b->n + 1, sizeof(*b->block));
        b->slot = calloc(slots, sizeof(*b->slot));
    }
    if (!b || !b->block || !b->slot) {
        if (b) {
            free(b->block);
            free(b->slot);
        }
        return err_set(e, SIM_E_NOMEM, "out of memory for %llu KV blocks",
                       (unsigned long long)kv->total);
    }
    for (uint32_t i = 0; i <= b->n; i++) {
        b->block[i].free_next = i == b->n ? 0 : i + 1;
        b->block[i].free_prev = i == 0 ? b->n : i - 1;
    }
    kv->blocks = b;
    return 0;
}

void blocks_release(struct kv *kv)
{
    if (kv->blocks) {
        free(kv->blocks->block);
        free(kv->blocks->slot);
    }
}

/* ---- hash table: key -> first block; others with the same content hang on same_next ---- */

static uint32_t slot_of(const struct kv_blocks *b, uint64_t key)
{
    uint32_t i = (uint32_t)(key & (b->slots - 1));

    while (b->slot[i] != 0 && b->block[b->slot[i]].key != key) {
        i = (i + 1) & (b->slots - 1);
    }
    return i;
}

static void table_add(struct kv_blocks *b, uint32_t no)
{
    uint32_t *at = &b->slot[slot_of(b, b->block[no].key)];

    while (*at != 0) {
        at = &b->block[*at].same_next;
    }
    b->block[no].same_next = 0;
    *at = no;
}

/* Close the hole at slot i (linear probing, Knuth 6.4 algorithm R). */
static void table_close(struct kv_blocks *b, uint32_t i)
{
    uint32_t j = i;

    for (;;) {
        uint32_t home;

        b->slot[i] = 0;
        do {
            j = (j + 1) & (b->slots - 1);
            if (b->slot[j] == 0) {
                return;
            }
            home = (uint32_t)(b->block[b->slot[j]].key & (b->slots - 1));
        } while (i <= j ? (i < home && home <= j) : (i < home || home <= j));
        b->slot[i] = b->slot[j];
        i = j;
    }
}

static void table_remove(struct kv_blocks *b, uint32_t no)
{
    uint32_t i = slot_of(b, b->block[no].key);
    uint32_t *at = &b->slot[i];

    while (*at != no) {
        at = &b->block[*at].same_next;
    }
    *at = b->block[no].same_next;
    if (b->slot[i] == 0) {
        table_close(b, i);
    }
    b->block[no].key = 0;
}

/* ---- free queue ---- */

static void queue_remove(struct kv_blocks *b, uint32_t no)
{
    struct kv_block *k = &b->block[no];

    b->block[k->free_prev].free_next = k->free_next;
    b->block[k->free_next].free_prev = k->free_prev;
}

static void queue_append(struct kv_blocks *b, uint32_t no)
{
    uint32_t last = b->block[0].free_prev;

    b->block[no].free_prev = last;
    b->block[no].free_next = 0;
    b->block[last].free_next = no;
    b->block[0].free_prev = no;
}

static uint32_t queue_take(struct kv_blocks *b)
{
    uint32_t no = b->block[0].free_next;

    queue_remove(b, no);
    if (b->block[no].key != 0) {
        table_remove(b, no);
    }
    b->block[no].refs = 1;
    b->block[no].stamp++;
    return no;
}

/* ---- sequences ---- */

/* Hash of the prompt up to `to`, from the one up to `from`: every id with tokens in between counts. */
static uint64_t chain_block(uint64_t chain, const uint64_t *id, uint32_t id_tok, uint64_t from,
                            uint64_t to)
{
    for (uint64_t i = from / id_tok; i * id_tok < to; i++) {
        uint64_t end = (i + 1) * id_tok < to ? (i + 1) * id_tok : to;

        chain = mix64(chain ^ mix64(id[i] * 0x100000001B3u + (end - i * id_tok)));
    }
    return chain;
}

int kv_seq_set_prefix(struct kv *kv, struct kv_seq *s, const uint64_t *id, uint32_t n_id,
                      uint32_t id_tok, uint32_t prompt_tok, struct err *e)
{
    s->n_key = 0;
    s->n_id = 0;
    s->keyed = false;
    if (!kv->blocks || !kv->cache) {
        return 0;
    }
    if (n_id > s->cap_id) {
        uint64_t *bigger = realloc(s->id, n_id * sizeof(*bigger));

        if (!bigger) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %u prefix ids", n_id);
        }
        s->id = bigger;
        s->cap_id = n_id;
    }
    memcpy(s->id, id, n_id * sizeof(*id));
    s->n_id = n_id;
    s->id_tok = id_tok;
    s->prompt_tok = prompt_tok;
    return 0;
}

/* Chained hashes of the full blocks that the ids cover, once. */
void blocks_hash(struct kv *kv, struct kv_seq *s)
{
    uint64_t known = (uint64_t)s->n_id * s->id_tok, chain = 0;
    uint32_t n = (uint32_t)((known < s->prompt_tok ? known : s->prompt_tok) / kv->block_tok);

    if (s->keyed) {
        return;
    }
    s->keyed = true;
    if (n > s->cap_key) {
        uint64_t *bigger = realloc(s->key, n * sizeof(*bigger));

        if (!bigger) {
            kv->no_memory = true;
            return;
        }
        s->key = bigger;
        s->cap_key = n;
    }
    for (uint32_t j = 0; j < n; j++) {
        chain = chain_block(chain, s->id, s->id_tok, (uint64_t)j * kv->block_tok,
                            (uint64_t)(j + 1) * kv->block_tok);
        s->key[j] = chain ? chain : 1;
    }
    s->n_key = n;
}

/* Block that holds position i of s: by hash where the trace knows the content, else the very block that
 * s gave back, if nobody has taken it since. 0 = none. */
static uint32_t find_block(const struct kv *kv, const struct kv_seq *s, uint32_t i)
{
    const struct kv_blocks *b = kv->blocks;

    if (i < s->n_key) {
        return b->slot[slot_of(b, s->key[i])];
    }
    if (i < s->full_blk && b->block[s->blk[i]].stamp == s->stamp[i] &&
        b->block[s->blk[i]].refs == 0) {
        return s->blk[i];
    }
    return 0;
}

uint32_t blocks_lookup(const struct kv *kv, const struct kv_seq *s, uint32_t max_blk)
{
    uint32_t n = 0;

    while (n < max_blk && find_block(kv, s, n) != 0) {
        n++;
    }
    return n;
}

uint32_t blocks_idle(const struct kv *kv, const struct kv_seq *s, uint32_t hit_blk)
{
    uint32_t idle = 0;

    for (uint32_t i = 0; i < hit_blk; i++) {
        idle += kv->blocks->block[find_block(kv, s, i)].refs == 0;
    }
    return idle;
}

static int table_room(struct kv_seq *s, uint32_t n)
{
    uint32_t cap = s->cap_blk ? s->cap_blk : 64;
    uint32_t *blk, *stamp;

    if (n <= s->cap_blk) {
        return 0;
    }
    while (cap < n) {
        cap *= 2;
    }
    blk = realloc(s->blk, cap * sizeof(*blk));
    if (blk) {
        s->blk = blk;
    }
    stamp = realloc(s->stamp, cap * sizeof(*stamp));
    if (stamp) {
        s->stamp = stamp;
    }
    if (!blk || !stamp) {
        return SIM_E_NOMEM;
    }
    s->cap_blk = cap;
    return 0;
}

int blocks_take(struct kv *kv, struct kv_seq *s, uint32_t hit_blk, uint32_t upto_blk)
{
    struct kv_blocks *b = kv->blocks;

    if (table_room(s, upto_blk) < 0) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < hit_blk; i++) {
        uint32_t no = find_block(kv, s, i);

        if (b->block[no].refs++ == 0) {
            queue_remove(b, no);
        }
        s->blk[i] = no;
        s->stamp[i] = b->block[no].stamp;
    }
    for (uint32_t i = hit_blk; i < upto_blk; i++) {
        s->blk[i] = queue_take(b);
        s->stamp[i] = b->block[s->blk[i]].stamp;
    }
    s->full_blk = 0;
    return 0;
}

int blocks_append(struct kv *kv, struct kv_seq *s, uint32_t n)
{
    if (table_room(s, s->n_blk + n) < 0) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = s->n_blk; i < s->n_blk + n; i++) {
        s->blk[i] = queue_take(kv->blocks);
        s->stamp[i] = kv->blocks->block[s->blk[i]].stamp;
    }
    return 0;
}

void blocks_publish(struct kv *kv, struct kv_seq *s, uint64_t content_tok)
{
    uint32_t full = (uint32_t)(content_tok / kv->block_tok);
    uint32_t end = full < s->n_key ? full : s->n_key;

    if (!kv->cache) {
        return;
    }
    /* Published blocks form a prefix, so walk back from the end. */
    while (end > 0 && kv->blocks->block[s->blk[end - 1]].key == 0) {
        end--;
    }
    for (uint32_t i = end; i < full && i < s->n_key; i++) {
        kv->blocks->block[s->blk[i]].key = s->key[i];
        table_add(kv->blocks, s->blk[i]);
    }
}

void blocks_give(struct kv *kv, struct kv_seq *s, uint64_t content_tok)
{
    struct kv_blocks *b = kv->blocks;

    for (uint32_t i = s->n_blk; i-- > 0;) {
        if (--b->block[s->blk[i]].refs == 0) {
            queue_append(b, s->blk[i]);
            kv->free++;
        }
    }
    s->full_blk = (uint32_t)(content_tok / kv->block_tok);
    if (s->full_blk > s->n_blk) {
        s->full_blk = s->n_blk;
    }
}
