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

usage()
{
    cat << 'EOF'
usage: judge.sh FOLDER --gpu GPU [options of steelyard fit, as --data-dir DIR]

Fits each model whose plan was executed (FOLDER is what run-all.sh left: probe.json, replay-PLAN.json and
PLAN.jsonl), simulates the executed steps with the fitted profile and says whether they are within 5 % in the
median and 10 % at the 95th percentile. Leaves MODEL.profile.json, fit.txt, residuals/ and verdict.txt there.
GPU is a bundled name (steelyard list gpus) or a file. STEELYARD names the program.

Exit codes: 0 all within the bounds; 1 one of them not; others as steelyard fit.
EOF
}

die()
{
    printf 'judge.sh: %s\n' "$2" >&2
    exit "$1"
}

case "${1:-}" in
-h | --help) usage; exit 0 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ $# -ge 1 ] || die 2 "no FOLDER given (judge.sh FOLDER --gpu GPU; judge.sh --help)"
[ -d "$1" ] || die 2 "$1: no such folder (judge.sh FOLDER --gpu GPU; judge.sh --help)"
folder=$1
shift
case " $*" in
*" --gpu "* | *" --gpu="*) ;;
*) die 2 "no --gpu GPU given: a bundled name (steelyard list gpus) or a file, as --gpu h200" ;;
esac
steelyard=${STEELYARD:-$root/build/steelyard}
[ -x "$steelyard" ] || steelyard=$(command -v steelyard) || die 2 "no steelyard; build it"
[ -s "$folder/probe.json" ] || die 3 "$folder/probe.json is missing"

: > "$folder/fit.txt"
: > "$folder/verdict.txt"
status=0 judged=0
for replay in "$folder"/replay-*.json; do
    [ -e "$replay" ] || continue
    name=$(basename "$replay" .json)
    plan=$folder/${name#replay-}.jsonl
    [ -e "$plan" ] || plan=$root/calibrate/probe/plans/${name#replay-}.jsonl
    [ -e "$plan" ] || die 3 "${name#replay-}.jsonl, the plan of $replay, is neither in $folder nor bundled"
    model=$(sed -n '1s/.*"model":{"name":"\([^"]*\)".*/\1/p' "$plan")
    [ -n "$model" ] || die 3 "$plan: the first line names no model"
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
[ "$judged" -gt 0 ] || die 3 "no replay-*.json in $folder"
exit "$status"
