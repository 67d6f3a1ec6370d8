# Experts that do not all fit: where they are, who leaves, what is fetched ahead, what a miss costs.
$ steelyard list evictions | cut -d' ' -f1 | tr '\n' ' '
1> activation arc belady lfu lru mrs plec static 
1> (no newline at the end)
$ steelyard list prefetches | cut -d' ' -f1 | tr '\n' ' '
1> all cross-layer eam fate impact next-gate none path plec pre-attention pre-gated stride top-score 
1> (no newline at the end)
$ steelyard list misses | cut -d' ' -f1 | tr '\n' ' '
1> buddy cpu hybrid random skip wait 
1> (no newline at the end)
$ steelyard explain buddy.tau
1> buddy.tau: number, 0 to 1, default 0.95
1>   tokens with an entropy (share of ln k) up to this are sensitive (the paper's best row)
1>   set: miss as buddy{tau=...}
$ steelyard explain experts.rate
1> experts.rate: number, 0 to 1, default 1
1>   Share of each layer's routed experts that GPU memory holds (the cache rate of BuddyMoE and
1>   others); the rest stays in host memory and is copied over PCIe. 1 offloads nothing; 0 is for
1>   experts.miss=cpu.
1>   set: --set experts.rate=...   or STEELYARD_EXPERTS__RATE=...   or "experts.rate": ... in a config file
$ printf 'time_s,prompt_tokens,output_tokens\n0,30,20\n0.1,40,10\n' > t.csv
$ echo '{"trace": "t.csv", "model": "deepseek-v2-lite", "gpu": "a100-80g", "executor": "layers", "experts": {"rate": 0.5}, "check": true}' > o.json
$ steelyard run o.json --format csv > lru.csv; grep -c ^expert lru.csv
1> 16
# Every step is walked, so skip changes nothing.
$ steelyard run o.json --no-skip --format csv | cmp - lru.csv
# More of them in GPU memory, fewer misses.
$ steelyard run o.json --set experts.rate=0.75 --format csv | grep ^expert_misses_per_token | cat - lru.csv | grep ^expert_misses_per_token | cut -d, -f2 | sort -g -c
# With all of them in GPU memory it takes what the cost model says of whole steps.
$ for x in layers whole; do steelyard run o.json --set experts.rate=1 --set executor=$x --format csv | awk -F, '{printf "%s %.5g\n", $1, $2}' > $x.csv; done; cmp layers.csv whole.csv
# The timeline: well-formed, no slices of a track overlap.
$ steelyard run o.json --timeline t.json --format csv | cmp - lru.csv
$ python3 -c 'import json; e = [x for x in json.load(open("t.json"))["traceEvents"] if x["ph"] == "X"]; end = {}; [print("overlap", x) for x in e if x["ts"] < end.get(x["tid"], 0) - 1e-6 or end.update({x["tid"]: x["ts"] + x["dur"]})]; print(sorted(end))'
1> [1, 2, 3, 5]
# Layers that the CPU computes whole; the same prints without jumps, and no slices overlap.
$ sed 's/"rate": 0.5/"rate": 0, "shallow": 6, "gpu_layers": 7, "miss": "cpu"/' o.json > cpu.json
$ steelyard run cpu.json --timeline t.json --format csv > cpu.csv; steelyard run cpu.json --no-skip --format csv | cmp - cpu.csv
$ python3 -c 'import json; e = [x for x in json.load(open("t.json"))["traceEvents"] if x["ph"] == "X"]; end = {}; [print("overlap", x) for x in e if x["ts"] < end.get(x["tid"], 0) - 1e-6 or end.update({x["tid"]: x["ts"] + x["dur"]})]; print(sorted(end), sorted({x["tid"] for x in e if "L6 " in x["name"]}), sorted({x["tid"] for x in e if "L7 " in x["name"]}))'
1> [1, 2, 3, 10] [3] [10]
# What is set and changes nothing is said; the run goes on.
$ steelyard run o.json --set experts.rate=1 --set experts.evict=mrs --set executor=whole --set kv.page_keep=off --set kv.pin_time=2 > out.txt
2> steelyard: --set: kv.page_keep=false changes nothing without kv.page
2> steelyard: --set: experts.evict=mrs changes nothing without executor=layers
$ steelyard run o.json --set experts.rate=1 --set experts.evict=mrs --set experts.global=off > out.txt
2> steelyard: --set: experts.evict=mrs changes nothing without experts.rate below 1
# What cannot be.
$ steelyard run o.json --set executor=whole
2> steelyard: experts.rate: offloading experts needs executor=layers
? 2
$ steelyard run o.json --set experts.evict=lur
2> steelyard: --set: eviction 'lur' is not known; did you mean 'lru'? (steelyard list evictions)
? 2
$ steelyard run o.json --set experts.miss=buddy{tua=1}
2> steelyard: --set: miss 'buddy': buddy: unknown key 'tua'; did you mean 'tau'?
? 2
$ steelyard run o.json --set experts.rate=0 --set experts.shallow=6
2> steelyard: experts.shallow leaves MoE layer 6 no slot, and experts.miss=wait waits for its experts: take one that computes them on the CPU
? 2
$ steelyard run o.json --set experts.gpu_layers=7
2> steelyard: experts.gpu_layers: experts.miss=wait does not say how fast the CPU is; cpu and hybrid do
? 2
$ steelyard run o.json --set experts.gpu_layers=7 --set experts.rate=1 --set experts.miss=cpu
2> steelyard: experts.gpu_layers: needs offloaded experts, experts.rate below 1
? 2
$ steelyard run o.json --set experts.rate=0.01
2> steelyard: experts.rate: 0.01 of the 64 experts of a layer leave no slot
? 2
$ steelyard run o.json --model llama-3.1-8b
2> steelyard: experts.rate: llama-3.1-8b is no mixture of experts
? 2


