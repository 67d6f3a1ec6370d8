/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/observe/metrics_glossary.h"

#include <stddef.h>
#include <string.h>

#define VLLM "vllm bench serve (vLLM 0.19, vllm/benchmarks/serve.py)"
#define VTC  "VTC (Sheng et al., OSDI'24), section 5.1 and its artifact's plot scripts"
#define OWN  "Steelyard"
#define VAT  "vAttention (ASPLOS'25, arXiv 2405.04437)"
#define CGN  "CacheGen (SIGCOMM'24, arXiv 2310.07240)"
#define CNT  "Continuum (arXiv 2511.02230)"
#define FSW  "FastSwitch (arXiv 2411.18424)"
#define JIT  "JITServe (arXiv 2504.20068, NSDI'26) and its artifact"
#define EQX                                                                                        \
    "stand-in for Equinox (arXiv 2508.16646), whose equations are not public: every constant is a " \
    "setting"

/* Seven statistics of one latency. `what` opens the definition, as in "mean of the time ...". */
#define LATENCY(key, short_name, group, what, source)                                              \
    {"mean_" key "_ms", "ms", group, "Mean " short_name " (ms)", "Mean of " what, source},         \
    {"median_" key "_ms", "ms", group, "Median " short_name " (ms)", "Median of " what, source},   \
    {"std_" key "_ms", "ms", group, "Std " short_name " (ms)",                                     \
     "Population standard deviation of " what, source},                                            \
    {"p50_" key "_ms", "ms", group, NULL,                                     \
     "50th percentile (linear interpolation) of " what, source},                                   \
    {"p90_" key "_ms", "ms", group, "P90 " short_name " (ms)",                                     \
     "90th percentile (linear interpolation) of " what, source},                                   \
    {"p95_" key "_ms", "ms", group, "P95 " short_name " (ms)",                                     \
     "95th percentile (linear interpolation) of " what, source},                                   \
    {"p99_" key "_ms", "ms", group, "P99 " short_name " (ms)",                                     \
     "99th percentile (linear interpolation) of " what, source}

#define ATTAINED                                                                                     \
    "requests that met all goals of their class: latency = the first token within TTFT and every "    \
    "further one within TBT of the one before (and the answer within its E2E, where it has one); "    \
    "deadline = the whole answer within its E2E; compound = a program, all requests of a session, "   \
    "whose last call ends within E2E of its first arrival and of which no call was turned away, "     \
    "counted as one"
#define COUNTED_TOKENS                                                                               \
    "tokens that were in time: of the latency class each output token i = 0, 1, ... delivered by "    \
    "arrival + TTFT + i * TBT (a late token may be caught up), of the deadline class and of compound " \
    "programs all input and output tokens if the whole was in time, else none. slo.tokens=artifact "  \
    "counts input 1 and output 8, the input of the latency class when TTFT is met, and allows one "   \
    "TBT more"
/* Three views of one class; `who` ends the definitions. */
#define GOALS(class, who)                                                                            \
    {"slo_attainment_" class, "1", G_SLO, "  attainment, " class,                                     \
     "Share of the " ATTAINED ". Only " who ".", JIT},                                                \
    {"slo_request_goodput_" class, "1/s", G_SLO, "  goodput, " class " (req/s)",                      \
     "Per second, " ATTAINED ". Only " who ".", JIT},                                                 \
    {"slo_token_goodput_" class, "tok/s", G_SLO, "  goodput, " class " (tok/s)",                      \
     "Per second, " COUNTED_TOKENS ". Only " who ".", JIT}
/* `size` as in "fewer than 53 output tokens". */
#define SLOWDOWN(class, size)                                                                        \
    {"mean_slowdown_" class, "1", G_SLOW, "Mean slowdown, " class,                                    \
     "Mean over completed requests with " size " of end-to-end latency over the time that the same "  \
     "request takes alone on the machine by the run's cost model, with an empty cache "               \
     "(metrics.slowdown=on).", OWN "; size classes as in Equinox's predictor"},                       \
    {"p99_slowdown_" class, "1", G_SLOW, "P99 slowdown, " class,                                      \
     "99th percentile of what mean_slowdown_" class " averages.", OWN}

