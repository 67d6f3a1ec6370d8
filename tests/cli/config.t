# A file that `config init` writes is the defaults.
$ steelyard config init > full.json && steelyard config diff full.json
# What `config expand` prints can be fed back.
$ steelyard config expand full.json --set load.scale=0.1 --set policy=sjf > a.json; steelyard config expand a.json | cmp - a.json
$ steelyard config diff a.json
1> load.scale             1 -> 0.1
1> policy                 fcfs -> sjf
? 1
$ steelyard config diff a.json full.json --seed 3
1> load.scale             0.1 -> 1
1> policy                 sjf -> fcfs
1> seed                   0 -> 3
? 1
# Comments, trailing commas, nested keys, a policy as an object.
$ printf '// mine\n{"load": {"scale": 2,}, /* x */ "slo.ttft": "1.5s",\n "policy": {"name": "sjf"}, "trace": {"path": "t.csv", "limit": 10},}\n' > b.json
$ steelyard config validate b.json
$ STEELYARD_TP=2 STEELYARD_LOAD__SCALE=3 steelyard config expand b.json --origins --gpu h100 | grep -v ' default$'
1> trace                  t.csv                            b.json:3:47
1> trace.limit            10                               b.json:3:65
1> load.scale             3                                environment STEELYARD_LOAD__SCALE
1> slo.ttft               1500                             b.json:2:45
1> gpu                    h100                             --gpu
1> tp                     2                                environment STEELYARD_TP
1> policy                 sjf                              b.json:3:12
# A configuration without a trace does not run.
$ steelyard config validate
2> steelyard: no trace is named: use --trace FILE, or the key 'trace' in a config file
? 2
$ steelyard config validate b.json --set kv.tokens=1000 --set kv.blocks=10
2> steelyard: keys 'kv.tokens' and 'kv.blocks' both give the size of the KV pool; keep one
? 2
# Wrong keys and values: place, range, nearest name.
$ printf '{\n  "load": {"scle": 2}\n}\n' > c.json; steelyard config validate c.json
2> steelyard: c.json:2:20: unknown key 'load.scle'; did you mean 'load.scale'?
? 2
$ printf '{"load.scale": 1, "load": {"scale": 2}}' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:16: key 'load.scale': given twice in this file
? 2
$ printf '{"seed": 1, "seed": 2}' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:21: duplicate key 'seed'
? 2
$ printf '{"seed": 1,\n  "tp": }' > c.json; steelyard config validate c.json
2> steelyard: c.json:2:9: unexpected '}'
? 2
$ printf '{"seed": 18014398509481985}' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:10: key 'seed': beyond 2^53 a JSON number is not exact; put it in quotes
? 2
$ printf '{"tp": 65}' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:8: key 'tp': 65 is outside 1..64
? 2
$ printf '{"tp": {"n": 1}}' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:8: key 'tp': a single value is wanted here, not an object
? 2
$ printf '{"policy": {"lift": "off"}}' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:12: key 'policy': an object here needs a "name", as in {"name": "vtc"}
? 2
$ printf '{"policy": {"name": "fcfs", "x": {"y": 1}}}' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:34: key 'policy.x': a number, string, bool or list of them is wanted
? 2
$ printf '[1]' > c.json; steelyard config validate c.json
2> steelyard: c.json: a configuration is one JSON object
? 2
$ printf '' > c.json; steelyard config validate c.json
2> steelyard: c.json:1:1: the text ends too early
? 2
$ steelyard config validate missing.json
2> steelyard: cannot read 'missing.json': No such file or directory
? 5
$ mkdir folder; steelyard config validate folder
2> steelyard: cannot read 'folder': Is a directory
? 5
$ steelyard config validate --set load.scale=nan
2> steelyard: --set: key 'load.scale': 'nan' is not a number
? 2
$ steelyard config validate --set load.scale=-1
2> steelyard: --set: key 'load.scale': -1 is outside 1e-06..1000000
? 2
$ steelyard config validate --set load.scale=
2> steelyard: --set: key 'load.scale': '' is not a number
? 2
$ steelyard config validate --set slo.ttft=3GiB
2> steelyard: --set: key 'slo.ttft': '3GiB' has the unknown unit 'GiB' (known: ns us ms s m h)
? 2
$ steelyard config validate --set slo.ttft=3parsec
2> steelyard: --set: key 'slo.ttft': '3parsec' has the unknown unit 'parsec' (known: ns us ms s m h)
? 2
$ steelyard config validate --set skip=maybe
2> steelyard: --set: key 'skip': 'maybe' is neither true nor false
? 2
$ steelyard config validate --seed abc
2> steelyard: --seed: key 'seed': 'abc' is not a number
? 2
$ steelyard config validate --seed -1
2> steelyard: --seed: key 'seed': -1 is outside 0..9.2e+18
? 2
$ steelyard config validate --policy fcsf
2> steelyard: --policy: policy 'fcsf' is not known; did you mean 'fcfs'? (steelyard list policies)
? 2
$ steelyard config validate --policy 'chekc(fcfs)'
2> steelyard: --policy: policy wrapper 'chekc' is not known; did you mean 'check'?
? 2
$ steelyard config validate --policy 'fcfs{'
2> steelyard: --policy: policy 'fcfs': 'fcfs{': braces, brackets or parentheses do not match
? 2
$ steelyard config validate --policy 'fcfs{nonsense=1}'
2> steelyard: --policy: policy 'fcfs': fcfs: takes no options
? 2
$ steelyard config validate --policy ''
2> steelyard: --policy: policy '' is not known (steelyard list policies)
? 2
$ steelyard config validate --policy 'ltr{predictor=mop}'
2> steelyard: --policy: policy 'ltr': predictor 'mop' is not known; did you mean 'mope'? (steelyard list predictors)
? 2
$ steelyard config validate --policy 'check(ltr{predictor=mope{rout=1}})'
2> steelyard: --policy: policy 'ltr': predictor 'mope': mope: unknown key 'rout'; did you mean 'route'?
? 2
$ steelyard config validate --policy 'jitserve{predictor=quantile{sigma=9}}'
2> steelyard: --policy: policy 'jitserve': predictor 'quantile': quantile: key 'sigma': 9 is outside 0..4
? 2
$ steelyard config validate --trace synth:chat --policy 'jitserve{predictor=quantile{sigma=0.9}}' > /dev/null
$ steelyard config validate --trace synth:chat --policy 'equinox{predictor=none}' > /dev/null
$ steelyard config validate --batcher vlm-v1
2> steelyard: --batcher: batcher 'vlm-v1' is not known; did you mean 'vllm-v1'? (steelyard list batchers)
? 2
$ steelyard config validate --cost rooflin
2> steelyard: --cost: cost 'rooflin' is not known; did you mean 'roofline'? (steelyard list costs)
? 2
$ STEELYARD_LOAD__SCLE=1 steelyard config validate
2> steelyard: environment STEELYARD_LOAD__SCLE: unknown key 'load.scle'; did you mean 'load.scale'?
? 2
$ STEELYARD_SEED=x steelyard config validate
2> steelyard: environment STEELYARD_SEED: key 'seed': 'x' is not a number
? 2
