# Several replicas behind a router. Steps take 10 ms; the fourth request comes when the first has left.
$ printf 'time_s,client,prompt_tokens,output_tokens,session\n0,a,16,1,7\n0.001,b,16,9,8\n0.002,a,16,9,7\n0.01,b,16,1,8\n' > t.csv
$ printf '{"trace": "t.csv", "cost": "linear{set=custom,prefill_a=10,decode_a=10}", "kv.tokens": 4096, "replicas": 2}' > c.json
$ steelyard run c.json --requests r.csv > out.txt; sed -n 3,5p out.txt; sed -n '/Replicas/,/^  *1 /p' out.txt
1> policy   fcfs
1> engine   vllm-v1
1> cluster  2 replicas, router round-robin
1> ------------------------- Replicas -------------------------
1> Replicas:                                                 2
1> Requests of the fullest (x mean):                         1
1> Busy time of the busiest (x mean):                   1.0526
1> ------------------------ By replica ------------------------
1> replica  requests completed preemptions  prefill tok   decode tok     busy s cache hit  KV peak
1>       0         2         2           0           32            8       0.10         0   0.0078
1>       1         2         2           0           32            8       0.09         0   0.0118
$ cut -d, -f1,2,8,11,18 r.csv
1> request,client,arrival_s,finish_s,replica
1> 0,a,0.000000000,0.010000000,0
1> 3,b,0.010000000,0.031000000,1
1> 1,b,0.001000000,0.091000000,1
1> 2,a,0.002000000,0.100000000,0
$ for router in $(steelyard list routers | cut -d' ' -f1); do steelyard run c.json --check --router $router --requests r.jsonl > a.txt && steelyard run c.json --no-skip --router $router | cmp - a.txt && echo "$router: $(sed 's/.*"request":\([0-9]*\).*"replica":\([0-9]*\).*/\1->\2/' r.jsonl | sort | tr '\n' ' ')"; done
1> cache-aware: 0->0 1->1 2->0 3->1 
1> d2lpm: 0->0 1->1 2->0 3->1 
1> least-kv: 0->0 1->1 2->0 3->0 
1> least-outstanding: 0->0 1->1 2->0 3->1 
1> least-tokens: 0->0 1->1 2->0 3->1 
1> llumnix: 0->0 1->1 2->0 3->0 
1> power-of-two: 0->0 1->1 2->0 3->0 
1> prefix: 0->0 1->1 2->0 3->1 
1> random: 0->0 1->1 2->0 3->0 
1> round-robin: 0->0 1->1 2->0 3->1 
1> session: 0->0 1->1 2->0 3->1 
1> vllm-dp: 0->0 1->1 2->0 3->1 
# One replica prints what it prints without a router, and its requests have no column for it.
$ steelyard run c.json --replicas 1 --router d2lpm > a.txt; steelyard run c.json --replicas 1 --requests r.csv | cmp - a.txt; head -1 r.csv
1> request,client,status,input_tokens,output_tokens,cached_tokens,preemptions,arrival_s,admit_s,first_token_s,finish_s,ttft_ms,tpot_ms,e2el_ms,measured_ttft_ms,measured_e2el_ms,reason
2> steelyard: --router: router=d2lpm changes nothing without replicas above 1
# A router takes options like a policy, on the command line and in a file.
$ printf '{"trace": "t.csv", "cost": "linear{set=custom,prefill_a=10,decode_a=10}", "kv.tokens": 4096, "replicas": 2, "router": {"name": "cache-aware", "threshold": 0.5}}' > d.json
$ steelyard run d.json | sed -n 5p; steelyard run c.json --router 'cache-aware{threshold=0.5}' | cmp - <(steelyard run d.json)
1> cluster  2 replicas, router cache-aware{threshold=0.5}
$ steelyard run c.json --router 'cache-aware{treshold=0.5}'
2> steelyard: --router: router 'cache-aware': cache-aware: unknown key 'treshold'; did you mean 'threshold'?
? 2
$ steelyard run c.json --router round-robbin
2> steelyard: --router: router 'round-robbin' is not known; did you mean 'round-robin'? (steelyard list routers)
? 2
$ steelyard run c.json --replicas 1000
2> steelyard: --replicas: key 'replicas': 1000 is outside 1..256
? 2
$ steelyard run c.json --plan-out plan.jsonl
2> steelyard: a plan file holds the steps of one engine: set replicas to 1
? 2
# Decisions say whose they are.
$ steelyard run c.json --policy 'log(fcfs)' --log log.jsonl > out.txt; head -3 log.jsonl
1> {"replica":0,"t_ns":0,"do":"admit","request":0,"client":0,"waiting":0,"running":0,"cached_tok":0}
1> {"replica":1,"t_ns":1000000,"do":"admit","request":1,"client":1,"waiting":0,"running":0,"cached_tok":0}
1> {"replica":0,"t_ns":10000000,"do":"finish","request":0,"client":0,"waiting":0,"running":0}
# The same in JSON.
$ steelyard run c.json --format json | sed -n '/"replicas": \[/,/^  \]/p' | head -12
1>   "replicas": [
1>     {
1>       "replica": 0,
1>       "requests": 2,
1>       "completed": 2,
1>       "preemptions": 0,
1>       "prefill_tokens": 32,
1>       "decode_tokens": 8,
1>       "busy_s": 0.1,
1>       "cache_hit_rate": 0,
1>       "kv_utilization_peak": 0.00784313725490196
1>     },
# Two routers and two numbers of replicas as a sweep.
$ steelyard sweep c.json --vary 'router=round-robin,least-outstanding' --vary replicas=1,2 --quiet | head -8
1> router             replicas  n  completed  rejected  mean_ttft_ms  p99_ttft_ms  mean_tpot_ms  mean_e2el_ms  output_throughput  jain_index  max_service_diff  verdict
1> round-robin        1         1          4         0         14.25        18.96            10         54.25                200           1                 0  stable
1> round-robin        2         1          4         0         14.75        20.90            10         54.75                200           1                 0  stable
1> least-outstanding  1         1          4         0         14.25        18.96            10         54.25                200           1                 0  stable
1> least-outstanding  2         1          4         0         14.75        20.90            10         54.75                200           1                 0  stable
