/* SPDX-License-Identifier: Apache-2.0
 *
 * Every setting of a run, described once. `source` of a default that imitates an engine is in its
 * help sentence. */
#include "sim/run.h"

#include <string.h>

#include "sim/core/json.h"

#define FIELD(f) offsetof(struct run_config, f)
#define ANY      1.0, 0.0 /* no range check */

static const struct opt_choice pin_choices[] = {
    {"off", "it goes when the turn is answered"},
    {"fixed", "it stays for kv.pin_time"},
    {"ttl", "it stays for as long as that is worth more than it costs, by the durations seen so far"},
    {NULL, NULL},
};

static const struct opt_choice swap_choices[] = {
    {"sync", "before the step that needs it or makes room, as vLLM V0 does"},
    {"async", "beside the steps; a request joins when its KV is there"},
    {NULL, NULL},
};

static const struct opt_choice slo_tokens_choices[] = {
    {"paper", "output token i = 0, 1, ... by arrival + TTFT + i * TBT; one token counts 1"},
    {"artifact", "the prompt, too, when TTFT is met, and token i by one TBT later; a prompt token counts "
                 "1 and an output token 8"},
    {NULL, NULL},
};

static const struct opt_choice sampling_choices[] = {
    {"plain", "greedy, or by temperature alone: the cost model has it"},
    {"sort", "top-p or top-k by sorting the vocabulary, as vLLM to 0.16: 17 us a row and 131072 words"},
    {"select", "top-p or top-k in one kernel without a sort, as vLLM from 0.17: 5 us"},
    {NULL, NULL},
};

static const struct opt_choice order_choices[] = {
    {"naive", "expert after expert"},
    {"hebf", "the plane that the most (token, expert) pairs need first (hottest expert bit first)"},
    {NULL, NULL},
};

static const struct opt_choice executor_choices[] = {
    {"whole", "one number per step, from the cost model"},
    {"layers", "layer by layer on lanes (GPU, copies, CPU); needed where experts are offloaded"},
    {NULL, NULL},
};

static const struct opt_choice replica_choices[] = {
    {"round-robin", "in turn: copies share evenly"},
    {"static", "one for each rank: its own, one of its node, else dealt out evenly (SGLang)"},
    {"least-loaded", "on the rank that has least of the layer so far: needs to know all tokens, a bound"},
    {NULL, NULL},
};

static const struct opt_choice experts_start_choices[] = {
    {"popular", "the most popular ones of a calibration sample"},
    {"empty", "none: the first tokens load what they need"},
    {NULL, NULL},
};

