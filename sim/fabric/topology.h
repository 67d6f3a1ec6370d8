/* SPDX-License-Identifier: Apache-2.0
 *
 * Topologies as data (models/topologies/NAME.json): which GPUs, switches, root ports, sockets, memories,
 * network cards and drives a machine has, and how they hang together. A topology does not change after
 * it has been read, so that many runs can share it; each run lays it onto a fabric of its own.
 *
 * What becomes a shared link of the fabric: each direction of a cable; the two directions together,
 * where a port cannot do both at full rate ("duplex_bytes_per_s"); a node that all traffic through it
 * shares ("bytes_per_s" of a node, for host memory). */
#ifndef STEELYARD_TOPOLOGY_H
#define STEELYARD_TOPOLOGY_H

#include "sim/fabric/fabric.h"

/*   constant         name           passes traffic on */
#define TOPO_KIND_MAP(X)                                                                           \
    X(TOPO_GPU, "gpu", false)                                                                      \
    X(TOPO_PCIE_SWITCH, "pcie-switch", true)                                                       \
    X(TOPO_ROOT, "root", true)                                                                     \
    X(TOPO_SOCKET, "socket", true)                                                                 \
    X(TOPO_MEMORY, "memory", false)                                                                \
    X(TOPO_NVSWITCH, "nvswitch", true)                                                             \
    X(TOPO_NIC, "nic", true)                                                                       \
    X(TOPO_NETWORK, "network", true)                                                               \
    X(TOPO_NVME, "nvme", false)

enum topo_kind {
#define TOPO_ENUM(constant, name, passes) constant,
    TOPO_KIND_MAP(TOPO_ENUM)
#undef TOPO_ENUM
    TOPO_KINDS
};

const char *topo_kind_name(enum topo_kind k);

struct topo_node {
    const char *name;
    enum topo_kind kind;
    double bytes_per_s;              /* all traffic that begins, ends or passes here; 0 = no limit */
    uint32_t engines_in, engines_out; /* copy engines of a GPU, host to device and device to host */
};

enum topo_direction { TOPO_FORTH, TOPO_BACK }; /* from -> to, to -> from */

struct topo_link {
    const char *name;
    uint32_t end[2];       /* nodes `from` and `to` */
    double bytes_per_s[2]; /* by direction */
    double weight[2];      /* of flows where they compete, 1 = even */
    double duplex_bytes_per_s; /* both directions together; 0 = independent */
    struct link_fault collapse; /* forth only, that some switches have: sources are GPUs, sinks root ports */
    sim_ns latency_ns;
};

struct topology {
    const char *name, *full_name, *provenance;
    sim_ns call_ns; /* of one asynchronous copy call, host to end */
    uint32_t n_nodes, n_links;
    struct topo_node *nodes;
    struct topo_link *links;
    bool faults; /* play them, too: set before topology_attach */
    uint32_t kinds[TOPO_KINDS]; /* how many of each */
};

/* The text of a topology; `file` is used in messages and, without its path, as the name. SIM_E_CONFIG
 * with place, key and the nearest valid word for what is wrong. */
int topology_parse(struct topology *ret, const char *text, size_t len, const char *file,
                   struct arena *a, struct err *e);
/* `name`: a bundled topology (data_dir/topologies/NAME.json) or a path. */
int topology_load(struct topology *ret, const char *name, const char *data_dir, struct arena *a,
                  struct err *e);

/* Node by name: 0 and *ret, or SIM_E_CONFIG with the nearest name. */
int topology_node(const struct topology *t, const char *name, uint32_t *ret, struct err *e);
/* The i-th node of a kind in the order of the file; UINT32_MAX when there are not so many. */
uint32_t topology_nth(const struct topology *t, enum topo_kind k, uint32_t i);

/* ---- laid onto a fabric ---- */
struct topo_map {
    const struct topology *topo;
    link_id *node_limit;   /* UINT32_MAX where there is none */
    link_id *duplex;
    link_id (*cable)[2];
};
/* Adds the links of `t`. NULL and an error when the fabric refuses one or memory is out. */
struct topo_map *topology_attach(const struct topology *t, struct fabric *f, struct arena *a,
                                 struct err *e);

struct topo_route {
    uint32_t n_path;
    link_id path[FABRIC_MAX_PATH];
    uint32_t hops;       /* cables */
    double weight;       /* the smallest on the way */
    double bytes_per_s;  /* of the narrowest part, alone */
    sim_ns latency_ns;
    bool by_pcie;        /* through a PCIe switch, a root port or a socket */
    uint32_t source, sink; /* of a GPU's writes: it, and the last root port on the way; for struct flow_spec */
};
/* Fewest cables; among those the widest narrowest cable; among those the cables that come first in the
 * file, compared from the far end. GPUs, memories and drives do not pass traffic on. SIM_E_CONFIG when
 * there is no way or it is longer than a path can be. O(cables * hops). */
int topology_route(const struct topo_map *m, uint32_t from, uint32_t to, struct topo_route *ret,
                   struct err *e);

#endif
