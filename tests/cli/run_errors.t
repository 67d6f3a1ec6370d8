# Wrong input to a run: one sentence that names the place, and the documented status; never a crash.
$ printf 'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.00,374,44\n2023-11-16 18:15:50.25,396,109\n2023-11-16 18:15:51.50,879,55\n' > ok.csv
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g > /dev/null
# ---- the trace ----
$ steelyard run --model llama-3.1-8b --gpu a100-80g
2> steelyard: no trace is named: use --trace FILE, or the key 'trace' in a config file
? 2
$ steelyard run --trace missing.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: missing.csv: No such file or directory
? 5
$ : > empty.csv; steelyard run --trace empty.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: empty.csv: the file is empty
? 3
$ head -1 ok.csv > head.csv; steelyard run --trace head.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: head.csv: the trace holds no request
? 3
$ gzip -c ok.csv | head -c 60 > cut.csv.gz; steelyard run --trace cut.csv.gz --model llama-3.1-8b --gpu a100-80g
2> steelyard: cut.csv.gz: the gzip file is truncated (after line 0)
? 3
$ printf 'hello\nworld\n' > text.csv; steelyard run --trace text.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: text.csv: not a trace format that I know (it begins with 'hello'); name one with trace.format
? 3
$ sed 's/,396,/,-396,/' ok.csv > minus.csv; steelyard run --trace minus.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: minus.csv:3: column 'ContextTokens': '-396' is negative
? 3
$ sed 's/,109$/,0/' ok.csv > zero.csv; steelyard run --trace zero.csv --model llama-3.1-8b --gpu a100-80g > /dev/null
$ sed 's/,396,/,nan,/' ok.csv > nan.csv; steelyard run --trace nan.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: nan.csv:3: column 'ContextTokens': 'nan' is not finite
? 3
$ sed 's/,396,/,99999999999999999999,/' ok.csv > huge.csv; steelyard run --trace huge.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: huge.csv:3: column 'ContextTokens': '99999999999999999999' is too large
? 3
$ sed 's/18:15:51/18:15:48/' ok.csv > back.csv; steelyard run --trace back.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: back.csv:4: the arrival at 2.5 s comes after one at 4.25 s
? 3
$ sed 's/,109$//' ok.csv > short.csv; steelyard run --trace short.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: short.csv:3: 2 fields where the header names 3 columns
? 3
$ (head -1 ok.csv; head -c 20000000 /dev/zero | tr '\0' 7; echo) > long.csv; steelyard run --trace long.csv --model llama-3.1-8b --gpu a100-80g
2> steelyard: long.csv:2: the line is longer than 16 MiB
? 3
$ mkdir folder; steelyard run --trace folder --model llama-3.1-8b --gpu a100-80g
2> steelyard: folder: is a directory, not a trace
? 5
$ steelyard run --trace ok.csv --set trace.format=azur --model llama-3.1-8b --gpu a100-80g
2> steelyard: 'azur' is not a trace format; did you mean 'azure'?
? 2
$ steelyard run --trace ok.csv --set trace.format=native --model llama-3.1-8b --gpu a100-80g
2> steelyard: ok.csv:1: unknown column 'TIMESTAMP'
? 3
# ---- the machine ----
$ steelyard run --trace ok.csv
2> steelyard: roofline needs a model and a GPU: give --model and --gpu
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b
2> steelyard: roofline needs a model and a GPU: give --gpu
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8 --gpu a100-80g
2> steelyard: model 'llama-3.1-8' is unknown; did you mean 'llama-3.1-8b'?
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80
2> steelyard: GPU 'a100-80' is unknown; did you mean 'a100-80g'?
? 2
$ steelyard run --trace ok.csv --model ./none.json --gpu a100-80g
2> steelyard: ./none.json: No such file or directory
? 5
$ echo '{"hidden_size": 4096' > bad.json; steelyard run --trace ok.csv --model ./bad.json --gpu a100-80g
2> steelyard: ./bad.json:2:1: the text ends too early
? 2
$ steelyard run --trace ok.csv --model llama-3.1-70b --gpu a100-80g
2> steelyard: llama-3.1-70b in bf16 does not fit on 1 x a100-80g: 131.41 GiB of weights and 1.08 GiB of activations and runtime per GPU leave -61.17 GiB of 71.33 GiB (90 % of the memory), one KV block needs 0.0049 GiB
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set weight_dtype=fp12
2> steelyard: weight format 'fp12' is unknown: auto, fp32, fp16, bf16, fp8, int8, int4 or fp4
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --tp 0
2> steelyard: --tp: key 'tp': 0 is outside 1..64
? 2
# ---- a prompt larger than the pool is refused; the others run ----
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set kv.tokens=512 --format csv | grep -E '^(completed|failed|refused),'
1> completed,1,1
1> failed,2,1
1> refused,2,1
# ---- the command line and what it writes ----
$ steelyard run --trace ok.csv --format xml
2> steelyard: format 'xml' is not known (text, json, csv)
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --requests rows.parquet
2> steelyard: --requests 'rows.parquet': the name has to end in .csv or .jsonl
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --requests none/rows.csv
2> steelyard: none/rows.csv: No such file or directory
? 5
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --log none/log.jsonl
2> steelyard: none/log.jsonl: No such file or directory
? 5
$ steelyard run a.json b.json
2> steelyard: 'b.json' is one word too many (steelyard help run)
? 2
$ steelyard run --polcy fcfs
2> steelyard: option '--polcy' is not known; did you mean '--policy'? (steelyard help run)
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set load.scale=nan
2> steelyard: --set: key 'load.scale': 'nan' is not a number
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g > /dev/full
2> steelyard: standard output: No space left on device
? 5
$ ln -s /dev/full full.csv; steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --requests full.csv > /dev/null
2> steelyard: full.csv: No space left on device
? 5
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --db none/runs.db
2> steelyard: none/runs.db: unable to open database file
? 5
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --db folder
2> steelyard: folder: unable to open database file
? 5
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --db ok.csv
2> steelyard: ok.csv: file is not a database
? 3
# ---- packets, pages, lanes ----
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set pcie.payload=200
2> steelyard: pcie.payload: 200 is no size of packets: 128, 256, 512, 1024, 2048 and 4096 are
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --set kv.page=100
2> steelyard: kv.page: 100 bytes: a token has 2048 bytes of a layer's keys, which are no whole pages; CUDA maps 2MiB
? 2
$ steelyard run --trace ok.csv --model llama-3.1-8b --gpu a100-80g --timeline -
2> steelyard: --timeline '-': a file is meant, standard output has the results
? 2
$ steelyard trace info --experts missing.csv
2> steelyard: cannot read 'missing.csv': No such file or directory
? 5
