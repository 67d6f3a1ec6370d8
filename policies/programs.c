/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/programs.h"

uint32_t programs_of(struct programs *p, const struct req *q)
{
    if (p->n == PROGRAM_NONE - 1) {
        return PROGRAM_NONE;
    }
    if (q->session == 0) {
        return p->n++;
    }
    uint32_t *number = u64_map_add(&p->number, q->session);
    if (!number) {
        return PROGRAM_NONE;
    }
    if (*number == 0) {
        *number = ++p->n;
    }
    return *number - 1;
}

void programs_release(struct programs *p)
{
    u64_map_release(&p->number);
    *p = (struct programs){0};
}
