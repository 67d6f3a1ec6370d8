/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/experts.h"

#include <string.h>

uint32_t expert_lowest(const struct expert_view *v, uint32_t room,
                       double (*key)(const void *st, const struct expert_view *v, uint32_t item),
                       const void *st)
{
    uint32_t from, to, best = EXPERT_NONE;
    double low = 0;

    expert_room(v, room, &from, &to);
    for (uint32_t i = from; i < to; i++) {
        if (expert_evictable(v, i)) {
            double k = key(st, v, i);

            if (best == EXPERT_NONE || k < low) {
                best = i;
                low = k;
            }
        }
    }
    return best;
}

/* The kinds of ops begin with the same fields in the same order. */
#define OPEN(kind, list)                                                                           \
    int kind##_open(const char *spec, const struct kind##_ops **ret, void **ret_st, struct arena *a, \
                    struct err *e)                                                                 \
    {                                                                                              \
        static const struct opt_row none[] = {OPT_END};                                            \
        const char *names[64], *name = opt_spec_name(spec, a), *near;                              \
        size_t n = 0;                                                                              \
                                                                                                   \
        for (*ret = NULL; name && n < 64 && list[n]; n++) {                                        \
            names[n] = list[n]->name;                                                              \
            *ret = strcmp(name, names[n]) == 0 ? list[n] : *ret;                                   \
        }                                                                                          \
        if (name && !*ret) {                                                                       \
            near = text_nearest(name, names, n);                                                   \
            return err_set(e, SIM_E_CONFIG, "experts." #kind ": nothing is called '%s'%s%s%s", name, \
                           near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");    \
        }                                                                                          \
        *ret_st = name ? arena_alloc(a, (*ret)->state_size) : NULL;                                \
        if (!*ret_st) {                                                                            \
            return err_set(e, SIM_E_NOMEM, "out of memory for the policies of experts");           \
        }                                                                                          \
        n = (size_t)opt_spec_apply(spec, (*ret)->options ? (*ret)->options : none, *ret_st, a, e); \
        return n == 0 ? 0 : err_wrap(e, "experts." #kind ": ");                                    \
    }

OPEN(evict, evict_policies)
OPEN(prefetch, prefetch_policies)
OPEN(miss, miss_policies)
