/* SPDX-License-Identifier: Apache-2.0
 *
 * One simulation run: configuration in, results out. Used by `run`, `sweep` and `replay`. */
#ifndef STEELYARD_RUN_H
#define STEELYARD_RUN_H

#include <math.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/hist.h"
#include "sim/core/opt.h"
#include "sim/core/slo_class.h"
#include "sim/core/types.h"

enum run_sampling { SAMPLING_PLAIN, SAMPLING_SORT, SAMPLING_SELECT };

/* Every field is described by a row of run_options (its key, unit, range, default, help). Immutable
 * after parsing, so that one configuration can feed many threads. */
struct run_config {
    /* workload */
    const char *trace;        /* "trace": path, "-" or "synth:..." */
    const char *trace_format; /* "trace.format" */
    int64_t trace_limit;      /* "trace.limit": first n requests; 0 = all */
    int64_t trace_repeat;     /* "trace.repeat": play the trace n times, one after the other */
    double load_scale;        /* "load.scale": arrival rate times this (gaps divided by it) */
    bool load_sessions;       /* "load.sessions": a turn follows the answer to the one before */
    int64_t load_concurrency; /* "load.concurrency": most requests in flight; 0 = open loop */
    double load_bootstrap_s;  /* "load.bootstrap": resample the trace in blocks this long; 0 = as it is */
    int64_t prompt_extra_tok; /* "load.prompt_extra": tokens added to each prompt (BOS, template) */
    const char *client_weights; /* "client.weights": "1,2,3" by client id; missing ones are 1 */
    double slo_ttft_ms, slo_tpot_ms, slo_e2e_ms; /* "slo.ttft", "slo.tpot", "slo.e2e"; 0 = none */
    const char *slo_classes, *slo_client; /* "slo.classes", "slo.client": goals by class and by client */
    int64_t slo_tokens;       /* "slo.tokens": which tokens are goodput */
    /* machine */
    const char *model, *gpu;
    int64_t tp;
    const char *weight_dtype, *kv_dtype;
    const char *cost;         /* "cost": "roofline{...}" */
    double kv_tokens;         /* "kv.tokens": pool in tokens; 0 = from the memory rule */
    double kv_blocks;         /* "kv.blocks": pool in blocks, as an engine logs it (with the null block) */
    double gpu_mem_util;      /* "kv.gpu_mem_util" */
    double host_kv_bytes;     /* "kv.host": host memory for swapped KV */
    const char *kv_offload;     /* "kv.offload": what becomes of KV that is pushed out; NULL = the batcher's own way */
    int64_t kv_swap;          /* "kv.swap": before the steps or beside them */
    bool kv_reuse, kv_sessions; /* "kv.reuse", "kv.sessions" */
    int64_t kv_group_blk;     /* "kv.groups": blocks that lie side by side; 0 = scattered */
    double kv_page_bytes, kv_page_map_s; /* "kv.page", "kv.page_map": KV as virtual memory */
    bool kv_page_ahead, kv_page_keep;    /* "kv.page_ahead", "kv.page_keep" */
    int64_t kv_pin;           /* "kv.pin": KV of programs that stays on the GPU while a tool runs */
    double kv_pin_time_s;     /* "kv.pin_time": how long, with kv.pin=fixed */
    double kv_nvme_bytes, kv_remote_bytes; /* "kv.nvme", "kv.remote": room below host memory; 0 = none */
    const char *kv_nvme_tier, *kv_remote_tier; /* "kv.nvme_tier", "kv.remote_tier": what they can do */
    int64_t kv_stream_tok;    /* "kv.stream": tokens of a chunk of KV that comes encoded; 0 = as it is */
    double kv_stream_ttft_s;  /* "kv.stream_ttft" */
    struct opt_doubles kv_stream_levels; /* "kv.stream_levels" */
    double kv_demote;         /* "kv.demote": share of a tier in use above which idle sessions sink */
    const char *topology;     /* "topology": the machine around the GPUs; NULL = each GPU has a link of its own */
    const char *topology_gpus; /* "topology.gpus": whose they are; NULL = the first */
    bool topology_faults;     /* "topology.faults" */
    double pcie_copy_s;       /* "pcie.copy": cost of one copy call */
    int64_t pcie_payload;     /* "pcie.payload": TLP payload bytes */
    /* experts of a mixture of experts */
    int64_t executor;         /* "executor": enum run_executor */
    double experts_rate;      /* "experts.rate": share of each layer's experts in GPU memory */
    double experts_bits;      /* "experts.bits": per weight; 0 = the weight type's */
    bool experts_global;      /* "experts.global": one cache for all layers */
    int64_t experts_shallow;  /* "experts.shallow": first layers that keep all of their experts */
    int64_t experts_gpu_layers; /* "experts.gpu_layers": the CPU computes the others whole; 0 = none */
    const char *experts_routes, *experts_evict, *experts_prefetch, *experts_miss;
    int64_t experts_calls, experts_pieces; /* of one expert's copy */
    bool experts_writeback;
    bool experts_spent;       /* "experts.spent": copied again once they have computed */
    bool experts_overlap;     /* "experts.overlap": compute while missing experts are copied */
    double experts_host_s;    /* "experts.host": per expert that the GPU computes */
    double experts_link;      /* "experts.link": bytes/s from host to GPU; 0 = the GPU's PCIe */
    const char *experts_tier; /* "experts.tier": they come from a drive; NULL = from host memory */
    double experts_read_bytes; /* "experts.read": of one read; 0 = a call's whole share */
    int64_t experts_start;    /* "experts.start": enum run_experts_start */
    int64_t experts_calibration; /* tokens */
    struct opt_doubles experts_planes, experts_capacity; /* "experts.planes", "experts.capacity": bit-widths of nested
                                                            experts, shares of the pairs that get them; none = not nested */
    int64_t experts_group;    /* "experts.group": weights that share a scale; 0 = no scales */
    int64_t experts_order;    /* "experts.order": enum planes_order */
    double experts_budget;    /* "experts.budget": bytes of planes in GPU memory; 0 = all may stay */
    /* experts spread over ranks */
    const char *placement_policy; /* "placement.policy"; NULL = the cost model's own assumption */
    int64_t placement_replica;    /* "placement.replica": enum replica_choice */
    int64_t placement_node, placement_groups, placement_every, placement_window, placement_hold;
    int64_t placement_layers, placement_sample;
    bool placement_overlap;
    double placement_share, placement_link, placement_node_link, placement_threshold;
    /* engine */
    int64_t replicas;         /* "replicas" */
    const char *router;       /* "router": "cache-aware{threshold=0.5}" */
    double routing_poll_s;    /* "routing.poll" */
    const char *batcher, *policy;
    double request_delay_s;   /* "engine.request_delay": client to queue */
    double request_serial_s;  /* "engine.request_serial": before that, one request after another */
    double output_delay_s;    /* "engine.output_delay": token out to client */
    double cold_start_s;      /* "engine.cold_start": added to the first step of a run */
    double step_overhead_s;   /* "engine.step_overhead": host time added to every step */
    int64_t sampling;         /* "engine.sampling": enum run_sampling */
    /* run */
    int64_t seed, replication;
    bool skip;                /* "skip": fast-forward; off = --no-skip */
    bool check;               /* "check": invariants at run time */
    /* metrics */
    double service_wp, service_wq; /* "service.wp", "service.wq": cost of a token in and out */
    double service_window_s;  /* "service.window" */
    double service_horizon_s; /* "service.horizon": 0 = last arrival, rounded down to 10 s */
    double warmup_s;          /* "metrics.warmup": requests that arrive before are not counted */
    double fairness_alpha, fairness_delta; /* "fairness.alpha", "fairness.delta" */
    bool slowdown;            /* "metrics.slowdown" */
    double series_step_s;     /* "series.step" */
    const char *data_dir;     /* "data_dir": folder with llms/ and gpus/; NULL = where installed */
    const char *label;
};

