/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine around the GPUs of a run: which are whose, their ways to host memory and to one another. */
#include <stdlib.h>
#include <string.h>

#include "sim/run_parts.h"

/* ---- topology.gpus ---- */

static int bad_gpus(struct run *r, const char *what)
{
    return err_set(r->err, SIM_E_CONFIG, "topology.gpus: %s (%u GPUs in %s; numbers, ranges and names are meant, as in "
                   "0-3,gpu6)", what, r->topology.kinds[TOPO_GPU], r->topology.name);
}

static int take_gpu(struct run *r, uint32_t node, uint32_t *n, uint32_t wanted)
{
    const struct topo_node *t = &r->topology.nodes[node];

    if (t->kind != TOPO_GPU) {
        return err_set(r->err, SIM_E_CONFIG, "topology.gpus: %s of %s is no GPU but a %s", t->name, r->topology.name,
                       topo_kind_name(t->kind));
    }
    for (uint32_t i = 0; i < *n; i++) {
        if (r->gpu_node[i] == node) {
            return err_set(r->err, SIM_E_CONFIG, "topology.gpus: %s is there twice", t->name);
        }
    }
    if (*n == wanted) {
        return err_set(r->err, SIM_E_CONFIG, "topology.gpus: more than the %u GPUs that %u replicas with tp=%lld have",
                       wanted, r->n, (long long)r->cfg->tp);
    }
    r->gpu_node[(*n)++] = node;
    return 0;
}

static int take_range(struct run *r, const char *word, uint32_t *n, uint32_t wanted)
{
    char *end;
    unsigned long first = strtoul(word, &end, 10), last = first;

    if (*end == '-') {
        const char *second = end + 1;

        last = strtoul(second, &end, 10);
        end = end == second ? (char *)word : end;
    }
    if (*end || last < first || last >= r->topology.kinds[TOPO_GPU]) {
        const char *text = arena_printf(r->arena, "'%s' makes no sense", word);

        return bad_gpus(r, text ? text : "bad range");
    }
    for (unsigned long i = first; i <= last; i++) {
        if (take_gpu(r, topology_nth(&r->topology, TOPO_GPU, (uint32_t)i), n, wanted) < 0) {
            return r->err->code;
        }
    }
    return 0;
}

static int take_word(struct run *r, const char *word, uint32_t *n, uint32_t wanted)
{
    uint32_t node;

    if (*word >= '0' && *word <= '9') {
        return take_range(r, word, n, wanted);
    }
    if (topology_node(&r->topology, word, &node, r->err) < 0) {
        return err_wrap(r->err, "topology.gpus: ");
    }
    return take_gpu(r, node, n, wanted);
}

static int take_named(struct run *r, uint32_t wanted)
{
    char *list = arena_strdup(r->arena, r->cfg->topology_gpus), *rest = list, *word;
    uint32_t n = 0;

    if (!list) {
        return no_memory(r);
    }
    while ((word = strsep(&rest, ", ")) != NULL) {
        if (*word && take_word(r, word, &n, wanted) < 0) {
            return r->err->code;
        }
    }
    return n == wanted ? 0
                       : err_set(r->err, SIM_E_CONFIG, "topology.gpus: %u GPUs, but %u replicas with tp=%lld have %u", n,
                                 r->n, (long long)r->cfg->tp, wanted);
}

static int take_first(struct run *r, uint32_t wanted)
{
    if (r->topology.kinds[TOPO_GPU] < wanted) {
        return err_set(r->err, SIM_E_CONFIG, "topology: %s has %u GPUs; %u replicas with tp=%lld need %u", r->topology.name,
                       r->topology.kinds[TOPO_GPU], r->n, (long long)r->cfg->tp, wanted);
    }
    for (uint32_t i = 0; i < wanted; i++) {
        r->gpu_node[i] = topology_nth(&r->topology, TOPO_GPU, i);
    }
    return 0;
}

/* ---- setting up ---- */

