/* SPDX-License-Identifier: Apache-2.0
 *
 * A cost model with a model and a GPU of the bundled ones, for the tests of cost models. The file that
 * includes this defines COST_NAME. */
#ifndef STEELYARD_TEST_COST_MODEL_H
#define STEELYARD_TEST_COST_MODEL_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"

#define TICKS_PER_S (1e9 * SIM_TICKS_PER_NS)

struct model {
    struct arena arena;
    struct err err;
    const struct cost_ops *ops;
    void *state;
    struct cost_env env;
    struct llm_shape llm;
    struct gpu_profile gpu;
};

static inline const char *data_dir(void)
{
    const char *d = getenv("STEELYARD_DATA");
    return d ? d : "models";
}

static inline void model_load(struct model *m, const char *llm, const char *gpu, uint32_t tp)
{
    *m = (struct model){.ops = cost_find(COST_NAME)};
    assert_non_null(m->ops);
    if (llm_load(&m->llm, llm, data_dir(), NULL, NULL, &m->arena, &m->err) != 0 ||
        gpu_load(&m->gpu, gpu, data_dir(), &m->arena, &m->err) != 0) {
        fail_msg("%s", m->err.msg);
    }
    m->env = (struct cost_env){.llm = &m->llm, .gpu = &m->gpu, .tp = tp, .arena = &m->arena};
    m->state = arena_alloc(&m->arena, m->ops->state_size);
}

static inline int model_init(struct model *m, const char *spec)
{
    int rc = opt_spec_apply(spec, m->ops->options, m->state, &m->arena, &m->err);
    return rc < 0 ? rc : m->ops->init(m->state, &m->env, &m->err);
}

static inline void model_open(struct model *m, const char *llm, const char *gpu, uint32_t tp, const char *spec)
{
    model_load(m, llm, gpu, tp);
    if (model_init(m, spec) != 0) {
        fail_msg("%s", m->err.msg);
    }
}

static inline void model_close(struct model *m)
{
    arena_release(&m->arena);
}

static inline struct cost_affine iterate(const struct model *m, struct batch_shape s)
{
    struct cost_affine r;
    m->ops->iteration(m->state, &s, &r);
    return r;
}

static inline double seconds(const struct model *m, struct batch_shape s)
{
    return (double)iterate(m, s).base / TICKS_PER_S;
}

#endif
