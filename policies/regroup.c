/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/regroup.h"

#include <stdlib.h>

static uint32_t *distance_of(const struct regroup *r, uint32_t a, uint32_t b)
{
    return &r->distance[(size_t)a * REGROUP_MAX + b];
}

/* Experts of `a` in one layer that `b` does not have; as many as the other way round. */
static uint32_t missing(const uint16_t *a, const uint16_t *b, uint32_t k)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < k; i++) {
        bool has = false;

        for (uint32_t j = 0; j < k; j++) {
            has = has || a[i] == b[j];
        }
        n += !has;
    }
    return n;
}

static void measure(struct regroup *r, const uint16_t *route, uint32_t n, uint32_t layers, uint32_t k)
{
    size_t len = (size_t)layers * k;

    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = 0; b < a; b++) {
            uint32_t d = 0;

            for (size_t at = 0; at < len; at += k) {
                d += missing(&route[a * len + at], &route[b * len + at], k);
            }
            *distance_of(r, a, b) = *distance_of(r, b, a) = d;
        }
        *distance_of(r, a, a) = 0;
    }
}

static void farthest(const struct regroup *r, uint32_t n, uint32_t centre[2])
{
    centre[0] = 0;
    centre[1] = n > 1;
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = a + 1; b < n; b++) {
            if (*distance_of(r, a, b) > *distance_of(r, centre[0], centre[1])) {
                centre[0] = a;
                centre[1] = b;
            }
        }
    }
}

struct leaning {
    int64_t to_second; /* how much nearer the second centre is */
    uint32_t token;
};

static int by_leaning(const void *a, const void *b)
{
    const struct leaning *x = a, *y = b;

    if (x->to_second != y->to_second) {
        return x->to_second < y->to_second ? -1 : 1;
    }
    return (x->token > y->token) - (x->token < y->token);
}

/* Halves of equal size: those that lean most to the first centre. True when somebody changes sides. */
static bool assign(const struct regroup *r, uint32_t n, const uint32_t centre[2], uint8_t *group)
{
    struct leaning l[REGROUP_MAX];
    bool changed = false;

    for (uint32_t i = 0; i < n; i++) {
        l[i] = (struct leaning){(int64_t)*distance_of(r, i, centre[0]) - (int64_t)*distance_of(r, i, centre[1]), i};
    }
    qsort(l, n, sizeof *l, by_leaning);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t to = i >= (n + 1) / 2;

        changed = changed || group[l[i].token] != to;
        group[l[i].token] = to;
    }
    return changed;
}

/* The member nearest to all of its group. */
static uint32_t medoid(const struct regroup *r, uint32_t n, const uint8_t *group, uint8_t of)
{
    uint64_t least = UINT64_MAX;
    uint32_t best = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t sum = 0;

        for (uint32_t j = 0; j < n && group[i] == of; j++) {
            sum += group[j] == of ? *distance_of(r, i, j) : 0;
        }
        if (group[i] == of && sum < least) {
            least = sum;
            best = i;
        }
    }
    return best;
}

int regroup_init(struct regroup *r, struct arena *a, struct err *e)
{
    r->distance = arena_calloc(a, (size_t)REGROUP_MAX * REGROUP_MAX, sizeof *r->distance);
    return r->distance ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for the token scheduler");
}

void regroup(struct regroup *r, const uint16_t *route, uint32_t n, uint32_t layers, uint32_t k, uint32_t rounds,
             uint8_t *group)
{
    uint32_t centre[2];

    for (uint32_t i = 0; i < n; i++) {
        group[i] = i >= (n + 1) / 2;
    }
    if (n < 2 || n > REGROUP_MAX) {
        return;
    }
    measure(r, route, n, layers, k);
    farthest(r, n, centre);
    for (uint32_t i = 0; i < rounds && assign(r, n, centre, group); i++) {
        centre[0] = medoid(r, n, group, 0);
        centre[1] = medoid(r, n, group, 1);
    }
}
