/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan of any content: an error with a sentence, or steps whose sizes hold. */
#include <stdlib.h>

#include "calibrate/probe/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct plan *p)
{
    if (p->n_step < 1 || p->model.heads % p->model.kv_heads != 0 || p->block_tok < 1) {
        abort();
    }
    for (int64_t i = 0; i < p->n_step; i++) {
        const struct plan_step *s = &p->steps[i];
        int64_t rows = s->n_decode;

        for (int c = 0; c < s->n_chunk; c++) {
            rows += s->chunks[c].n_tok;
            if (s->chunks[c].n_tok < 1 || s->chunks[c].start_tok + s->chunks[c].n_tok > p->max_ctx) {
                abort();
            }
        }
        for (int d = 0; d < s->n_decode; d++) {
            if (s->ctx[d] < 1 || s->ctx[d] > p->max_ctx) {
                abort();
            }
        }
        if (rows < 1 || rows > p->max_rows || s->n_chunk + s->n_decode > p->max_seqs || s->dur_ns < 0) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan p;
    struct err e = {0};
    char *text = malloc(size + 1); /* exactly this long: reading on is found out */

    if (!text) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)data[i];
    }
    text[size] = '\0';
    if (plan_parse(&p, text, size, "fuzz", 0, &e) == 0) {
        check(&p);
        plan_release(&p);
    } else if (e.code == 0 || e.msg[0] == '\0') {
        abort();
    }
    free(text);
    return 0;
}
