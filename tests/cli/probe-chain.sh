#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From the probe's files to a verdict, as calibrate/probe/run-all.sh and its second half (judge.sh) do it, with
# files of a GPU that does not exist (synth_probe). Usage: probe-chain.sh STEELYARD SYNTH_PROBE ROOT
set -eu
steelyard=$(realpath "$1")
synth=$(realpath "$2")
root=$(realpath "$3")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

fail()
{
    echo "probe-chain: $*" >&2
    exit 1
}

# On the machine with the GPU.
plan=$root/calibrate/probe/plans/llama-3.1-8b-mixed.jsonl
mkdir visit
"$synth" probe > visit/probe.json
"$synth" replay "$plan" > visit/replay-llama-3.1-8b-mixed.json
cp "$plan" visit/

# On the other.
STEELYARD=$steelyard "$root/calibrate/probe/judge.sh" visit --gpu h200 > out.txt 2> err.txt || {
    cat out.txt err.txt
    fail "judge.sh ended with $?"
}
grep -q 'with prefill .*%' out.txt || fail "no steps with prefill were judged"
grep -q 'p95 at most 10 %: met' out.txt || fail "the verdict is missing: $(cat out.txt)"
for file in visit/llama-3.1-8b.profile.json visit/residuals/residuals-gemm.svg visit/verdict.txt visit/fit.txt; do
    [ -s "$file" ] || fail "$file is missing"
done

# The same steps with another GPU's time: not met, and the status says so.
"$synth" probe quick | sed 's/"median":\([0-9.e-]*\)/"median":2\1/g' > wrong.json
"$steelyard" fit wrong.json --gpu h200 --model llama-3.1-8b -o wrong.profile.json > /dev/null
if "$steelyard" fit --check-replay visit/replay-llama-3.1-8b-mixed.json --profile wrong.profile.json --plan "$plan" \
    > wrong.txt 2>&1; then
    fail "a wrong profile passed: $(cat wrong.txt)"
fi
grep -q 'not met' wrong.txt || fail "no verdict on a wrong profile: $(cat wrong.txt)"

# Another plan is noticed.
head -40 "$plan" | tail -n +3 > rest.jsonl
{ head -1 "$plan"; cat rest.jsonl; } > other.jsonl
if "$steelyard" fit --check-replay visit/replay-llama-3.1-8b-mixed.json --profile visit/llama-3.1-8b.profile.json \
    --plan other.jsonl > /dev/null 2> other.txt; then
    fail "another plan passed"
fi
grep -q 'another plan was executed' other.txt || fail "another plan: $(cat other.txt)"
