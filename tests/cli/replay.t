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
1>   h100           llama-3.1-8b         auto   vllm           mean_ttft_ms          2       75.00 ms           -         -    -21.0 %    21.0 %
1>                                                             mean_tpot_ms          2        8.50 ms           -         -    -21.0 %    21.0 %
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
2> steelyard: cut.json:1:61: the text ends too early
? 3
$ steelyard replay missing.json
2> steelyard: missing.json: No such file or directory
? 5
# Times that cannot be, with the place and the two values; negative and empty times are requests that failed.
$ printf 'arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,100,10,0.5,0.25\n' > early.csv; steelyard replay early.csv --model llama-3.1-8b --gpu h100
2> steelyard: early.csv:2: measured: the request ended after 0.25 s, before its first token after 0.5 s
? 3
$ printf 'arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,100,10,nan,0.25\n' > nan.csv; steelyard replay nan.csv --model llama-3.1-8b --gpu h100
2> steelyard: nan.csv:2: column 'ttft_s': 'nan' is not finite
? 3
$ printf 'arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,100,10,0.1,inf\n' > inf.csv; steelyard replay inf.csv --model llama-3.1-8b --gpu h100
2> steelyard: inf.csv:2: column 'e2e_s': 'inf' is not finite
? 3
$ printf 'arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,100,10,0.1,0.2\n1,100,10,-1,-1\n2,100,10,,\n' > some.csv; steelyard replay some.csv --model llama-3.1-8b --gpu h100 --format csv | grep -E 'completed|failed' | cut -d, -f1-4
1> some,completed,1,1
1> some,failed,1,2
# Without a column of ends nothing is known of failures; in the summary of several files neither.
$ printf 'arrival_s,prompt_tokens,output_tokens,ttft_s\n0,100,10,0.1\n' > first.csv; steelyard replay first.csv first.csv --model llama-3.1-8b --gpu h100 | sed '1,/^summary/d' | grep -E 'completed|failed|mean_e2el'
1>   mean_e2el_ms                                   -           -       0
1>   completed                                      -           -       0
1>   failed                                         -           -       0
# What is no measured run is bad data, whatever is wrong with it; the file is named once.
$ : > empty.json; steelyard replay empty.json --gpu h100
2> steelyard: empty.json:1:1: the text ends too early
? 3
$ printf '{"input_lens": [1], "x": \001\377}' > binary.json; steelyard replay binary.json --gpu h100
2> steelyard: binary.json:1:26: control byte outside of a string
? 3
$ (printf '%0200d' 0 | tr 0 '['; echo) > deep.json; steelyard replay deep.json --gpu h100
2> steelyard: deep.json:1:101: nested deeper than 100
? 3
$ printf 'hello\n' > text.csv; steelyard replay text.csv --gpu h100
2> steelyard: text.csv: not a measured run that I know: a CSV with the columns arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s, or the JSON of vllm bench serve --save-result
? 3
$ mkdir described; cp some.csv described/; echo '[{' > described/runs.json; steelyard replay described/some.csv
2> steelyard: described/some.csv: described/runs.json:2:1: the text ends too early
? 3
$ steelyard replay some.csv
2> steelyard: some.csv (not described by a runs.json or NAME__meta.json beside it): roofline needs a model and a GPU: give --model and --gpu
? 2
# A table none of whose rows can be simulated.
$ sed -n '1p;/TPU/p;/TPU/p' sums.csv > refused.csv; steelyard replay refused.csv | tail -n 3
1>   not simulated:
1>        2  llama-3.1-8b on TPU v5e: no data of this GPU
1>
2> steelyard: refused.csv: none of the 2 measured points can be simulated; the first: no data of this GPU
$ steelyard replay refused.csv > /dev/null
2> steelyard: refused.csv: none of the 2 measured points can be simulated; the first: no data of this GPU
? 3
$ sed -n '1p;/TPU/p' sums.csv > refused1.csv; steelyard replay refused1.csv
2> steelyard: refused1.csv: no data of this GPU
? 3
$ head -1 sums.csv > none.csv; steelyard replay none.csv
2> steelyard: none.csv: the table has no rows
? 3
# A large error does not run into the number before it.
$ printf 'arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s\n0,100,10,0.000001,0.000002\n' > tiny.csv; steelyard replay tiny.csv --model llama-3.1-8b --gpu h100 | grep -c '[0-9][+][0-9]'
1> 0
? 1
