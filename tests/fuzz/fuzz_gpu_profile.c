/* SPDX-License-Identifier: Apache-2.0
 *
 * A GPU profile of any content: an error, or figures with which the KV pool and the roofline work. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/cost.h"
#include "models/gpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tiny[] = "{\"hidden_size\":64,\"intermediate_size\":128,\"num_hidden_layers\":2,"
                           "\"num_attention_heads\":4,\"vocab_size\":100}";

static void use(const struct gpu_profile *g, struct arena *a)
{
    struct llm_shape m;
    struct err e = {0};
    int64_t tok = 0;
    const struct cost_ops *ops = cost_find("roofline");
    struct cost_env env = {.llm = &m, .gpu = g, .tp = 2, .arena = a};
    void *state = arena_alloc(a, ops->state_size);
    if (!state || llm_parse(&m, tiny, strlen(tiny), "tiny", NULL, NULL, a, &e) != 0) {
        abort();
    }
    if (gpu_kv_tokens(g, &m, 2, 0.9, 2048, 16, &tok, &e) == 0 && (tok <= 0 || tok % 16 != 0)) {
        abort();
    }
    struct batch_shape s = {.n_decode = 3, .decode_ctx_tok = 300};
    struct cost_affine r;
    if (opt_spec_apply("roofline", ops->options, state, a, &e) != 0 || ops->init(state, &env, &e) != 0) {
        abort();
    }
    ops->iteration(state, &s, &r);
    if (r.base < 1 || r.valid < 1) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct gpu_profile g;
    if (gpu_parse(&g, (const char *)data, size, "fuzz.json", &a, &e) == 0) {
        use(&g, &a);
    } else if (e.code == 0 || e.msg[0] == '\0') {
        abort();
    }
    arena_release(&a);
    return 0;
}
