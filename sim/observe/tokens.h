/* SPDX-License-Identifier: Apache-2.0
 *
 * When each token of some requests came, judged against a line of deadlines: token j = 0, 1, ... is due
 * `first_ns` + j * tbt_ns (JITServe's cumulative line: a late token may be caught up), and no token may come
 * more than tbt_ns after the one before. Decode steps are heard as stretches, never token by token: a
 * stretch's ends grow convexly, so the tokens of a request that are on time are an interval in it. */
#ifndef STEELYARD_TOKENS_H
#define STEELYARD_TOKENS_H

#include "sim/engine/engine.h"

#define TOKEN_STRETCHES 4096

struct token_track {
    bool on, beating;
    uint32_t from;      /* stretches heard when it joined the decode steps */
    uint32_t out, on_time;
    bool late_gap;      /* some token came too long after the one before */
    sim_ns last_ns, due_ns, tbt_ns; /* due_ns: of token 0; tbt_ns 0 = none */
};

struct token_stretch {
    struct token_beats b;
    sim_wide gap; /* from the last step before to the end of the first one */
};

struct tokens {
    struct token_track *track; /* by req_id */
    uint32_t cap_tracks, n_tracks;
    uint32_t n_beating;
    struct token_stretch *stretch;
    uint32_t n_stretch;
    sim_ns last_end_ns;
};

int tokens_init(struct tokens *t, struct arena *a);
void tokens_release(struct tokens *t);
/* Track a request whose token 0 is due at due_ns (SIM_NEVER = no line). false = out of memory. */
bool tokens_watch(struct tokens *t, req_id r, sim_ns due_ns, sim_ns tbt_ns);
/* The events of struct engine_observer; requests that are not watched are passed over. */
void tokens_one(struct tokens *t, req_id r, sim_ns now);
void tokens_beats(struct tokens *t, const struct token_beats *b);
void tokens_pause(struct tokens *t, req_id r);
void tokens_resume(struct tokens *t, req_id r);
/* It leaves: what is known of it, NULL when it was not watched. Valid until the next call. */
const struct token_track *tokens_left(struct tokens *t, req_id r);

#endif
