/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of sources that `steelyard fit --from` knows. */
#include "calibrate/fit.h"

const struct fit_source fit_sources[] = {
    {"probe", "the file of steelyard-probe: kernels of this very GPU", fit_probe},
    {"aiconfigurator", "matrix products, attention, experts, all-reduces: kernels inside CUDA graphs",
     fit_aiconfigurator},
    {"llmservingsim", "layers, mixed attention and unequal contexts inside vLLM", fit_llmservingsim},
    {"vidur", "operators of a layer and all-reduces on A100 and H100; attention assumed", fit_vidur},
    {"frontier", "attention with FlashInfer; matrix products assumed", fit_frontier},
    {"distserve", "coefficients of whole iterations, OPT-13B and OPT-66B on A100", fit_distserve},
    {"vtc", "request times of S-LoRA, Llama-7B on A10G", fit_vtc},
    {NULL, NULL, NULL},
};
