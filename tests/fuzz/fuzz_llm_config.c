/* SPDX-License-Identifier: Apache-2.0
 *
 * A config.json of any content: an error or a shape whose sizes are finite and positive. */
#include <math.h>
#include <stdlib.h>

#include "models/llm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(double v)
{
    if (!isfinite(v) || v <= 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct llm_shape m;
    int rc = llm_parse(&m, (const char *)data, size, "fuzz/config.json", NULL, NULL, &a, &e);
    if (rc == 0) {
        check(llm_params(&m));
        check(llm_active_params(&m));
        check(llm_weight_bytes(&m));
        check(llm_kv_bytes_per_tok_rank(&m, 3));
        uint32_t sparse = 0;
        for (uint32_t l = 0; l < m.layers; l++) {
            sparse += llm_is_moe(&m, l);
        }
        if (llm_active_params(&m) > llm_params(&m) || llm_moe_layers(&m) > m.layers || sparse != llm_moe_layers(&m)) {
            abort();
        }
    } else if (e.code == 0 || e.msg[0] == '\0') {
        abort(); /* an error without a message */
    }
    arena_release(&a);
    return 0;
}
