/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of sources that `steelyard fit --from` knows. */
#include "calibrate/fit.h"



const struct fit_source fit_sources[] = {
    {"llmservingsim", "layers, mixed attention and unequal contexts inside vLLM", fit_llmservingsim},
    {NULL, NULL, NULL},
};
