/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of sources that `steelyard fit --from` knows. */
#include "calibrate/fit.h"



const struct fit_source fit_sources[] = {
    {"aiconfigurator", "matrix products, attention, experts, all-reduces: kernels inside CUDA graphs",
     fit_aiconfigurator},
    {"llmservingsim", "layers, mixed attention and unequal contexts inside vLLM", fit_llmservingsim},
    {NULL, NULL, NULL},
};
