/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of a run that moves KV: swapping, tiers, pins, pages. */
#include <string.h>

#include "policies/offload.h"
#include "sim/fabric/tier.h"
#include "sim/run_parts.h"

/* ---- the link of one GPU to host memory ---- */

static void one_link(struct topo_route *way, const struct fabric *f, link_id l)
{
    *way = (struct topo_route){.n_path = 1, .path = {l}, .hops = 1, .weight = 1,
                               .bytes_per_s = fabric_link(f, l)->bytes_per_s,
                               .latency_ns = fabric_link(f, l)->latency_ns};
}

/* The way in front of which stands a link that only this GPU's KV passes, and that is as wide as the way: so
 * its bytes can be told from others'. */
static int add_meter(struct run *r, const struct gpu_link *l, const char *name, const struct topo_route *way,
                     struct topo_route *ret)
{
    struct link_spec s = {.name = name, .bytes_per_s = way->bytes_per_s};

    *ret = *way;
    if (way->n_path == FABRIC_MAX_PATH) {
        return err_set(r->err, SIM_E_CONFIG, "topology: %u links between a GPU and its memory are too many",
                       way->n_path);
    }
    memmove(&ret->path[1], &way->path[0], way->n_path * sizeof way->path[0]);
    ret->n_path++;
    return fabric_add_link(l->fabric, &s, &ret->path[0], r->err);
}

/* With experts outside of the GPU, what experts.link says of their copies is what the link can do at least. */
static int add_pcie(struct run *r, uint32_t gpu, struct gpu_link *ret)
{
    struct pcie_config pc = {.gen = r->gpu.pcie_gen, .lanes = r->gpu.pcie_lanes,
                             .max_payload_byte = (uint32_t)r->cfg->pcie_payload,
                             .read_request_byte = 512};
    struct link_spec in = {.name = arena_printf(r->arena, "gpu%u.pcie.in", gpu)};
    struct link_spec out = {.name = arena_printf(r->arena, "gpu%u.pcie.out", gpu)};
    link_id id_in, id_out;

    in.bytes_per_s = pcie_read_bytes_per_s(&pc);
    out.bytes_per_s = pcie_write_bytes_per_s(&pc);
    if (r->cfg->executor == EXECUTOR_LAYERS) {
        in.bytes_per_s = fmax(in.bytes_per_s, r->cfg->experts_link);
    }
    ret->fabric = ret->fabric ? ret->fabric : fabric_new(r->arena);
    if (!ret->fabric || !in.name || !out.name) {
        return no_memory(r);
    }
    if (fabric_add_link(ret->fabric, &in, &id_in, r->err) < 0 ||
        fabric_add_link(ret->fabric, &out, &id_out, r->err) < 0) {
        return r->err->code;
    }
    one_link(&ret->in, ret->fabric, id_in);
    one_link(&ret->out, ret->fabric, id_out);
    ret->engine_in = copy_new(ret->fabric, 1, to_ns(r->cfg->pcie_copy_s), r->arena);
    ret->engine_out = copy_new(ret->fabric, 1, to_ns(r->cfg->pcie_copy_s), r->arena);
    return ret->engine_in && ret->engine_out ? 0 : no_memory(r);
}

static int add_way(struct run *r, uint32_t gpu, uint32_t rank, struct gpu_link *l, struct kv_way *ret)
{
    const char *in = arena_printf(r->arena, "gpu%u.kv.in", gpu);
    const char *out = arena_printf(r->arena, "gpu%u.kv.out", gpu);

    if (!in || !out) {
        return no_memory(r);
    }
    if ((r->map ? run_topology_link(r, gpu, rank, l) : add_pcie(r, gpu, l)) < 0 ||
        add_meter(r, l, in, &l->in, &ret->in) < 0 || add_meter(r, l, out, &l->out, &ret->out) < 0) {
        return r->err->code;
    }
    ret->link = l;
    return 0;
}

/* Without a topology all ranks' links do the same at the same time: one stands for all. */
static int add_link(struct run *r, uint32_t gpu, struct engine_config *ec)
{
    uint32_t n = r->map ? (uint32_t)r->cfg->tp : 1;
    struct gpu_link *l = arena_calloc(r->arena, n, sizeof *l);
    struct kv_way *w = arena_calloc(r->arena, n, sizeof *w);

    if (!r->has_gpu || !r->has_llm || (r->gpu.pcie_gen == 0 && !r->map)) {
        return 0; /* nothing to swap over: batchers recompute */
    }
    if (!l || !w) {
        return no_memory(r);
    }
    for (uint32_t k = 0; k < n; k++) {
        if (add_way(r, gpu, k, &l[k], &w[k]) < 0) {
            return r->err->code;
        }
    }
    ec->way = w;
    ec->n_ways = n;
    ec->shared = r->map && r->n > 1;
    /* One copy per layer for keys and one for values (vLLM V0's swap_blocks). */
    ec->copies_per_block = 2 * r->llm.layers;
    ec->kv_block_bytes = llm_kv_bytes_per_tok_rank(&r->llm, (uint32_t)r->cfg->tp) * r->traits.block_tok;
    ec->host_kv_bytes = r->cfg->host_kv_bytes;
    return 0;
}

