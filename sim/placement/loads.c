/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/placement/loads.h"

#include <math.h>
#include <string.h>

/* ---- copies ---- */

int replicas_init(struct replicas *x, const struct place_spec *s, struct arena *a, struct err *e)
{
    *x = (struct replicas){.at = {.spec = *s}};
    x->at.slot = arena_calloc(a, s->slots, sizeof(*x->at.slot));
    x->at.copies = arena_calloc(a, s->experts, sizeof(*x->at.copies));
    x->first = arena_calloc(a, s->experts + 1, sizeof(*x->first));
    x->copy = arena_calloc(a, s->slots, sizeof(*x->copy));
    x->fixed = arena_calloc(a, (size_t)s->gpus * s->experts, sizeof(*x->fixed));
    return x->at.slot && x->at.copies && x->first && x->copy && x->fixed
               ? 0
               : err_set(e, SIM_E_NOMEM, "out of memory for an expert placement");
}

/* How near a copy is: own rank, own node, elsewhere. */
static int distance(const struct place_spec *s, uint32_t from, uint32_t rank)
{
    uint32_t each = s->gpus / s->nodes;

    return rank == from ? 0 : rank / each == from / each ? 1 : 2;
}

/* Of the nearest copies of an expert the one that fewest ranks send to so far. */
static void fix_copies(struct replicas *x, uint32_t expert, uint32_t *senders)
{
    const struct place_spec *s = &x->at.spec;
    const uint32_t *copy = x->copy + x->first[expert];

    memset(senders, 0, x->at.copies[expert] * sizeof(*senders));
    for (uint32_t rank = 0; rank < s->gpus; rank++) {
        uint32_t best = 0;

        for (uint32_t i = 1; i < x->at.copies[expert]; i++) {
            int d = distance(s, rank, replicas_rank(x, copy[i])), least = distance(s, rank, replicas_rank(x, copy[best]));

            best = d < least || (d == least && senders[i] < senders[best]) ? i : best;
        }
        senders[best]++;
        x->fixed[(size_t)rank * s->experts + expert] = copy[best];
    }
}

void replicas_set(struct replicas *x, const struct placement *p)
{
    const struct place_spec *s = &x->at.spec;

    memcpy(x->at.slot, p->slot, s->slots * sizeof(*p->slot));
    memset(x->at.copies, 0, s->experts * sizeof(*p->copies));
    x->first[0] = 0;
    for (uint32_t i = 0; i < s->experts; i++) {
        x->first[i + 1] = x->first[i] + p->copies[i];
    }
    for (uint32_t i = 0; i < s->slots; i++) {
        uint32_t expert = p->slot[i];

        x->copy[x->first[expert] + x->at.copies[expert]++] = i;
    }
    for (uint32_t i = 0; i < s->experts; i++) {
        uint32_t senders[PLACE_SLOTS_MAX];

        fix_copies(x, i, senders);
    }
}

bool replicas_holds(const struct replicas *x, uint32_t rank, uint32_t expert)
{
    for (uint32_t i = x->first[expert]; i < x->first[expert + 1]; i++) {
        if (replicas_rank(x, x->copy[i]) == rank) {
            return true;
        }
    }
    return false;
}

int replicas_verify(const struct replicas *x, struct err *e)
{
    const struct place_spec *s = &x->at.spec;

    for (uint32_t i = 0; i < s->experts; i++) {
        if (x->first[i + 1] <= x->first[i]) {
            return err_set(e, SIM_E_CHECK, "expert placement: expert %u is nowhere", i);
        }
        for (uint32_t k = x->first[i]; k < x->first[i + 1]; k++) {
            if (x->copy[k] >= s->slots || x->at.slot[x->copy[k]] != i) {
                return err_set(e, SIM_E_CHECK, "expert placement: expert %u is not in slot %u", i, x->copy[k]);
            }
        }
    }
    return x->first[s->experts] == s->slots
               ? 0
               : err_set(e, SIM_E_CHECK, "expert placement: %u copies in %u slots", x->first[s->experts], s->slots);
}

/* ---- loads ---- */

int loads_init(struct loads *x, const struct place_spec *s, enum replica_choice choice, bool node_copies,
               struct arena *a, struct err *e)
{
    *x = (struct loads){.spec = *s, .choice = choice, .node_copies = node_copies};
    x->count = arena_calloc(a, s->experts, sizeof(*x->count));
    x->turn = arena_calloc(a, s->experts, sizeof(*x->turn));
    x->pairs = arena_calloc(a, s->gpus, sizeof(*x->pairs));
    x->active = arena_calloc(a, s->gpus, sizeof(*x->active));
    x->arrived = arena_calloc(a, s->nodes, sizeof(*x->arrived));
    x->seen = arena_calloc(a, s->nodes, sizeof(*x->seen));
    x->used = arena_calloc(a, s->slots, sizeof(*x->used));
    return x->count && x->turn && x->pairs && x->active && x->arrived && x->seen && x->used
               ? 0
               : err_set(e, SIM_E_NOMEM, "out of memory for the loads of ranks");
}

