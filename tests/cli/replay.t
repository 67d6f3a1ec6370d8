# A benchmark's detailed result: both sides of each metric, and the figure.
$ cp $SRC/tests/data/traces/vllm_bench.json bench.json; LC_ALL=C.UTF-8 steelyard replay bench.json --model llama-3.1-8b --gpu h100 --format csv -o figures | cut -d, -f1-4
1> run,metric,unit,real
1> bench,mean_ttft_ms,ms,150
1> bench,p50_ttft_ms,ms,150
1> bench,p90_ttft_ms,ms,190
1> bench,p99_ttft_ms,ms,199
1> bench,mean_tpot_ms,ms,80.00000000000003
1> bench,p50_tpot_ms,ms,80.00000000000003
1> bench,p90_tpot_ms,ms,96.00000000000003
1> bench,p99_tpot_ms,ms,99.60000000000002
1> bench,mean_e2el_ms,ms,260.00000000000006
1> bench,p50_e2el_ms,ms,260.00000000000006
1> bench,p90_e2el_ms,ms,292.00000000000006
1> bench,p99_e2el_ms,ms,299.20000000000005
1> bench,duration,s,1.8
1> bench,completed,1,2
1> bench,failed,1,0
1> bench,request_throughput,1/s,1.1111111111111112
1> bench,output_throughput,tok/s,2.7777777777777777
1> bench,total_token_throughput,tok/s,169.44444444444443
# Mean and quantiles of the measured side by hand: TTFT 0.1 and 0.2 s, TPOT (0.05 + 0.07) / 2 and 0.1 s.
$ ls figures; sed -n '/TTFT, measured/,/^$/p; /first token, measured/,/^$/p' figures/bench.dat; grep -c "^set output 'bench\." figures/bench.gp
1> bench.dat
1> bench.gp
1> bench.png
1> bench.svg
1> # Time to first token, measured: ms, share of requests
1> 100 0.5
1> 200 1
1>
1> 2
$ grep -o "title 'llama[^']*'" figures/bench.gp | sort -u
1> title 'llama-3.1-8b, 1 x h100: bench'
