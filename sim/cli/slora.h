/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine behind the recorded runs of the VTC artifact, as configuration keys. One set of settings
 * for every run: `replay` and `reproduce` both take it from here, so nothing is tuned per figure. */
#ifndef STEELYARD_SLORA_H
#define STEELYARD_SLORA_H

#include "sim/cli/cli.h"

/* The artifact's name of a scheduler ("VTC_oracle") as a policy, or NULL. */
const char *slora_policy(const char *scheduler);
/* Its limit of requests per minute ("LShare"). */
const char *slora_rpm(int limit, struct arena *ar);

/* Append the keys to `args`; `origin` is whom errors name. The pool is in tokens, NaN = not known. */
int slora_settings(struct config_args *args, const char *origin, const char *policy, bool a100,
                   double pool_tok, struct arena *ar, struct err *e);

#endif