/* ---- KV that outlives its place on the GPU ---- */

static int load_offload(struct run *r, struct swap_config *s)
{
    const char *name = opt_spec_name(r->cfg->kv_offload, r->arena);
    const char *names[32];
    size_t n = 0;
    void *st;

    while (n < 32 && offload_policies[n]) {
        names[n] = offload_policies[n]->name;
        n++;
    }
    s->offload = name ? offload_find(name) : NULL;
    if (!s->offload) {
        const char *near = name ? text_nearest(name, names, n) : NULL;

        return err_set(r->err, SIM_E_CONFIG, "kv.offload: no offload policy '%s'%s%s%s (steelyard list "
                       "offloads)", name ? name : "", near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    s->offload_state = st = arena_alloc(r->arena, s->offload->state_size + 1);
    if (!st) {
        return no_memory(r);
    }
    return opt_spec_apply(r->cfg->kv_offload, s->offload->options, st, r->arena, r->err) < 0
               ? err_wrap(r->err, "kv.offload: ")
               : 0;
}

static int check_swap(const struct run *r, const struct engine_config *ec)
{
    const struct run_config *c = r->cfg;

    if (!c->kv_offload) {
        return c->kv_reuse || c->kv_sessions || c->kv_group_blk || c->kv_swap || c->kv_nvme_bytes > 0 ||
                       c->kv_remote_bytes > 0
                   ? err_set(r->err, SIM_E_CONFIG, "kv.swap, kv.reuse, kv.sessions, kv.groups, kv.nvme and "
                             "kv.remote are about KV that leaves the GPU: set kv.offload too (swap, recompute, "
                             "by-cost)")
                   : 0;
    }
    if (!ec->way) {
        return err_set(r->err, SIM_E_CONFIG, "kv.offload: nothing to copy over: name a model and a GPU with PCIe");
    }
    if ((c->kv_swap || c->kv_nvme_bytes > 0 || c->kv_remote_bytes > 0) && !r->traits.late_chunks) {
        return err_set(r->err, SIM_E_CONFIG, "kv.swap=async, kv.nvme, kv.remote: batcher %s computes a prompt when it lets it in, "
                       "or never; vllm-v0, vllm-v1 and sarathi can wait for KV", c->batcher);
    }
    if (c->kv_group_blk && r->traits.prefix_cache) {
        return err_set(r->err, SIM_E_CONFIG, "kv.groups: a prefix cache hands out single blocks; turn it off "
                       "(batcher=%s{prefix_caching=off})", r->batcher->name);
    }
    return 0;
}

/* What is read from a tier goes on into the GPU as copies from host memory do. */
static int go_on_into_gpu(struct run *r, struct topo_route *in, const struct topo_route *gpu)
{
    if (gpu->n_path + in->n_path > FABRIC_MAX_PATH) {
        return err_set(r->err, SIM_E_CONFIG, "topology: %u links between a GPU and its memory are too many",
                       gpu->n_path - 1);
    }
    memcpy(&in->path[in->n_path], gpu->path, gpu->n_path * sizeof gpu->path[0]);
    in->n_path += gpu->n_path;
    in->bytes_per_s = fmin(in->bytes_per_s, gpu->bytes_per_s);
    in->latency_ns += gpu->latency_ns;
    in->weight = gpu->weight;
    return 0;
}

/* A tier's own links and, in a topology that has the drive or network card, those that are all replicas' beside
 * them. */
static int link_tier(struct run *r, uint32_t replica, struct engine_config *ec, enum kv_tier t, const struct tier_profile *p)
{
    struct swap_config *s = &ec->swap;
    struct link_spec read = {.name = arena_printf(r->arena, "%s.read", kv_tier_name(t)),
                             .bytes_per_s = p->read_bytes_per_s, .latency_ns = p->read_latency_ns};
    struct link_spec write = {.name = arena_printf(r->arena, "%s.write", kv_tier_name(t)),
                              .bytes_per_s = p->write_bytes_per_s, .latency_ns = p->write_latency_ns};
    struct fabric *fabric = ec->way[0].link->fabric;
    struct shared_tier common;
    link_id in, out;
    int rc = 0;

    if (!read.name || !write.name) {
        return no_memory(r);
    }
    if (fabric_add_link(fabric, &read, &in, r->err) < 0 || fabric_add_link(fabric, &write, &out, r->err) < 0) {
        return r->err->code;
    }
    one_link(&s->out[t], fabric, out);
    one_link(&s->in[t], fabric, in);
    if (r->map && run_topology_tier(r, replica, t, &read, &write, &common, &rc)) {
        s->in[t].path[s->in[t].n_path++] = common.read;
        s->out[t].path[s->out[t].n_path++] = common.write;
    }
    return rc;
}

static int add_tier(struct run *r, uint32_t replica, struct engine_config *ec, enum kv_tier t, double bytes,
                    const char *profile)
{
    struct tier_profile p;
    int rc;

    ec->swap.tier_bytes[t] = bytes;
    if (bytes <= 0) {
        return 0;
    }
    if (tier_load(&p, profile, steelyard_data_dir(r->cfg->data_dir, r->arena), r->arena, r->err) < 0) {
        return err_wrap(r->err, "kv.%s_tier: ", kv_tier_name(t));
    }
    rc = link_tier(r, replica, ec, t, &p);
    return rc < 0 ? rc : go_on_into_gpu(r, &ec->swap.in[t], &ec->way[0].in);
}

static int add_swap(struct run *r, uint32_t replica, struct engine_config *ec)
{
    const struct run_config *c = r->cfg;
    struct swap_config *s = &ec->swap;

    if (check_swap(r, ec) < 0 || !c->kv_offload) {
        return r->err->code;
    }
    s->async = c->kv_swap;
    s->reuse = c->kv_reuse;
    s->sessions = c->kv_sessions;
    s->group_blk = (uint32_t)c->kv_group_blk;
    s->call_ns = to_ns(c->pcie_copy_s);
    s->demote_share = c->kv_demote;
    s->tier_bytes[KV_HOST] = c->host_kv_bytes;
    s->in[KV_HOST] = ec->way[0].in;
    s->out[KV_HOST] = ec->way[0].out;
    if (c->kv_stream_tok > 0 && (c->kv_remote_bytes <= 0 || c->kv_stream_levels.n != STREAM_LEVELS)) {
        return err_set(r->err, SIM_E_CONFIG, "kv.stream: set kv.remote, and three numbers in kv.stream_levels, for "
                       "levels 1, 2 and 3");
    }
    s->stream_tok = (uint32_t)c->kv_stream_tok;
    s->stream_ttft_s = c->kv_stream_ttft_s;
    for (size_t i = 0; c->kv_stream_tok > 0 && i < STREAM_LEVELS; i++) {
        s->stream_share[i + 1] = c->kv_stream_levels.v[i];
    }
    if (add_tier(r, replica, ec, KV_NVME, c->kv_nvme_bytes, c->kv_nvme_tier) < 0 ||
        add_tier(r, replica, ec, KV_REMOTE, c->kv_remote_bytes, c->kv_remote_tier) < 0) {
        return r->err->code;
    }
    return load_offload(r, s);
}

/* ---- KV that stays for programs ---- */

static bool program_goes_on(void *ctx, uint64_t serial)
{
    return sessions_go_on(&((struct run *)ctx)->load.sessions, serial);
}

static int add_pins(struct run *r, struct engine_config *ec)
{
    const struct run_config *c = r->cfg;

    if (!c->kv_pin) {
        return 0;
    }
    if (!c->load_sessions) {
        return err_set(r->err, SIM_E_CONFIG, "kv.pin: which turn follows which is known with load.sessions=on "
                       "only");
    }
    ec->pin = (struct pin_config){.manner = (enum pin_manner)c->kv_pin, .fixed_ns = to_ns(c->kv_pin_time_s),
                                  .goes_on = program_goes_on, .ctx = r};
    return 0;
}

/* ---- KV as virtual memory ---- */

static int add_pages(struct run *r, struct engine_config *ec)
{
    const struct run_config *c = r->cfg;
    double block;

    if (c->kv_page_bytes <= 0) {
        return 0;
    }
    if (!r->has_llm) {
        return err_set(r->err, SIM_E_CONFIG, "kv.page: name a model: how much KV a token has decides");
    }
    /* Of one layer's keys; pages do not span layers. */
    block = llm_kv_bytes_per_tok_rank(&r->llm, (uint32_t)c->tp) * r->traits.block_tok / (2 * r->llm.layers);
    if (fmod(block, c->kv_page_bytes) != 0 && c->kv_page_bytes < block / r->traits.block_tok) {
        return err_set(r->err, SIM_E_CONFIG, "kv.page: %.0f bytes: a token has %.0f bytes of a layer's keys, which are no whole "
                       "pages; CUDA maps 2MiB", c->kv_page_bytes, block / r->traits.block_tok);
    }
    if (fmod(block, c->kv_page_bytes) != 0) {
        return err_set(r->err, SIM_E_CONFIG, "kv.page: a block of %u tokens has %.0f bytes of a layer's keys, which "
                       "are no whole pages of %.0f; %.0f tokens are one page: give the batcher another block_size", r->traits.block_tok, block,
                       c->kv_page_bytes, c->kv_page_bytes / (block / r->traits.block_tok));
    }
    ec->pages = (struct page_config){.per_blk = (uint64_t)(2 * r->llm.layers * (block / c->kv_page_bytes)),
                                     .map = (sim_tick)llround(c->kv_page_map_s * 1e9 * SIM_TICKS_PER_NS),
                                     .ahead = c->kv_page_ahead, .keep = c->kv_page_keep};
    return 0;
}

int run_add_kv(struct run *r, uint32_t gpu, struct engine_config *ec)
{
    return add_link(r, gpu, ec) < 0 || add_swap(r, gpu, ec) < 0 || add_pins(r, ec) < 0 || add_pages(r, ec) < 0
               ? r->err->code
               : 0;
}
