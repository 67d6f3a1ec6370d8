/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of executed steps on any bytes: steps with times above 0, or an error that names the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/replay_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct replay_file f;
    if (replay_file_parse(&f, size ? (const char *)data : "", size, "fuzz", &a, &e) == 0) {
        for (size_t i = 0; i < f.n; i++) {
            if (!(f.step[i].measured_s > 0) || f.step[i].n_decode < 0 || !f.device || !f.model) {
                abort();
            }
        }
        if (f.n == 0) {
            abort();
        }
        replay_file_release(&f);
    } else if (e.code == 0 || strstr(e.msg, "fuzz") == NULL) {
        abort();
    }
    arena_release(&a);
    return 0;
}
