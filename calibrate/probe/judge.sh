#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The second half of run-all.sh, on a machine with steelyard (and without a GPU): fits each model whose plan
# was executed, simulates the executed steps with the fitted profile, and says whether they are within 5 % in
# the median and 10 % at the 95th percentile.
#
#   calibrate/probe/judge.sh FOLDER --gpu GPU [options of steelyard fit, as --data-dir DIR]
#
# FOLDER is what run-all.sh left: probe.json, replay-PLAN.json and PLAN.jsonl. Into it go MODEL.profile.json,
# fit.txt, residuals/ and verdict.txt. STEELYARD names the program (default: build/steelyard, then PATH).
#
# Exit codes: 0 all within the bounds; 1 one of them not; others as steelyard fit.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ $# -ge 1 ] && [ -d "$1" ] || { echo "usage: judge.sh FOLDER --gpu GPU" >&2; exit 2; }
folder=$1
shift
steelyard=${STEELYARD:-$root/build/steelyard}
[ -x "$steelyard" ] || steelyard=$(command -v steelyard) || { echo "judge.sh: no steelyard; build it" >&2; exit 2; }
[ -s "$folder/probe.json" ] || { echo "judge.sh: $folder/probe.json is missing" >&2; exit 3; }

: > "$folder/fit.txt"
: > "$folder/verdict.txt"
status=0 judged=0
for replay in "$folder"/replay-*.json; do
    [ -e "$replay" ] || continue
    name=$(basename "$replay" .json)
    plan=$folder/${name#replay-}.jsonl
    [ -e "$plan" ] || plan=$root/calibrate/probe/plans/${name#replay-}.jsonl
    model=$(sed -n '1s/.*"model":{"name":"\([^"]*\)".*/\1/p' "$plan")
    profile=$folder/$model.profile.json
    "$steelyard" fit "$folder/probe.json" --model "$model" -o "$profile" --plots "$folder/residuals" "$@" |
        tee -a "$folder/fit.txt"
    code=0
    "$steelyard" fit --check-replay "$replay" --profile "$profile" --plan "$plan" > "$folder/verdict.part" || code=$?
    tee -a "$folder/verdict.txt" < "$folder/verdict.part"
    rm -f "$folder/verdict.part"
    [ "$code" -le 1 ] || exit "$code"
    [ "$code" -eq 0 ] || status=1
    judged=$((judged + 1))
done
[ "$judged" -gt 0 ] || { echo "judge.sh: no replay-*.json in $folder" >&2; exit 3; }
exit "$status"
