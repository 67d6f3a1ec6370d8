# steelyard fit --from run: a run is simulated with host times that are known, its requests are handed over as
# measured, and the fit finds the host times again, on top of the same hardware.
$ printf '{"schema": "steelyard.profile/1", "tp": 1, "terms": [{"name": "dense", "count": 1, "axes": [{"name": "tokens", "at": [1, 256, 8192]}], "us": [4000, 4400, 90000]}, {"name": "attention", "count": 1, "axes": [{"name": "decodes", "at": [1, 128]}, {"name": "context", "at": [1, 8192]}], "us": [50, 200, 60, 30000]}]}' > hw.json; cksum hw.json > before.txt
$ steelyard run --trace 'synth:poisson{requests=300,rates=6,prompt=100..1500,output=20..200}' --set kv.tokens=200000 --cost 'table{profile=hw.json,step_us=0,seq_us=4}' --set engine.step_overhead=900us --set engine.request_delay=14ms --requests r.csv --plan-out plan.jsonl --format csv > /dev/null
$ awk -F, 'NR > 1 { print $8 "," $4 "," $5 "," $12 / 1000 "," $14 / 1000 }' r.csv | sort -n | sed '1iarrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s' > measured.csv
$ steelyard fit measured.csv --from run --profile hw.json --set kv.tokens=200000 -o engine.json --quiet > report.txt; awk '$1 == "engine.step_overhead" { print ($2 > 880 && $2 < 920 ? "step as it was" : $0) } $1 == "engine.request_delay" { print ($2 > 13.5 && $2 < 14.5 ? "delay as it was" : $0) } /^  (ttft|tpot)/ { print $1, ($3 < -10 ? "too short before," : $0), ($5 ^ 2 < 4 ? "right after" : $0) }' report.txt
1> step as it was
1> delay as it was
1> ttft too short before, right after
1> tpot too short before, right after
1> ttft too short before, right after
1> tpot too short before, right after
# The keys are a configuration for run and replay; of the hardware nothing was changed.
$ grep -o '"[a-z_.]*":' engine.json | sort; cksum hw.json | cmp - before.txt
1> "cost":
1> "engine.cold_start":
1> "engine.request_delay":
1> "engine.step_overhead":
$ steelyard replay measured.csv --config engine.json --set kv.tokens=200000 --format csv | awk -F, '$2 ~ /^mean_(ttft|tpot)/ { print $2, ($6 ^ 2 < 0.0001 ? "right" : $0) }'
1> mean_ttft_ms right
1> mean_tpot_ms right
$ steelyard run engine.json --trace measured.csv --set kv.tokens=200000 --format csv | grep -c mean_ttft_ms
1> 1
# The profile's path holds from any folder.
$ mkdir else; cd else; steelyard replay ../measured.csv --config ../engine.json --set kv.tokens=200000 --format csv | grep -c mean_ttft_ms
1> 1
# From a log of steps, host times alone: 900 us a step, 4 us a sequence.
$ tail -n +2 plan.jsonl | awk 'BEGIN { print "n_decode,decode_tok,chunks,prefill_tok,prefill_pairs,duration_ms" } { s = $0; sub(/.*"chunks":\[/, "", s); sub(/\],"decode":.*/, "", s); n = gsub(/\[/, "", s); gsub(/\]/, "", s); k = split(s, c, ","); tok = pairs = 0; for (i = 1; i + 1 <= k; i += 3) { tok += c[i + 1]; pairs += c[i + 1] * c[i] + c[i + 1] * (c[i + 1] + 1) / 2 } d = $0; sub(/.*"decode":\[/, "", d); sub(/\].*/, "", d); m = split(d, x, ","); t = $0; sub(/.*"decode_tok":/, "", t); u = $0; sub(/.*"dur_ns":/, "", u); print m "," t + 0 "," n "," tok "," pairs "," u / 1e6 }' > steps.csv; head -1 steps.csv
1> n_decode,decode_tok,chunks,prefill_tok,prefill_pairs,duration_ms
$ steelyard fit steps.csv --from run --profile hw.json -o host.json | awk '$1 ~ /step_overhead|seq_us/ { print $1, $2 } /held out/ { print ($8 < 0.2 ? "predicted" : $0) }'
1> engine.step_overhead 900.0
1> seq_us 4.00
1> predicted
# What is missing or wrong is said.
$ steelyard fit --from run --profile hw.json -o engine.json
2> steelyard: fit --from run: no measured run given (see steelyard fit --help)
? 2
$ steelyard fit measured.csv --from run --profile none.json --set kv.tokens=200000 -o engine.json
2> steelyard: measured.csv: table: cannot read 'none.json': No such file or directory
? 5
$ steelyard fit steps.csv --from run -o host.json
2> steelyard: fit --from run: a log of steps needs --profile HARDWARE
? 2
$ cut -d, -f1-3 measured.csv > t.csv; steelyard fit t.csv --from run --profile hw.json --set kv.tokens=200000 -o engine.json --quiet
2> steelyard: t.csv: holds no measured times (ttft, e2e): nothing to fit to
? 3
$ sed '5s/^[0-9]*/-3/' steps.csv > bad.csv; steelyard fit bad.csv --from run --profile hw.json -o host.json
2> steelyard: ./bad.csv:5: column 'n_decode': a number from 0 is expected
? 3
$ steelyard fit measured.csv --from run --profil hw.json -o engine.json
2> steelyard: option '--profil' is not known; did you mean '--profile'? (steelyard help fit)
? 2
$ head -12 measured.csv > few.csv; steelyard fit few.csv --from run --profile hw.json --set kv.tokens=200000 -o few.json --quiet; test -e few.json || echo nothing written
1> nothing written
2> steelyard: few.csv: 11 requests with times are too few to tell the engine's times apart (from 20 on)
# What was not measured has no error: "-", and null.
$ cut -d, -f1-4 measured.csv > ttft.csv; steelyard fit ttft.csv --from run --profile hw.json --set kv.tokens=200000 -o t.json --quiet | awk '/^  e2el/' | head -1
1>   e2el             0               -               -               -               -
$ steelyard fit ttft.csv --from run --profile hw.json --set kv.tokens=200000 -o t.json --quiet --format json | grep -c nan
1> 0
? 1
