/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/trace_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(data, size, "vllm-bench");
    read_as(data, size, "vllm-bench{rate=2,failed=one}");
    return 0;
}
