# The plan of a run has every step; tokens in it are the tokens of the run, and the contexts add up.
$ echo '{"trace": "synth:poisson{requests=60,rates=20,prompt=16..1500,output=2..100}", "model": "llama-3.1-8b", "gpu": "a100-80g", "kv.tokens": 4000}' > c.json
$ steelyard run c.json --format json > a.json
$ for b in vllm-v1 'vllm-v1{async=off}' vllm-v0 sglang sarathi lightllm-slora static trtllm; do steelyard run c.json --batcher "$b" --format csv --plan-out p.jsonl > m.csv; tail -n +2 p.jsonl | awk -v want="$(grep ^total_output_tokens m.csv | cut -d, -f2)" '{ s = $0; sub(/.*"chunks":\[/, "", s); sub(/\],"decode":.*/, "", s); out += gsub(/,1\]/, "", s); d = $0; sub(/.*"decode":\[/, "", d); sub(/\].*/, "", d); n = split(d, c, ","); sum = 0; for (i = 1; i <= n; i++) sum += c[i]; out += n; t = $0; sub(/.*"decode_tok":/, "", t); if (sum != t + 0) bad++ } END { print (bad ? "wrong sums" : "sums"), out - want, (NR > 100 ? "steps" : "few") }'; done
1> sums 0 steps
1> sums 0 steps
1> sums 0 steps
1> sums 0 steps
1> sums 0 steps
1> sums 0 steps
1> sums 0 steps
1> sums 0 steps
# Writing it changes nothing.
$ steelyard run c.json --format json --plan-out p.jsonl | cmp - a.json
# Steps follow one another in time.
$ tail -n +2 p.jsonl | sed 's/.*"start_ns":\([0-9]*\),"dur_ns":\([0-9]*\),.*/\1 \2/' | awk '$1 < end { print "overlap" } { end = $1 + $2 }'
$ head -1 p.jsonl | grep -o '"model":{"name":"llama-3.1-8b","layers":32,"hidden":4096,"heads":32,"kv_heads":8,"head_dim":128'
1> "model":{"name":"llama-3.1-8b","layers":32,"hidden":4096,"heads":32,"kv_heads":8,"head_dim":128
$ steelyard run c.json --plan-out no/such/folder
2> steelyard: no/such/folder: No such file or directory
? 5
$ test -e /dev/full && steelyard run c.json --plan-out /dev/full > out.txt; echo "status $?"; cat out.txt
1> status 5
2> steelyard: /dev/full: not all of the plan was written
