/* SPDX-License-Identifier: Apache-2.0
 *
 * What the router has sent and an engine has not looked at: it looks at its boundaries only. */
#ifndef STEELYARD_CLUSTER_MAIL_H
#define STEELYARD_CLUSTER_MAIL_H

#include "sim/cluster/cluster.h"

/* Send request number `serial`; prefix ids are copied. 0 or SIM_E_NOMEM. */
int mail_send(struct replica *r, const struct arrival *a, uint64_t serial, struct err *e);
/* The engine opens the next letter; what it got before is done with. False = none there. */
bool mail_open(struct replica *r, struct arrival *a);
void mail_release(struct cluster *c);

#endif