const struct opt_row run_options[] = {
    /* ---- workload ---- */
    {"trace", OPT_STRING, FIELD(trace), ANY, NULL, NULL,
     "Trace to play: a path (relative to the current folder), - for standard input, or a generator "
     "such as synth:azure-conv{requests=1000}.", NULL},
    {"trace.format", OPT_STRING, FIELD(trace_format), ANY, "auto", NULL,
     "Format of the trace with its options, as in native{unsorted=on}; auto looks at the content.",
     NULL},
    {"trace.limit", OPT_INT, FIELD(trace_limit), 0, 1e15, "0", "1",
     "Play only the first requests of the trace; 0 plays all.", NULL},
    {"trace.repeat", OPT_INT, FIELD(trace_repeat), 1, 1e6, "1", "1",
     "Play the trace this many times, one after the other.", NULL},
    {"load.scale", OPT_DOUBLE, FIELD(load_scale), 1e-6, 1e6, "1", "1",
     "Arrival rate relative to the trace: gaps between arrivals are divided by it.", NULL},
    {"load.sessions", OPT_BOOL, FIELD(load_sessions), ANY, "off", NULL,
     "Closed loop within a session: a turn is sent its gap after the turn before was answered; off keeps "
     "the trace's own times.", NULL},
    {"load.concurrency", OPT_INT, FIELD(load_concurrency), 0, 1e9, "0", "1",
     "Most requests in flight; further ones are sent when an answer is complete, and their clock starts "
     "then (vllm bench serve's --max-concurrency). 0 is an open loop.", NULL},
    {"load.bootstrap", OPT_DOUBLE, FIELD(load_bootstrap_s), 0, 1e9, "0", "s",
     "Resample the trace in blocks of this length, drawn with replacement for each replication, so "
     "that replications of a recorded trace differ; 0 plays it as it is.", NULL},
    {"load.prompt_extra", OPT_INT, FIELD(prompt_extra_tok), 0, 1e6, "0", "tok",
     "Tokens added to each prompt, for a BOS token or a chat template.", NULL},
    {"client.weights", OPT_STRING, FIELD(client_weights), ANY, NULL, "1",
     "Weights of the clients in order of their ids, as in 1,2,3; missing ones are 1.", NULL},
    {"slo.ttft", OPT_DOUBLE, FIELD(slo_ttft_ms), 0, 1e9, "0", "ms",
     "Goal for the time to first token that goodput counts; 0 is none. A goal in the trace wins.",
     NULL},
    {"slo.tpot", OPT_DOUBLE, FIELD(slo_tpot_ms), 0, 1e9, "0", "ms",
     "Goal for the time per output token after the first; 0 is none.", NULL},
    {"slo.e2e", OPT_DOUBLE, FIELD(slo_e2e_ms), 0, 1e12, "0", "ms",
     "Goal for the time from arrival to the last token; 0 is none.", NULL},
    {"slo.classes", OPT_STRING, FIELD(slo_classes), ANY, NULL, NULL,
     "Goals of the classes that requests belong to (slo_class in the trace, or slo.client), as in "
     "latency:ttft=500ms,tbt=100ms;deadline:e2e=20s;compound:e2e=60s. A request's own goals win, then "
     "its client's, its class's, slo.ttft and so on.", NULL},
    {"slo.client", OPT_STRING, FIELD(slo_client), ANY, NULL, NULL,
     "Class and goals of clients, as in alice:class=latency,ttft=1s;*:class=best-effort; * is every "
     "client that is not named.", NULL},
    {"slo.tokens", OPT_CHOICE, FIELD(slo_tokens), ANY, "paper", NULL,
     "Which tokens of the latency class are goodput, and their weights (JITServe, arXiv 2504.20068).",
     slo_tokens_choices},
    /* ---- machine ---- */
    {"model", OPT_STRING, FIELD(model), ANY, NULL, NULL,
     "Language model: a bundled name (steelyard list models) or the path of a HuggingFace "
     "config.json. Only the linear cost model does without.", NULL},
    {"gpu", OPT_STRING, FIELD(gpu), ANY, NULL, NULL,
     "GPU: a bundled name (steelyard list gpus) or the path of a profile.", NULL},
    {"tp", OPT_INT, FIELD(tp), 1, 64, "1", "1",
     "Tensor-parallel degree: GPUs that hold one copy of the model together.", NULL},
    {"weight_dtype", OPT_STRING, FIELD(weight_dtype), ANY, "auto", NULL,
     "Type of the weights (fp16, bf16, fp8, int8, int4, ...); auto is what the model file says.",
     NULL},
    {"kv_dtype", OPT_STRING, FIELD(kv_dtype), ANY, "auto", NULL,
     "Type of keys and values in the cache; auto follows the weights, with at least 8 bits.", NULL},
    {"cost", OPT_STRING, FIELD(cost), ANY, "roofline", NULL,
     "Cost model with its options (steelyard list costs).", NULL},
    {"kv.tokens", OPT_DOUBLE, FIELD(kv_tokens), 0, 1e13, "0", "tok",
     "Size of the KV pool in tokens; 0 derives it from GPU memory as vLLM does.", NULL},
    {"kv.blocks", OPT_DOUBLE, FIELD(kv_blocks), 0, 1e12, "0", "1",
     "Size of the KV pool in blocks, as an engine logs it (with the null block); 0 is not given.",
     NULL},
    {"kv.gpu_mem_util", OPT_DOUBLE, FIELD(gpu_mem_util), 0.01, 1, "0.9", "1",
     "Share of GPU memory that the engine may use (vLLM's gpu_memory_utilization, 0.9).", NULL},
    {"kv.host", OPT_DOUBLE, FIELD(host_kv_bytes), 0, 1e16, "4GiB", "byte",
     "Host memory per GPU for swapped KV (vLLM V0's swap_space, 4 GiB).", NULL},
    {"kv.offload", OPT_STRING, FIELD(kv_offload), ANY, NULL, NULL,
     "What becomes of the KV of a request that is pushed out: swap, recompute or by-cost, with options. Its "
     "KV then outlives its place on the GPU and is loaded when it is let in again. Unset: the batcher's own "
     "way.", NULL},
    {"kv.swap", OPT_CHOICE, FIELD(kv_swap), ANY, "sync", NULL,
     "With kv.offload: when KV is copied (FastSwitch, arXiv 2411.18424).", swap_choices},
    {"kv.reuse", OPT_BOOL, FIELD(kv_reuse), ANY, "off", NULL,
     "With kv.offload: a copy in host memory stays good after it was loaded, so that only what is new is "
     "copied out the next time; it goes first when host memory is full (FastSwitch).", NULL},
    {"kv.sessions", OPT_BOOL, FIELD(kv_sessions), ANY, "off", NULL,
     "With kv.offload: KV of a session is kept outside for its next turn, whose prompt begins with the turns "
     "before it.", NULL},
    {"kv.groups", OPT_INT, FIELD(kv_group_blk), 0, 1 << 20, "0", "1",
     "Blocks of a group that lies side by side and is copied in one call per layer (FastSwitch; 60 is a "
     "recollection of its first group); 0: blocks lie anywhere and are copied one by one.", NULL},
    {"kv.page", OPT_DOUBLE, FIELD(kv_page_bytes), 0, 1e12, "0", "byte",
     "KV as virtual memory (vAttention, arXiv 2405.04437): size of a page, mapped when a block comes into use; "
     "0 = off. The batcher's block has to hold whole pages of each layer's keys (2 MiB of Llama-3-8B: 1024 "
     "tokens).", NULL},
    {"kv.page_map", OPT_DOUBLE, FIELD(kv_page_map_s), 0, 1, "40us", "s",
     "Time to map a page and set its access rights (about 40 us for 2 MiB by a reading note on vAttention).", NULL},
    {"kv.page_ahead", OPT_BOOL, FIELD(kv_page_ahead), ANY, "on", NULL,
     "A thread maps during a step what the next one needs; only the rest is waited for.", NULL},
    {"kv.page_keep", OPT_BOOL, FIELD(kv_page_keep), ANY, "on", NULL,
     "Pages of a finished request stay mapped for the next one (deferred reclamation).", NULL},
    {"kv.pin", OPT_CHOICE, FIELD(kv_pin), ANY, "off", NULL,
     "KV of a program that stays on the GPU between two turns, while a tool runs (Continuum, arXiv "
     "2511.02230). Needs load.sessions.", pin_choices},
    {"kv.pin_time", OPT_DOUBLE, FIELD(kv_pin_time_s), 0, 1e6, "2", "s",
     "How long KV stays with kv.pin=fixed (Continuum's public fork: 2 s).", NULL},
    {"kv.nvme", OPT_DOUBLE, FIELD(kv_nvme_bytes), 0, 1e17, "0", "byte",
     "With kv.offload: room for KV on a drive below host memory. Idle sessions sink there and are loaded from "
     "there beside the steps.", NULL},
    {"kv.nvme_tier", OPT_STRING, FIELD(kv_nvme_tier), ANY, "local-nvme-pcie4", NULL,
     "What that drive can do: a bundled name (steelyard list tiers) or the path of a profile.", NULL},
    {"kv.remote", OPT_DOUBLE, FIELD(kv_remote_bytes), 0, 1e18, "0", "byte",
     "With kv.offload: room for KV in a store across the network, below host memory and drive.", NULL},
    {"kv.remote_tier", OPT_STRING, FIELD(kv_remote_tier), ANY, "s3", NULL,
     "What that store can do: a bundled name (steelyard list tiers) or the path of a profile.", NULL},
    {"kv.stream", OPT_INT, FIELD(kv_stream_tok), 0, 1 << 30, "0", "tok",
     "KV in the remote store is encoded in chunks of so many tokens, and each comes at the level that the rate of "
     "the one before allows (CacheGen, arXiv 2310.07240; its script: 1000); 0: in one piece, as it is.", NULL},
    {"kv.stream_ttft", OPT_DOUBLE, FIELD(kv_stream_ttft_s), 0.001, 1e6, "2", "s",
     "Goal for the time in which all chunks of a context come; from a chunk on that no level brings in its part of "
     "it, the rest is computed.", NULL},
    {"kv.stream_levels", OPT_DOUBLES, FIELD(kv_stream_levels), 0, 1, "0.0668;0.0858;0.1144", "1",
     "Size of KV at levels 1, 2 and 3 over that of 16 bits (CacheGen's script for 7B: 35, 45 and 60 MB of a chunk of "
     "1000 tokens).", NULL},
    {"kv.demote", OPT_DOUBLE, FIELD(kv_demote), 0, 1, "0.8", "1",
     "Share of a tier in use above which its longest unused sessions sink to the tier below.", NULL},
    {"topology", OPT_STRING, FIELD(topology), ANY, NULL, NULL,
     "The machine around the GPUs: a bundled name (steelyard list topologies) or the path of a file. Copies of KV and "
     "experts go the ways that it has, and replicas share its switches and host memories; all-reduces of cost=roofline "
     "run as fast as its ring between the GPUs. Unset, each GPU has a PCIe link of its own.", NULL},
    {"topology.gpus", OPT_STRING, FIELD(topology_gpus), ANY, NULL, NULL,
     "The GPUs of the first replica, then those of the second ...: numbers, ranges of numbers and names, as in 0,4 or 0-3 or "
     "gpu0,gpu4; tp of them for each replica. Unset, the first of the topology.", NULL},
    {"topology.faults", OPT_BOOL, FIELD(topology_faults), ANY, "off", NULL,
     "The topology's faults happen: uplinks of some PCIe switches that collapse when several GPUs write to places "
     "behind several root ports at once.", NULL},
    {"pcie.copy", OPT_DOUBLE, FIELD(pcie_copy_s), 0, 1, "2.3us", "s",
     "Cost of one copy call; swapping makes two per block and layer (2.3 us for a cudaMemcpyAsync, "
     "FlexKV issue 193).", NULL},
    {"pcie.payload", OPT_INT, FIELD(pcie_payload), 128, 4096, "256", "byte",
     "Largest payload of a PCIe packet; 256 is what most server platforms set.", NULL},
    /* ---- experts ---- */
    {"executor", OPT_CHOICE, FIELD(executor), ANY, "whole", NULL,
     "How a step becomes time.", executor_choices},
    {"experts.rate", OPT_DOUBLE, FIELD(experts_rate), 0, 1, "1", "1",
     "Share of each layer's routed experts that GPU memory holds (the cache rate of BuddyMoE and others); "
     "the rest stays in host memory and is copied over PCIe. 1 offloads nothing; 0 is for experts.miss=cpu.", NULL},
    {"experts.bits", OPT_DOUBLE, FIELD(experts_bits), 0, 32, "0", "1",
     "Bits per weight of an expert, scales included (4.5 for a Q4 file); 0 is the weight type's.", NULL},
    {"experts.global", OPT_BOOL, FIELD(experts_global), ANY, "off", NULL,
     "One cache for the experts of all layers (SmallThinker); off keeps one per layer.", NULL},
    {"experts.shallow", OPT_INT, FIELD(experts_shallow), 0, 1024, "0", "1",
     "First MoE layers that keep all of their experts; the others share the slots that are left (Fate: 4), and have "
     "none with experts.rate=0 (kTransformers' rule files, with experts.miss=cpu).", NULL},
    {"experts.gpu_layers", OPT_INT, FIELD(experts_gpu_layers), 0, 1024, "0", "1",
     "First layers that the GPU computes; the CPU computes the others whole, attention and all (llama.cpp's "
     "n_gpu_layers), at the speed that experts.miss gives it. 0 is all.", NULL},
    {"experts.routes", OPT_STRING, FIELD(experts_routes), ANY, "synth", NULL,
     "Which experts tokens are sent to, with options (steelyard list routes).", NULL},
    {"experts.evict", OPT_STRING, FIELD(experts_evict), ANY, "lru", NULL,
     "Which expert leaves GPU memory, with options (steelyard list evictions).", NULL},
    {"experts.prefetch", OPT_STRING, FIELD(experts_prefetch), ANY, "none", NULL,
     "Which experts are fetched ahead, with options (steelyard list prefetches).", NULL},
    {"experts.miss", OPT_STRING, FIELD(experts_miss), ANY, "wait", NULL,
     "What becomes of an expert that is not in GPU memory when it is needed, with options (steelyard list "
     "misses).", NULL},
    {"experts.calls", OPT_INT, FIELD(experts_calls), 1, 1e4, "1", "1",
     "Copy calls per expert, each of which costs pcie.copy: 1 where its matrices lie side by side, else 3.",
     NULL},
    {"experts.pieces", OPT_INT, FIELD(experts_pieces), 1, 16, "1", "1",
     "An expert is copied in so many pieces; between two of them an urgent copy may come first (ProMoE: 3).",
     NULL},
    {"experts.writeback", OPT_BOOL, FIELD(experts_writeback), ANY, "off", NULL,
     "An evicted expert is copied back to the host (Mixtral-offloading's swap); off drops it.", NULL},
    {"experts.spent", OPT_BOOL, FIELD(experts_spent), ANY, "off", NULL,
     "An expert that has computed is copied again: engines that dequantise it in place have no quantised copy left "
     "(Fate's repository).", NULL},
    {"experts.overlap", OPT_BOOL, FIELD(experts_overlap), ANY, "on", NULL,
     "The experts that are there are computed while the missing ones are copied; off copies first, as engines do "
     "whose copies and kernels share a stream.", NULL},
    {"experts.host", OPT_DOUBLE, FIELD(experts_host_s), 0, 1, "0", "s",
     "Host time per expert and layer that the GPU waits for before it computes the expert, where an eager engine "
     "loops over experts in Python and synchronises; copies go on meanwhile.", NULL},
    {"experts.link", OPT_DOUBLE, FIELD(experts_link), 0, 1e13, "0", "byte/s",
     "Rate of copies to the GPU where one was measured; 0 is what PCI Express of the GPU gives.", NULL},
    {"experts.tier", OPT_STRING, FIELD(experts_tier), ANY, NULL, NULL,
     "Experts come from a drive into the memory beside the processor that computes: a bundled name (steelyard list "
     "tiers) or the path of a profile. Its rate stands for experts.link, its latency for pcie.copy.", NULL},
    {"experts.read", OPT_DOUBLE, FIELD(experts_read_bytes), 0, 1e12, "0", "byte",
     "An expert is read in pieces of at most so many bytes, each a call of its own, one after the other: what page "
     "faults with read-ahead do to a mapped file (131072 on Linux). 0 reads as experts.calls says.", NULL},
    {"experts.start", OPT_CHOICE, FIELD(experts_start), ANY, "popular", NULL,
     "Which experts are in memory before the first step.", experts_start_choices},
    {"experts.calibration", OPT_INT, FIELD(experts_calibration), 0, 1e7, "2048", "tok",
     "Tokens of other sequences from which popularity and pairs of experts are learnt.", NULL},
    {"experts.planes", OPT_DOUBLES, FIELD(experts_planes), 1, 32, "", "bit",
     "Bit-widths of experts that are nested: a base plane and residual planes, each loaded and freed on its own "
     "(D2MoE: 2;3;4 or 5;6;7;8). Not with the keys of experts of one piece, such as experts.rate.", NULL},
    {"experts.capacity", OPT_DOUBLES, FIELD(experts_capacity), 0, 1, "", "1",
     "Shares of the (token, expert) pairs that get each bit-width of experts.planes (D2MoE: 0.3;0.4;0.3); none "
     "gives equal shares.", NULL},
    {"experts.group", OPT_INT, FIELD(experts_group), 0, 1e6, "128", "1",
     "Weights that share a 16-bit scale per plane, and in the base plane a zero point; 0 = planes of bits alone.",
     NULL},
    {"experts.order", OPT_CHOICE, FIELD(experts_order), ANY, "hebf", NULL,
     "In which order the missing planes of a layer are loaded.", order_choices},
    {"experts.budget", OPT_DOUBLE, FIELD(experts_budget), 0, 1e15, "0", "byte",
     "Memory of one GPU for the planes of experts: before a layer that does not fit, planes of former layers go, "
     "high bits first; 0 keeps all that has been loaded.", NULL},
    /* ---- placement ---- */
    {"placement.policy", OPT_STRING, FIELD(placement_policy), ANY, NULL, NULL,
     "Which experts are on which rank, with a cost model that spreads them (ep): each step's tokens are routed by "
     "experts.routes and the busiest rank is waited for (steelyard list placements). Unset: the cost model's own "
     "imbalance.", NULL},
    {"placement.replica", OPT_CHOICE, FIELD(placement_replica), ANY, "round-robin", NULL,
     "To which copy of its expert a token goes.", replica_choices},
    {"placement.groups", OPT_INT, FIELD(placement_groups), 1, 1024, "1", "1",
     "Groups of experts that are kept on one node where they can be (DeepSeek-V3 in prefill: 8).", NULL},
    {"placement.node", OPT_INT, FIELD(placement_node), 0, 4096, "0", "1",
     "Ranks of a node; 0: as the cost model has it (8).", NULL},
    {"placement.every", OPT_INT, FIELD(placement_every), 0, 1e9, "0", "1",
     "Steps after which experts are placed anew (vLLM: 3000, SGLang: 1000); 0: they stay where the first sample "
     "(experts.calibration) puts them.", NULL},
    {"placement.window", OPT_INT, FIELD(placement_window), 1, 1e6, "1000", "1",
     "Last steps whose tokens a new placement goes by (vLLM: 1000).", NULL},
    {"placement.threshold", OPT_DOUBLE, FIELD(placement_threshold), 0, 1, "1", "1",
     "Nothing is placed anew while the mean rank has at least this share of the busiest one's tokens over the window "
     "(SGLang: eplb-min-rebalancing-utilization-threshold).", NULL},
    {"placement.overlap", OPT_BOOL, FIELD(placement_overlap), ANY, "off", NULL,
     "Experts travel while steps go on; off: the steps wait for them.", NULL},
    {"placement.share", OPT_DOUBLE, FIELD(placement_share), 0.01, 0.99, "0.5", "1",
     "Share of the interconnect that experts take while steps go on; tokens get the rest.", NULL},
    {"placement.link", OPT_DOUBLE, FIELD(placement_link), 0, 1e13, "0", "byte/s",
     "Rate at which a rank sends and receives experts; 0 is what the cost model gives tokens.", NULL},
    {"placement.node_link", OPT_DOUBLE, FIELD(placement_node_link), 0, 1e13, "0", "byte/s",
     "The same within a node; 0 is placement.link.", NULL},
    {"placement.layers", OPT_INT, FIELD(placement_layers), 0, 1024, "4", "1",
     "MoE layers that are looked at, each for those around it; 0: all of them.", NULL},
    {"placement.sample", OPT_INT, FIELD(placement_sample), 0, 1e9, "8192", "tok",
     "Tokens of a step, over all ranks, that are looked at; n pairs a rank make the busiest look busier by about "
     "2/sqrt(n). 0: all of them.", NULL},
    {"placement.hold", OPT_INT, FIELD(placement_hold), 1, 1e6, "1", "1",
     "Tokens are looked at in every so manieth step, and what was found holds until the next.", NULL},
    /* ---- cluster ---- */
    {"replicas", OPT_INT, FIELD(replicas), 1, 256, "1", "1",
     "Engines behind the router, each with tp GPUs, KV pool, batcher and scheduling policy of its own.", NULL},
    {"router", OPT_STRING, FIELD(router), ANY, "round-robin", NULL,
     "To which replica a request goes, with options, as in cache-aware{threshold=0.5} (steelyard list "
     "routers).", NULL},
    {"routing.poll", OPT_DOUBLE, FIELD(routing_poll_s), 0, 1e9, "0", "s",
     "The router looks at the replicas at most this often and adds what it sends itself in between (vLLM's front "
     "end gets counts every 0.1 s); 0 looks for each request.", NULL},
    /* ---- engine ---- */
    {"batcher", OPT_STRING, FIELD(batcher), ANY, "vllm-v1", NULL,
     "Manners of which engine, with options (steelyard list batchers).", NULL},
    {"policy", OPT_STRING, FIELD(policy), ANY, "fcfs", NULL,
     "Scheduling policy with options, as in vtc{lift=off} (steelyard list policies).", NULL},
    {"engine.request_delay", OPT_DOUBLE, FIELD(request_delay_s), 0, 3600, "0", "s",
     "Time from the client's send to the engine's queue.", NULL},
    {"engine.request_serial", OPT_DOUBLE, FIELD(request_serial_s), 0, 3600, "0", "s",
     "Time of the front end's one process on each request (parsing, tokenisation), one request after "
     "another: a burst reaches the queue spread out. Comes before engine.request_delay.", NULL},
    {"engine.output_delay", OPT_DOUBLE, FIELD(output_delay_s), 0, 3600, "0", "s",
     "Time from a finished token to the client.", NULL},
    {"engine.cold_start", OPT_DOUBLE, FIELD(cold_start_s), 0, 3600, "0", "s",
     "Time that the first step of a run takes on top: kernels are compiled, caches are filled.", NULL},
    {"engine.step_overhead", OPT_DOUBLE, FIELD(step_overhead_s), 0, 3600, "0", "s",
     "Host time added to every engine step.", NULL},
    /* ---- run ---- */
    {"engine.sampling", OPT_CHOICE, FIELD(sampling), ANY, "plain", NULL,
     "How tokens are drawn: filters of the distribution cost GPU time for each sampled sequence, in proportion "
     "to the vocabulary.", sampling_choices},
    {"seed", OPT_INT, FIELD(seed), 0, 9.2e18, "0", "1",
     "Seed of everything random; equal seeds give equal bytes.", NULL},
    {"replication", OPT_INT, FIELD(replication), 0, 4294967295.0, "0", "1",
     "Number of the replication: other random numbers under the same seed.", NULL},
    {"skip", OPT_BOOL, FIELD(skip), ANY, "on", NULL,
     "Jump over engine steps in which nothing changes; off walks each one and prints the same.",
     NULL},
    {"check", OPT_BOOL, FIELD(check), ANY, "off", NULL,
     "Verify invariants while running (requests, blocks, bytes, clock); slower.", NULL},
    /* ---- metrics ---- */
    {"service.wp", OPT_DOUBLE, FIELD(service_wp), 0, 1e9, "1", "1",
     "Weight of a prompt token in a client's service (VTC, OSDI'24, section 3: 1).", NULL},
    {"service.wq", OPT_DOUBLE, FIELD(service_wq), 0, 1e9, "2", "1",
     "Weight of an output token in a client's service (VTC, OSDI'24, section 5.1: 2).", NULL},
    {"service.window", OPT_DOUBLE, FIELD(service_window_s), 0.001, 1e9, "60", "s",
     "Window of the service metrics (VTC, OSDI'24, section 5.1: 60 s).", NULL},
    {"service.horizon", OPT_DOUBLE, FIELD(service_horizon_s), 0, 1e12, "0", "s",
     "End of the service metrics; 0 is the last arrival, rounded down to 10 s.", NULL},
    {"metrics.warmup", OPT_DOUBLE, FIELD(warmup_s), 0, 1e12, "0", "s",
     "Requests that arrive before this time are served but not counted.", NULL},
    {"metrics.slowdown", OPT_BOOL, FIELD(slowdown), ANY, "off", NULL,
     "Compare each request with the time that it would take alone on the machine, by the run's cost "
     "model: slowdown by size of the answer.", NULL},
    {"fairness.alpha", OPT_DOUBLE, FIELD(fairness_alpha), 0, 1, "0.7", "1",
     "Share of the user's counter (UFC) in holistic fairness, the rest is the machine's (RFC); 0.7 is a "
     "recollection of Equinox's value (arXiv 2508.16646).", NULL},
    {"fairness.delta", OPT_DOUBLE, FIELD(fairness_delta), 0, 1e6, "0.1", "1/s",
     "What a second of latency takes off the service that a user feels: 1/(1 + delta * seconds).", NULL},
    {"series.step", OPT_DOUBLE, FIELD(series_step_s), 0, 1e12, "0", "s",
     "Step of the time series that are recorded; 0 records none.", NULL},
    {"data_dir", OPT_STRING, FIELD(data_dir), ANY, NULL, NULL,
     "Folder with llms/ and gpus/; by default the one that belongs to the program.", NULL},
    {"label", OPT_STRING, FIELD(label), ANY, NULL, NULL,
     "Free text that is stored with the results.", NULL},
    OPT_END,
};

static void write_value(struct json_writer *w, const struct opt_row *row, const void *field)
{
    switch (row->type) {
    case OPT_BOOL:
        json_bool(w, *(const bool *)field);
        break;
    case OPT_INT:
        json_int(w, *(const int64_t *)field);
        break;
    case OPT_DOUBLE:
        json_double(w, *(const double *)field);
        break;
    case OPT_STRING:
        json_string(w, *(const char *const *)field);
        break;
    case OPT_CHOICE:
        json_string(w, row->choices[*(const int64_t *)field].name);
        break;
    case OPT_DOUBLES:
        json_array(w);
        for (size_t i = 0; i < ((const struct opt_doubles *)field)->n; i++) {
            json_double(w, ((const struct opt_doubles *)field)->v[i]);
        }
        json_end(w);
        break;
    }
}

static bool listed(const char *const *names, const char *name)
{
    for (size_t i = 0; names && names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

void run_config_write(struct json_writer *w, const struct run_config *c, const char *const *leave_out)
{
    json_object(w);
    for (const struct opt_row *row = run_options; row->name; row++) {
        if (!listed(leave_out, row->name)) {
            json_key(w, row->name);
            write_value(w, row, (const char *)c + row->offset);
        }
    }
    json_end(w);
}
