/* SPDX-License-Identifier: Apache-2.0
 *
 * Least counter first: VTC without the lift, so an idle client saves up credit ('lcf_fair'). */
#include "policies/schedule/vtc.h"

static const struct opt_row lcf_options[] = {VTC_OPTIONS("off")};

const struct policy_ops policy_lcf = {
    .name = "lcf",
    .summary = "least counter first: vtc with lift=off",
    .source = "Sheng et al., OSDI'24, section 5; 'lcf_fair' in the VTC artifact",
    .options = lcf_options,
    VTC_CALLBACKS,
};
