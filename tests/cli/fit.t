# What steelyard fit says when something is missing or misspelt, and a profile made by hand in use.
$ steelyard fit
2> steelyard: fit: no measurements given (see steelyard fit --help)
? 2
# A file that does not say what it is, is not there, or holds nothing.
$ steelyard fit nofile.json --gpu h200 --model llama-3.1-8b -o p.json
2> steelyard: nofile.json: No such file or directory
? 5
$ steelyard fit . --gpu h200 --model llama-3.1-8b -o p.json
2> steelyard: . is a folder; --from SOURCE says what it is (run, aiconfigurator, llmservingsim, ...; steelyard fit --help)
? 3
$ : > empty.json; steelyard fit empty.json --gpu h200 --model llama-3.1-8b -o p.json; rm empty.json
2> steelyard: empty.json: is empty
$ echo '{}' > other.json; steelyard fit other.json --gpu h200 --model llama-3.1-8b -o p.json; rm other.json
2> steelyard: other.json is no steelyard-probe file; --from SOURCE says what it is (run, aiconfigurator, llmservingsim, ...; steelyard fit --help)
$ mkdir tables; : > tables/x_sxm_vllm0.1.0_gemm.csv; : > tables/w_sxm_vllm0.1.0_gemm.csv; steelyard fit tables --from aiconfigurator --gpu h200 --model llama-3.1-8b -o p.json; rm -r tables
2> steelyard: tables: no tables (SYSTEM_vllmVERSION_gemm.csv.gz) of GPU h200; there is: w_sxm, x_sxm
$ steelyard fit . --from llmserving --gpu h100 --model llama-2-7b -o p.json
2> steelyard: source 'llmserving' is not known; did you mean 'llmservingsim'? (steelyard fit --help)
? 2
$ steelyard fit . --from llmservingsim --gpu h100 -o p.json --modell llama-2-7b
2> steelyard: option '--modell' is not known; did you mean '--model'? (steelyard help fit)
? 2
$ steelyard fit . --from llmservingsim --gpu h100 --model llama-2-7b -o p.json --format xml
2> steelyard: format 'xml' is not known (text, json, csv)
? 2
$ steelyard fit . --from llmservingsim --gpu h100 --model llama-2-7b -o p.json
2> steelyard: ./dense.csv: No such file or directory
? 5
$ printf 'gpu,model,tp,layer,tokens,time_us\nH100,Llama-2-7b,1,qkv_proj,1,ten\n' > dense.csv; steelyard fit . --from llmservingsim --gpu h100 --model llama-2-7b -o p.json; ls
1> dense.csv
2> steelyard: ./dense.csv:2: column 'time_us': 'ten' is not a number
$ steelyard fit . --from llmservingsim --gpu a40 --model llama-2-7b -o p.json
2> steelyard: ./dense: nothing about gpu 'a40'; there is: H100
? 3
$ printf 'time_s,prompt_tokens,output_tokens\n0,10,3\n' > t.csv
$ printf '{"schema": "steelyard.profile/1", "tp": 1, "overheads": {"step_us": 0, "seq_us": 0}, "terms": [{"name": "all", "count": 1, "axes": [{"name": "tokens", "at": [1, 1000]}], "us": [1000, 1000]}]}' > p.json
# Prefill and two decodes of 1 ms each.
$ steelyard run --trace t.csv --cost 'table{profile=p.json}' --set kv.tokens=1000 --format csv 2>&1 | grep -E '^mean_(ttft|tpot|e2el)'
1> mean_ttft_ms,1,ms
1> mean_tpot_ms,1,ms
1> mean_e2el_ms,3,ms
$ steelyard run --trace t.csv --cost 'table{profile=p.json}' --tp 2 --set kv.tokens=1000
2> steelyard: p.json is for tensor-parallel degree 1, the run has 2
? 2
$ steelyard run --trace t.csv --cost 'table{profile=q.json}' --set kv.tokens=1000
2> steelyard: table: cannot read 'q.json': No such file or directory
? 5
$ steelyard run --trace t.csv --cost table --set kv.tokens=1000
2> steelyard: table: no profile is given: table{profile=FILE}
? 2
# A file of steelyard-probe says itself what it is. One that was cut short is of use, and the rest is said.
$ printf '{"format":"steelyard-probe","version":1,"complete":false,"mode":"quick","started":"2025-01-01T00:00:00Z",\n"device":{"name":"NVIDIA A40","sm_count":84},"limits":{"read_byte_per_s":6.4e11},\n"measurements":[\n{"id":"norm m=1 hidden=4096 l2=cold","kind":"norm","params":{"m":1,"hidden":4096,"l2":"cold"},"time_s":{"median":2e-06},"byte":32768}\n],"skipped":[],"wrong":[]}\n' > probe.json
$ steelyard fit probe.json --gpu a40 --model llama-3.1-8b -o p.json | grep note
1>   note: the probe was cut short: 1 cases are there (steelyard-probe --continue goes on)
1>   note: products: 0 points of bf16 weights are too few; the roofline stands in
1>   note: attention_decode: no heads of 128 were measured; the roofline stands in
1>   note: attention_chunk: no heads of 128 were measured; the roofline stands in
1>   note: unequal contexts: not measured for these heads; they count as equal
1>   note: norms: 1 points of 'norm' are too few; memory traffic stands in
1>   note: rotary_kv_write: 0 points of 'rope' are too few; memory traffic stands in
1>   note: activation: 0 points of 'act' are too few; memory traffic stands in
1>   note: embedding: 0 points of 'embed' are too few; memory traffic stands in
1>   note: last_norm: 1 points of 'norm' are too few; memory traffic stands in
1>   note: sampler: 0 points of 'argmax' are too few; memory traffic stands in
$ steelyard run --trace t.csv --gpu a40 --model llama-3.1-8b --cost 'table{profile=p.json}' --format csv 2>&1 | grep -c mean_tpot_ms
1> 1
$ steelyard fit probe.json --gpu a40 --model llama-3.1-8b --scale small=2 -o q.json
2> steelyard: --scale: no family 'small' in the profile (there are: assumed)
? 2
$ steelyard fit probe.json --gpu a40 --model llama-3.1-8b --scale assumed=0.5 -o q.json --format json | grep -c 'assumed: all times taken 0.5 times'; tr ',' '\n' < p.json | grep '"count"' | head -1; tr ',' '\n' < q.json | grep '"count"' | head -1; rm q.json
1> 1
1> "count":32
1> "count":16
$ steelyard fit probe.json --gpu h100 --model llama-3.1-8b -o q.json
2> steelyard: probe.json: key 'device.sm_count': 84 on NVIDIA A40, but GPU h100 has 132: another chip?
? 3
$ sed 's/"m":1/"m":"one"/' probe.json > bad.json; steelyard fit bad.json --gpu a40 --model llama-3.1-8b -o q.json
2> steelyard: bad.json:4: 'norm m=1 hidden=4096 l2=cold': key 'm': a whole number is expected
? 3
$ head -3 probe.json > bad.json; steelyard fit bad.json --gpu a40 --model llama-3.1-8b -o q.json; test -e q.json
2> steelyard: bad.json:4: a value is missing or misspelt
? 1
$ sed '/"id"/d' probe.json > bad.json; steelyard fit bad.json --gpu a40 --model llama-3.1-8b -o q.json; test -e q.json || echo no profile
1> no profile
2> steelyard: bad.json: holds no measurements: nothing to fit to
# Times without rhyme or reason: the roofline is the better guess, and the report says so.
$ { head -3 probe.json; for m in 1 2 4 8 16 32 64 128 256 512 1024 2048 4096; do echo "{\"id\":\"norm m=$m\",\"kind\":\"norm\",\"params\":{\"m\":$m,\"hidden\":4096,\"l2\":\"cold\"},\"time_s\":{\"median\":$(awk "BEGIN { print (2 + $m * 0.027) * (int(log($m) / log(2) + 0.5) % 2 ? 1 : 3) * 1e-6 }")},\"byte\":$((m * 16384))}"; done | sed '$!s/$/,/'; echo '],"skipped":[],"wrong":[]}'; } > noise.json; steelyard fit noise.json --gpu a40 --model llama-3.1-8b -o q.json | grep -E '^  small|roofline on'; rm -f q.json
1>   small                26        104.50 %    202.08 %       44.30 %
1>   note: small: the fit is worse than the roofline on the points left out
# Steps that a GPU executed against their simulation.
$ printf '{"format":"steelyard-replay","version":1,"device":{"name":"A40"},"plan":{"model":{"name":"m"}},"iterations":[\n{"step":0,"chunks":1,"prefill_tok":10,"n_decode":0,"decode_tok":0,"graph":0,"measured_s":0.010,"simulated_s":0.0102},\n{"step":1,"chunks":0,"prefill_tok":0,"n_decode":1,"decode_tok":11,"graph":1,"measured_s":0.010,"simulated_s":0.0099}]}\n' > r.json
$ steelyard fit --check-replay r.json
1> r.json: 2 steps of m on A40
1>   simulated as the plan says
1>
1>   steps                  n    measured s   simulated s     total  median error       p95   largest
1>   all                    2        0.0200        0.0201   +0.50 %        1.50 %    1.95 %    2.00 %
1>   decodes alone          1        0.0100        0.0099   -1.00 %        1.00 %    1.00 %    1.00 %
1>   with prefill           1        0.0100        0.0102   +2.00 %        2.00 %    2.00 %    2.00 %
1>
1>   median at most 5 % and p95 at most 10 %: met
$ sed 's/0.0099/0.0121/' r.json > s.json; steelyard fit --check-replay s.json | tail -1
1>   median at most 5 % and p95 at most 10 %: not met
2> steelyard: s.json: median error 11.5 %, p95 20.0 %: more than 5 and 10 %
$ steelyard fit --check-replay s.json --profile p.json
2> steelyard: --check-replay: --profile and --plan go together
? 2
$ steelyard fit --check-replay probe.json
2> steelyard: probe.json: key 'format': is not "steelyard-replay": not a file of steelyard-probe --replay
? 3
# Profile, plan and replay of different models, degrees, chips or steps are refused, both sides named.
$ printf '{"format":"steelyard-plan","version":1,"model":{"name":"m","layers":2,"hidden":64,"heads":4,"kv_heads":2,"head_dim":64,"ffn":128,"vocab":1000,"experts":0,"tied_embedding":true},"tp":1,"block_tok":16}\n{"step":0,"start_ns":0,"dur_ns":5000,"chunks":[[0,11,1]],"decode":[],"decode_tok":0}\n' > plan.jsonl
$ steelyard fit --check-replay s.json --profile p.json --plan plan.jsonl
2> steelyard: p.json is of model llama-3.1-8b, the plan plan.jsonl of m
? 2
$ sed -i 's/"name":"m"/"name":"llama-3.1-8b"/' plan.jsonl s.json; sed 's/"name":"A40"/"name":"NVIDIA L40S"/' s.json > l.json; steelyard fit --check-replay l.json --profile p.json --plan plan.jsonl
2> steelyard: p.json is of GPU a40, l.json was executed on NVIDIA L40S
? 2
$ sed 's/"gpu":"[^"]*"/"gpu":"mine"/' p.json > mine.json; steelyard fit --check-replay l.json --profile mine.json --plan plan.jsonl
2> steelyard: l.json: iterations[0] is not step 0 of plan.jsonl: another plan was executed
? 2
$ sed 's/"tp":1/"tp":2/' p.json > two.json; steelyard fit --check-replay s.json --profile two.json --plan plan.jsonl
2> steelyard: two.json is for tensor-parallel degree 2, the plan plan.jsonl for 1
? 2
$ sed 's/"name":"llama/"name":"other-llama/' s.json > l.json; steelyard fit --check-replay l.json --profile p.json --plan plan.jsonl
2> steelyard: l.json executed a plan of model other-llama-3.1-8b, plan.jsonl is of llama-3.1-8b
? 2
$ printf '{"step":1,"start_ns":9000,"dur_ns":5000,"chunks":[],"decode":[11],"decode_tok":11}\n{"step":2,"start_ns":19000,"dur_ns":5000,"chunks":[],"decode":[12],"decode_tok":12}\n' >> plan.jsonl; sed -i 's/\[0,11,1\]/[0,10,1]/' plan.jsonl; steelyard fit --check-replay s.json --profile p.json --plan plan.jsonl
2> steelyard: s.json executed all of a plan of 2 steps, plan.jsonl has 3: another plan was executed
? 2
$ sed 's/"plan":{/"plan":{"seed":7,/' s.json > l.json; sed 's/"tp":1/"seed":8,"tp":1/' plan.jsonl > eight.jsonl; steelyard fit --check-replay l.json --profile p.json --plan eight.jsonl
2> steelyard: l.json executed a plan of seed 7, eight.jsonl is of 8
? 2
# The same with --limit, or cut short: the steps that are there are judged.
$ sed 's/"iterations"/"command":["--limit","2"],"iterations"/' s.json > l.json; steelyard fit --check-replay l.json --profile p.json --plan plan.jsonl | head -2
1> l.json: 2 steps of llama-3.1-8b on A40
1>   simulated with p.json
2> steelyard: l.json: median error 175.8 %, p95 176.2 %: more than 5 and 10 %
$ sed 's/"iterations"/"complete":false,"iterations"/' s.json > l.json; steelyard fit --check-replay l.json --profile p.json --plan plan.jsonl | grep note
1>   note: the replay was cut short
2> steelyard: l.json: median error 175.8 %, p95 176.2 %: more than 5 and 10 %

