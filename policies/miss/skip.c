/* SPDX-License-Identifier: Apache-2.0
 *
 * A missed expert is left out: the token goes on without its share. */
#include "policies/experts.h"

struct skip {
    double most;
};

static const struct opt_row skip_options[] = {
    {.name = "most", .type = OPT_DOUBLE, .offset = offsetof(struct skip, most), .min = 0, .max = 1, .def = "1",
     .unit = "1", .help = "gate weight that a token may lose in a layer; heavier misses are waited for"},
    OPT_END,
};

static int skip_init(void *st, const struct expert_env *env, struct err *e)
{
    (void)st, (void)env, (void)e;
    return 0;
}

/* The lightest first: experts of a token are in falling order. */
static void skip_token(const struct skip *s, const struct expert_view *v, struct layer_work *w, uint32_t t)
{
    double lost = 0;
    for (uint32_t i = w->k; i-- > 0;) {
        uint32_t at = t * w->k + i;
        double after = lost + (double)w->gate[at];
        if (!expert_is_here(v, expert_item(v, w->layer, w->expert[at])) && after <= s->most + 1e-6) {
            w->action[at] = PAIR_SKIP;
            lost = after;
        }
    }
}

static void skip_decide(void *st, const struct expert_view *v, struct layer_work *w)
{
    for (uint32_t t = 0; t < w->n_tok; t++) {
        skip_token(st, v, w, t);
    }
}

const struct miss_ops miss_skip = {
    .name = "skip",
    .summary = "a missed expert is left out",
    .source = "the lower bound on the time of a miss; quality shows as lost gate weight",
    .state_size = sizeof(struct skip),
    .options = skip_options,
    .init = skip_init,
    .decide = skip_decide,
};
