/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/place.h"

#include <math.h>
#include <stdbool.h>

static int bad(struct err *e, const char *what, uint32_t a, uint32_t b)
{
    return err_set(e, SIM_E_CONFIG, "expert placement: %s (%u, %u)", what, a, b);
}

static int check(const struct place_spec *s, const double *weight, struct err *e)
{
    if (s->experts < 1 || s->experts > PLACE_EXPERTS_MAX || s->slots > PLACE_SLOTS_MAX) {
        return bad(e, "at most 1024 experts in 4096 slots", s->experts, s->slots);
    }
    if (s->slots < s->experts) {
        return bad(e, "more experts than slots", s->experts, s->slots);
    }
    if (s->nodes < 1 || s->gpus < 1 || s->gpus % s->nodes != 0) {
        return bad(e, "GPUs cannot be spread evenly over nodes", s->gpus, s->nodes);
    }
    if (s->slots % s->gpus != 0) {
        return bad(e, "slots cannot be spread evenly over GPUs", s->slots, s->gpus);
    }
    if (s->groups < 1 || s->experts % s->groups != 0) {
        return bad(e, "experts cannot be spread evenly over groups", s->experts, s->groups);
    }
    for (uint32_t i = 0; i < s->experts; i++) {
        if (!(weight[i] >= 0 && isfinite(weight[i]))) {
            return err_set(e, SIM_E_CONFIG, "expert placement: load of expert %u is no number from 0 on", i);
        }
    }
    return 0;
}

int place(const struct place_ops *p, const struct place_spec *s, const double *weight,
          struct placement *ret, struct arena *a, struct err *e)
{
    if (check(s, weight, e) < 0) {
        return e->code;
    }
    *ret = (struct placement){*s, arena_calloc(a, s->slots, sizeof(*ret->slot)),
                              arena_calloc(a, s->experts, sizeof(*ret->copies))};
    if (!ret->slot || !ret->copies) {
        return err_set(e, SIM_E_NOMEM, "out of memory for an expert placement");
    }
    if (p->fill(s, weight, ret->slot, a, e) < 0) {
        return e->code;
    }
    for (uint32_t i = 0; i < s->slots; i++) {
        ret->copies[ret->slot[i]]++;
    }
    for (uint32_t i = 0; i < s->experts; i++) {
        if (ret->copies[i] == 0) {
            return err_set(e, SIM_E_CHECK, "placement '%s' has forgotten expert %u", p->name, i);
        }
    }
    return 0;
}

double placement_imbalance(const struct placement *p, const double *weight)
{
    uint32_t each = p->spec.slots / p->spec.gpus;
    double most = 0, sum = 0;

    for (uint32_t g = 0; g < p->spec.gpus; g++) {
        double load = 0;

        for (uint32_t i = g * each; i < (g + 1) * each; i++) {
            load += weight[p->slot[i]] / p->copies[p->slot[i]];
        }
        most = fmax(most, load);
        sum += load;
    }
    return sum > 0 ? most * p->spec.gpus / sum : 1;
}

uint32_t placement_moves(const struct placement *from, const struct placement *to)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < from->spec.slots; i++) {
        n += from->slot[i] != to->slot[i];
    }
    return n;
}