# Collectives of one machine, from what nccl-tests printed.
$ printf '# Collective test starting: all_reduce_perf\n# nThread 1 nGpus 4\n# size count type redop root time\n1048576 1 float sum -1 20\n2097152 1 float sum -1 30\n4194304 1 float sum -1 45\n' > ar.txt; steelyard fit ar.txt --from nccl-tests -o machine.json
1> every second size by a curve of the others
1> collective       ranks nodes  sizes        from   to bytes     median     worst
1> all_reduce           4     1      3   1.049e+06  4.194e+06      0.0 %     0.0 % at 2097152
1>
1> written to machine.json
$ steelyard run --trace 'synth:uniform{rates=1,requests=5,prompt=1000,output=50}' --model llama-3.1-8b --gpu h100 --policy fcfs --set tp=4 --set 'cost=roofline{collectives=machine.json}' | grep -c TPOT
1> 6
$ steelyard run --trace 'synth:uniform{rates=1,requests=5,prompt=1000,output=50}' --model llama-3.1-8b --gpu h100 --policy fcfs --set tp=8 --set 'cost=roofline{collectives=machine.json}'
2> steelyard: machine.json: no all_reduce of 8 ranks on one node was measured (of ranks: 4)
? 2
$ sed -i '/starting/d' ar.txt; steelyard fit ar.txt --from nccl-tests -o machine.json
2> steelyard: ar.txt:3: the output does not say which collective this is: give --op
? 3
$ steelyard fit ar.txt --from nccl-test --op all_reduce -o machine.json
2> steelyard: source 'nccl-test' is not known; did you mean 'nccl-tests'? (steelyard fit --help)
? 2
$ steelyard fit ar.txt --from nccl-tests --op allreduce -o machine.json
2> steelyard: collective 'allreduce' is not known; did you mean 'all_reduce'? (all_reduce, all_gather, reduce_scatter, all_to_all)
? 2
$ steelyard fit ar.txt --from nccl-tests --op all_reduce -o machine.json --format json | head -4
1> [
1>   {
1>     "op": "all_reduce",
1>     "ranks": 4,
# What a probe measured of them.
$ printf '{"format":"steelyard-probe","version":1,"complete":true,"mode":"quick","program":"1.0","command":[],\n"device":{"name":"X","uuid":"GPU-1","sm_count":1,"l2_byte":1,"driver":"none"},\n"limits":{},\n"measurements":[\n{"id":"c8192","kind":"collective","params":{"what":"all_gather","ranks":2,"bytes":8192},"time_s":{"n":1,"min":1e-05,"p25":1e-05,"median":1e-05,"p75":1e-05,"max":1e-05},"samples_s":[1e-05],"calls":1,"sets":1},\n{"id":"c32768","kind":"collective","params":{"what":"all_gather","ranks":2,"bytes":32768},"time_s":{"n":1,"min":2e-05,"p25":2e-05,"median":2e-05,"p75":2e-05,"max":2e-05},"samples_s":[2e-05],"calls":1,"sets":1},\n{"id":"c131072","kind":"collective","params":{"what":"all_gather","ranks":2,"bytes":131072},"time_s":{"n":1,"min":8e-05,"p25":8e-05,"median":8e-05,"p75":8e-05,"max":8e-05},"samples_s":[8e-05],"calls":1,"sets":1}],\n"skipped":[],\n"wrong":[]}\n' > peer.json; steelyard fit peer.json --from nccl-tests -o machine.json
1> every second size by a curve of the others
1> collective       ranks nodes  sizes        from   to bytes     median     worst
1> all_gather           2     1      3        8192  1.311e+05     41.4 %    41.4 % at 32768
1>
1> written to machine.json
$ steelyard run --trace synth:uniform --model llama-3.1-8b --gpu h100 --set tp=2 --set 'cost=roofline{collectives=machine.json}'; rm -f peer.json ar.txt machine.json
2> steelyard: roofline.collectives: machine.json has no measured all_reduce on one node (steelyard fit --from nccl-tests --op all_reduce writes one)
