# KV that leaves the GPU: block by block before the step, or in groups, reused, beside the steps (FastSwitch).
$ printf '{"trace": "synth:programs{rate=0.8,mix=1,programs=40,turns=1..6,think_mu=1,context=2000,ttft=0,tbt=0}", "load": {"sessions": true}, "model": "llama-3-8b", "gpu": "a10g", "batcher": "vllm-v0{version=0.3}", "policy": "fastswitch", "kv": {"tokens": 4000, "offload": "swap", "sessions": true}, "check": true}' > c.json
$ steelyard run c.json --format csv | grep -E '^(completed|preemptions|kv_copied_in|kv_copy_calls|kv_reuse_share|kv_wait_share),'
1> completed,126,1
1> preemptions,351,1
1> kv_wait_share,0.01523952591462801,1
1> kv_copied_in,428,1
1> kv_copy_calls,4275136,1
1> kv_reuse_share,0,1
$ steelyard run c.json --set kv.groups=60 --set kv.reuse=on --set kv.swap=async --format csv | grep -E '^(completed|preemptions|kv_copied_in|kv_copy_calls|kv_reuse_share|kv_wait_share),'
1> completed,126,1
1> preemptions,361,1
1> kv_wait_share,0.0007140418095313274,1
1> kv_copied_in,436,1
1> kv_copy_calls,153344,1
1> kv_reuse_share,0.7332420950588772,1
$ for o in kv.swap=sync kv.swap=async kv.offload=by-cost; do steelyard run c.json --set $o --format csv > a.csv; steelyard run c.json --set $o --no-skip --format csv | cmp - a.csv; done
# A step that waits for blocks on their way out is not jumped over, on one replica and on three.
$ chat='--trace synth:chat{requests=400} --model llama-3.1-8b --gpu a100-80g --batcher vllm-v1{prefix_caching=off} --set kv.tokens=20000 --set kv.offload=swap --set kv.swap=async'; for n in 1 3; do for s in 0 2 3 5; do steelyard run $chat --seed $s --replicas $n --set load.scale=$((13 * n)) --format csv > a.csv; steelyard run $chat --seed $s --replicas $n --set load.scale=$((13 * n)) --format csv --no-skip | cmp - a.csv; done; done
# What does not go together.
$ steelyard run c.json --set kv.offload=by_cost
2> steelyard: --set: offload 'by_cost' is not known; did you mean 'by-cost'? (steelyard list offloads)
? 2
$ steelyard run c.json --set 'kv.offload=by-cost{split=3}'
2> steelyard: --set: offload 'by-cost': by-cost: unknown key 'split'; did you mean 'splits'?
? 2
$ steelyard run c.json --set kv.swap=async --batcher orca
2> steelyard: kv.swap=async, kv.nvme, kv.remote: batcher orca computes a prompt when it lets it in, or never; vllm-v0, vllm-v1 and sarathi can wait for KV
? 2
$ steelyard run c.json --set kv.groups=8 --batcher vllm-v1
2> steelyard: kv.groups: a prefix cache hands out single blocks; turn it off (batcher=vllm-v1{prefix_caching=off})
? 2
$ steelyard run --trace synth:azure-conv --model llama-3-8b --gpu a10g --set kv.reuse=on
2> steelyard: kv.swap, kv.reuse, kv.sessions, kv.groups, kv.nvme and kv.remote are about KV that leaves the GPU: set kv.offload too (swap, recompute, by-cost)
? 2
# What can be named.
$ for k in tiers offloads; do for n in $(steelyard list $k | cut -d' ' -f1); do steelyard explain $n > /dev/null || echo $k $n; done; steelyard list $k --json | grep -c '^    "name"'; done
1> 6
1> 3
$ steelyard list tiers
1> cephfs            CephFS over a cloud network: reads 0.21 GB/s after 3.22 ms, writes 0.22 GB/s after 10.34 ms
1> cloudmatrix-ems   CloudMatrix384 memory pool, by one die: reads 0.79 GB/s after 0.00 ms, writes 151.00 GB/s after 0.00 ms
1> local-nvme-pcie4  Local NVMe drive, PCIe 4.0 x4: reads 6.68 GB/s after 0.38 ms, writes 5.27 GB/s after 0.02 ms
1> nvme-pcie3        Consumer NVMe drive, PCIe 3.0 x4: reads 3.50 GB/s after 0.07 ms, writes 3.30 GB/s after 0.02 ms
1> s3                S3 object store over HTTP: reads 0.27 GB/s after 6.25 ms, writes 0.18 GB/s after 40.61 ms
1> vpc-block         Block storage over a cloud network: reads 0.80 GB/s after 0.00 ms, writes 0.26 GB/s after 3.13 ms
