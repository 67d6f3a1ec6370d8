/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of so many decode iterations, at whose beginning a policy thinks anew (JITServe, arXiv 2504.20068),
 * and the time of an iteration as the last frame shows it. */
#ifndef STEELYARD_FRAME_H
#define STEELYARD_FRAME_H

#include "policies/req.h"

struct frame {
    double unit_s; /* time of an iteration; begins as configured */
    uint64_t from_iter;
    sim_ns from_ns;
    bool begun, was_idle; /* no pause lies within the frame, or one does */
};

/* Iterations until the next frame; 0 = it is due. */
static inline uint64_t frame_left(const struct frame *f, const struct sched_view *v, int64_t length)
{
    uint64_t end = f->from_iter + (uint64_t)length;
    return f->begun && end > v->decode_iter ? end - v->decode_iter : 0;
}

/* A frame begins now. */
static inline void frame_begin(struct frame *f, const struct sched_view *v)
{
    uint64_t iter = v->decode_iter - f->from_iter;
    if (f->begun && !f->was_idle && iter > 0) {
        f->unit_s = (double)(v->now_ns - f->from_ns) * 1e-9 / (double)iter;
    }
    f->begun = true;
    f->was_idle = false;
    f->from_iter = v->decode_iter;
    f->from_ns = v->now_ns;
}

#endif
