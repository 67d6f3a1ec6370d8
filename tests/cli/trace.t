$ printf 'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.00,374,44\n2023-11-16 18:15:50.25,396,109\n2023-11-16 18:15:51.50,879,55\n' > t.csv
$ steelyard trace info t.csv
1> trace            t.csv (azure)
1> requests         3
1> time             0.000 to 5.500 s
1> rate             0.3636 requests/s, gaps vary by 0.545 (CV)
1> prompt tokens    mean 549.7, median 396, p90 782, p95 831, p99 869, max 879
1> output tokens    mean 69.3, median 55, p90 98, p95 104, p99 108, max 109
1> total tokens     1649 in, 208 out
1> clients          1
$ steelyard trace info t.csv --json
1> {
1>   "schema": "steelyard.trace/1",
1>   "trace": "t.csv",
1>   "format": "azure",
1>   "requests": 3,
1>   "left_out": 0,
1>   "first_s": 0,
1>   "last_s": 5.5,
1>   "rate_per_s": 0.36363636363636365,
1>   "gap_cv": 0.5454545454545454,
1>   "prompt_tokens": {
1>     "total": 1649,
1>     "mean": 549.6666666666666,
1>     "std": 233.04696713085303,
1>     "min": 374,
1>     "p50": 396,
1>     "p90": 782.4000000000001,
1>     "p95": 830.6999999999999,
1>     "p99": 869.3399999999999,
1>     "max": 879
1>   },
1>   "output_tokens": {
1>     "total": 208,
1>     "mean": 69.33333333333333,
1>     "std": 28.40578970718626,
1>     "min": 44,
1>     "p50": 55,
1>     "p90": 98.2,
1>     "p95": 103.6,
1>     "p99": 107.92,
1>     "max": 109
1>   },
1>   "sessions": 0,
1>   "requests_in_sessions": 0,
1>   "requests_with_ids": 0,
1>   "distinct_ids": 0,
1>   "reuse_share": null,
1>   "measured_requests": 0,
1>   "clients": [
1>     {
1>       "client": "0",
1>       "requests": 3,
1>       "prompt_tokens": 1649,
1>       "output_tokens": 208
1>     }
1>   ]
1> }
$ steelyard trace head t.csv -n 2
1> time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class
1> 0,0,374,44,,,,,,,,,,,,,
1> 4.25,0,396,109,,,,,,,,,,,,,
# Forms of the same trace hold the same; so do their runs.
$ steelyard trace convert t.csv -o t.native.csv && steelyard trace convert t.native.csv -o t.csv.gz && steelyard trace convert t.csv.gz -o t.packed && steelyard trace convert t.packed | cmp - t.native.csv
$ steelyard trace info t.packed --json | grep -v '"trace"\|"format"' > a; steelyard trace info t.csv.gz --json | grep -v '"trace"\|"format"' | cmp - a
$ for f in t.csv t.native.csv t.csv.gz t.packed; do steelyard run --trace $f --model llama-3.1-8b --gpu a100-80g --format csv > $f.out; cmp $f.out t.csv.out; done
# Parts.
$ steelyard trace cut t.csv --from 4s --to 5.5s
1> time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class
1> 0.25,0,396,109,,,,,,,,,,,,,
$ steelyard trace cut t.csv --from 4s --keep-times --limit 1
1> time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class
1> 4.25,0,396,109,,,,,,,,,,,,,
$ steelyard trace cut t.csv --to 4.25
1> time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class
1> 0,0,374,44,,,,,,,,,,,,,
$ steelyard trace cut t.csv --client nobody
1> time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class
2> steelyard: no request of the trace is in this part
? 3
# Generated traces: the same seed is the same trace, another one is not.
$ steelyard trace synth 'azure-conv{requests=100}' -o a.csv; steelyard trace synth 'synth:azure-conv{requests=100}' | cmp - a.csv; steelyard trace synth 'azure-conv{requests=100}' --seed 1 | cmp -s - a.csv || echo differ
1> differ
$ steelyard trace info a.csv | grep requests
1> requests         100
1> rate             5.309 requests/s, gaps vary by 0.979 (CV)
# Wrong input.
$ steelyard trace
2> steelyard: trace what? info, head, convert, cut, synth or tlp
? 2
$ steelyard trace inof t.csv
2> steelyard: trace command 'inof' is not known; did you mean 'info'? (steelyard help trace)
? 2
$ steelyard trace info
2> steelyard: trace info needs a trace (steelyard help trace)
? 2
$ steelyard trace info none.csv
2> steelyard: none.csv: No such file or directory
? 5
$ steelyard trace info t.csv b.csv
2> steelyard: 'b.csv' is one word too many (steelyard help trace)
? 2
$ steelyard trace info t.csv --jsno
2> steelyard: option '--jsno' is not known; did you mean '--json'? (steelyard help trace)
? 2
$ steelyard trace head t.csv -n x
2> steelyard: key '-n': 'x' is not a number
? 2
$ steelyard trace head t.csv -n 0
2> steelyard: -n 0 shows nothing
? 2
$ steelyard trace cut t.csv --from 5 --to 4
2> steelyard: cut: --from has to lie before --to
? 2
$ steelyard trace cut t.csv --from soon
2> steelyard: key '--from': 'soon' is not a number
? 2
$ steelyard trace synth nonsense
2> steelyard: synth:nonsense: no such generator (poisson, gamma, uniform, modulated or a preset such as azure-conv)
? 2
$ steelyard trace convert t.csv -o none/x.csv
2> steelyard: none/x.csv: No such file or directory
? 5
$ steelyard trace convert t.csv -o t.csv; wc -l < t.csv
1> 4
2> steelyard: t.csv: a trace cannot be written over itself
$ ln -s /dev/full full.csv; steelyard trace convert a.csv -o full.csv
2> steelyard: full.csv: No space left on device
? 5
$ steelyard trace convert a.csv > /dev/full
2> steelyard: -: No space left on device
? 5
$ sed 's/,109$/,/' t.csv > bad.csv; steelyard trace convert bad.csv -o half.csv; ls half.csv
2> steelyard: bad.csv:3: column 'GeneratedTokens': '' is missing
2> ls: cannot access 'half.csv': No such file or directory
? 2
# Packets of a copy: the doorbell, the push buffer, one write of data, the semaphore, the interrupt.
$ steelyard trace tlp --bytes 200 --to host -o -
1> t_ns,dir,tlp,id,cause_id,role,req_id,tag,addr,len_dw,first_be,last_be,byte_count,lower_addr,wire_bytes
1> 0.000,DS,MWr32,1,0,doorbell,00:00.0,,0xd0000090,1,f,0,,,24
1> 750.423,US,MRd64,2,1,fetch,01:00.0,0,0x100002000,16,f,f,,,24
1> 1300.846,DS,CplD,3,2,fetch,01:00.0,0,0x100002000,16,f,f,64,0x00,84
1> 1552.324,US,MWr64,4,3,data,01:00.0,,0x100000000,50,f,f,,,224
1> 1556.265,US,MWr64,5,4,semaphore,01:00.0,,0x100003000,2,f,f,,,32
1> 1556.828,US,MWr32,6,5,interrupt,01:00.0,,0xfee00000,1,f,0,,,24
$ steelyard trace tlp --gen 4 --bytes 1Mi
1> copy             1048576 bytes to the gpu
1> from the host   1 MWr32, 4097 CplD, 1130604 bytes on the wire
1> from the GPU    2049 MRd64, 1 MWr32, 1 MWr64, 49232 bytes on the wire
1> doorbell to end  42.380 us
1> data             40.573 us, 25.84 GB/s (a long copy: 26.37)
1> rules            10 looked at, none broken
$ steelyard trace tlp --gen 4 --bytes 1Mi -o p.csv; wc -l < p.csv; cut -d, -f3 p.csv | sort | uniq -c
1> 6150
1>    4097 CplD
1>    2049 MRd64
1>       2 MWr32
1>       1 MWr64
1>       1 tlp
$ steelyard trace tlp --lanes 3
2> steelyard: there is no PCI Express of generation 5 with 3 lanes, payload 256 and read request 512
? 2
$ steelyard trace tlp --credits 1,2
2> steelyard: --credits: three numbers are expected, as 784,1456,784
? 2
$ steelyard trace tlp --tgas 3
2> steelyard: option '--tgas' is not known; did you mean '--tags'? (steelyard help tlp)
? 2
$ steelyard trace tlp -o none/p.csv
2> steelyard: none/p.csv: No such file or directory
? 5
$ steelyard trace tlp -o /dev/full
2> steelyard: /dev/full: No space left on device
? 5
# Expert routes: two prompts, two of four experts in each of two layers.
$ printf 'prompt,pos,experts\n1,0,ABCD\n1,1,ACBD\n1,2,ABCD\n2,0,CDAB\n2,1,ABCD\n2,2,BDAC\n' > r.csv
$ steelyard trace info --experts r.csv
1> routes                 r.csv
1> from                   recorded: r.csv, 6 tokens of 2 sequences
1> experts                2 of 4 in each of 2 MoE layers
1> sample                 6 tokens of 2 sequences
1> use of experts, mean over layers
1>   entropy               0.959 of the most possible; max/mean 1.33, CV 0.33, Zipf slope 0.57
1>   share of top          12.5%  25.0%  37.5%  50.0%  75.0%
1>                         0.167  0.333  0.500  0.667  0.833
1>   over layers          entropy 0.959 to 0.959, max/mean at most 1.33, Zipf slope 0.57 to 0.57
1> reuse: share of a token's experts that an earlier token of the sequence used
1>   tokens before             1      2      4      8     16     32     64
1>                         0.375  0.750      -      -      -      -      -
1> different experts of so many tokens in a row
1>   tokens                    8     16     32     64    128
1>                             -      -      -      -      -
1> hit rate of a cache per layer, by experts in it
1>   experts                   1      1      2      2      3      3
1>   lru                   0.125  0.125  0.250  0.250  0.542  0.542
1>   lfu                   0.125  0.125  0.250  0.250  0.500  0.500
1>   decayed               0.125  0.125  0.250  0.250  0.500  0.500
1>   static                0.333  0.333  0.667  0.667  0.833  0.833
1>   belady                0.333  0.333  0.500  0.500  0.667  0.667
1>   who foresees 16 tokens reaches 0.625 1.000 1.000 with 2, 4, 6 experts; all of a sequence: 0.625 1.000 1.000
1> misses of a token in a layer: share of tokens
1>   lru, 1 experts        0.000  0.250  0.750
1>   lru, 2 experts        0.000  0.500  0.500
1>   lru, 2 experts        0.000  0.500  0.500
1>   lru, 3 experts        0.250  0.583  0.167
1>   static, 1 experts     0.000  0.667  0.333
1>   static, 2 experts     0.500  0.333  0.167
1>   static, 2 experts     0.500  0.333  0.167
1>   static, 3 experts     0.667  0.333  0.000
1> experts that work together
1>   share of joint uses    0.25   0.50   0.75   0.90   0.95
1>   held by peers           1.0    1.0    1.5    2.0    2.0
1>   4, 8, 16 peers hold    1.000 1.000 1.000; a tenth of the pairs holds 0.300
1> next layer
1>   mutual information    0.481 bit; the 20 % likeliest successors hold 0.400, the 20 % most used 0.267
1>   naive Bayes names         2      3      4      5      8
1>   of the experts        1.000  1.000  1.000  1.000  1.000
$ steelyard trace info --experts 'recorded{file=r.csv}' --sequences 1 --format json | sed -n 1,15p
1> {
1>   "schema": "steelyard.routes/1",
1>   "routes": "recorded{file=r.csv}",
1>   "provenance": "recorded: r.csv, 6 tokens of 2 sequences",
1>   "experts": 4,
1>   "top_k": 2,
1>   "layers": 2,
1>   "tokens": 3,
1>   "sequences": 1,
1>   "popularity": {
1>     "entropy": 0.7295739585136223,
1>     "max_over_mean": 2,
1>     "cv": 0.7453559924999299,
1>     "zipf": 0.9553079170365243,
1>     "top_parts": [
$ steelyard trace info --experts 'synth{preset=olmoe-1b-7b}' --sequences 2 --lengths 32 | sed -n 3,4p
1> experts                8 of 64 in each of 16 MoE layers
1> sample                 64 tokens of 2 sequences
$ steelyard trace info --experts uniform --model deepseek-v2-lite --sequences 2 --lengths 32 | sed -n 2,4p
1> from                   uniform and independent
1> experts                6 of 64 in each of 26 MoE layers
1> sample                 64 tokens of 2 sequences
$ steelyard trace info --experts r.csv --model mixtral-8x7b
2> steelyard: routes recorded have 2 of 8 experts in 2 MoE layers, the model mixtral-8x7b has 2 of 8 in 32
? 2
$ steelyard trace info --experts uniform --model llama-3-8b
2> steelyard: llama-3-8b has no experts
? 2
$ steelyard trace info --experts unifrom
2> steelyard: routes 'unifrom' are not known; did you mean 'uniform'?
? 2
$ steelyard trace info --experts 'synth{preset=deepseek-v2}'
2> steelyard: routes synth: preset 'deepseek-v2' is not known; the nearest is 'deepseek-v2-lite'
? 2
$ printf 'prompt,pos,experts\n1,0,AB\n1,1,A-\n' > bad.csv; steelyard trace info --experts bad.csv
2> steelyard: bad.csv:3: column 'experts': '-' is no expert (A-Z a-z 0-9 + /)
? 3
$ steelyard trace info r.csv --model mixtral-8x7b
2> steelyard: --experts goes with trace info, and --model, --lengths and --sequences with --experts
? 2
$ steelyard trace info --experts r.csv --format xml
2> steelyard: --format xml: text or json
? 2
# Programs that are graphs of calls: who was cut away is waited for no more, so that the rest can be played.
$ printf 'time_s,prompt_tokens,output_tokens,session,gap_s,call,after\n0,9,1,1,,1,\n1,9,1,1,0.5,2,1\n2,9,1,1,0.5,3,1\n3,9,1,1,0.25,4,2-3\n4,9,1,1,,5,4\n' > graph.csv
$ steelyard trace cut graph.csv --from 2 -o - | cut -d, -f1,10,12,18,19
1> time_s,session,gap_s,call,after
1> 0,1,0.5,3,
1> 1,1,0.25,4,3
1> 2,1,,5,4
$ steelyard trace cut graph.csv --from 2 -o cut.packed; steelyard run --trace cut.packed --set load.sessions=on --set cost=linear{set=a10g-slora} --set kv.tokens=1000 --format csv | grep ^completed
1> completed,3,1
$ steelyard trace synth 'programs{graphs=-;1;3}' -o -
2> steelyard: graphs '-;1;3': 1 to 8 graphs separated by |, each 1 to 64 calls separated by ;, each - or up to 16 numbers of calls before it joined by +
? 2
$ steelyard run --trace graph.csv --set load.sessions=on --set cost=linear{set=a10g-slora} --set kv.tokens=1000 --format csv | grep ^completed
1> completed,5,1
$ sed 's/,2-3$/,2-6/' graph.csv > bad.csv; steelyard run --trace bad.csv --set load.sessions=on --set cost=linear{set=a10g-slora} --set kv.tokens=1000
2> steelyard: bad.csv:5: column 'after': call 4 cannot be waited for here (calls have numbers from 1, and none waits for itself)
? 3
$ sed 's/,2-3$/,2 6/' graph.csv > bad.csv; steelyard run --trace bad.csv --set load.sessions=on --set cost=linear{set=a10g-slora} --set kv.tokens=1000
2> steelyard: bad.csv: session 1: the call at 3 s waits for call 6, which does not come before it
? 3
