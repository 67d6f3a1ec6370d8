/* SPDX-License-Identifier: Apache-2.0
 *
 * Links and pools. Flows on a path of links share them max-min fairly (progressive filling; Bertsekas
 * and Gallager, Data Networks, 6.5.2). Rates change only when a flow starts or ends. Pools have a
 * capacity and never go negative. */
#ifndef STEELYARD_FABRIC_H
#define STEELYARD_FABRIC_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

typedef uint32_t link_id;
typedef uint32_t flow_id;
#define FLOW_NONE UINT32_MAX

struct link_spec {
    const char *name;      /* "gpu0.pcie.up" */
    double bytes_per_s;    /* payload bytes, one direction */
    sim_ns latency_ns;     /* first byte; a path pays the sum once per flow */
    sim_ns overhead_ns;    /* per transfer call (launch of a copy), paid before the first byte */
};

struct fabric;

/* NULL when out of memory. Everything lives in the arena. */
struct fabric *fabric_new(struct arena *a);
/* 0 and *ret, or SIM_E_CONFIG for a bandwidth that is not positive, SIM_E_NOMEM. */
int fabric_add_link(struct fabric *f, const struct link_spec *spec, link_id *ret, struct err *e);

/* A link may have a fault: while flows of that many sources to that many sinks are active on it, all of its
 * flows together get no more than this. Flows without a source do not count. */
struct link_fault {
    double bytes_per_s;
    uint32_t sources, sinks;
};
/* Before the first flow. SIM_E_CONFIG for a bandwidth that is not positive. */
int fabric_set_fault(struct fabric *f, link_id l, const struct link_fault *x, struct err *e);

/* Start moving `bytes` (>= 0) along `path`, `copies` calls' worth of overhead; `tag` comes back at the
 * end. Link ids may not repeat. The flow becomes active after latency + copies*overhead, both summed
 * over the path; while it waits it takes no bandwidth. `now` never decreases over all calls. Path at
 * most FABRIC_MAX_PATH. FLOW_NONE when the path or the bytes are not as said, or memory is out. */
#define FABRIC_MAX_PATH 16
flow_id fabric_start(struct fabric *f, sim_ns now, const link_id *path, uint32_t n_path, double bytes,
                     uint32_t copies, uint64_t tag);

/* Who moves things over a fabric that several share, and hears of what becomes of them (fabric_deliver). */
struct flow_client {
    int (*ended)(void *ctx, sim_ns now, uint64_t tag, struct err *e);
    void (*started)(void *ctx, sim_ns now, uint64_t tag); /* a copy engine has taken it; NULL = never mind */
    void *ctx;
};

/* The same with everything said. Weights make sharing weighted max-min: where flows compete, they get
 * shares in proportion (1/1024..1024, 0 means 1). `delay_ns` (>= 0) comes before the latencies: work
 * of the host or of a copy engine that takes no bandwidth. */
struct flow_spec {
    const link_id *path;
    uint32_t n_path;
    uint32_t copies;
    double bytes;
    double weight;
    sim_ns delay_ns;
    uint64_t tag;
    const struct flow_client *client; /* NULL: whoever calls fabric_poll */
    uint32_t source, sink; /* of a posted write, by numbers from 1; 0 = it is none */
};
flow_id fabric_start_flow(struct fabric *f, sim_ns now, const struct flow_spec *s);

/* Time of the next change inside (a flow activates or ends), SIM_NEVER when nothing is under way. */
sim_ns fabric_next(const struct fabric *f);

/* Advance to `now` and take one flow that has ended by then: true and its tag. Call until false.
 * Order: by end time, then by start order. An end is rounded up to the next nanosecond. */
bool fabric_poll(struct fabric *f, sim_ns now, uint64_t *ret_tag);

/* Advance to `now`; of each flow that has ended by then its client hears, in the order of fabric_poll, at the
 * time of the end: what it starts then starts in time. Flows of nobody end unheard. SIM_E_* of a client
 * ends it. */
int fabric_deliver(struct fabric *f, sim_ns now, struct err *e);

/* Bytes that have passed a link by the last `now`, and the time during which it had an active flow. */
double fabric_link_bytes(const struct fabric *f, link_id l);
sim_ns fabric_link_busy_ns(const struct fabric *f, link_id l);
uint32_t fabric_links(const struct fabric *f);
const struct link_spec *fabric_link(const struct fabric *f, link_id l);

/* ---- PCI Express: payload bandwidth from first principles ---- */
struct pcie_config {
    uint32_t gen;                /* 1..6 */
    uint32_t lanes;              /* 1..16 */
    uint32_t max_payload_byte;   /* 128..4096, typical 256 */
    uint32_t read_request_byte;  /* typical 512 */
};
/* Bytes/s of payload in one direction for DMA writes (posted, device to host) and reads (completions,
 * host to device): lane rate * lanes * encoding * payload/(payload + header + framing) * DLLP share.
 * 0 when the configuration is impossible (generation, width, sizes that are no power of two). */
double pcie_write_bytes_per_s(const struct pcie_config *c);
double pcie_read_bytes_per_s(const struct pcie_config *c);

/* Bytes/s of everything on the wire in one direction: as signalled, and without link-layer packets and
 * clock compensation. 0 as above. */
double pcie_raw_bytes_per_s(const struct pcie_config *c);
double pcie_usable_bytes_per_s(const struct pcie_config *c);

/* ---- pools ---- */
struct pool {
    const char *name;
    double capacity_byte, used_byte, peak_byte;
};
/* false (and nothing changed) when it does not fit. */
bool pool_take(struct pool *p, double bytes);
/* Never below zero: giving back more than is used is SIM_E_CHECK. */
int pool_give(struct pool *p, double bytes, struct err *e);

#endif