#define G_MAIN  "Serving Benchmark Result"
#define G_TTFT  "Time to First Token"
#define G_TPOT  "Time per Output Token (excl. 1st token)"
#define G_ITL   "Inter-token Latency"
#define G_E2EL  "End-to-end Latency"
#define G_QUEUE "Queueing"
#define G_SLO   "Goals by class"
#define G_SLOW  "Slowdown"
#define G_FAIR  "Fairness among clients"
#define G_ENG   "Engine"
#define G_EP    "Experts (over ranks)"
#define G_MOE   "Experts (offloaded)"
#define EPLB    "deepseek-ai/EPLB"
#define BUD     "BuddyMoE, arXiv 2511.10054"
#define G_REPL  "Replicas"
#define G_LINK  "Links (topology)"
#define G_KV    "KV outside of the GPU"

const struct metric_def metric_glossary[] = {
    {"completed", "1", G_MAIN, "Successful requests",
     "Requests that got their last token and arrived after the warm-up.", VLLM},
    {"failed", "1", G_MAIN, "Failed requests",
     "Requests that did not complete: rejected plus refused plus those unfinished at the end.", VLLM},
    {"rejected", "1", G_MAIN, "Rejected requests",
     "Requests that the policy turned away when they arrived (a rate limit, for example).", OWN},
    {"refused", "1", G_MAIN, "Refused requests",
     "Requests that can never run on this machine, such as a prompt larger than the KV pool.", OWN},
    {"max_concurrent_requests", "1", G_MAIN, "Peak concurrent requests",
     "Largest number of requests that were in the system (waiting or running) at one time.", VLLM},
    {"duration", "s", G_MAIN, "Benchmark duration (s)",
     "Simulated time from the end of the warm-up (without one: the start of the trace) until the last "
     "answer is complete.", VLLM},
    {"total_input_tokens", "tok", G_MAIN, "Total input tokens",
     "Prompt tokens of the completed requests.", VLLM},
    {"total_output_tokens", "tok", G_MAIN, "Total generated tokens",
     "Output tokens of the completed requests.", VLLM},
    {"request_throughput", "1/s", G_MAIN, "Request throughput (req/s)",
     "Completed requests divided by the duration.", VLLM},
    {"request_goodput", "1/s", G_MAIN, "Request goodput (req/s)",
     "Completed requests that met every goal set for them (slo.ttft, slo.tpot, slo.e2e, or the "
     "trace's own), divided by the duration. Without any goal it is the request throughput.", VLLM},
    {"output_throughput", "tok/s", G_MAIN, "Output token throughput (tok/s)",
     "Output tokens of the completed requests divided by the duration.", VLLM},
    {"total_token_throughput", "tok/s", G_MAIN, "Total token throughput (tok/s)",
     "Input and output tokens of the completed requests divided by the duration.", VLLM},
    {"request_rate", "1/s", G_MAIN, "Request rate (req/s)",
     "Requests that arrived per second, from the first arrival to the last.", VLLM},
    {"offered_load", "1", G_MAIN, "Offered load (share of capacity)",
     "Requests that arrive per second as a share of those that the machine can take: an estimate from "
     "the mean request, or what it took while a queue built up. Near or above 1 the queue grows "
     "without end, and latencies say more about the length of the trace than about the policy.", OWN},

    LATENCY("ttft", "TTFT", G_TTFT,
            "the time from a request's arrival to its first output token at the client.", VLLM),
    LATENCY("tpot", "TPOT", G_TPOT,
            "(end-to-end latency - TTFT) / (output tokens - 1), one value per completed request with "
            "more than one output token.", VLLM),
    LATENCY("itl", "ITL", G_ITL,
            "the gaps between successive output tokens, those of all requests pooled.", VLLM),
    LATENCY("e2el", "E2EL", G_E2EL,
            "the time from a request's arrival to its last output token at the client.", VLLM),
    LATENCY("queue", "queueing time", G_QUEUE,
            "the time from a request's arrival until the engine first admits it.", OWN),
    {"longest_wait_ms", "ms", G_QUEUE, "Longest wait (ms)",
     "Longest time that any request, completed or not, waited before it was first admitted: "
     "starvation shows here before it shows in a percentile.", OWN},

    {"slo_attainment", "1", G_SLO, "Attainment (share)",
     "Share of the " ATTAINED ". Best effort and requests without a class do not count.", JIT},
    {"slo_request_goodput", "1/s", G_SLO, "Goodput (req/s)",
     "Per second, " ATTAINED ". Best effort and requests without a class do not count.", JIT},
    {"slo_token_goodput", "tok/s", G_SLO, "Token goodput (tok/s)", "Per second, " COUNTED_TOKENS ".", JIT},
    GOALS("latency", "requests of the latency class"),
    GOALS("deadline", "requests of the deadline class"),
    GOALS("compound", "compound programs"),

    SLOWDOWN("short", "fewer than 53 output tokens"),
    SLOWDOWN("medium", "53 to 210 output tokens"),
    SLOWDOWN("long", "more than 210 output tokens"),

    {"max_service_diff", "tok/s", G_FAIR, "Max service difference",
     "Largest over the ticks of a per-tick service difference. At a tick, y_j is the service of "
     "client j per second in the window (wp*prompt + wq*output tokens, a request's service spread "
     "evenly from its first token to its end), d_j its demand per second (the same weights over "
     "the requests that arrive in the window), Y = max y_j; the difference is the sum over clients "
     "of min(Y - y_j, |d_j - y_j|).", VTC ", Table 2"},
    {"mean_service_diff", "tok/s", G_FAIR, "Mean service difference",
     "Mean over the ticks of the per-tick service difference that max_service_diff defines.",
     VTC ", Table 2"},
    {"var_service_diff", "tok2/s2", G_FAIR, "Var service difference",
     "Population variance over the ticks of the per-tick service difference that max_service_diff "
     "defines.", VTC ", Table 2"},
    {"max_accumulated_diff", "tok", G_FAIR, "Max accumulated difference",
     "Largest over 19 evenly spaced ticks of (service that the best served client has had since "
     "the start) - (service of the worst served one).", VTC ", section 5.2 figures"},
    {"mean_accumulated_diff", "tok", G_FAIR, "Mean accumulated difference",
     "Mean over the same ticks of the difference that max_accumulated_diff defines.",
     VTC ", section 5.2 figures"},
    {"jain_index", "1", G_FAIR, "Jain index of service",
     "(sum x)^2 / (n * sum x^2) over the clients' service divided by their weights: 1 when all got "
     "the same, 1/n when one got all.",
     "Jain, Chiu, Hawe: A quantitative measure of fairness, DEC-TR-301, 1984"},
    {"jain_ufc", "1", G_FAIR, "Jain index of UFC",
     "Jain index over the clients of their user fairness counter: the sum over a client's completed "
     "requests of (service.wp * input + service.wq * output tokens) / (1 + fairness.delta * end-to-end "
     "seconds), divided by its weight. With fairness.delta 0 the counter is plain service.", EQX},
    {"jain_rfc", "1", G_FAIR, "Jain index of RFC",
     "Jain index over the clients of their resource fairness counter: the sum over a client's completed "
     "requests of (tokens per second from admission to end, as a share of the run's token throughput) "
     "* (the GPU's busy share of the run), divided by its weight.", EQX},
    {"jain_hf", "1", G_FAIR, "Jain index of holistic fairness",
     "Jain index over the clients of holistic fairness, HF = fairness.alpha * UFC / max UFC + "
     "(1 - fairness.alpha) * RFC / max RFC, with the counters that jain_ufc and jain_rfc define.", EQX},

    {"ufc", "tok", G_FAIR, NULL,
     "Of one client (clients of --format json, table client of a database): its user fairness counter, as "
     "jain_ufc defines it.", EQX},
    {"rfc", "1", G_FAIR, NULL,
     "Of one client (clients of --format json, table client of a database): its resource fairness counter, "
     "as jain_rfc defines it.", EQX},
    {"hf", "1", G_FAIR, NULL,
     "Of one client (clients of --format json, table client of a database): its holistic fairness score, as "
     "jain_hf defines it; 1 is the client that had most of both.", EQX},
    {"client_slo_attainment", "1", G_FAIR, NULL,
     "Of one client (slo_attainment of clients in --format json and of table client in a database; 'in goal' in "
     "the text): share of its requests and compound programs that met their goals, as slo_attainment counts "
     "them; undefined where it has none with goals.", JIT},

    {"gpu_utilization", "1", G_ENG, "GPU busy (share of time)",
     "Share of the duration during which an engine step was under way, averaged over the replicas.", OWN},
    {"kv_utilization_mean", "1", G_ENG, "KV pool used, mean (share)",
     "Share of the KV pool's blocks in use, averaged over time.", OWN},
    {"kv_utilization_peak", "1", G_ENG, "KV pool used, peak (share)",
     "Largest share of a replica's KV blocks in use at any time.", OWN},
    {"kv_pool_tokens", "tok", G_ENG, "KV pool (tokens)", "Size of the KV pool of one replica.", OWN},
    {"mean_running", "1", G_ENG, "Mean running requests",
     "Requests that run, on all replicas together, averaged over time.", OWN},
    {"mean_waiting", "1", G_ENG, "Mean waiting requests",
     "Requests that wait to be admitted, at all replicas together, averaged over time.", OWN},
    {"mean_batch_size", "1", G_ENG, "Mean batch size",
     "Sequences per engine step, averaged over the steps.", OWN},
    {"iterations", "1", G_ENG, "Engine steps", "Engine steps (forward passes) simulated.", OWN},
    {"preemptions", "1", G_ENG, "Preemptions",
     "How often a running request was pushed out, by recomputation or by swapping.", OWN},
    {"swaps_out", "1", G_ENG, "Swaps out", "Requests whose KV was copied to host memory.", OWN},
    {"swaps_in", "1", G_ENG, "Swaps in", "Requests whose KV was copied back to the GPU.", OWN},
    {"pcie_bytes_up", "byte", G_ENG, "PCIe bytes, GPU to host",
     "Payload bytes that went from the GPU to the host.", OWN},
    {"pcie_bytes_down", "byte", G_ENG, "PCIe bytes, host to GPU",
     "Payload bytes that went from the host to the GPU.", OWN},
    {"cache_hit_rate", "1", G_ENG, "Prefix cache hits (share of tokens)",
     "Prompt tokens found in the prefix cache when a request was admitted, as a share of the prompt "
     "tokens looked up.", OWN},
    {"kv_wait_share", "1", G_KV, "Waiting for copies (share)",
     "Share of the time of all engine steps, waiting included, that steps waited for KV to be copied "
     "(kv.offload).", FSW},
    {"kv_wait_share_p99", "1", G_KV, "  of the longest 1 % of steps",
     "Of the engine steps in the longest hundredth, the share of their time that they waited for KV to be "
     "copied.", FSW},
    {"kv_conflict_wait", "s", G_KV, "  for blocks in use (s)",
     "Time that steps waited because they needed blocks whose KV was still being copied out "
     "(kv.swap=async).", FSW},
    {"kv_copied_out", "1", G_KV, "Copied out",
     "How often KV of a request or session was copied out of the GPU.", OWN},
    {"kv_copied_in", "1", G_KV, "Copied in", "How often KV was loaded back.", OWN},
    {"kv_recomputed", "1", G_KV, "Pushed out without a copy",
     "Requests that were pushed out and whose KV was not kept, by choice or for lack of room.", OWN},
    {"kv_lost", "1", G_KV, "Sessions lost to others",
     "Idle sessions whose KV was thrown away to make room.", OWN},
    {"kv_copy_calls", "1", G_KV, "Copy calls",
     "Copy calls in both directions: two per layer for each contiguous stretch of blocks.", FSW},
    {"kv_blocks_out", "1", G_KV, "Blocks copied out", "KV blocks copied out of the GPU.", OWN},
    {"kv_reuse_share", "1", G_KV, "  spared by reuse (share)",
     "Of the blocks that sequences had when they were copied out, the share that was outside already "
     "(kv.reuse).", FSW},
    {"kv_found_tokens", "tok", G_KV, "Tokens found outside",
     "Tokens whose KV was loaded instead of computed.", OWN},
    {"kv_host_peak", "byte", G_KV, "Host memory used, peak",
     "Most host memory that KV took at any time.", OWN},
    {"kv_bytes_to_nvme", "byte", G_KV, "Bytes to the drive", "KV of idle sessions written to the drive (kv.nvme).",
     OWN},
    {"kv_bytes_from_nvme", "byte", G_KV, "Bytes from the drive", "KV loaded from the drive.", OWN},
    {"kv_bytes_to_remote", "byte", G_KV, "Bytes to the remote store",
     "KV of idle sessions written to the remote store (kv.remote).", OWN},
    {"kv_bytes_from_remote", "byte", G_KV, "Bytes from the remote store", "KV loaded from the remote store.", OWN},
    {"kv_chunks_fine", "1", G_KV, "Chunks at level 3", "Chunks of KV that came at the finest level (kv.stream).", CGN},
    {"kv_chunks_medium", "1", G_KV, "Chunks at level 2", "Chunks of KV that came at the middle level.", CGN},
    {"kv_chunks_coarse", "1", G_KV, "Chunks at level 1", "Chunks of KV that came at the coarsest level.", CGN},
    {"kv_streams_cut", "1", G_KV, "Streams cut short", "Contexts of which the rest was computed because no level would "
     "have come in time.", CGN},
    {"kv_pages_mapped", "1", G_KV, "Pages mapped", "Pages of KV that were mapped, over all layers (kv.page).", VAT},
    {"kv_map_wait", "s", G_KV, "Waiting for pages (s)", "Time that steps took longer because pages had to be mapped.",
     VAT},
    {"kv_pins", "1", G_KV, "Pinned between turns", "How often KV of a program stayed on the GPU after a turn (kv.pin).",
     CNT},
    {"kv_pins_found", "1", G_KV, "  found by the next turn", "Pins whose program came back in time.", CNT},
    {"kv_pins_expired", "1", G_KV, "  expired", "Pins whose time was over before the tool had answered.", CNT},
    {"kv_pins_broken", "1", G_KV, "  taken back", "Pins that had to go because running requests needed the memory, or "
     "because nothing else could run.", CNT},
    {"kv_pinned_share", "1", G_KV, "KV pool pinned, mean (share)", "Share of the KV pool's blocks that were pinned, "
     "averaged over time.", CNT},

    {"ep_imbalance", "1", G_EP, "Busiest rank over the mean", "(token, expert) pairs of a layer on the rank that has "
     "most of them, over the mean of the ranks: mean over the steps and layers looked at.", EPLB},
    {"ep_imbalance_unplaced", "1", G_EP, "  without placement", "The same tokens with experts in the order of their "
     "numbers and no copies.", EPLB},
    {"ep_imbalance_worst", "1", G_EP, "  in the worst step", "Largest mean over the layers of one step.", OWN},
    {"ep_imbalance_cost", "1", G_EP, "Time lost to imbalance (share)", "Of the time of all steps, what they would be "
     "shorter by if every rank had the mean, moves of experts not counted.", OWN},
    {"ep_rebalances", "1", G_EP, "Placements made anew", "How often a new placement was computed.", OWN},
    {"ep_window_before", "1", G_EP, "  window's busiest rank, before", "Busiest rank over the mean, of the counts that a "
     "new placement goes by, with the old one.", EPLB},
    {"ep_window_after", "1", G_EP, "  with the new one", "The same with the new one.", EPLB},
    {"ep_experts_moved", "1", G_EP, "Experts moved between ranks", "Copies of experts sent from rank to rank, over all "
     "layers.", OWN},
    {"ep_moved_bytes", "byte", G_EP, "  bytes", "Bytes of experts sent from rank to rank.", OWN},
    {"ep_move_s", "s", G_EP, "  time under way (s)", "Time during which some expert was on its way.", OWN},
    {"ep_move_wait_s", "s", G_EP, "  time waited for (s)", "Time that steps waited for experts on their way.", OWN},
    {"ep_move_buffer_bytes", "byte", G_EP, "  buffer", "Most that one rank received for one layer before its new "
     "placement held: what it needs room for.", OWN},

    {"expert_hit_rate", "1", G_MOE, "Hit rate",
     "Of the different experts that the gate of a layer asked for in a step, the share that was in GPU memory "
     "when the gate had decided; with experts.planes, of the planes.", OWN},
    {"expert_decode_hit_rate", "1", G_MOE, "Hit rate, decode steps",
     "expert_hit_rate over the steps without prefill.", OWN},
    {"expert_misses_per_token", "1", G_MOE, "Misses per token",
     "(token, expert) pairs whose expert was not in GPU memory when the gate had decided, per token computed "
     "(prompt or output), summed over the layers.", BUD},
    {"expert_decode_misses_per_token", "1", G_MOE, "Misses per token, decode steps",
     "expert_misses_per_token over the steps without prefill.", BUD},
    {"expert_loads_per_token", "1", G_MOE, "Loads per token",
     "Experts (with experts.planes, planes) copied to the GPU, on demand or ahead, per token computed.", OWN},
    {"expert_h2d_bytes", "byte", G_MOE, "Expert bytes, host to GPU", "Bytes of experts copied to the GPU.", OWN},
    {"expert_d2h_bytes", "byte", G_MOE, "Expert bytes, GPU to host",
     "Bytes of evicted experts copied back (experts.writeback).", OWN},
    {"expert_stall_share", "1", G_MOE, "Stalled on copies (share of steps)",
     "Share of the time of engine steps in which the GPU waited for an expert's copy.", OWN},
    {"expert_busy_share", "1", G_MOE, "GPU at work (share of steps)",
     "Share of the time of engine steps in which the GPU computed (experts.planes).", OWN},
    {"expert_link_share", "1", G_MOE, "Link at work (share of steps)",
     "Share of the time of engine steps in which planes were on the link, calls not counted (experts.planes).", OWN},
    {"expert_bits", "bit", G_MOE, "Bits per pair", "Bit-width that a (token, expert) pair got, mean (experts.planes).", OWN},
    {"expert_planes_freed", "1", G_MOE, "Planes freed", "Planes of experts that went for others (experts.planes).", CNT},
    {"expert_peak_bytes", "byte", G_MOE, "Expert bytes in GPU memory, most",
     "Most bytes of planes of experts that were in GPU memory or on their way (experts.planes).", OWN},
    {"expert_cpu_wait_share", "1", G_MOE, "Waited for the CPU (share of steps)",
     "Share of the time of engine steps in which the GPU waited for experts on the CPU.", OWN},
    {"expert_host_share", "1", G_MOE, "Waited for the host's loop (share of steps)",
     "Share of the time of engine steps in which the GPU waited for the engine's loop over experts (experts.host).", OWN},
    {"expert_cpu_share", "1", G_MOE, "Computed on the CPU (share of pairs)",
     "Share of (token, expert) pairs that were computed on the CPU.", OWN},
    {"expert_replaced_per_token", "1", G_MOE, "Replaced experts per token",
     "(token, expert) pairs in which another expert took the place of a missed one, per token.", BUD},
    {"expert_replaced_mass", "1", G_MOE, "Replaced gate weight",
     "Gate weight of replaced experts, mean over tokens and layers (each has 1): a proxy for lost quality, no "
     "measure of it.", BUD},
    {"expert_skipped_mass", "1", G_MOE, "Skipped gate weight",
     "Gate weight of experts that were left out, mean over tokens and layers.", OWN},
    {"expert_bypassed_layers", "1", G_MOE, "Layers without replacement (share)",
     "Share of gates at which too many experts were missing for any to be replaced (the delta gate).", BUD},
    {"expert_blocked_tokens", "1", G_MOE, "Tokens without replacement (share)",
     "Share of (token, layer) pairs with a missed expert and gate weights too peaked to replace one (the TAE "
     "gate).", BUD},
    {"prefetch_recall", "1", G_MOE, "Prefetch recall",
     "Of the different experts that gates asked for, in layers for which the prefetcher had named any, the share "
     "that it had named.", OWN},
    {"prefetch_precision", "1", G_MOE, "Prefetch precision",
     "Of the experts that the prefetcher had named for a layer, the share that its gate asked for.", OWN},
    {"prefetch_in_time", "1", G_MOE, "Prefetched in time",
     "Of the experts that the prefetcher had named for a layer, the share that was there when its gate decided.", OWN},
    {"prefetch_good", "1", G_MOE, "Good predictions",
     "ProMoE's GoodPred: precision times the share in time.", "ProMoE (arXiv 2410.22134), 4.1"},

    {"replicas", "1", G_REPL, "Replicas", "Engines behind the router.", OWN},
    {"replica_request_spread", "1", G_REPL, "Requests of the fullest (x mean)",
     "Requests that went to the replica that got most, over the mean of all: 1 when all got the same.", OWN},
    {"replica_busy_spread", "1", G_REPL, "Busy time of the busiest (x mean)",
     "Time during which the busiest replica had a step under way, over the mean of all.", OWN},
    {"router_match_share", "1", G_REPL, "Prefix matches seen by the router",
     "Prompt tokens that the router's own record says the chosen replica had seen before, as a share of all "
     "prompt tokens. What the caches really held is cache_hit_rate.", OWN},
    {"router_balanced_share", "1", G_REPL, "Routed by load instead of prefix",
     "Share of the requests that went to the least loaded replica because the loads were out of balance.",
     "SGLang gateway 0.3.1 (cache_aware)"},
    {"router_refills", "1", G_REPL, "Refills of worker deficits",
     "How often a client had used up its deficit with every replica and got a quantum for each.",
     "D2LPM (arXiv 2501.14312)"},
    {"router_sessions", "1", G_REPL, "Conversations placed", "Conversations (or clients) that the router has placed.",
     OWN},
    {"router_kept", "1", G_REPL, "Requests that followed",
     "Requests that went where their conversation (or client) already was.", OWN},

    {"link_busy_max", "1", G_LINK, "Busiest link in use (share of time)",
     "Share of the time in which the link of the topology that was in use most carried KV or experts.", OWN},
    {"link_load_max", "1", G_LINK, "Fullest link (share of its bytes)",
     "Bytes that the most loaded link of the topology carried, over what it could have carried all the time.", OWN},
    {"link_bytes", "byte", G_LINK, "Bytes between GPUs and host memory",
     "KV and experts that went over the topology, to the GPUs and back.", OWN},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

const struct metric_def *metric_def_find(const char *name)
{
    for (const struct metric_def *d = metric_glossary; d->name; d++) {
        if (strcmp(d->name, name) == 0) {
            return d;
        }
    }
    return NULL;
}
