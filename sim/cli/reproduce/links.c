/* SPDX-License-Identifier: Apache-2.0
 *
 * Links: what PCI Express gives by arithmetic, copies that share switches and host memory, NCCL's
 * collectives and DeepEP's dispatch, beside what was measured. */
#include <math.h>

#include "sim/cli/reproduce/links_nccl.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/fabric/collective.h"
#include "sim/fabric/ring.h"
#include "sim/fabric/topology.h"
#include "sim/run.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define GB 1e9

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* ---- PCI Express by arithmetic ---- */

/* Payload rates in GB/s for a x16 link and requests of 512 bytes; evaluated by hand from the rule that
 * sim/fabric/pcie.c states (overheads 24 and 20 bytes, link-layer limit by payload). */
static int pcie_rates(struct repro *p, struct err *e)
{
    static const struct {
        const char *row;
        uint32_t gen, payload;
        double write, read;
    } want[] = {
        {"gen 3, payload 256", 3, 256, 12.99, 13.18}, {"gen 4, payload 128", 4, 128, 23.52, 24.15},
        {"gen 4, payload 256", 4, 256, 25.99, 26.37}, {"gen 4, payload 512", 4, 512, 27.37, 27.58},
        {"gen 5, payload 256", 5, 256, 51.98, 52.73}, {"gen 5, payload 512", 5, 512, 54.75, 55.16},
        {"gen 6, payload 256", 6, 256, 99.8, 101.3},
    };

    for (size_t i = 0; i < COUNT(want); i++) {
        struct pcie_config c = {want[i].gen, 16, want[i].payload, 512};
        const char *write = arena_printf(&p->ar, "%s, write", want[i].row);
        const char *read = arena_printf(&p->ar, "%s, read", want[i].row);

        if (!write || !read) {
            return no_memory(e);
        }
        if (repro_number(p, write, "GB/s", want[i].write, pcie_write_bytes_per_s(&c) / GB, 0.005, e) < 0 ||
            repro_number(p, read, "GB/s", want[i].read, pcie_read_bytes_per_s(&c) / GB, 0.005, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* ---- copies through a topology ---- */

struct machine {
    struct arena ar;
    struct topology topo;
    struct fabric *fabric;
    struct topo_map *map;
};

static int machine_open(struct machine *m, const char *name, struct err *e)
{
    *m = (struct machine){0};
    if (topology_load(&m->topo, name, steelyard_data_dir(NULL, &m->ar), &m->ar, e) < 0) {
        return e->code;
    }
    m->fabric = fabric_new(&m->ar);
    m->map = m->fabric ? topology_attach(&m->topo, m->fabric, &m->ar, e) : NULL;
    return m->map ? 0 : e->code ? e->code : no_memory(e);
}

struct copy {
    const char *from, *to;
    double bytes;
};

static int copy_begin(struct machine *m, const struct copy *c, uint64_t tag, struct err *e)
{
    uint32_t from, to;
    struct topo_route r;

    if (topology_node(&m->topo, c->from, &from, e) < 0 || topology_node(&m->topo, c->to, &to, e) < 0 ||
        topology_route(m->map, from, to, &r, e) < 0) {
        return e->code;
    }
    flow_id f = fabric_start_flow(m->fabric, 0,
                                  &(struct flow_spec){.path = r.path, .n_path = r.n_path, .bytes = c->bytes,
                                                      .weight = r.weight, .delay_ns = m->topo.call_ns,
                                                      .tag = tag});
    return f != FLOW_NONE ? 0 : err_set(e, SIM_E_CONFIG, "%s to %s: no such copy", c->from, c->to);
}

/* All at once; *ret_s[i] is when the i-th ended. */
static int copies(struct repro *p, const char *topology, const struct copy *c, size_t n, double *ret_s,
                  struct err *e)
{
    struct machine m;
    int rc = machine_open(&m, topology, e);

    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = copy_begin(&m, &c[i], i, e);
    }
    for (sim_ns t; rc == 0 && (t = fabric_next(m.fabric)) != SIM_NEVER;) {
        uint64_t tag;

        while (fabric_poll(m.fabric, t, &tag)) {
            ret_s[tag] = (double)t / 1e9;
        }
    }
    arena_release(&m.ar);
    if (rc == 0 && p->progress && p->progress(p->progress_ctx, p->id)) {
        rc = err_set(e, SIM_E_INTR, "interrupted");
    }
    return rc;
}

/* ---- eight GPUs write to each other (voipmonitor/rtx6kpro, measured) ---- */
enum { GPUS = 8 };
static const char *const gpu_name[GPUS] = {"gpu0", "gpu1", "gpu2", "gpu3", "gpu4", "gpu5", "gpu6", "gpu7"};

static int shift(struct repro *p, const char *topology, uint32_t by, double *ret_gb_s, struct err *e)
{
    struct copy c[GPUS] = {0};
    double end_s[GPUS];

    for (uint32_t g = 0; g < GPUS; g++) {
        c[g] = (struct copy){gpu_name[g], gpu_name[(g + by) % GPUS], GB};
    }
    if (copies(p, topology, c, GPUS, end_s, e) < 0) {
        return e->code;
    }
    *ret_gb_s = 0;
    for (uint32_t g = 0; g < GPUS; g++) {
        *ret_gb_s += 1 / end_s[g] / GPUS;
    }
    return 0;
}

static int pcie_shift(struct repro *p, struct err *e)
{
    static const struct {
        const char *label, *topology;
        double gb_s[GPUS - 1];
    } rig[] = {
        {"one uplink a chip", "rtx-pro-6000-8x-2chips", {50.1, 38.2, 25.7, 12.75, 25.6, 38.0, 50.0}},
        {"two uplinks a chip", "rtx-pro-6000-8x-4uplinks", {51.6, 39.2, 32.8, 25.6, 32.8, 39.2, 51.5}},
    };

    for (size_t i = 0; i < COUNT(rig); i++) {
        for (uint32_t s = 1; s < GPUS; s++) {
            const char *row = arena_printf(&p->ar, "%s, shift %u", rig[i].label, s);
            double ours = NAN;

            if (!row) {
                return no_memory(e);
            }
            if (shift(p, rig[i].topology, s, &ours, e) < 0 ||
                repro_number(p, row, "GB/s", rig[i].gb_s[s - 1], ours, 0.05, e) < 0) {
                return e->code;
            }
        }
    }
    return 0;
}

/* ---- host and GPUs ---- */

/* n GPUs copy 1 GB each from the host (or to it): all bytes over the time of the last. */
static int host_rate(struct repro *p, const char *topology, size_t n, bool in, double *ret_gb_s,
                     struct err *e)
{
    struct copy c[GPUS] = {0};
    double end_s[GPUS], last_s = 0;

    for (size_t g = 0; g < n; g++) {
        c[g] = in ? (struct copy){"dram", gpu_name[g], GB} : (struct copy){gpu_name[g], "dram", GB};
    }
    if (copies(p, topology, c, n, end_s, e) < 0) {
        return e->code;
    }
    for (size_t g = 0; g < n; g++) {
        last_s = fmax(last_s, end_s[g]);
    }
    *ret_gb_s = (double)n / last_s;
    return 0;
}

static int pcie_host(struct repro *p, struct err *e)
{
    static const struct {
        const char *row, *topology;
        size_t gpus;
        bool in;
        double gb_s;
    } want[] = {
        {"one GPU, from the host", "rtx-pro-6000-8x-2chips", 1, true, 55.0},
        {"one GPU, to the host", "rtx-pro-6000-8x-2chips", 1, false, 56.4},
        {"eight GPUs on two roots, from the host", "rtx-pro-6000-8x-2chips", 8, true, 114.1},
        {"eight GPUs on two roots, to the host", "rtx-pro-6000-8x-2chips", 8, false, 112.8},
        {"eight GPUs on one root, from the host", "rtx-pro-6000-8x-1root", 8, true, 73.1},
        {"eight GPUs on one root, to the host", "rtx-pro-6000-8x-1root", 8, false, 72.9},
    };

    for (size_t i = 0; i < COUNT(want); i++) {
        double ours = NAN;

        if (host_rate(p, want[i].topology, want[i].gpus, want[i].in, &ours, e) < 0 ||
            repro_number(p, want[i].row, "GB/s", want[i].gb_s, ours, 0.05, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* 1 GB in, while 4 GB go out: rate of what comes in. */
static int in_beside_out(struct repro *p, const char *topology, const char *dram, double *ret_gb_s,
                         struct err *e)
{
    const struct copy c[] = {{dram, "gpu0", GB}, {"gpu0", dram, 4 * GB}};
    double end_s[2];

    if (copies(p, topology, c, 2, end_s, e) < 0) {
        return e->code;
    }
    *ret_gb_s = 1 / end_s[0];
    return 0;
}

static int in_alone(struct repro *p, const char *topology, const char *dram, double *ret_gb_s, struct err *e)
{
    const struct copy c = {dram, "gpu0", GB};
    double end_s;

    if (copies(p, topology, &c, 1, &end_s, e) < 0) {
        return e->code;
    }
    *ret_gb_s = 1 / end_s;
    return 0;
}

/* NVIDIA/nvbandwidth: its README (PCIe 4.0 workstation) and issue 53 (A100 SXM). */
static int pcie_duplex(struct repro *p, struct err *e)
{
    double alone = NAN, beside = NAN, a100_alone = NAN, a100_beside = NAN;

    return in_alone(p, "workstation-2socket", "dram0", &alone, e) < 0 ||
                   in_beside_out(p, "workstation-2socket", "dram0", &beside, e) < 0 ||
                   in_alone(p, "hgx-a100", "dram0", &a100_alone, e) < 0 ||
                   in_beside_out(p, "hgx-a100", "dram0", &a100_beside, e) < 0 ||
                   repro_number(p, "PCIe 4.0, host to device alone", "GB/s", 26.0, alone, 0.1, e) < 0 ||
                   repro_number(p, "PCIe 4.0, host to device beside device to host", "GB/s", 19.0, beside, 0.1, e) < 0 ||
                   repro_number(p, "A100, host to device alone", "GB/s", 24.8, a100_alone, 0.1, e) < 0 ||
                   repro_number(p, "A100, host to device beside device to host", "GB/s", 11.0, a100_beside, 0.1, e) < 0
               ? e->code
               : 0;
}

/* One expert's weights over a x16 link with payload 256 (sim/fabric/pcie.c), one call of 5 us. */
static double expert_copy_ms(uint32_t gen, double bytes)
{
    struct pcie_config c = {gen, 16, 256, 512};

    return 1e3 * (5e-6 + bytes / pcie_read_bytes_per_s(&c));
}

static int expert_copy(struct repro *p, struct err *e)
{
    const double mixtral = 3.0 * 4096 * 14336 * 2;

    return repro_number(p, "LayerScope: Mixtral FP16, PCIe 4.0", "ms", 13.98, expert_copy_ms(4, mixtral), 0.03, e) < 0 ||
                   repro_number(p, "LayerScope: Mixtral FP16, PCIe 3.0", "ms", 26.7, expert_copy_ms(3, mixtral), 0.03, e) < 0 ||
                   repro_number(p, "A10: 13.25 MB in MXFP4, PCIe 4.0", "ms", 0.48, expert_copy_ms(4, 13.25e6), 0.05, e) < 0
               ? e->code
               : 0;
}

/* ---- collectives ---- */

static int load(struct repro *p, const char *name, struct collective_model *ret, struct err *e)
{
    return collective_load(ret, name, steelyard_data_dir(NULL, &p->ar), &p->ar, e);
}

static double busbw(const struct collective_model *m, uint32_t ranks, double bytes, enum collective_algo a)
{
    struct collective_call c = {.op = COLLECTIVE_ALL_REDUCE, .ranks = ranks, .bytes = bytes};
    double us = INFINITY;

    for (int proto = 0; proto < COLLECTIVE_PROTOS; proto++) {
        us = fmin(us, collective_us(m, &c, a, (enum collective_proto)proto));
    }
    return collective_busbw(&c, us);
}

/* The same source: bus bandwidth of an all-reduce of 8 GB by number of GPUs. */
static int nccl_scaling(struct repro *p, struct err *e)
{
    static const struct {
        uint32_t ranks;
        double ring, nvls;
    } want[] = {{2, 348, 207}, {4, 365, 376}, {6, 367, 443}};
    struct collective_model m;

    if (load(p, "nvlink4-h100", &m, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < COUNT(want); i++) {
        uint32_t n = want[i].ranks;
        const char *ring = arena_printf(&p->ar, "ring, %u GPUs", n);
        const char *nvls = arena_printf(&p->ar, "NVLS, %u GPUs", n);

        if (!ring || !nvls) {
            return no_memory(e);
        }
        if (repro_number(p, ring, "GB/s", want[i].ring, busbw(&m, n, 8589934592, COLLECTIVE_RING), 0.05, e) < 0 ||
            repro_number(p, nvls, "GB/s", want[i].nvls, busbw(&m, n, 8589934592, COLLECTIVE_NVLS), 0.05, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* A ring over the switches, all of its flows on the fabric. NCCL does not fill a line: of NVLink 4's 450 GB/s
 * its ring reaches 365 (above). The same share is taken here; that it carries over is a guess. */
#define NCCL_SHARE (365.0 / 450)

static int ring_us(struct machine *m, double bytes, double *ret, struct err *e)
{
    uint32_t rank[GPUS];
    struct ring r;
    struct ring_spec s = {.map = m->map, .fabric = m->fabric, .ranks = rank, .n_ranks = GPUS,
                          .bytes = bytes, .rounds = 2 * (GPUS - 1)};
    sim_ns t = 0;

    for (uint32_t g = 0; g < GPUS; g++) {
        rank[g] = topology_nth(&m->topo, TOPO_GPU, g);
    }
    if (ring_begin(&r, &s, 0, &m->ar, e) < 0) {
        return e->code;
    }
    for (bool done = false; !done && (t = fabric_next(m->fabric)) != SIM_NEVER;) {
        uint64_t tag;

        while (fabric_poll(m->fabric, t, &tag)) {
            done = ring_on_flow(&r, t, tag);
        }
    }
    *ret = (double)t / 1e3;
    return r.failed ? no_memory(e) : 0;
}

/* voipmonitor/rtx6kpro: bus bandwidth of all-reduces of 8 MB to 2 GB over PCIe 5.0: 37.6 to 41.1. */
static int nccl_pcie(struct repro *p, struct err *e)
{
    static const struct {
        const char *row;
        double bytes, from, to;
    } size[] = {{"8 GPUs, 8 MiB", 8388608, 37.6, 41.1},
                {"8 GPUs, 128 MiB", 134217728, 37.6, 41.1},
                {"8 GPUs, 2 GiB", 2147483648, 37.6, 41.1}};

    for (size_t i = 0; i < COUNT(size); i++) {
        struct machine m;
        struct repro_estimate v = {0};
        double us = NAN;
        int rc = machine_open(&m, "rtx-pro-6000-8x-2chips", e);

        rc = rc < 0 ? rc : ring_us(&m, size[i].bytes, &us, e);
        arena_release(&m.ar);
        repro_note(&v, NCCL_SHARE * collective_busbw(&(struct collective_call){.op = COLLECTIVE_ALL_REDUCE,
                                                                               .ranks = GPUS,
                                                                               .bytes = size[i].bytes},
                                                     us));
        if (rc < 0 || repro_between(p, size[i].row, "GB/s", NAN, 0.9 * size[i].from, 1.1 * size[i].to, &v,
                                    e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* DeepEP README: low-latency kernels, 128 tokens a rank, hidden 7168, 8 experts a token. */
static int deepep(struct repro *p, struct err *e)
{
    static const double want[][3] = {{8, 77, 114},  {16, 118, 195},  {32, 155, 273},
                                     {64, 173, 314}, {128, 192, 369}, {256, 194, 360}};
    static const enum collective_op op[] = {COLLECTIVE_DISPATCH, COLLECTIVE_COMBINE};
    struct collective_model m;

    if (load(p, "deepep-h800-low-latency", &m, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < 2 * COUNT(want); i++) {
        bool combine = i % 2;
        struct collective_call c = {.op = op[combine], .ranks = (uint32_t)want[i / 2][0],
                                    .bytes = collective_expert_bytes(128, 8, 7168, !combine)};
        struct collective_choice got;
        const char *row = arena_printf(&p->ar, "%s, EP%u", collective_op_name(c.op), c.ranks);

        if (!row) {
            return no_memory(e);
        }
        if (collective_time(&m, &c, &got, e) < 0 ||
            repro_number(p, row, "us", want[i / 2][1 + combine], got.us, 0.05, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* The same, normal kernels: 4096 tokens a rank, routing held to 4 nodes. Printed is what the test counts (a copy per node
 * that a token's experts lie on, its own among them; on one node, per GPU) over the time. */
static int normal_rate(struct repro *p, const struct collective_model *m, uint32_t ranks, bool combine, double published,
                       struct err *e)
{
    struct collective_call c = {.op = combine ? COLLECTIVE_COMBINE : COLLECTIVE_DISPATCH, .ranks = ranks,
                                .bytes = collective_expert_bytes(4096, 8, 7168, !combine),
                                .routed = {256, 8, ranks, 8, 4}};
    struct reach_mean r = reach_mean(&c.routed);
    double counted = c.bytes / 8 * (ranks > 8 ? r.nodes : r.gpus);
    const char *row = arena_printf(&p->ar, "%s, EP%u", collective_op_name(c.op), ranks);
    struct collective_choice got;

    if (!row) {
        return no_memory(e);
    }
    return collective_time(m, &c, &got, e) < 0 ? e->code
                                               : repro_number(p, row, "GB/s", published, counted / got.us * 1e-3, 0.05, e);
}

static int deepep_normal(struct repro *p, struct err *e)
{
    static const double want[][3] = {{8, 153, 158}, {16, 43, 43}, {32, 58, 57}, {64, 51, 50}};
    struct collective_model m;

    if (load(p, "deepep-h800-normal", &m, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < 2 * COUNT(want); i++) {
        if (normal_rate(p, &m, (uint32_t)want[i / 2][0], i % 2, want[i / 2][1 + i % 2], e) < 0) {
            return e->code;
        }
    }
    return 0;
}

const struct reproduction reproductions_links[] = {
    {"pcie-rates", "PCI Express by arithmetic", "payload rates by generation and payload size", pcie_rates},
    {"pcie-shift", "rtx6kpro", "eight GPUs write to each other through two switch chips", pcie_shift},
    {"pcie-host", "rtx6kpro", "eight GPUs copy from and to the host", pcie_host},
    {"pcie-duplex", "nvbandwidth", "host to device alone and beside device to host", pcie_duplex},
    {"expert-copy", "LayerScope and an A10", "time to copy one expert", expert_copy},
    {"nccl-h100", "nccl-collectives-bench", "four H100 by their own measurements: sizes that were left out", links_nccl_own},
    {"nccl-h100-bundled", "nccl-collectives-bench", "four H100 by the bundled file of other machines", links_nccl_bundled},
    {"nccl-scaling", "nccl-collectives-bench", "ring and NVLS all-reduce on 2, 4 and 6 H100", nccl_scaling},
    {"nccl-pcie", "rtx6kpro", "all-reduce over PCIe 5.0", nccl_pcie},
    {"deepep", "DeepEP README", "low-latency dispatch and combine", deepep},
    {"deepep-normal", "DeepEP README", "normal dispatch and combine, as its test counts bytes", deepep_normal},
    {NULL, NULL, NULL, NULL},
};
