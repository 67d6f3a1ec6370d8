#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a machine with a GPU to a verdict: calibrate/probe/run-all.sh and judge.sh as they are, with a compiler
# and a probe that play a GPU which does not exist (synth_probe).
# Usage: probe-chain.sh STEELYARD SYNTH_PROBE ROOT
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

# A compiler whose product answers as steelyard-probe would, and a driver that lists a GPU.
mkdir bin
cat > bin/nvcc << EOF
#!/bin/sh
while [ \$# -gt 0 ]; do
    case \$1 in
    -o) out=\$2; shift ;;
    -c) object=yes ;;
    esac
    shift
done
[ -z "\${object:-}" ] || { : > "\$out"; exit; }
cat > "\$out" << 'PROBE'
#!/bin/sh
what=probe
while [ \$# -gt 0 ]; do
    case \$1 in
    -o) out=\$2; shift ;;
    --replay) what="replay \$2"; shift ;;
    esac
    shift
done
exec $synth \$what > "\$out"
PROBE
chmod +x "\$out"
EOF
cat > bin/nvidia-smi << 'EOF'
#!/bin/sh
case $1 in
-L) echo "GPU 0: NVIDIA H200 (UUID: GPU-1)" ;;
*) echo "NVIDIA H200, 550.54" ;;
esac
EOF
chmod +x bin/nvcc bin/nvidia-smi
PATH=$dir/bin:$PATH
export PATH

# One command where both are; the same in two halves.
plan=$root/calibrate/probe/plans/llama-3.1-8b-mixed.jsonl
OUT=visit GPU=h200 STEELYARD=$steelyard "$root/calibrate/probe/run-all.sh" > out.txt 2> err.txt || {
    cat out.txt err.txt
    fail "run-all.sh ended with $?"
}
grep -q 'with prefill .*%' out.txt || fail "no steps with prefill were judged"
grep -q 'p95 at most 10 %: met' out.txt || fail "the verdict is missing: $(cat out.txt)"
for file in visit/llama-3.1-8b.profile.json visit/residuals/residuals-gemm.svg visit/verdict.txt visit/fit.txt; do
    [ -s "$file" ] || fail "$file is missing"
done

STEELYARD=$steelyard "$root/calibrate/probe/judge.sh" visit --gpu h200 > again.txt 2> err.txt || fail "judge.sh ended with $?"
cmp -s out.txt again.txt || fail "judge.sh says something else: $(diff out.txt again.txt)"

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

# What is missing is said by the script that misses it.
"$root/calibrate/probe/run-all.sh" --help | grep -q '^usage: run-all.sh' || fail "run-all.sh --help"
"$root/calibrate/probe/judge.sh" --help | grep -q '^usage: judge.sh' || fail "judge.sh --help"
says()
{
    code=0
    STEELYARD=$steelyard "$root/calibrate/probe/judge.sh" "$@" > says.txt 2>&1 || code=$?
    [ "$code" -eq "$want" ] && grep -q "$words" says.txt || fail "judge.sh $*: $code, $(cat says.txt)"
}
want=2 words='judge.sh: no --gpu GPU given'
says visit
cp visit/replay-llama-3.1-8b-mixed.json visit/replay-none.json
rm visit/replay-llama*.json
want=3 words='judge.sh: none.jsonl, the plan of'
says visit --gpu h200