int run_load_topology(struct run *r)
{
    const struct run_config *c = r->cfg;
    uint32_t wanted = r->n * (uint32_t)c->tp;

    if (!c->topology) {
        return c->topology_gpus ? err_set(r->err, SIM_E_CONFIG, "topology.gpus: whose GPUs? Set topology, too") : 0;
    }
    if (topology_load(&r->topology, c->topology, steelyard_data_dir(c->data_dir, r->arena), r->arena, r->err) < 0) {
        return r->err->code;
    }
    if (c->executor == EXECUTOR_LAYERS && c->tp > 1) {
        return err_set(r->err, SIM_E_CONFIG, "topology: with executor=layers the copies of one GPU are followed: set tp to 1");
    }
    r->topology.faults = c->topology_faults;
    r->fabric = fabric_new(r->arena);
    r->gpu_node = arena_calloc(r->arena, wanted, sizeof *r->gpu_node);
    if (!r->fabric || !r->gpu_node) {
        return no_memory(r);
    }
    r->map = topology_attach(&r->topology, r->fabric, r->arena, r->err);
    r->n_links = fabric_links(r->fabric);
    r->tier_of = arena_calloc(r->arena, r->topology.n_nodes, sizeof *r->tier_of);
    if (!r->tier_of) {
        return no_memory(r);
    }
    if (!r->map || (c->topology_gpus ? take_named(r, wanted) : take_first(r, wanted)) < 0) {
        return r->err->code;
    }
    return 0;
}

/* ---- ways to host memory ---- */

/* The node of that kind with the fewest cables to `to`; of those the first in the file. UINT32_MAX = none. */
static uint32_t nearest(struct run *r, enum topo_kind kind, uint32_t to)
{
    uint32_t best = UINT32_MAX, hops = UINT32_MAX, node;
    struct topo_route way;
    struct err none = {0};

    for (uint32_t i = 0; (node = topology_nth(&r->topology, kind, i)) != UINT32_MAX; i++) {
        if (topology_route(r->map, node, to, &way, &none) == 0 && way.hops < hops) {
            best = node;
            hops = way.hops;
        }
    }
    return best;
}

bool run_topology_tier(struct run *r, uint32_t replica, enum kv_tier t, const struct link_spec *read,
                       const struct link_spec *write, struct shared_tier *ret, int *rc)
{
    uint32_t gpu = r->gpu_node[replica * (uint32_t)r->cfg->tp], memory = nearest(r, TOPO_MEMORY, gpu);
    uint32_t node = memory == UINT32_MAX ? memory : nearest(r, t == KV_NVME ? TOPO_NVME : TOPO_NIC, memory);
    struct link_spec in = *read, out = *write;
    struct shared_tier *at;

    if (node == UINT32_MAX) {
        return false;
    }
    at = &r->tier_of[node];
    in.latency_ns = out.latency_ns = 0; /* paid on the replica's own link */
    if (!at->open && ((*rc = fabric_add_link(r->fabric, &in, &at->read, r->err)) < 0 ||
                      (*rc = fabric_add_link(r->fabric, &out, &at->write, r->err)) < 0)) {
        return false;
    }
    at->open = true;
    *ret = *at;
    return true;
}

int run_topology_link(struct run *r, uint32_t replica, uint32_t rank, struct gpu_link *ret)
{
    uint32_t gpu = r->gpu_node[replica * (uint32_t)r->cfg->tp + rank], memory = nearest(r, TOPO_MEMORY, gpu);
    const struct topo_node *g = &r->topology.nodes[gpu];
    sim_ns call = to_ns(r->cfg->pcie_copy_s);

    if (memory == UINT32_MAX) {
        return err_set(r->err, SIM_E_CONFIG, "topology: no way leads from %s of %s to a memory", g->name, r->topology.name);
    }
    if (topology_route(r->map, memory, gpu, &ret->in, r->err) < 0 ||
        topology_route(r->map, gpu, memory, &ret->out, r->err) < 0) {
        return err_wrap(r->err, "topology: ");
    }
    ret->fabric = r->fabric;
    ret->engine_in = copy_new(r->fabric, g->engines_in, call, r->arena);
    ret->engine_out = copy_new(r->fabric, g->engines_out, call, r->arena);
    return ret->engine_in && ret->engine_out ? 0 : no_memory(r);
}

/* ---- ways to one another ---- */

#define PROBE_BYTES 1e9

