/* SPDX-License-Identifier: Apache-2.0
 *
 * Pools of bytes: host memory, GPU memory, a staging buffer. */
#include "sim/fabric/fabric.h"

bool pool_take(struct pool *p, double bytes)
{
    if (!(bytes >= 0) || !(p->used_byte + bytes <= p->capacity_byte)) {
        return false;
    }
    p->used_byte += bytes;
    if (p->used_byte > p->peak_byte) {
        p->peak_byte = p->used_byte;
    }
    return true;
}

int pool_give(struct pool *p, double bytes, struct err *e)
{
    if (!(bytes >= 0) || bytes > p->used_byte) {
        return err_set(e, SIM_E_CHECK, "pool %s: cannot give back %.17g bytes, %.17g are in use",
                       p->name ? p->name : "?", bytes, p->used_byte);
    }
    p->used_byte -= bytes;
    return 0;
}
