/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/kv/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *kv_tier_name(enum kv_tier t)
{
    static const char *const names[KV_TIERS] = {"host", "nvme", "remote"};
    return names[t];
}

int kv_store_init(struct kv_store *s, const double bytes[KV_TIERS])
{
    memset(s, 0, sizeof(*s));
    for (int t = 0; t < KV_TIERS; t++) {
        s->pool[t] = (struct pool){.name = kv_tier_name((enum kv_tier)t), .capacity_byte = bytes[t]};
    }
    s->slots = 256;
    s->slot = calloc(s->slots, sizeof(struct kept *));
    return s->slot ? 0 : SIM_E_NOMEM;
}

static void free_list(struct kept *k)
{
    while (k) {
        struct kept *next = k->next;
        free(k);
        k = next;
    }
}

void kv_store_release(struct kv_store *s)
{
    for (int t = 0; t < KV_TIERS; t++) {
        free_list(s->list[t].first);
    }
    free_list(s->spare);
    free(s->slot);
    memset(s, 0, sizeof(*s));
}

/* ---- by key ---- */

static struct kept **slot_of(const struct kv_store *s, uint64_t key)
{
    struct kept **at = &s->slot[(uint32_t)(key * 0x9E3779B97F4A7C15u >> 32) & (s->slots - 1)];

    while (*at && (*at)->key != key) {
        at = &(*at)->chain;
    }
    return at;
}

static void table_remove(struct kv_store *s, struct kept *k)
{
    struct kept **at = slot_of(s, k->key);

    if (*at == k) { /* an entry that was dropped while it moved is no longer here */
        *at = k->chain;
        s->n--;
    }
    k->chain = NULL;
}

static void table_add(struct kv_store *s, struct kept *k)
{
    struct kept **at = slot_of(s, k->key);

    k->chain = NULL;
    *at = k;
    s->n++;
}

/* Twice the slots; staying small is no error, only slow. */
static void table_grow(struct kv_store *s)
{
    struct kept **bigger = calloc(2 * (size_t)s->slots, sizeof(struct kept *));
    struct kept **old = s->slot;
    uint32_t n = s->slots;

    if (!bigger) {
        return;
    }
    s->slot = bigger;
    s->slots *= 2;
    s->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (struct kept *k = old[i], *next; k; k = next) {
            next = k->chain;
            table_add(s, k);
        }
    }
    free(old);
}

struct kept *kv_store_find(const struct kv_store *s, uint64_t key)
{
    return *slot_of(s, key);
}

/* ---- by tier, least recently used first ---- */

static void list_append(struct kv_store *s, struct kept *k)
{
    struct kept_list *l = &s->list[k->tier];

    k->next = NULL;
    k->prev = l->last;
    *(l->last ? &l->last->next : &l->first) = k;
    l->last = k;
    l->n++;
}

static void list_remove(struct kv_store *s, struct kept *k)
{
    struct kept_list *l = &s->list[k->tier];

    *(k->prev ? &k->prev->next : &l->first) = k->next;
    *(k->next ? &k->next->prev : &l->last) = k->prev;
    l->n--;
}

void kv_store_touch(struct kv_store *s, struct kept *k)
{
    list_remove(s, k);
    list_append(s, k);
}

static void forget(struct kv_store *s, struct kept *k)
{
    s->pool[k->tier].used_byte -= k->bytes;
    list_remove(s, k);
    k->next = s->spare;
    s->spare = k;
}

void kv_store_drop(struct kv_store *s, struct kept *k)
{
    table_remove(s, k);
    k->dropped = true;
    if (k->moving == 0) {
        forget(s, k);
    }
}

void kv_store_begin(struct kept *k)
{
    k->moving++;
}

void kv_store_end(struct kv_store *s, struct kept *k)
{
    if (--k->moving == 0 && k->dropped) {
        forget(s, k);
    }
}

struct kept *kv_store_add(struct kv_store *s, uint64_t key)
{
    struct kept *k = s->spare, *old = kv_store_find(s, key);