/* Bytes per second of the slowest when each of n GPUs sends to the next one, on a fabric without others. */
static int ring_rate(struct run *r, const uint32_t *gpu, uint32_t n, double *ret, bool *nvlink)
{
    struct fabric *f = fabric_new(r->arena);
    struct topo_map *m = f ? topology_attach(&r->topology, f, r->arena, r->err) : NULL;
    sim_ns latency = 0, end = 0;

    if (!m) {
        return r->err->code ? r->err->code : no_memory(r);
    }
    *nvlink = true;
    for (uint32_t i = 0; i < n; i++) {
        struct topo_route way;

        if (topology_route(m, gpu[i], gpu[(i + 1) % n], &way, r->err) < 0) {
            return err_wrap(r->err, "topology: ");
        }
        fabric_start_flow(f, 0, &(struct flow_spec){.path = way.path, .n_path = way.n_path, .bytes = PROBE_BYTES,
                                                    .weight = way.weight, .source = way.source, .sink = way.sink});
        latency = way.latency_ns > latency ? way.latency_ns : latency;
        *nvlink = *nvlink && !way.by_pcie;
    }
    for (sim_ns t; (t = fabric_next(f)) != SIM_NEVER; end = t) {
        if (fabric_deliver(f, t, r->err) < 0) {
            return r->err->code;
        }
    }
    *ret = PROBE_BYTES / ((double)(end - latency) / 1e9);
    return 0;
}

/* Profiles of GPUs state PCIe as signalled, topologies what is left for payload. */
static double as_signalled(const struct run *r, double bytes_per_s)
{
    struct pcie_config pc = {.gen = r->gpu.pcie_gen, .lanes = r->gpu.pcie_lanes,
                             .max_payload_byte = (uint32_t)r->cfg->pcie_payload, .read_request_byte = 512};
    double payload = pcie_write_bytes_per_s(&pc);

    return payload > 0 ? bytes_per_s * pcie_raw_bytes_per_s(&pc) / payload : bytes_per_s;
}

/* Replicas have one cost model: that of the slowest. */
int run_find_ring(struct run *r)
{
    uint32_t tp = (uint32_t)r->cfg->tp;

    for (uint32_t i = 0; r->map && tp > 1 && i < r->n; i++) {
        double rate = 0;
        bool nvlink = false;

        if (ring_rate(r, &r->gpu_node[i * tp], tp, &rate, &nvlink) < 0) {
            return r->err->code;
        }
        rate = nvlink ? rate : as_signalled(r, rate);
        if (i == 0 || rate < r->cost_env.ring_bytes_per_s) {
            r->cost_env.ring_bytes_per_s = rate;
            r->cost_env.ring_nvlink = nvlink;
        }
    }
    return 0;
}

/* ---- what became of the links ---- */

static sim_ns latest_ns(const struct run *r)
{
    sim_ns t = 1;

    for (uint32_t i = 0; i < r->n; i++) {
        t = r->member[i].engine.now > t ? r->member[i].engine.now : t;
    }
    return t;
}

/* Each replica's KV and the experts pass links of their own first. */
static double metered_bytes(const struct run *r)
{
    const struct store *experts = &r->experts.layers.store;
    const struct nested *planes = &r->experts.layers.nested;
    double bytes = 0;

    for (uint32_t i = 0; i < r->n; i++) {
        const struct engine_config *c = &r->member[i].engine.cfg;

        for (uint32_t k = 0; k < c->n_ways; k++) {
            bytes += fabric_link_bytes(r->fabric, c->way[k].in.path[0]) +
                     fabric_link_bytes(r->fabric, c->way[k].out.path[0]);
        }
    }
    if (r->experts.routes && experts->fabric == r->fabric) {
        bytes += fabric_link_bytes(r->fabric, experts->link[0]) + fabric_link_bytes(r->fabric, experts->link[1]);
    }
    if (r->experts.routes && planes->fabric == r->fabric) {
        bytes += fabric_link_bytes(r->fabric, planes->link);
    }
    return bytes;
}

int run_add_links(struct run *r, struct run_result *ret)
{
    double all_s = (double)latest_ns(r) / 1e9, busy = 0, load = 0;
    link_id busiest = 0;

    if (!r->map || r->n_links == 0) {
        return 0;
    }
    for (link_id l = 0; l < r->n_links; l++) {
        double share = (double)fabric_link_busy_ns(r->fabric, l) / 1e9 / all_s;

        busiest = share > busy ? l : busiest;
        busy = fmax(busy, share);
        load = fmax(load, fabric_link_bytes(r->fabric, l) / (all_s * fabric_link(r->fabric, l)->bytes_per_s));
    }
    ret->links_text = arena_printf(r->arena, "%s; busiest %s, in use %.3g %% of the time", r->topology.name,
                                   fabric_link(r->fabric, busiest)->name, 100 * busy);
    const struct policy_stat stat[] = {{"link_busy_max", "1", busy}, {"link_load_max", "1", load},
                                       {"link_bytes", "byte", metered_bytes(r)}};

    return ret->links_text ? run_append_metrics(r, ret, stat, sizeof stat / sizeof *stat) : no_memory(r);
}