void loads_begin(struct loads *x, const struct replicas *by)
{
    const struct place_spec *s = &x->spec;

    x->by = by;
    x->tokens = 0;
    memset(x->count, 0, s->experts * sizeof(*x->count));
    memset(x->turn, 0, s->experts * sizeof(*x->turn));
    memset(x->pairs, 0, s->gpus * sizeof(*x->pairs));
    memset(x->active, 0, s->gpus * sizeof(*x->active));
    memset(x->arrived, 0, s->nodes * sizeof(*x->arrived));
    memset(x->seen, 0, s->nodes * sizeof(*x->seen));
    memset(x->used, 0, s->slots * sizeof(*x->used));
}

static uint32_t node_of(const struct loads *x, uint32_t rank)
{
    return rank / (x->spec.gpus / x->spec.nodes);
}

static uint32_t in_turn(struct loads *x, uint32_t expert)
{
    const struct replicas *p = x->by;

    return p->copy[p->first[expert] + x->turn[expert]++ % p->at.copies[expert]];
}

static uint32_t least_loaded(const struct loads *x, uint32_t expert)
{
    const struct replicas *p = x->by;
    uint32_t ret = p->copy[p->first[expert]];

    for (uint32_t i = p->first[expert] + 1; i < p->first[expert + 1]; i++) {
        if (x->pairs[replicas_rank(p, p->copy[i])] < x->pairs[replicas_rank(p, ret)]) {
            ret = p->copy[i];
        }
    }
    return ret;
}

static uint32_t choose(struct loads *x, uint32_t from, uint32_t expert)
{
    return x->choice == REPLICA_STATIC  ? x->by->fixed[(size_t)from * x->spec.experts + expert]
           : x->choice == REPLICA_LEAST ? least_loaded(x, expert)
                                        : in_turn(x, expert);
}

void loads_token(struct loads *x, uint32_t from, const struct route *r, uint32_t top_k)
{
    x->tokens++;
    for (uint32_t i = 0; i < top_k; i++) {
        uint32_t expert = r->expert[i], slot = choose(x, from, expert), rank = replicas_rank(x->by, slot);
        uint32_t node = node_of(x, rank);

        x->count[expert]++;
        x->pairs[rank]++;
        x->active[rank] += !x->used[slot];
        x->used[slot] = true;
        x->arrived[node] += x->seen[node] != x->tokens;
        x->seen[node] = x->tokens;
    }
}

/* ---- what they come to ---- */

static double most_over_mean(const uint32_t *v, uint32_t n)
{
    double most = 0, sum = 0;

    for (uint32_t i = 0; i < n; i++) {
        most = fmax(most, v[i]);
        sum += v[i];
    }
    return sum > 0 ? most * n / sum : 1;
}

double loads_busiest(const struct loads *x)
{
    return most_over_mean(x->pairs, x->spec.gpus);
}

double loads_arrive(const struct loads *x)
{
    return x->node_copies ? most_over_mean(x->arrived, x->spec.nodes) : loads_busiest(x);
}

double loads_unplaced(const struct loads *x)
{
    uint32_t each = x->spec.experts / x->spec.gpus;
    double most = 0, sum = 0;

    if (each == 0 || x->spec.experts % x->spec.gpus != 0) {
        return NAN;
    }
    for (uint32_t g = 0; g < x->spec.gpus; g++) {
        double load = 0;

        for (uint32_t i = g * each; i < (g + 1) * each; i++) {
            load += x->count[i];
        }
        most = fmax(most, load);
        sum += load;
    }
    return sum > 0 ? most * x->spec.gpus / sum : 1;
}

double loads_mean_active(const struct loads *x)
{
    double sum = 0;

    for (uint32_t i = 0; i < x->spec.gpus; i++) {
        sum += x->active[i];
    }
    return sum / x->spec.gpus;
}

uint32_t loads_slowest(const struct loads *x, struct rank_work *ret)
{
    uint32_t each = x->spec.slots / x->spec.gpus, n = 0, best = 0;
    double sum = 0;

    for (uint32_t i = 0; i < x->spec.gpus; i++) {
        sum += x->pairs[i];
    }
    for (uint32_t active = each; active > 0; active--) {
        uint32_t most = 0;

        for (uint32_t i = 0; i < x->spec.gpus; i++) {
            most = x->active[i] == active && x->pairs[i] > most ? x->pairs[i] : most;
        }
        if (most > best) {
            best = most;
            ret[n++] = (struct rank_work){most * (double)x->spec.gpus / sum, active};
        }
    }
    return n;
}
