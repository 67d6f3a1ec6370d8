/* SPDX-License-Identifier: Apache-2.0
 *
 * NCCL on four H100 (waynehacking8/nccl-collectives-bench, 4 x H100 SXM5, out of place, quiet run), two ways. */
#ifndef STEELYARD_LINKS_NCCL_H
#define STEELYARD_LINKS_NCCL_H

#include "sim/cli/reproduce/reproduce.h"

int links_nccl_own(struct repro *p, struct err *e);
int links_nccl_bundled(struct repro *p, struct err *e);

#endif
