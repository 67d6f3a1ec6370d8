# Experts in bit planes (D2MoE).
$ printf 'time_s,prompt_tokens,output_tokens\n0,30,20\n0.1,40,10\n' > t.csv
$ steelyard explain experts.order
1> experts.order: one word, default hebf
1>   In which order the missing planes of a layer are loaded.
1>     naive          expert after expert
1>     hebf           the plane that the most (token, expert) pairs need first (hottest expert bit first)
1>   set: --set experts.order=...   or STEELYARD_EXPERTS__ORDER=...   or "experts.order": ... in a config file
$ echo '{"trace": "t.csv", "model": "llama-moe-3.5b", "gpu": "rtx-3060-laptop", "weight_dtype": "int4", "executor": "layers", "experts": {"planes": "2;3;4", "capacity": "0.3;0.4;0.3", "link": 3.5e9, "budget": 200e6, "routes": "synth{preset=mixtral-8x7b}"}, "check": true}' > n.json
$ steelyard run n.json --format csv > n.csv; grep ^expert n.csv | cut -d, -f1 | tr '\n' ' '
1> expert_hit_rate expert_decode_hit_rate expert_loads_per_token expert_h2d_bytes expert_stall_share expert_busy_share expert_link_share expert_host_share expert_bits expert_planes_freed expert_peak_bytes 
1> (no newline at the end)
$ steelyard run n.json --no-skip --format csv | cmp - n.csv
# More memory, fewer bytes to load; no limit, and each plane comes at most once.
$ for b in 0 1600e6 200e6; do steelyard run n.json --set experts.budget=$b --format csv | grep ^expert_h2d_bytes | cut -d, -f2; done | sort -g -c
$ steelyard run n.json --set experts.budget=0 --format csv | awk -F, '/^expert_h2d_bytes/ {l = $2} /^expert_peak_bytes/ {p = $2} /^expert_planes_freed/ {f = $2} END {print l == p, f}'
1> 1 0
$ steelyard run n.json --set experts.planes= --set experts.capacity=
2> steelyard: experts.budget is for the planes of experts: give experts.planes
? 2
$ steelyard run n.json --set executor=whole
2> steelyard: experts.planes: offloading experts needs executor=layers
? 2
$ steelyard run n.json --set experts.budget=70e6
2> steelyard: experts.budget: 7e+07 bytes do not hold all planes of one layer, 7.609e+07 bytes
? 2
$ steelyard run n.json --set 'experts.planes=2;4;3'
2> steelyard: experts.planes: 3 is no whole number of bits in 1..32 above the one before it
? 2
$ steelyard run n.json --set 'experts.capacity=0.5;0.5'
2> steelyard: experts.capacity: 2 shares that add up to 1; 3 bit-widths of experts.planes need one each, together 1
? 2
$ steelyard run n.json --set experts.prefetch=next-gate
2> steelyard: experts.prefetch does not go with experts.planes: planes are loaded on demand
? 2
$ steelyard run n.json --set experts.order=hefb
2> steelyard: --set: key 'experts.order': 'hefb' is not naive or hebf; did you mean 'hebf'?
? 2
# The timeline: no slices of a track overlap; a copy per plane.
$ steelyard run n.json --timeline t.json --format csv | cmp - n.csv
$ python3 -c 'import json; e = [x for x in json.load(open("t.json"))["traceEvents"] if x["ph"] == "X"]; end = {}; [print("overlap", x) for x in e if x["ts"] < end.get(x["tid"], 0) - 1e-6 or end.update({x["tid"]: x["ts"] + x["dur"]})]; print(sum(" plane " in x["name"] for x in e))' > copies; awk -F, '/^expert_loads_per_token/ {print $2 * (30 + 20 + 40 + 10 - 2)}' n.csv | cmp - copies
# Planes and KV that is swapped share the GPU's link; skipping or not, nothing changes.
$ printf '{"trace": "synth:programs{rate=0.3,mix=1,programs=8,turns=1..4,think_mu=1,context=1500,ttft=0,tbt=0}", "load": {"sessions": true}, "model": "deepseek-v2-lite", "gpu": "a100-80g-pcie", "cost": "roofline", "executor": "layers", "experts": {"planes": "2;3;4", "budget": 3e9}, "batcher": "vllm-v0{version=0.3}", "policy": "fastswitch", "kv": {"tokens": 4000, "offload": "swap", "swap": "async", "sessions": true}, "check": true}' > both.json
$ steelyard run both.json --format csv > a.csv; steelyard run both.json --no-skip --format csv | cmp - a.csv; grep -E '^(completed|kv_copied_in)' a.csv
1> completed,20,1
1> kv_copied_in,14,1
# What passes the links of a machine: planes, too.
$ steelyard run n.json --set topology=dgx-h100 --format csv > m.csv; awk -F, '/^(link_bytes|expert_h2d_bytes),/ {print $2}' m.csv | uniq -c | awk '{print $1, ($2 > 0)}'
1> 2 1