# Without overlap a step takes what it takes with all experts there and, on top, its copies, one after the other:
# 20 us and 8.65 M weights of 4.5 bits over 24 GB/s each. (Routed experts count 4.5/4 of their 4-bit time; with
# decode_a = 0 nothing is left but copies.)
$ steelyard run --trace 'synth:uniform{rates=1,requests=4,prompt=8,output=32}' --model deepseek-v2-lite --gpu a100-40g --policy fcfs --set load.concurrency=1 --set weight_dtype=int4 --set 'cost=linear{set=custom,decode_a=1e-6,prefill_a=1e-6}' --set executor=layers --set experts.rate=0.5 --set experts.bits=4.5 --set experts.overlap=off --set experts.link=24e9 --set pcie.copy=20us --set 'batcher=vllm-v1{async=off}' --format csv > off.csv; awk -F, '/^mean_itl_ms/ {t = $2} /^expert_decode_misses_per_token/ {n = $2} END {d = t / n / (0.02 + 3 * 2048 * 1408 * 4.5 / 8 / 24e6); print (d > 0.999 && d < 1.001) ? "copies only" : d}' off.csv
1> copies only
# A forgotten unit: 25 bytes a second.
$ steelyard run o.json --set experts.link=25
2> steelyard: a step waits for experts for more than 73 minutes at 25 bytes a second: are experts.link or experts.tier, experts.calls or experts.read what was meant?
? 2

# KV that is swapped and experts that are loaded share the GPU's link, its copy engines and their books; skipping or not, nothing changes.
$ printf '{"trace": "synth:programs{rate=0.3,mix=1,programs=8,turns=1..4,think_mu=1,context=1500,ttft=0,tbt=0}", "load": {"sessions": true}, "model": "deepseek-v2-lite", "gpu": "a100-80g-pcie", "cost": "roofline", "executor": "layers", "experts": {"rate": 0.8, "prefetch": "pre-gated"}, "batcher": "vllm-v0{version=0.3}", "policy": "fastswitch", "kv": {"tokens": 4000, "offload": "swap", "sessions": true}, "check": true}' > both.json
$ for s in sync async; do steelyard run both.json --set kv.swap=$s --format csv > a.csv; steelyard run both.json --set kv.swap=$s --no-skip --format csv | cmp - a.csv; grep -E '^(completed|kv_copied_in|expert_h2d_bytes)' a.csv; done
1> completed,20,1
1> kv_copied_in,13,1
1> expert_h2d_bytes,1711170650112,byte
1> completed,20,1
1> kv_copied_in,13,1
1> expert_h2d_bytes,1733904826368,byte

# From a drive, through page faults: 38 reads of at most 128 KiB for 8.65 M weights of 4.5 bits, 69.8 us each before
# 3.5 GB/s, and nobody computes meanwhile.
$ steelyard run --trace 'synth:uniform{rates=1,requests=4,prompt=8,output=32}' --model deepseek-v2-lite --gpu i9-14900k --policy fcfs --set load.concurrency=1 --set kv.tokens=4096 --set weight_dtype=int4 --set 'cost=linear{set=custom,decode_a=1e-6,prefill_a=1e-6}' --set executor=layers --set experts.rate=0.5 --set experts.bits=4.5 --set experts.overlap=off --set experts.tier=nvme-pcie3 --set experts.read=131072 --set experts.global=on --set experts.start=empty --set check=on --set 'batcher=vllm-v1{async=off}' --format csv > drive.csv; awk -F, '/^mean_itl_ms/ {t = $2} /^expert_decode_misses_per_token/ {n = $2} END {d = t / n / (38 * 0.0698 + 3 * 2048 * 1408 * 4.5 / 8 / 3.5e6); print (d > 0.999 && d < 1.001) ? "reads only" : d}' drive.csv
1> reads only
$ steelyard run o.json --set experts.tier=nvme-pcie3 --set experts.link=1e9
2> steelyard: experts.tier: nvme-pcie3 has a rate of its own: leave experts.link out
? 2
$ steelyard run o.json --set experts.tier=nvme-pcie9 2>&1 | grep -o 'did you mean.*'
1> did you mean 'nvme-pcie3'?
# A picture of a window of its timeline: lanes in their order, boxes within the window.
$ steelyard run both.json --set kv.swap=async --timeline t.json > out.txt; steelyard plot timeline t.json --from 5s --for 40ms -o lanes.svg 2> /dev/null; grep -m1 'set ytics' lanes.gp; grep -m1 'set xrange' lanes.gp; awk 'NF == 3 && $1 + 0 > 0 && $3 + 0 > 0 && ($1 < 5000 || $2 > 5040)' lanes.dat | head -3
1> ./lanes.svg
1> set ytics scale 0 font ',13' ('engine steps' 4, 'host' 3, 'GPU' 2, 'experts to the GPU (H2D)' 1)
1> set xrange [5000:5040]
$ steelyard plot timeline t.json --for 0
2> steelyard: --for: a window of 0 ns: 100 are the least
? 2
$ steelyard plot timeline t.json --from 1h
2> steelyard: t.json: nothing between 3.6e+06 and 93236.8 ms; its slices lie between 231.527 and 93236.8
? 3
$ steelyard plot timeline both.json
2> steelyard: both.json: no Chrome trace: there are no 'traceEvents'
? 3
$ steelyard plot r.db --from 1s
2> steelyard: --from and --for are of timelines: steelyard plot timeline FILE.json
? 2
