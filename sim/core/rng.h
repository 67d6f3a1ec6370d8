/* SPDX-License-Identifier: Apache-2.0
 *
 * Counter-based randomness (Philox4x32-10 of Random123; Salmon et al., SC'11). A draw is a pure
 * function of (seed, replication, stream name, entity, draw number): request 17 has the same output
 * length under every policy and every order of events, so comparisons are paired. */
#ifndef STEELYARD_RNG_H
#define STEELYARD_RNG_H

#include <stdint.h>

struct rng_stream {
    uint32_t key[2];
};

/* `name` says what is drawn ("arrivals", "output", ...): different names are independent streams. */
struct rng_stream rng_stream(uint64_t seed, uint32_t replication, const char *name);

/* 64 uniform bits for draw number `draw` of `entity`. */
uint64_t rng_u64(struct rng_stream s, uint64_t entity, uint64_t draw);

/* Uniform in the open interval (0,1), 53 bits; feed it to a GSL inverse CDF (gsl_cdf_*_Pinv). */
double rng_uniform(struct rng_stream s, uint64_t entity, uint64_t draw);

/* Uniform integer in [lo, hi] without modulo bias beyond 2^-32; lo <= hi. */
uint64_t rng_range(struct rng_stream s, uint64_t entity, uint64_t draw, uint64_t lo, uint64_t hi);

#endif
