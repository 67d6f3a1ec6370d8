/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/trace_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as(data, size, "columns");
    read_as(data, size, "columns{rate=3,cv=2,incomplete=one,hash_block=16,spread=1s,prompt_cycle=7}");
    return 0;
}
