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
# A table of summaries: one row per run, each simulated as a closed loop; what cannot be is named.
$ printf 'gpu,model,prompt_tokens,output_tokens,concurrency,mean_ttft_ms,mean_tpot_ms\nH100,meta-llama/Llama-3.1-8B-Instruct,512,64,4,60,8\nH100,llama-3.1-8b,512,64,8,90,9\nTPU v5e,llama-3.1-8b,512,64,8,90,9\n' > sums.csv
$ steelyard replay sums.csv | cut -c1-105
1> points: 2 of 3 measured points simulated; medians over the rows of a system and model
1>
1>   GPU            model                type   engine         metric             rows            real      
1>   h100           llama-3.1-8b         auto   vllm           mean_ttft_ms          2       75.00 ms       
1>                                                             mean_tpot_ms          2        8.50 ms       
1>
1>   only the roofline:
1>        2  llama-3.1-8b on h100: no profiles are given
1>
1>   not simulated:
1>        1  llama-3.1-8b on TPU v5e: no data of this GPU
1>
$ steelyard replay sums.csv --format csv | cut -d, -f1-14,19
1> set,id,engine,version,gpu,tp,model,weight_dtype,prompt_tokens,output_tokens,concurrency,metric,unit,real,note
1> points,points:2,vllm,,h100,1,llama-3.1-8b,auto,512,64,4,mean_ttft_ms,ms,60,no profiles are given
1> points,points:2,vllm,,h100,1,llama-3.1-8b,auto,512,64,4,mean_tpot_ms,ms,8,no profiles are given
1> points,points:3,vllm,,h100,1,llama-3.1-8b,auto,512,64,8,mean_ttft_ms,ms,90,no profiles are given
1> points,points:3,vllm,,h100,1,llama-3.1-8b,auto,512,64,8,mean_tpot_ms,ms,9,no profiles are given
1> points,points:4,vllm,,TPU v5e,1,llama-3.1-8b,auto,512,64,8,mean_ttft_ms,ms,90,no data of this GPU
1> points,points:4,vllm,,TPU v5e,1,llama-3.1-8b,auto,512,64,8,mean_tpot_ms,ms,9,no data of this GPU
$ steelyard replay sums.csv bench.json
1> points: 2 of 3 measured points simulated; medians over the rows of a system and model
1>
1>   GPU            model                type   engine         metric             rows            real      table   |error|   roofline   |error|
1>   h100           llama-3.1-8b         auto   vllm           mean_ttft_ms          2       75.00 ms           -         -    -21.0 %   +21.0 %
1>                                                             mean_tpot_ms          2        8.50 ms           -         -    -21.0 %   +21.0 %
1>
1>   only the roofline:
1>        2  llama-3.1-8b on h100: no profiles are given
1>
1>   not simulated:
1>        1  llama-3.1-8b on TPU v5e: no data of this GPU
1>
2> steelyard: bench.json holds requests, sums.csv a table of summaries: one kind at a time
? 2
$ sed '2s/512/many/' sums.csv > broken.csv; steelyard replay broken.csv
2> steelyard: broken.csv:2: column 'prompt_tokens': 'many' is not a number
? 3
# A benchmark's result says its load; not its GPU.
$ sed 's/"backend"/"model_id": "meta-llama\/Llama-3.1-8B", "max_concurrency": 1, "duration": 2.0, "backend"/' bench.json > closed.json; steelyard replay closed.json
2> steelyard: closed.json: roofline needs a model and a GPU: give --gpu
? 2
$ steelyard replay closed.json --gpu h100 --format csv | grep -E 'duration|request_throughput' | cut -d, -f1-4
1> closed,duration,s,2
1> closed,request_throughput,1/s,1
# Without --save-detailed it is one row of such a table.
$ printf '{"date": "x", "model_id": "meta-llama/Llama-3.1-8B-Instruct", "completed": 20, "max_concurrency": 4, "request_rate": "inf", "total_input_tokens": 10240, "total_output_tokens": 1280, "mean_ttft_ms": 60, "mean_tpot_ms": 8}' > plain.json; steelyard replay plain.json
2> steelyard: plain.json: the file does not name the GPU: give --gpu (and --tp where it was not 1)
? 2
$ steelyard replay plain.json --gpu h100 --format csv | cut -d, -f1-14
1> set,id,engine,version,gpu,tp,model,weight_dtype,prompt_tokens,output_tokens,concurrency,metric,unit,real
1> vllm bench serve,plain.json,vllm,,h100,1,llama-3.1-8b,auto,563,70,4,mean_ttft_ms,ms,60
1> vllm bench serve,plain.json,vllm,,h100,1,llama-3.1-8b,auto,563,70,4,mean_tpot_ms,ms,8
# What filters of the distribution cost: 17 us a row and 131072 words, here 128256, so 10 steps of one row take 0.166 ms more.
$ printf 'time_s,prompt_tokens,output_tokens\n0,100,10\n' > one.csv; for s in plain sort; do steelyard run --trace one.csv --model llama-3.1-8b --gpu h100 --set engine.sampling=$s --format csv | sed -n 's/^mean_e2el_ms,\([^,]*\),.*/\1/p'; done | paste -sd' ' | awk '{printf "%.4f\n", $2 - $1}'
1> 0.1663
# A front end that takes a second for each request lets a burst of three into the queue one a second.
$ printf 'time_s,prompt_tokens,output_tokens\n0,100,1\n0,100,1\n0,100,1\n' > burst.csv; for s in 0s 1s; do steelyard run --trace burst.csv --model llama-3.1-8b --gpu h100 --set engine.request_serial=$s --requests r.csv --format csv > m.csv; cut -d, -f9 r.csv | tail -n +2 | paste -sd' '; done
1> 0.000000000 0.000000000 0.000000000
1> 1.000000000 2.000000000 3.000000000
# What the user got wrong is an error, not a row that is left out.
$ steelyard replay plain.json --gpu h1000
2> steelyard: plain.json: GPU 'h1000' is unknown; did you mean 'h100'?
? 2
$ steelyard replay plain.json --gpu h100 --set nonsense=1
2> steelyard: plain.json: --set: unknown key 'nonsense'
? 2
$ head -c 60 plain.json > cut.json; steelyard replay cut.json --gpu h100
2> steelyard: cut.json (not described by a runs.json or NAME__meta.json beside it): cut.json:1:61: the text ends too early
? 2
$ steelyard replay missing.json
2> steelyard: missing.json: No such file or directory
? 5
