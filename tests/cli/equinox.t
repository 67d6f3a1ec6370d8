# With alpha 1, beta 0 and delta 0 Equinox is VTC: each request is answered at the same nanosecond.
$ for p in 'vtc' 'equinox{alpha=1,beta=0,delta=0,predictor=none,wq=2}'; do steelyard run --quiet --trace 'synth:lmsys{rates=25,duration=60}' --model llama-2-7b --gpu a100-80g --batcher lightllm-slora --policy "$p" --requests "${p%%{*}.csv" > /dev/null; done; cmp vtc.csv equinox.csv && wc -l < vtc.csv
1> 1539
# Its engine admits by what the policy expects, and by declared limits where the policy expects nothing.
$ for p in 'vtc' 'equinox'; do steelyard run --quiet --trace 'synth:lmsys{rates=60,duration=30}' --model llama-2-7b --gpu a100-80g --batcher equinox --policy "$p" --format json | grep -o '"kv_utilization_peak": 0.[0-9]'; done
1> "kv_utilization_peak": 0.4
1> "kv_utilization_peak": 0.9
