# Sweeps: the same bytes on any number of threads, in any number of parts, in one go or several.
$ awk 'BEGIN { print "time_s,client,prompt_tokens,output_tokens"; for (i = 0; i < 300; i++) { x = (x * 1103515245 + 12345) % 2147483648; t += 0.05 + (x % 1000) / 5000; printf "%.4f,c%d,%d,%d\n", t, x % 3, 50 + x % 700, 20 + int(x / 7) % 400 } }' > t.csv
$ printf '{"trace": "t.csv", "model": "llama-2-7b", "gpu": "a10g", "load": {"bootstrap": "10s"}, "series": {"step": "5s"}}' > c.json
$ steelyard sweep c.json --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.5:1:0.5 --reps 2 -j 1 --db one.db > one.txt
$ steelyard sweep c.json --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.5:1:0.5 --reps 2 -j4 --db four.db | cmp - one.txt
$ steelyard db export one.db > one.csv; steelyard db export four.db | cmp - one.csv
$ sed '/^±/s/ half.*//; /^\*/s/:.*//' one.txt | awk '{ print $1, $2, $3 }' | sed 's/ *$//'
1> policy load.scale n
1> fcfs 0.5 2
1> fcfs 1 2
1> vtc{lift=off} 0.5 2
1> vtc{lift=off} 1 2
1> sjf* 0.5 2
1> sjf* 1 2
1>
1> ±
1> * oracle
# Twelve runs, numbered in their order; each metric is there for each run.
$ steelyard db export one.db --table run | cut -d, -f1,3,4,5 | sed -n '1p;2,4p;13p'
1> id,seed,replication,label
1> 1,0,0,policy=fcfs load.scale=0.5
1> 2,0,1,policy=fcfs load.scale=0.5
1> 3,0,0,policy=fcfs load.scale=1
1> 12,0,1,policy=sjf load.scale=1
$ steelyard db export one.db --table metric | grep -c ,completed,
1> 12
$ steelyard db runs one.db | wc -l
1> 13
# A database that is there is never written over by accident.
$ steelyard sweep c.json --vary policy=fcfs,vtc --db one.db
2> steelyard: one.db exists already: add --resume to go on with it, or name another file
? 2
# All there: nothing runs, the table is the same. More replications: only those run.
$ steelyard sweep c.json --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.5:1:0.5 --reps 2 --db one.db --resume | cmp - one.txt
$ steelyard sweep c.json --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.5:1:0.5 --reps 3 --db one.db --resume --dry-run | sed -n '1,2s/\t[0-9a-f]*\t/ /p; 1p'
1> 6 combinations x 3 replications, 6 runs to do, 12 there already
1> 3 seed 0	replication 2	policy=fcfs load.scale=0.5
# Three shards, merged in any order and more than once.
$ for i in 3 1 2; do steelyard sweep c.json --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.5:1:0.5 --reps 2 --shard $i/3 --db s$i.db > s$i.txt; done
$ steelyard db merge all.db s2.db s3.db s1.db s3.db
1> s2.db: 4 runs added, 0 were there
1> s3.db: 4 runs added, 0 were there
1> s1.db: 4 runs added, 0 were there
1> s3.db: 0 runs added, 4 were there
$ steelyard db export all.db | cmp - one.csv
# One run of the sweep is the run that `run` does.
$ steelyard run c.json --policy 'vtc{lift=off}' --set load.scale=1 --rep 1 --format csv | tail -n +2 | cut -d, -f1,2 | sort > run.csv
$ steelyard db export one.db --table metric | grep '^8,' | cut -d, -f3,5 | sort | cmp - run.csv
# Another trace under the same name is another experiment.
$ sed -i '2s/,c[0-9],/,c0,/; 2s/[0-9]*$/7/' t.csv; steelyard sweep c.json --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.5:1:0.5 --reps 2 --db one.db --resume
2> steelyard: run 1 in one.db was made from a t.csv with other contents: use another database
? 3
# So is another GPU file.
$ cp $SRC/models/gpus/a10g.json my.json; steelyard sweep c.json --gpu my.json --db gpu.db --format csv | wc -l
1> 2
$ echo >> my.json; steelyard sweep c.json --gpu my.json --db gpu.db --resume
2> steelyard: run 1 in gpu.db was made from a model, GPU, profile or policy file with other contents: use another database
? 3
# And another profile of kernel times.
$ printf '{"schema": "steelyard.profile/1", "tp": 1, "terms": [{"name": "all", "count": 1, "axes": [{"name": "tokens", "at": [1, 1000]}], "us": [1000, 1000]}]}' > p.json; steelyard sweep c.json --cost 'table{profile=p.json}' --db cost.db --format csv | wc -l
1> 2
$ steelyard sweep c.json --cost 'table{profile=p.json}' --db cost.db --resume --format csv | wc -l
1> 2
$ sed -i 's/1000, 1000\]}/1000, 1001]}/' p.json; steelyard sweep c.json --cost 'table{profile=p.json}' --db cost.db --resume
2> steelyard: run 1 in cost.db was made from a model, GPU, profile or policy file with other contents: use another database
? 3
# A failed run is named, the others go on.
$ head -40 t.csv > u.csv; printf '9.0,c1,50,none\n' >> u.csv; steelyard sweep c.json --set load.bootstrap=0 --vary trace=t.csv,u.csv --format csv 2> err.txt | cut -d, -f1,4,5
1> trace,n,oracle
1> t.csv,1,0
1> u.csv,0,0
$ cut -d: -f1-4 err.txt
1> steelyard: 1 of 2 runs failed, first trace=u.csv replication 0: u.csv:41
# What makes no sense.
$ steelyard sweep c.json --vary polcy=fcfs
2> steelyard: --vary 'polcy=fcfs': unknown key 'polcy'; did you mean 'policy'?
? 2
$ steelyard sweep c.json --vary policy=fcfs,fcs
2> steelyard: policy=fcs: --vary: policy 'fcs' is not known; did you mean 'fcfs'? (steelyard list policies)
? 2
$ steelyard sweep c.json --vary policy=fcfs --vary policy=vtc
2> steelyard: --vary 'policy=vtc': key 'policy' is varied already
? 2
$ steelyard sweep c.json --vary load.scale=1,1.0
2> steelyard: 'load.scale=1' and 'load.scale=1.0' are the same configuration
? 2
$ steelyard sweep c.json --vary replication=0:3:1
2> steelyard: --vary replication=...: use --reps N for replications
? 2
$ steelyard sweep c.json --vary 'policy=vtc{lift=off'
2> steelyard: --vary 'policy=vtc{lift=off': brackets do not match
? 2
$ steelyard sweep c.json --resume
2> steelyard: --resume needs --db FILE: what should go on?
? 2
$ steelyard sweep c.json --shard 4/3
2> steelyard: --shard 4/3: wanted I/N with 1 <= I <= N, as in 2/4
? 2
$ steelyard sweep c.json --trace -
2> steelyard: a sweep reads its trace many times: it cannot be standard input
? 2
$ steelyard sweep c.json -j 0
2> steelyard: -j 0: a whole number from 1 to 100000 is wanted
? 2
$ steelyard sweep c.json --repz 3
2> steelyard: option '--repz' is not known; did you mean '--reps'? (steelyard help sweep)
? 2
$ steelyard sweep c.json --reps 2 --set load.bootstrap=0 --format csv | wc -l
1> 2
2> steelyard: sweep: t.csv is a recorded trace, so its replications may all be equal; --set load.bootstrap=SECONDS resamples it in blocks
