/* SPDX-License-Identifier: Apache-2.0
 *
 * KV that lies outside of the GPU: whose it is, how many tokens of it are good, and in which tier -
 * host memory, a drive, a remote store. A tier is a pool with a capacity; when it is full the entry
 * that is cheapest to lose goes: copies of KV that is on the GPU as well, then idle sessions, least
 * recently used first. KV of a request that was pushed out and waits is never thrown away. Time is
 * not known here: whoever moves the bytes says when it is done. */
#ifndef STEELYARD_KV_STORE_H
#define STEELYARD_KV_STORE_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"
#include "sim/fabric/fabric.h"

enum kv_tier { KV_HOST, KV_NVME, KV_REMOTE, KV_TIERS };
const char *kv_tier_name(enum kv_tier t);

enum kept_use {
    KEPT_IDLE,      /* of a session between two turns */
    KEPT_WAITING,   /* its request was pushed out and needs it */
    KEPT_REDUNDANT, /* its request runs with the same KV on the GPU */
};

/* KV of one sequence. */
struct kept {
    uint64_t key;
    uint32_t tok;        /* the first so many tokens of the sequence are here */
    enum kv_tier tier;
    enum kept_use use;
    uint32_t moving;     /* copies into or out of it that are under way: it stays until they end */
    bool dropped;        /* ... and goes then */
    double bytes;        /* of room that it takes in its tier */
    uint64_t print;      /* of the first print_ids prefix ids of the sequence; for who asks */
    uint32_t print_ids;
    struct kept *prev, *next; /* in its tier, least recently used first */
    struct kept *chain;
};

struct kept_list {
    struct kept *first, *last;
    uint32_t n;
};

struct kv_store {
    struct pool pool[KV_TIERS];
    struct kept_list list[KV_TIERS];
    struct kept **slot; /* by key */
    uint32_t slots, n;
    struct kept *spare;
    uint64_t lost;      /* entries thrown away to make room while they were of use */
};

/* bytes[t] = 0: there is no such tier. */
int kv_store_init(struct kv_store *s, const double bytes[KV_TIERS]);
void kv_store_release(struct kv_store *s);

struct kept *kv_store_find(const struct kv_store *s, uint64_t key);
/* A new, empty entry in the host tier; an old one under this key is dropped first. NULL = no
 * memory. */
struct kept *kv_store_add(struct kv_store *s, uint64_t key);
/* Room for `bytes` in all. False, and nothing changed but what was thrown away, when the tier
 * cannot make it. */
bool kv_store_resize(struct kv_store *s, struct kept *k, double bytes);
/* Bytes that a resize of `k` (NULL = a new entry in the host tier) could reach. */
double kv_store_room(const struct kv_store *s, const struct kept *k);
/* Used just now. */
void kv_store_touch(struct kv_store *s, struct kept *k);
/* Under another key; what was there is dropped. */
void kv_store_rekey(struct kv_store *s, struct kept *k, uint64_t key);
/* Nobody wants it any more: gone now, or when the copies under way have ended. */
void kv_store_drop(struct kv_store *s, struct kept *k);
/* A copy into or out of it begins, has ended. After the end *k may be gone. */
void kv_store_begin(struct kept *k);
void kv_store_end(struct kv_store *s, struct kept *k);
/* Into another tier, which has the room (kv_store_room_in). */
bool kv_store_move(struct kv_store *s, struct kept *k, enum kv_tier to);
/* The idle, quiet entry of a tier that was used longest ago, or NULL. */
struct kept *kv_store_oldest(const struct kv_store *s, enum kv_tier t);
/* Pools hold what their entries take; nothing is negative. */
int kv_store_check(const struct kv_store *s, struct err *e);

#endif
