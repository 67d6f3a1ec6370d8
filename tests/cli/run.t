# One run, the same bytes whatever the way: again, step by step, with checks, from the environment.
$ printf 'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.00,374,44\n2023-11-16 18:15:46.25,396,109\n2023-11-16 18:15:46.50,879,55\n' > t.csv
$ printf '{"trace": "t.csv", "model": "llama-3.1-8b", "gpu": "a100-80g", "slo": {"ttft": "500ms"}}' > c.json
$ steelyard run c.json --format json > a.json
$ steelyard run c.json --format json | cmp - a.json
$ steelyard run c.json --format json --no-skip | cmp - a.json
$ steelyard run c.json --format json --check --policy fcfs | cmp - a.json
$ STEELYARD_GPU=a100-80g steelyard run --trace=t.csv --model=llama-3.1-8b --set slo.ttft=0.5s --format=json | cmp - a.json
$ steelyard run c.json > a.txt; sed -n 3p a.txt
1> policy   fcfs
# The configuration inside the results can be fed back.
$ sed -n '/"config": {/,/^  },/p' a.json | sed '1s/.*/{/; $s/,$//' > again.json; steelyard run again.json --format json | cmp - a.json
# Tokens in are tokens out.
$ steelyard run c.json --format csv | grep -E '^(completed|failed|total_input_tokens|total_output_tokens),'
1> completed,3,1
1> failed,0,1
1> total_input_tokens,1649,tok
1> total_output_tokens,208,tok
# Requests, one line each; the two forms agree.
$ steelyard run c.json --requests r.csv --format csv > m.csv; cut -d, -f1-8 r.csv
1> request,client,status,input_tokens,output_tokens,cached_tokens,preemptions,arrival_s
1> 0,0,ok,374,44,0,0,0.000000000
1> 2,0,ok,879,55,0,0,0.500000000
1> 1,0,ok,396,109,0,0,0.250000000
$ steelyard run c.json --requests r.jsonl --format csv | cmp - m.csv; wc -l < r.jsonl
1> 3
$ awk -F, 'NR > 1 { sum += $12 } END { printf "%.3f\n", sum / 3 }' r.csv; grep ^mean_ttft_ms m.csv | cut -d, -f2 | xargs printf '%.3f\n'
1> 43.123
1> 43.123
$ cut -d, -f12 r.csv | tail -n +2 > ttft.csv; grep -o '"ttft_ms":[0-9.]*' r.jsonl | cut -d: -f2 | cmp - ttft.csv
# Nothing runs in a dry run, but everything is opened.
$ steelyard run c.json --dry-run > dry.json; steelyard run dry.json --format json | cmp - a.json
$ steelyard run c.json --dry-run --gpu h1000
2> steelyard: GPU 'h1000' is unknown; did you mean 'h100'?
? 2
# A database: the second time nothing is added.
$ steelyard run c.json --db runs.db --format csv | cmp - m.csv
$ steelyard run c.json --db runs.db --format csv | cmp - m.csv
2> runs.db has this run already; it is left as it is
# A reader that goes away is an error of writing.
$ { sleep 0.2; steelyard run c.json; echo "status $?" >&2; } | :
2> status 5
# Standard error is empty without a terminal.
$ steelyard run c.json --format csv > /dev/null
$ steelyard run c.json --verbose --format csv 2>&1 > /dev/null | sed 's/in [0-9.]* s .*;/in T;/'
1> 3 requests in T; 134 engine steps, 17 walked one by one
# A run shorter than the window of the service metrics has them all the same.
$ steelyard run c.json --format csv --set service.window=1h | grep -E '^(max_service_diff|jain_index),'
1> max_service_diff,0,tok/s
1> jain_index,1,1
# Each metric of a run is in the glossary, with the unit that it is printed with.
$ printf 'time_s,prompt_tokens,output_tokens,slo_class\n0,9,9,latency\n1,9,9,deadline\n2,9,9,compound\n' > classes.csv
$ offload='--model deepseek-v2-lite --gpu a100-80g --set cost=roofline --set executor=layers --set experts.rate=0.5'; { steelyard run c.json --trace classes.csv --set metrics.slowdown=on --set kv.offload=swap --set kv.nvme=1GB --set kv.remote=1GB --set kv.sessions=on --set kv.stream=1000 --set load.sessions=on --set kv.pin=ttl --batcher 'vllm-v1{block_size=32}' --set kv.page=64KiB --format csv; steelyard run c.json $offload --format csv; steelyard run c.json --model llama-moe-3.5b --gpu a100-80g --set cost=roofline --set executor=layers --set 'experts.planes=2;4' --set experts.routes=uniform --format csv; steelyard run c.json --model deepseek-v2-lite --gpu h100 --set cost=ep{ranks=8} --set placement.policy=eplb --set placement.sample=100 --format csv; for router in session cache-aware d2lpm; do steelyard run c.json --trace classes.csv --replicas 2 --router $router --format csv; done; steelyard run c.json --trace classes.csv --set topology=l40s-4x --format csv; } | grep -v ^metric | awk -F, '{print $1, $3}' | sort -u > printed; steelyard list metrics | grep -v 'Of one client' | sed -E 's/^([^ ]+) +\[([^]]*)\].*/\1 \2/' | sort | diff printed -
# Standard input and gzip are traces like any other.
$ steelyard run c.json --trace - --format csv < t.csv | cmp - m.csv
$ gzip -c t.csv > t.csv.gz; steelyard run c.json --trace t.csv.gz --format csv | cmp - m.csv
# Ctrl-C ends a run in order.
$ steelyard run c.json --policy 'log(fcfs)' --log busy.jsonl --set trace.repeat=1000000 2> err & p=$!; until [ -s busy.jsonl ]; do sleep 0.05; done; kill -INT $p; wait $p; echo $?; sed 's/[0-9.]* s of/T s of/' err; rm busy.jsonl
1> 130
1> steelyard: interrupted at T s of simulated time
# A log of decisions, and a check around a policy, do not change the results.
$ steelyard run c.json --policy 'check(fcfs)' --format csv | cmp - m.csv
$ steelyard run c.json --policy 'log(fcfs)' --log l.jsonl --format csv | cmp - m.csv; [ $(wc -l < l.jsonl) -ge 3 ] || wc -l l.jsonl
# Clients are called what the trace calls them.
$ printf 'time_s,client,prompt_tokens,output_tokens\n0,bob,10,20\n1,"a,b",30,40\n' > n.csv; steelyard run c.json --trace n.csv --requests n.jsonl > n.txt; grep -o '"client":"[^"]*"' n.jsonl; sed -n '/Clients/,/===/p' n.txt | cut -c1-35
1> "client":"bob"
1> "client":"a,b"
1> ------------------------- Clients -
1> client           requests completed
1> bob                     1         1
1> a,b                     1         1
1> ===================================
