/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/trace_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(data, size, "llmservingsim");
    read_as(data, size, "llmservingsim{hash_block=2}");
    return 0;
}