    if (old) {
        kv_store_drop(s, old);
        k = s->spare;
    }
    if (k) {
        s->spare = k->next;
    } else if (!(k = malloc(sizeof(*k)))) {
        return NULL;
    }
    if (s->n > 2 * s->slots) {
        table_grow(s);
    }
    *k = (struct kept){.key = key, .tier = KV_HOST, .use = KEPT_WAITING};
    table_add(s, k);
    list_append(s, k);
    return k;
}

void kv_store_rekey(struct kv_store *s, struct kept *k, uint64_t key)
{
    struct kept *old;

    table_remove(s, k);
    old = kv_store_find(s, key);
    if (old) {
        kv_store_drop(s, old);
    }
    k->key = key;
    table_add(s, k);
}

/* ---- room ---- */

static struct kept *first_of(const struct kv_store *s, enum kv_tier t, enum kept_use use,
                             const struct kept *but)
{
    struct kept *k = s->list[t].first;

    while (k && (k->use != use || k->moving || k->dropped || k == but)) {
        k = k->next;
    }
    return k;
}

struct kept *kv_store_oldest(const struct kv_store *s, enum kv_tier t)
{
    return first_of(s, t, KEPT_IDLE, NULL);
}

static bool make_room(struct kv_store *s, enum kv_tier t, double bytes, const struct kept *but)
{
    struct pool *p = &s->pool[t];

    while (p->used_byte + bytes > p->capacity_byte) {
        struct kept *k = first_of(s, t, KEPT_REDUNDANT, but);

        if (!k && (k = first_of(s, t, KEPT_IDLE, but))) {
            s->lost++;
        }
        if (!k) {
            return false;
        }
        kv_store_drop(s, k);
    }
    return true;
}

static bool can_go(const struct kept *k)
{
    return k->use != KEPT_WAITING && !k->moving && !k->dropped;
}

double kv_store_room(const struct kv_store *s, const struct kept *k)
{
    enum kv_tier t = k ? k->tier : KV_HOST;
    double room = s->pool[t].capacity_byte - s->pool[t].used_byte + (k ? k->bytes : 0);

    for (const struct kept *x = s->list[t].first; x; x = x->next) {
        room += x != k && can_go(x) ? x->bytes : 0;
    }
    return room;
}

bool kv_store_resize(struct kv_store *s, struct kept *k, double bytes)
{
    struct pool *p = &s->pool[k->tier];

    if (bytes > kv_store_room(s, k) || !make_room(s, k->tier, bytes - k->bytes, k)) {
        return false;
    }
    p->used_byte += bytes - k->bytes;
    p->peak_byte = p->used_byte > p->peak_byte ? p->used_byte : p->peak_byte;
    k->bytes = bytes;
    return true;
}

bool kv_store_move(struct kv_store *s, struct kept *k, enum kv_tier to)
{
    struct pool *p = &s->pool[to];

    if (k->bytes > p->capacity_byte || !make_room(s, to, k->bytes, k)) {
        return false;
    }
    s->pool[k->tier].used_byte -= k->bytes;
    list_remove(s, k);
    k->tier = to;
    list_append(s, k);
    p->used_byte += k->bytes;
    p->peak_byte = p->used_byte > p->peak_byte ? p->used_byte : p->peak_byte;
    return true;
}

int kv_store_check(const struct kv_store *s, struct err *e)
{
    for (int t = 0; t < KV_TIERS; t++) {
        const struct pool *p = &s->pool[t];
        double sum = 0;

        for (const struct kept *k = s->list[t].first; k; k = k->next) {
            sum += k->bytes;
            if (k->tier != (enum kv_tier)t || k->bytes < 0 || (!k->dropped && kv_store_find(s, k->key) != k)) {
                return err_set(e, SIM_E_CHECK, "%s tier: an entry of %u tokens is not where it should be",
                               p->name, k->tok);
            }
        }
        if (fabs(sum - p->used_byte) > 0.5 || p->used_byte < -0.5 ||
            p->used_byte > p->capacity_byte + 0.5) {
            return err_set(e, SIM_E_CHECK, "%s tier: entries take %.0f bytes, %.0f of %.0f are counted",
                           p->name, sum, p->used_byte, p->capacity_byte);
        }
    }
    return 0;
}
