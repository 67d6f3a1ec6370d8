/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/core/slo_class.h"

#include <string.h>

const char *const slo_class_names[SLO_CLASSES] = {
    [SLO_NONE] = "none",         [SLO_LATENCY] = "latency",         [SLO_DEADLINE] = "deadline",
    [SLO_COMPOUND] = "compound", [SLO_BEST_EFFORT] = "best-effort",
};

int slo_class_find(const char *name, size_t n)
{
    for (int c = 0; c < SLO_CLASSES; c++) {
        if (strlen(slo_class_names[c]) == n && memcmp(slo_class_names[c], name, n) == 0) {
            return c;
        }
    }
    return -1;
}
