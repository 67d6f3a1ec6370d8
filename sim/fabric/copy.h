/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy engines: a GPU has a few per direction, and a copy that has begun is not interrupted. Copies wait
 * for an engine in two lines, urgent before speculative, each in order of submission; on an engine the
 * calls cost their time before the first byte. So a demand load waits at most for the copies under way.
 * Clients that share an engine take turns, as streams of a GPU do: nobody waits for all that another one
 * has in line, nor for all of a job of many calls. */
#ifndef STEELYARD_COPY_H
#define STEELYARD_COPY_H

#include "sim/fabric/topology.h"

enum copy_urgency { COPY_URGENT, COPY_SPECULATIVE, COPY_URGENCIES };

struct copy_job {
    const struct topo_route *route; /* borrowed until the copy has ended */
    double bytes;
    uint32_t calls; /* asynchronous copy calls that it is made of */
    enum copy_urgency urgency;
    uint64_t tag;   /* of the flow, for its client */
    const struct flow_client *client; /* NULL: whoever polls the fabric */
};

struct copy_engines; /* of one GPU and direction */

/* NULL when out of memory. Everything lives in the arena. */
struct copy_engines *copy_new(struct fabric *f, uint32_t n_engines, sim_ns call_ns, struct arena *a);
/* More than one client may come; once there are two, jobs of several calls give way to others of their line between two calls
 * once they have had COPY_TURN_NS, which is the default time slice of a channel from Volta on (NVIDIA's open
 * kernel modules: 128 << 3 us). */
#define COPY_TURN_NS 1024000
int copy_take_turns(struct copy_engines *c, struct err *e);
/* Starts it when an engine is free, else it waits. 0, SIM_E_CONFIG for a job that the fabric cannot
 * take, or SIM_E_NOMEM. */
int copy_submit(struct copy_engines *c, sim_ns now, const struct copy_job *j, struct err *e);
/* A flow that copy_submit started has ended: its engine takes the next job. Errors as above. */
int copy_ended(struct copy_engines *c, sim_ns now, struct err *e);
/* A job of the client that still waits becomes urgent (or not); false when none with this tag waits. */
bool copy_hurry(struct copy_engines *c, const struct flow_client *client, uint64_t tag,
                enum copy_urgency urgency);
/* Takes a job of the client that still waits out; false when none with this tag waits. */
bool copy_cancel(struct copy_engines *c, const struct flow_client *client, uint64_t tag);
uint32_t copy_waiting(const struct copy_engines *c);
uint32_t copy_running(const struct copy_engines *c);

/* Between one GPU and the memory of its host: everything that the GPU loads and stores there goes over
 * these, whoever it belongs to. */
struct gpu_link {
    struct fabric *fabric;
    struct topo_route in, out; /* to the GPU, back */
    struct copy_engines *engine_in, *engine_out;
};

#endif