enum run_executor { EXECUTOR_WHOLE, EXECUTOR_LAYERS };
enum run_experts_start { EXPERTS_START_POPULAR, EXPERTS_START_EMPTY };

extern const struct opt_row run_options[];

struct json_writer;
/* One JSON object with every key of run_options, in table order, typed. The keys in `leave_out`
 * (NULL-terminated, or NULL) are not written. */
void run_config_write(struct json_writer *w, const struct run_config *c,
                      const char *const *leave_out);

/* Folder with llms/ and gpus/: `configured` when given, else $STEELYARD_DATA, else next to the program
 * (a build tree's ../models, an installation's ../share/steelyard), else the prefix it was built for. */
const char *steelyard_data_dir(const char *configured, struct arena *a);

struct metric {
    const char *name; /* vllm bench serve's key where it has one: "mean_ttft_ms" */
    const char *unit; /* "ms", "1/s", "tok/s", "1", "byte", ... */
    double value;     /* NaN = not defined in this run (printed as null) */
};

/* A share of nothing is not defined. */
static inline double metric_share(double part, double of)
{
    return of > 0 ? part / of : (double)NAN;
}

struct series {
    const char *name, *unit; /* "kv_used_share", "service/CLIENT" */
    size_t n;
    const double *t_s, *value;
};

