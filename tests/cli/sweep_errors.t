# A sweep prints the same bytes on any number of threads, and when it is resumed.
$ cp $SRC/traces/samples/azure-conv-like.csv.gz t.csv.gz; printf '{"trace": "t.csv.gz", "trace.limit": 200, "model": "llama-3.1-8b", "gpu": "a100-80g", "load.bootstrap": "10s"}' > c.json
$ steelyard sweep c.json --vary policy=fcfs,vtc --vary load.scale=1:2:1 --reps 3 -j 1 --format csv > a.csv
$ steelyard sweep c.json --vary policy=fcfs,vtc --vary load.scale=1:2:1 --reps 3 -j 4 --format csv | cmp - a.csv
$ steelyard sweep c.json --vary policy=fcfs,vtc --vary load.scale=1:2:1 --reps 2 --db r.db --format csv > /dev/null; steelyard sweep c.json --vary policy=fcfs,vtc --vary load.scale=1:2:1 --reps 3 --db r.db --resume --format csv | cmp - a.csv
# Wrong things to vary.
$ steelyard sweep c.json --vary
2> steelyard: option '--vary' needs a value
? 2
$ steelyard sweep c.json --vary policy
2> steelyard: --vary 'policy': wanted KEY=VALUE,VALUE,...
? 2
$ steelyard sweep c.json --vary policy=
2> steelyard: --vary 'policy=': a value is empty
? 2
$ steelyard sweep c.json --vary polcy=fcfs,vtc
2> steelyard: --vary 'polcy=fcfs,vtc': unknown key 'polcy'; did you mean 'policy'?
? 2
$ steelyard sweep c.json --vary policy=fcfs,vtx
2> steelyard: policy=vtx: --vary: policy 'vtx' is not known; did you mean 'vtc'? (steelyard list policies)
? 2
$ steelyard sweep c.json --vary 'policy=fcfs,vtc{lift=of}'
2> steelyard: policy=vtc{lift=of}: --vary: policy 'vtc': vtc: key 'lift': 'of' is not artifact, paper, off or max; did you mean 'off'?
? 2
$ steelyard sweep c.json --vary load.scale=1:2
2> steelyard: --vary 'load.scale=1:2': range '1:2' is not START:STOP:STEP in plain numbers, as in 0.5:2:0.25
? 2
$ steelyard sweep c.json --vary load.scale=2:1:1
2> steelyard: --vary 'load.scale=2:1:1': range '2:1:1' never gets from its start to its stop
? 2
$ steelyard sweep c.json --vary load.scale=1:2:0
2> steelyard: --vary 'load.scale=1:2:0': range '1:2:0' never gets from its start to its stop
? 2
$ steelyard sweep c.json --vary load.scale=0,1
2> steelyard: load.scale=0: --vary: key 'load.scale': 0 is outside 1e-06..1000000
? 2
$ steelyard sweep c.json --vary load.scale=1 --vary load.scale=2
2> steelyard: --vary 'load.scale=2': key 'load.scale' is varied already
? 2
$ steelyard sweep c.json --vary load.scale=1 --reps 0
2> steelyard: --reps 0: a whole number from 1 to 100000 is wanted
? 2
$ steelyard sweep c.json --vary load.scale=1 --shard 3/2
2> steelyard: --shard 3/2: wanted I/N with 1 <= I <= N, as in 2/4
? 2
$ steelyard sweep c.json --vary load.scale=1 --resume
2> steelyard: --resume needs --db FILE: what should go on?
? 2
$ steelyard sweep c.json --vary load.scale=1 --db none/r.db
2> steelyard: none/r.db: unable to open database file
? 5
$ steelyard sweep c.json --vary load.scale=1 --db c.json
2> steelyard: c.json exists already: add --resume to go on with it, or name another file
? 2
$ steelyard sweep missing.json --vary load.scale=1
2> steelyard: load.scale=1: cannot read 'missing.json': No such file or directory
? 5
