/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/trace_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(data, size, "mooncake");
    read_as(data, size, "mooncake{spread=3s,time_unit=s,hash_block=16}");
    return 0;
}
