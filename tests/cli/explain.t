$ steelyard explain load.scale slo.ttft
1> load.scale: number, 1e-06 to 1000000, default 1
1>   Arrival rate relative to the trace: gaps between arrivals are divided by it.
1>   set: --set load.scale=...   or STEELYARD_LOAD__SCALE=...   or "load.scale": ... in a config file
1>
1> slo.ttft: number, unit ms, 0 to 1000000000, default 0
1>   Goal for the time to first token that goodput counts; 0 is none. A goal in the trace wins.
1>   set: --set slo.ttft=...   or STEELYARD_SLO__TTFT=...   or "slo.ttft": ... in a config file
$ steelyard explain p99_ttft_ms max_service_diff
1> p99_ttft_ms: metric, unit ms
1>   99th percentile (linear interpolation) of the time from a request's arrival to its first
1>   output token at the client.
1>   source: vllm bench serve (vLLM 0.19, vllm/benchmarks/serve.py)
1>
1> max_service_diff: metric, unit tok/s
1>   Largest over the ticks of a per-tick service difference. At a tick, y_j is the service of
1>   client j per second in the window (wp*prompt + wq*output tokens, a request's service spread
1>   evenly from its first token to its end), d_j its demand per second (the same weights over the
1>   requests that arrive in the window), Y = max y_j; the difference is the sum over clients of
1>   min(Y - y_j, |d_j - y_j|).
1>   source: VTC (Sheng et al., OSDI'24), section 5.1 and its artifact's plot scripts, Table 2
$ steelyard explain fcfs
1> fcfs: policy
1>   first come, first served; stops at the first request that does not fit
1>   source: vLLM V1 default; S-LoRA ('slora' in the VTC artifact)
