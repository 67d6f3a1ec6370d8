/* SPDX-License-Identifier: Apache-2.0
 *
 * The 64-bit Philox key is a hash of (seed, replication, stream name); the 128-bit counter is
 * (entity, draw), so that distinct draws of a stream never share a block. */
#include "sim/core/rng.h"

#include <Random123/philox.h>
#include <string.h>
#include <xxhash.h>

__extension__ typedef unsigned __int128 wide_u;

static void put_le(unsigned char *to, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        to[i] = (unsigned char)(v >> (8 * i));
    }
}

struct rng_stream rng_stream(uint64_t seed, uint32_t replication, const char *name)
{
    unsigned char id[12];
    uint64_t h;

    put_le(id, seed, 8);
    put_le(id + 8, replication, 4);
    h = XXH3_64bits_withSeed(name, strlen(name), XXH3_64bits(id, sizeof id));
    return (struct rng_stream){{(uint32_t)h, (uint32_t)(h >> 32)}};
}

static philox4x32_ctr_t block(struct rng_stream s, uint64_t entity, uint64_t draw)
{
    philox4x32_ctr_t c = {
        {(uint32_t)entity, (uint32_t)(entity >> 32), (uint32_t)draw, (uint32_t)(draw >> 32)}};
    philox4x32_key_t k = {{s.key[0], s.key[1]}};

    return philox4x32(c, k);
}

uint64_t rng_u64(struct rng_stream s, uint64_t entity, uint64_t draw)
{
    philox4x32_ctr_t r = block(s, entity, draw);

    return (uint64_t)r.v[1] << 32 | r.v[0];
}

double rng_uniform(struct rng_stream s, uint64_t entity, uint64_t draw)
{
    /* Odd multiples of 2^-53: exact in a double, and neither 0 nor 1 can come out. */
    return ((double)(rng_u64(s, entity, draw) >> 12) + 0.5) * 0x1p-52;
}

uint64_t rng_range(struct rng_stream s, uint64_t entity, uint64_t draw, uint64_t lo, uint64_t hi)
{
    philox4x32_ctr_t r = block(s, entity, draw);
    uint64_t upper = (uint64_t)r.v[1] << 32 | r.v[0], lower = (uint64_t)r.v[3] << 32 | r.v[2];
    uint64_t span = hi - lo + 1;

    if (span == 0) { /* all 2^64 values */
        return upper;
    }
    /* High word of the 128 random bits, read as a fraction, times span: bias below 2^-64. */
    return lo + (uint64_t)(((wide_u)upper * span + ((wide_u)lower * span >> 64)) >> 64);
}
