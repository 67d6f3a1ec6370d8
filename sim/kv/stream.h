/* SPDX-License-Identifier: Apache-2.0
 *
 * KV that comes over a slow network in chunks, each stored at several levels of compression: which
 * level the next chunk is asked for (CacheGen, arXiv 2310.07240; serving.md 12, from the
 * repository's streamer). The best level whose transfer takes less than its part of the goal; when
 * none does, the chunk is sent as text and computed. */
#ifndef STEELYARD_KV_STREAM_H
#define STEELYARD_KV_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#define STREAM_LEVELS 3 /* 1..3, 3 is the finest */
#define STREAM_TEXT   0

struct stream_goal {
    double ttft_s;        /* of the whole context */
    size_t chunks;
    double recompute_s;   /* of one chunk, from text */
};

/* Level for a chunk of bytes[level] (bytes[0] unused) at `bytes_per_s`, and the seconds that it
 * takes. */
int stream_choose(const struct stream_goal *g, const double bytes[STREAM_LEVELS + 1], double bytes_per_s,
                  double *ret_s);
/* All chunks one after the other, chunk i at bytes_per_s[i]; `level` gets one choice per chunk.
 * Returns the time until the last is there. */
double stream_play(const struct stream_goal *g, const double bytes[STREAM_LEVELS + 1],
                   const double *bytes_per_s, int *level);

#endif
