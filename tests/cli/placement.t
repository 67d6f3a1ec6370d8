# Experts over ranks: who is busiest, what moves, what it costs.
$ steelyard list placements
1> contiguous  experts in the order of their numbers, whatever their load
1> eplb        hot experts get copies, then GPUs are loaded alike; groups stay on a node
$ steelyard explain placement.policy
1> placement.policy: text, default none
1>   Which experts are on which rank, with a cost model that spreads them (ep): each step's tokens
1>   are routed by experts.routes and the busiest rank is waited for (steelyard list placements).
1>   Unset: the cost model's own imbalance.
1>   set: --set placement.policy=...   or STEELYARD_PLACEMENT__POLICY=...   or "placement.policy": ... in a config file
$ printf 'time_s,prompt_tokens,output_tokens\n0,300,6\n0.1,400,5\n0.2,200,8\n' > t.csv
$ echo '{"trace": "t.csv", "model": "deepseek-v2-lite", "gpu": "h100", "cost": "ep{ranks=8,redundant=8}", "placement": {"policy": "eplb", "sample": 2000}, "check": true}' > p.json
$ steelyard run p.json --format csv > eplb.csv; grep -c ^ep_ eplb.csv
1> 12
# Every step is walked, so skip changes nothing.
$ steelyard run p.json --no-skip --format csv | cmp - eplb.csv
# Experts placed by what they bear: less for the busiest rank, and less time.
$ steelyard run p.json --set placement.policy=contiguous --format csv > plain.csv; awk -F, 'NR == FNR {v[$1] = $2; next} $1 == "ep_imbalance" || $1 == "ep_imbalance_cost" || $1 == "duration" {print $1, ($2 > v[$1] ? "more" : "less")}' eplb.csv plain.csv
1> duration more
1> ep_imbalance more
1> ep_imbalance_cost more
# Placed anew while it runs: with the steps waiting, and beside them.
$ for x in off on; do steelyard run p.json --set experts.calibration=0 --set placement.every=4 --set placement.overlap=$x --format csv > $x.csv; awk -F, '$1 == "ep_rebalances" {n = $2} $1 == "ep_moved_bytes" {b = $2} $1 == "ep_move_wait_s" {w = $2} END {print (n > 1), (b > 0), (w > 0)}' $x.csv; done
1> 1 1 1
1> 1 1 0
# The pool is what the experts of one rank leave: 7 of 8 parts of 26 layers of 64 experts are elsewhere, 50618.5 blocks.
$ pool() { steelyard run p.json --set placement.policy=eplb --set placement.hold=100 "$@" --format csv | awk -F, '$1 == "kv_pool_tokens" {print $2 / 16}'; }; one=$(steelyard run --trace t.csv --model deepseek-v2-lite --gpu h100 --format csv | awk -F, '$1 == "kv_pool_tokens" {print $2 / 16}'); echo $(($(pool --set 'cost=ep{ranks=8}') - one))
1> 50619
# What moves has a lane of its own.
$ steelyard run p.json --set experts.calibration=0 --set placement.every=4 --timeline m.json > /dev/null; grep -c '"experts between ranks"' m.json; grep -o '"name":"L[0-9]*, [1-9][0-9]* experts"' m.json | head -2
1> 1
1> "name":"L3, 63 experts"
1> "name":"L9, 65 experts"
# What cannot be.
$ steelyard run p.json --set placement.every=4 --set placement.link=1
2> steelyard: a step waits for experts on their way for more than 73 minutes: is placement.link, 1 bytes a second, what was meant?
? 2
$ steelyard run --trace t.csv --model deepseek-v2-lite --gpu h100 --cost 'ep{ranks=8}' --set executor=layers --set experts.rate=0.5
2> steelyard: experts.rate: cost model ep spreads experts over ranks; offloaded they are on one
? 2
$ steelyard run p.json --set placement.policy=eplp
2> steelyard: --set: placement 'eplp' is not known; did you mean 'eplb'? (steelyard list placements)
? 2
$ steelyard run p.json --set cost=roofline
2> steelyard: placement.policy: cost model roofline has all experts on every rank; ep spreads them
? 2
$ steelyard run p.json --set 'cost=ep{ranks=8,redundant=8,imbalance=1.2}'
2> steelyard: placement.policy: the imbalance comes from the tokens then; leave that of cost model ep at 1, not 1.2
? 2
$ steelyard run p.json --set placement.groups=7
2> steelyard: expert placement: experts cannot be spread evenly over groups (64, 7)
? 2
$ steelyard run p.json --set executor=layers
2> steelyard: placement.policy: placed experts and executor=layers do not go together
? 2
$ steelyard run p.json --set replicas=2
2> steelyard: placement.policy plays the ranks of one engine: set replicas to 1
? 2
