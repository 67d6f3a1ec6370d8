/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/kv/stream.h"

int stream_choose(const struct stream_goal *g, const double bytes[STREAM_LEVELS + 1], double bytes_per_s,
                  double *ret_s)
{
    for (int level = STREAM_LEVELS; level > STREAM_TEXT; level--) {
        *ret_s = bytes[level] / bytes_per_s;
        if (*ret_s < g->ttft_s / (double)g->chunks) {
            return level;
        }
    }
    *ret_s = g->recompute_s;
    return STREAM_TEXT;
}

double stream_play(const struct stream_goal *g, const double bytes[STREAM_LEVELS + 1],
                   const double *bytes_per_s, int *level)
{
    double all_s = 0, s;

    for (size_t i = 0; i < g->chunks; i++) {
        level[i] = stream_choose(g, bytes, bytes_per_s[i], &s);
        all_s += s;
    }
    return all_s;
}
