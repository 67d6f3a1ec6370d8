#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# steelyard fit --from run on a real run (vLLM 0.19, Llama-3.1-8B on RTX PRO 6000), where the data is: the host
# time of a step comes out near what is known of the engine, and the half of the run that was left out is
# predicted at least as well as before. Usage: fit-run-real.sh STEELYARD
set -eu
steelyard=$(realpath "$1")
data=${STEELYARD_SHARED:-../shared}/data
run=$data/groundtruth/llmservingsim_bench/RTXPRO6000__Llama-3.1-8B__requests.csv.gz
[ -r "$run" ] && [ -d "$data/profiles/llmservingsim" ] || { echo "skipped: $run is not there"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$steelyard" fit "$data/profiles/llmservingsim" --from llmservingsim --gpu rtx-pro-6000 --model llama-3.1-8b \
    --engine 0.19.0 -o "$dir/hw.json" > /dev/null
cp "$dir/hw.json" "$dir/before.json"
"$steelyard" fit "$run" --from run --profile "$dir/hw.json" -o "$dir/engine.json" --quiet > "$dir/report.txt"
cmp -s "$dir/hw.json" "$dir/before.json" || { echo "the hardware's profile was changed"; exit 1; }

# Rows of the held-out half come first: name, requests, mean before, %, mean after, %, each before, %, each after.
awk '$1 == "engine.step_overhead" { step = $2 }
     /held out/ { held = 1 } /fitted to$/ { held = 0 }
     held && ($1 == "ttft" || $1 == "tpot" || $1 == "e2el") {
         rows++; if ($9 > $7 + 0.5 || $5 ^ 2 > ($3 ^ 2 > 1 ? $3 ^ 2 : 1)) { print "worse: " $0; bad = 1 } }
     END { if (step < 100 || step > 400) { print "step: " step " us"; bad = 1 }
           if (rows != 3) { print "rows: " rows + 0; bad = 1 } exit bad }' "$dir/report.txt" || { cat "$dir/report.txt"; exit 1; }