struct client_result {
    const char *name;
    uint64_t requests, completed, rejected;
    uint64_t prompt_tok, output_tok; /* of completed requests */
    double service;                  /* wp*prompt + wq*output, all that was served */
    double mean_ttft_ms, mean_e2e_ms, mean_tpot_ms;
    double slo_attainment;           /* NaN without goals */
    double ufc, rfc, hf;             /* Equinox's counters, as stand-ins */
};

struct replica_result {
    uint64_t requests, completed, preemptions;
    uint64_t prefill_tok, decode_tok; /* computed */
    double busy_s, cache_hit_rate, kv_peak; /* hit rate: NaN when nothing was looked up */
};

enum run_verdict { RUN_STABLE, RUN_BACKLOGGED, RUN_OVERLOADED };

/* One request that has left. Times are SIM_NEVER where it did not get that far. */
enum request_status { REQUEST_OK, REQUEST_REJECTED, REQUEST_REFUSED, REQUEST_UNFINISHED };
struct request_row {
    uint64_t serial;
    uint32_t client, replica, prompt_tok, output_tok, cached_tok, preemptions;
    sim_ns arrival_ns, admit_ns, first_token_ns, finish_ns; /* client's clock */
    enum request_status status;
    const char *reason; /* static; NULL when ok */
    const char *client_name; /* as the trace spells it; borrowed until the call returns */
    double measured_ttft_s, measured_e2e_s; /* of the trace; NaN */
    /* Goals in force, 0 = none; whether all were met. Calls of a compound program meet theirs together, which
     * is known only when the last has left: false here. */
    enum slo_class slo_class;
    float ttft_slo_ms, tpot_slo_ms, e2e_slo_ms;
    bool met_goals;
    uint64_t session; /* 0 = none */
};

struct run_result {
    size_t n_metrics;
    struct metric *metrics;
    struct { const char *name, *unit; const struct hist *h; } hists[8]; /* values in ns */
    size_t n_hists;
    size_t n_series;
    struct series *series;
    size_t n_clients;
    struct client_result *clients;
    size_t n_replicas;
    struct replica_result *replicas;
    enum run_verdict verdict;
    const char *verdict_text;    /* a sentence with the offered load as a share of capacity */
    const char *const *warnings; /* NULL-terminated */
    bool policy_oracle;
    const char *cost_provenance, *trace_format;
    const char *links_text;      /* about the links of the topology; NULL = none */
    uint64_t trace_requests;
    uint64_t iterations, boundaries; /* engine steps simulated; of these walked one by one */
};

struct run_hooks {
    /* Each request that leaves, in order of leaving; NULL = not wanted. < 0 ends the run. */
    int (*request)(void *ctx, const struct request_row *row, struct err *e);
    /* Now and then (at most a few times a second of wall time): share done in 0..1 or -1. Nonzero ends
     * the run with SIM_E_INTR. */
    int (*progress)(void *ctx, double share, sim_ns now, uint64_t requests);
    /* Text lines of a log() wrapper around the policy; NULL = dropped. */
    void (*log)(void *ctx, const char *line);
    /* Every step of the run goes into this file, one line each (calibrate/probe/README.md); NULL = no.
     * The run then walks every step, which changes no result. */
    const char *plan_out;
    /* What the lanes did when goes into this file as a Chrome trace (Perfetto); NULL = no. Walks, too. */
    const char *timeline;
    void *ctx;
};

/* Run to the end of the trace and the last request. Everything in *ret lives in `a`. Errors: SIM_E_*
 * with a sentence. Deterministic: same config, same bytes, on any thread. */
int run_execute(const struct run_config *c, const struct run_hooks *h, struct run_result *ret,
                struct arena *a, struct err *e);

/* Metric by name or NULL. */
const struct metric *run_metric(const struct run_result *r, const char *name);

const char *steelyard_version(void);

#endif
