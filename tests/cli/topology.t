# The machine around the GPUs. Two replicas push a request out and load it again at the same times; below one uplink as
# wide as one port the copies take twice as long as below one that is wide enough for two: 0.235 s more.
$ machine() { printf '{"full_name": "two GPUs, one switch", "nodes": {"gpu[0-1]": {"kind": "gpu"}, "switch": {"kind": "pcie-switch"}, "socket": {"kind": "socket"}, "dram": {"kind": "memory"}}, "links": {"port": {"from": "gpu[0-1]", "to": "switch", "bytes_per_s": 1e9}, "uplink": {"from": "switch", "to": "socket", "bytes_per_s": %s}, "memory": {"from": "socket", "to": "dram", "bytes_per_s": %s}}}' $1 $2; }; machine 1e9 1e11 > narrow.json; machine 2e9 1e11 > wide.json; machine 2e9 1e9 > memory.json
$ { echo time_s,client,prompt_tokens,output_tokens; for i in 0 1 2 3; do for k in 1 2; do echo $i,c,700,400; done; done; } > t.csv; printf '{"trace": "t.csv", "model": "llama-3.1-8b", "gpu": "l40s", "cost": "linear{set=custom,prefill_a=10,decode_a=10}", "batcher": "vllm-v1{prefix_caching=off}", "kv": {"tokens": 3000, "offload": "swap", "host": 10e9}, "pcie": {"copy": 0}, "replicas": 2, "check": true}' > c.json
$ for t in wide narrow memory; do for s in sync async; do steelyard run c.json --set topology=./$t.json --set kv.swap=$s --format csv > a.csv; steelyard run c.json --set topology=./$t.json --set kv.swap=$s --no-skip --format csv | cmp - a.csv; echo $t $s $(grep -E '^(duration|kv_copied_in),' a.csv); done; done
1> wide sync duration,8.244881024,s kv_copied_in,2,1
1> wide async duration,8.127440512,s kv_copied_in,2,1
1> narrow sync duration,8.479762048,s kv_copied_in,2,1
1> narrow async duration,8.244881024,s kv_copied_in,2,1
1> memory sync duration,8.479762048,s kv_copied_in,2,1
1> memory async duration,8.244881024,s kv_copied_in,2,1
# Sessions, drives and streams on a shared machine: everything adds up, skipped or not.
$ printf '{"trace": "synth:programs{rate=6,mix=1,programs=40,turns=1..6,think_mu=1,context=2000,ttft=0,tbt=0}", "load": {"sessions": true}, "model": "llama-3-8b", "gpu": "a10g", "batcher": "vllm-v0{version=0.3}", "policy": "fastswitch", "kv": {"tokens": 6000, "offload": "swap", "sessions": true, "groups": 60}, "replicas": 4, "router": "session", "check": true, "topology": "rtx-pro-6000-8x-2chips"}' > s.json
$ for o in kv.swap=sync kv.swap=async kv.offload=by-cost kv.nvme=4GB topology.gpus=0,1,4,5 tp=2; do steelyard run s.json --set kv.host=2GB --set $o --format csv > a.csv; steelyard run s.json --set kv.host=2GB --set $o --no-skip --format csv | cmp - a.csv; done; for o in vllm-v0{preemption_mode=swap} vllm-v1; do steelyard run s.json --set kv.offload=recompute --set kv.sessions=off --set kv.groups=0 --batcher $o --format csv > a.csv; steelyard run s.json --set kv.offload=recompute --set kv.sessions=off --set kv.groups=0 --batcher $o --no-skip --format csv | cmp - a.csv; done
# Two sessions whose KV lies on drives come back at the same time: with one drive for both replicas 526 MB more are read first.
$ drives() { printf '{"full_name": "two sockets", "nodes": {"gpu[0-1]": {"kind": "gpu"}, "socket[0-1]": {"kind": "socket"}, "dram[0-1]": {"kind": "memory"}, "%s": {"kind": "nvme"}}, "links": {"port": {"from": "gpu[0-1]", "to": "socket[0-1]", "bytes_per_s": 1e11}, "memory": {"from": "socket[0-1]", "to": "dram[0-1]", "bytes_per_s": 1e12}, "drive": {"from": "%s", "to": "%s", "bytes_per_s": 1e11}, "between": {"from": "socket0", "to": "socket1", "bytes_per_s": 1e11}}}' "$1" "$1" "$2"; }; drives 'nvme[0-1]' 'socket[0-1]' > two.json; drives nvme socket0 > one.json; printf 'time_s,prompt_tokens,output_tokens,session,turn\n0,4000,10,1,0\n0,4000,10,2,0\n20,4200,10,1,1\n20,4200,10,2,1\n' > sessions.csv
$ for m in two one; do steelyard run c.json --trace sessions.csv --set 'cost=linear{set=custom,prefill_a=10,prefill_b=1,decode_a=10}' --set kv.tokens=20000 --set kv.sessions=on --set kv.host=600MB --set kv.demote=0.1 --set kv.nvme=10GB --set kv.swap=async --router session --set topology=./$m.json --requests r.csv --format csv > a.csv; grep kv_bytes_from_nvme a.csv; awk -F, 'NR > 3 {print $12}' r.csv; done
1> kv_bytes_from_nvme,1052770304,byte
1> 280.164708
1> 280.164708
1> kv_bytes_from_nvme,1052770304,byte
1> 358.947850
1> 358.947850
# The last arrival is past, one request of a replica is on its way back and another waits: the copy wakes it.
$ timeout 60 steelyard run --trace 'synth:programs{rate=6,mix=1,programs=10,turns=1..5,think_mu=1,context=2500,ttft=0,tbt=0}' --model mistral-7b --gpu l40s --batcher 'vllm-v0{preemption_mode=swap}' --router session --replicas 2 --seed 50 --set load.sessions=on --set kv.tokens=4000 --set kv.host=500MB --set kv.offload=swap --set kv.swap=async --set kv.pin=fixed --set topology=hgx-a100 --check --format csv | grep ^completed
1> completed,39,1
# A conversation goes on when a replica that waits for KV has answered: the other one does not jump over that.
$ steelyard run --trace 'synth:programs{rate=6,mix=1,programs=11,turns=1..5,think_mu=1,context=2500,ttft=0,tbt=0}' --model llama-3-8b --gpu l40s --batcher 'vllm-v0{version=0.3}' --policy fastswitch --replicas 2 --seed 447 --set load.sessions=on --set kv.tokens=4000 --set kv.offload=swap --set topology=workstation-2socket --check --format csv > a.csv; steelyard run --trace 'synth:programs{rate=6,mix=1,programs=11,turns=1..5,think_mu=1,context=2500,ttft=0,tbt=0}' --model llama-3-8b --gpu l40s --batcher 'vllm-v0{version=0.3}' --policy fastswitch --replicas 2 --seed 447 --set load.sessions=on --set kv.tokens=4000 --set kv.offload=swap --set topology=workstation-2socket --check --format csv --no-skip | cmp - a.csv; grep ^completed a.csv
1> completed,33,1
# All-reduces go as fast as the ring between a replica's GPUs: over NVSwitch as the GPU's profile has it; over pairs with
# NVLink, and over chips whose uplinks carry one flow each way or two, ever slower.
$ tpot() { steelyard run --trace 'synth:uniform{rates=5,requests=20,prompt=500,output=20}' --model llama-3.1-70b --set kv.tokens=50000 --set cost=roofline --set tp=4 "$@" --format csv | awk -F, '/^mean_tpot_ms/ {print $2}'; }; a=$(tpot --gpu a100-80g); b=$(tpot --gpu a100-80g --set topology=hgx-a100); c=$(tpot --gpu a100-80g --set topology=a100-nvlink-pairs); [ $a = $b ] && echo same; d=$(tpot --gpu l40s --set topology=rtx-pro-6000-8x-2chips); e=$(tpot --gpu l40s --set topology=rtx-pro-6000-8x-2chips --set topology.gpus=0,4,1,5); echo $b $c $d $e | awk '{print ($1 < $2), ($3 < $4)}'
1> 1 1
# How much the links were in use. What the GPUs moved went over the memory's cable: 2 x 2 requests of 56 blocks of 2 MiB.
$ steelyard run c.json --set topology=./narrow.json | grep -A4 -E '^links|Links'
1> links    narrow; busiest port[0]:gpu0>switch, in use 2.77 % of the time
1> cost     coefficients given by options
1> trace    t.csv (native, 8 requests)
1> seed     0, replication 0
1>
1> --
1> --------------------- Links (topology) ---------------------
1> Busiest link in use (share of time):                 0.0277
1> Fullest link (share of its bytes):                   0.0277
1> Bytes between GPUs and host memory:               469762048
1> ------------------------ By replica ------------------------
$ steelyard run c.json --replicas 1 --set kv.tokens=1500 --set topology=./narrow.json --model deepseek-v2-lite --gpu a100-40g --set executor=layers --set experts.rate=0.5 --set trace.limit=4 --set batcher=vllm-v0 --format csv > a.csv; awk -F, '/^(link_bytes|expert_h2d_bytes|expert_d2h_bytes),/ {v[$1] = $2} END {d = v["link_bytes"] - v["expert_h2d_bytes"]; print (d >= 0 && d < 2e9), (v["expert_h2d_bytes"] > 0)}' a.csv
1> 1 1
# Wrong words.
$ steelyard run c.json --set topology=dgx-h10 2>&1 | sed 's/ (no .*json)//'
1> steelyard: topology 'dgx-h10' is not known; did you mean 'dgx-h100'?
$ steelyard run c.json --set topology.gpus=0
2> steelyard: topology.gpus: whose GPUs? Set topology, too
? 2
$ steelyard run c.json --set topology=l40s-4x --set topology.gpus=gpu0,gpu9
2> steelyard: topology.gpus: topology l40s-4x has no node 'gpu9'; did you mean 'gpu0'?
? 2
$ steelyard run c.json --set topology=l40s-4x --set topology.gpus=0-9
2> steelyard: topology.gpus: '0-9' makes no sense (4 GPUs in l40s-4x; numbers, ranges and names are meant, as in 0-3,gpu6)
? 2
$ steelyard run c.json --set topology=l40s-4x --set topology.gpus=gpu0,dram0
2> steelyard: topology.gpus: dram0 of l40s-4x is no GPU but a memory
? 2
$ steelyard run c.json --set topology=l40s-4x --set topology.gpus=1,1
2> steelyard: topology.gpus: gpu1 is there twice
? 2
$ steelyard run c.json --set topology=l40s-4x --set topology.gpus=1
2> steelyard: topology.gpus: 1 GPUs, but 2 replicas with tp=1 have 2
? 2
$ steelyard run c.json --set topology=l40s-4x --set topology.gpus=0-3
2> steelyard: topology.gpus: more than the 2 GPUs that 2 replicas with tp=1 have
? 2
$ steelyard run c.json --set topology=l40s-4x --replicas 5
2> steelyard: topology: l40s-4x has 4 GPUs; 5 replicas with tp=1 need 5
? 2
$ steelyard run c.json --replicas 1 --set topology=l40s-4x --set executor=layers --set tp=2
2> steelyard: topology: with executor=layers the copies of one GPU are followed: set tp to 1
? 2
