# What steelyard fit says when something is missing or misspelt, and a profile made by hand in use.
$ steelyard fit
2> steelyard: fit: no measurements given (see steelyard fit --help)
? 2
$ steelyard fit . --from llmserving --gpu h100 --model llama-2-7b -o p.json
2> steelyard: source 'llmserving' is not known; did you mean 'llmservingsim'? (steelyard fit --help)
? 2
$ steelyard fit . --from llmservingsim --gpu h100 -o p.json --modell llama-2-7b
2> steelyard: option '--modell' is not known; did you mean '--model'? (steelyard help fit)
? 2
$ steelyard fit . --from llmservingsim --gpu h100 --model llama-2-7b -o p.json --format xml
2> steelyard: format 'xml' is not known (text, json, csv)
? 2
$ steelyard fit . --from llmservingsim --gpu h100 --model llama-2-7b -o p.json
2> steelyard: ./dense.csv: No such file or directory
? 5
$ printf 'gpu,model,tp,layer,tokens,time_us\nH100,Llama-2-7b,1,qkv_proj,1,ten\n' > dense.csv; steelyard fit . --from llmservingsim --gpu h100 --model llama-2-7b -o p.json; ls
1> dense.csv
2> steelyard: ./dense.csv:2: column 'time_us': 'ten' is not a number
$ steelyard fit . --from llmservingsim --gpu a40 --model llama-2-7b -o p.json
2> steelyard: ./dense: nothing about gpu 'a40'; there is: H100
? 3
$ printf 'time_s,prompt_tokens,output_tokens\n0,10,3\n' > t.csv
$ printf '{"schema": "steelyard.profile/1", "tp": 1, "overheads": {"step_us": 0, "seq_us": 0}, "terms": [{"name": "all", "count": 1, "axes": [{"name": "tokens", "at": [1, 1000]}], "us": [1000, 1000]}]}' > p.json
# Prefill and two decodes of 1 ms each.
$ steelyard run --trace t.csv --cost 'table{profile=p.json}' --set kv.tokens=1000 --format csv 2>&1 | grep -E '^mean_(ttft|tpot|e2el)'
1> mean_ttft_ms,1,ms
1> mean_tpot_ms,1,ms
1> mean_e2el_ms,3,ms
$ steelyard run --trace t.csv --cost 'table{profile=p.json}' --tp 2 --set kv.tokens=1000
2> steelyard: p.json is for tensor-parallel degree 1, the run has 2
? 2
$ steelyard run --trace t.csv --cost 'table{profile=q.json}' --set kv.tokens=1000
2> steelyard: table: cannot read 'q.json': No such file or directory
? 5
$ steelyard run --trace t.csv --cost table --set kv.tokens=1000
2> steelyard: table: no profile is given: table{profile=FILE}
? 2
