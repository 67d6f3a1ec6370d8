/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile reader on any bytes: an answer or an error, and an answer whose tables have their size. */
#include <stdint.h>
#include <stdlib.h>

#include "models/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct profile p;
    char *text = arena_alloc(&a, size + 1);
    if (text) {
        for (size_t i = 0; i < size; i++) {
            text[i] = (char)data[i];
        }
        if (profile_parse(&p, text, size, "fuzz", &a, &e) == 0) {
            for (uint32_t i = 0; i < p.n_terms; i++) {
                uint32_t n = profile_term_size(&p.term[i]);
                if (n == 0 || !(p.term[i].us[n - 1] >= 0)) {
                    abort();
                }
            }
        } else if (e.code == 0) {
            abort();
        }
    }
    arena_release(&a);
    return 0;
}
