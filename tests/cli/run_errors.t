# Wrong input to a run: one sentence that names the place, and the documented status; never a crash.
$ printf 'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.00,374,44\n2023-11-16 18:15:50.25,396,109\n2023-11-16 18:15:51.50,879,55\n' > ok.csv
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g > /dev/null
# ---- the trace ----
$ steelyard run --model llama-3.1-8b --gpu a100-80g
2> steelyard: no trace is named: use --trace FILE, or the key 'trace' in a config file
? 2
$ steelyard run --trace missing.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: missing.csv: No such file or directory
? 5
$ : > empty.csv; steelyard run --trace empty.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: empty.csv: the file is empty
? 3
$ head -1 ok.csv > head.csv; steelyard run --trace head.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: head.csv: the trace holds no request
? 3
$ gzip -c ok.csv | head -c 60 > cut.csv.gz; steelyard run --trace cut.csv.gz --model llama-3.1-8b --gpu a100-80g
2> steelyard: cut.csv.gz: the gzip file is truncated (after line 0)
? 3
$ printf 'hello\nworld\n' > text.csv; steelyard run --trace text.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: text.csv: not a trace format that I know (it begins with 'hello'); name one with trace.format
? 3
$ sed 's/,396,/,-396,/' ok.csv > minus.csv; steelyard run --trace minus.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: minus.csv:3: column 'ContextTokens': '-396' is negative
? 3
$ sed 's/,109$/,0/' ok.csv > zero.csv; steelyard run --trace zero.csv --model llama-3.1-8b --gpu a100-80g
1> stable: offered load is 2 % of capacity (0.545 of about 26.6 requests/s), requests waited in 0 % of the time, 1 were waiting at the last arrival
1>
1> policy   fcfs
1> engine   vllm-v1
1> machine  model llama-3.1-8b, gpu a100-80g, tp 1
1> cost     roofline: llama-3.1-8b (bf16, KV bf16) on 1 x NVIDIA A100 80GB SXM, shares of peak 0.8 gemm, 0.5 attention, 0.8 memory, 0.6 KV
1> trace    zero.csv (azure, 3 requests)
1> seed     0, replication 0
1>
1> ================= Serving Benchmark Result =================
1> Successful requests:                                      3
1> Failed requests:                                          0
1> Rejected requests:                                        0
1> Refused requests:                                         0
1> Peak concurrent requests:                                 1
1> Benchmark duration (s):                                6.10
1> Total input tokens:                                    1649
1> Total generated tokens:                                 100
1> Request throughput (req/s):                            0.49
1> Request goodput (req/s):                               0.49
1> Output token throughput (tok/s):                      16.40
1> Total token throughput (tok/s):                      286.85
1> Request rate (req/s):                                  0.55
1> Offered load (share of capacity):                    0.0205
1> ------------------- Time to First Token --------------------
1> Mean TTFT (ms):                                       34.31
1> Median TTFT (ms):                                     24.82
1> Std TTFT (ms):                                        14.37
1> P90 TTFT (ms):                                        48.66
1> P95 TTFT (ms):                                        51.64
1> P99 TTFT (ms):                                        54.03
1> --------- Time per Output Token (excl. 1st token) ----------
1> Mean TPOT (ms):                                       10.05
1> Median TPOT (ms):                                     10.05
1> Std TPOT (ms):                                         0.00
1> P90 TPOT (ms):                                        10.05
1> P95 TPOT (ms):                                        10.05
1> P99 TPOT (ms):                                        10.05
1> ------------------- Inter-token Latency --------------------
1> Mean ITL (ms):                                        10.05
1> Median ITL (ms):                                      10.05
1> Std ITL (ms):                                          0.00
1> P90 ITL (ms):                                         10.05
1> P95 ITL (ms):                                         10.05
1> P99 ITL (ms):                                         10.05
1> -------------------- End-to-end Latency --------------------
1> Mean E2EL (ms):                                      359.24
1> Median E2EL (ms):                                    455.87
1> Std E2EL (ms):                                       243.43
1> P90 E2EL (ms):                                       568.90
1> P95 E2EL (ms):                                       583.03
1> P99 E2EL (ms):                                       594.34
1> ------------------------- Queueing -------------------------
1> Mean queueing time (ms):                               0.00
1> Median queueing time (ms):                             0.00
1> Std queueing time (ms):                                0.00
1> P90 queueing time (ms):                                0.00
1> P95 queueing time (ms):                                0.00
1> P99 queueing time (ms):                                0.00
1> Longest wait (ms):                                     0.00
1> ------------------ Fairness among clients ------------------
1> Max service difference:                                0.00
1> Mean service difference:                               0.00
1> Var service difference:                                0.00
1> Max accumulated difference:                               0
1> Mean accumulated difference:                              0
1> Jain index of service:                                    1
1> -------------------------- Engine --------------------------
1> GPU busy (share of time):                            0.1768
1> KV pool used, mean (share):                          0.0003
1> KV pool used, peak (share):                          0.0021
1> KV pool (tokens):                                    454496
1> Mean running requests:                               0.1429
1> Mean waiting requests:                                    0
1> Mean batch size:                                          1
1> Engine steps:                                           100
1> Preemptions:                                              0
1> Swaps out:                                                0
1> Swaps in:                                                 0
1> PCIe bytes, GPU to host:                                  0
1> PCIe bytes, host to GPU:                                  0
1> Prefix cache hits (share of tokens):                      0
1> ============================================================
$ sed 's/,396,/,nan,/' ok.csv > nan.csv; steelyard run --trace nan.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: nan.csv:3: column 'ContextTokens': 'nan' is not finite
? 3
$ sed 's/,396,/,99999999999999999999,/' ok.csv > huge.csv; steelyard run --trace huge.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: huge.csv:3: column 'ContextTokens': '99999999999999999999' is too large
? 3
$ sed 's/18:15:51/18:15:41/' ok.csv > back.csv; steelyard run --trace back.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: back.csv:4: the arrival time -4.5 s is negative
? 3
$ sed 's/,109$//' ok.csv > short.csv; steelyard run --trace short.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: short.csv:3: 2 fields where the header names 3 columns
? 3
$ (head -1 ok.csv; head -c 20000000 /dev/zero | tr '\0' 7; echo) > long.csv; steelyard run --trace long.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: long.csv:2: the line is longer than 16 MiB
? 3
$ mkdir folder; steelyard run --trace folder --model llama-3.1-8b --gpu a100-80g
2> steelyard: folder: is a directory, not a trace
? 5
$ steelyard run --trace ok.csv --set trace.format=azur --model llama-3.1-8b --gpu a100-80g
2> steelyard: 'azur' is not a trace format; did you mean 'azure'?
? 2
$ steelyard run --trace ok.csv --set trace.format=native --model llama-3.1-8b --gpu a100-80g
2> steelyard: ok.csv:1: unknown column 'TIMESTAMP'
? 3
# ---- the machine ----
$ steelyard run --trace ok.csv
2> steelyard: roofline needs a model and a GPU: both is missing
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b
2> steelyard: roofline needs a model and a GPU: the GPU is missing
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8 --gpu a100-80g
2> steelyard: model 'llama-3.1-8' is unknown; did you mean 'llama-3.1-8b'?
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80
2> steelyard: GPU 'a100-80' is unknown; did you mean 'a100-80g'?
? 2
$ steelyard run --trace ok.csv --model ./none.json --gpu a100-80g
2> steelyard: ./none.json: No such file or directory
? 5
$ echo '{"hidden_size": 4096' > bad.json; steelyard run --trace ok.csv --model ./bad.json --gpu a100-80g
2> steelyard: ./bad.json:2:1: the text ends too early
? 2
$ steelyard run --trace ok.csv --model llama-3.1-70b --gpu a100-80g
2> steelyard: llama-3.1-70b in bf16 does not fit on 1 x a100-80g: 131.41 GiB of weights and 1.08 GiB of activations and runtime per GPU leave -61.17 GiB of 71.33 GiB (90 % of the memory), one KV block needs 0.0049 GiB
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set weight_dtype=fp12
2> steelyard: weight format 'fp12' is unknown: auto, fp32, fp16, bf16, fp8, int8, int4 or fp4
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --tp 0
2> steelyard: --tp: key 'tp': 0 is outside 1..64
? 2
# ---- a prompt larger than the pool is refused; the others run ----
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set kv.tokens=512 --format csv | grep -E '^(completed|failed|refused),'
1> completed,1,1
1> failed,2,1
1> refused,2,1
# ---- the command line and what it writes ----
$ steelyard run --trace ok.csv --format xml
2> steelyard: format 'xml' is not known (text, json, csv)
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --requests rows.parquet
2> steelyard: --requests 'rows.parquet': the name has to end in .csv or .jsonl
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --requests none/rows.csv
2> steelyard: none/rows.csv: No such file or directory
? 5
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --log none/log.jsonl
2> steelyard: none/log.jsonl: No such file or directory
? 5
$ steelyard run a.json b.json
2> steelyard: 'b.json' is one word too many (steelyard help run)
? 2
$ steelyard run --polcy fcfs
2> steelyard: option '--polcy' is not known; did you mean '--policy'? (steelyard help run)
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set load.scale=nan
2> steelyard: --set: key 'load.scale': 'nan' is not a number
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g > /dev/full
2> steelyard: standard output: No space left on device
? 5
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --requests /dev/full.csv
1> stable: offered load is 2 % of capacity (0.545 of about 23.6 requests/s), requests waited in 0 % of the time, 1 were waiting at the last arrival
1>
1> policy   fcfs
1> engine   vllm-v1
1> machine  model llama-3.1-8b, gpu a100-80g, tp 1
1> cost     roofline: llama-3.1-8b (bf16, KV bf16) on 1 x NVIDIA A100 80GB SXM, shares of peak 0.8 gemm, 0.5 attention, 0.8 memory, 0.6 KV
1> trace    ok.csv (azure, 3 requests)
1> seed     0, replication 0
1>
1> ================= Serving Benchmark Result =================
1> Successful requests:                                      3
1> Failed requests:                                          0
1> Rejected requests:                                        0
1> Refused requests:                                         0
1> Peak concurrent requests:                                 1
1> Benchmark duration (s):                                6.10
1> Total input tokens:                                    1649
1> Total generated tokens:                                 208
1> Request throughput (req/s):                            0.49
1> Request goodput (req/s):                               0.49
1> Output token throughput (tok/s):                      34.11
1> Total token throughput (tok/s):                      304.56
1> Request rate (req/s):                                  0.55
1> Offered load (share of capacity):                    0.0231
1> ------------------- Time to First Token --------------------
1> Mean TTFT (ms):                                       34.31
1> Median TTFT (ms):                                     24.82
1> Std TTFT (ms):                                        14.37
1> P90 TTFT (ms):                                        48.66
1> P95 TTFT (ms):                                        51.64
1> P99 TTFT (ms):                                        54.03
1> --------- Time per Output Token (excl. 1st token) ----------
1> Mean TPOT (ms):                                       10.05
1> Median TPOT (ms):                                     10.05
1> Std TPOT (ms):                                         0.00
1> P90 TPOT (ms):                                        10.05
1> P95 TPOT (ms):                                        10.05
1> P99 TPOT (ms):                                        10.05
1> ------------------- Inter-token Latency --------------------
1> Mean ITL (ms):                                        10.05
1> Median ITL (ms):                                      10.05
1> Std ITL (ms):                                          0.00
1> P90 ITL (ms):                                         10.05
1> P95 ITL (ms):                                         10.05
1> P99 ITL (ms):                                         10.05
1> -------------------- End-to-end Latency --------------------
1> Mean E2EL (ms):                                      721.01
1> Median E2EL (ms):                                    597.16
1> Std E2EL (ms):                                       281.24
1> P90 E2EL (ms):                                      1007.53
1> P95 E2EL (ms):                                      1058.83
1> P99 E2EL (ms):                                      1099.87
1> ------------------------- Queueing -------------------------
1> Mean queueing time (ms):                               0.00
1> Median queueing time (ms):                             0.00
1> Std queueing time (ms):                                0.00
1> P90 queueing time (ms):                                0.00
1> P95 queueing time (ms):                                0.00
1> P99 queueing time (ms):                                0.00
1> Longest wait (ms):                                     0.00
1> ------------------ Fairness among clients ------------------
1> Max service difference:                                0.00
1> Mean service difference:                               0.00
1> Var service difference:                                0.00
1> Max accumulated difference:                               0
1> Mean accumulated difference:                              0
1> Jain index of service:                                    1
1> -------------------------- Engine --------------------------
1> GPU busy (share of time):                            0.3548
1> KV pool used, mean (share):                          0.0004
1> KV pool used, peak (share):                          0.0021
1> KV pool (tokens):                                    454496
1> Mean running requests:                               0.2857
1> Mean waiting requests:                                    0
1> Mean batch size:                                          1
1> Engine steps:                                           208
1> Preemptions:                                              0
1> Swaps out:                                                0
1> Swaps in:                                                 0
1> PCIe bytes, GPU to host:                                  0
1> PCIe bytes, host to GPU:                                  0
1> Prefix cache hits (share of tokens):                      0
1> ============================================================
