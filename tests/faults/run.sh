#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the program again and again while one allocation, or the disk, fails. Each time it must end with
# a documented status (0 2 3 4 5; never a signal, never a hang), say on stderr what went wrong unless it
# is 0, and when it is 0 have printed exactly what it prints without the fault, or have refused a
# request for it. A sweep that failed must go on with --resume and then print that, too.
# Usage: run.sh BINARY SHIM.so SOURCE_ROOT [POINTS]
binary=$(realpath "$1") || exit 2
shim=$(realpath "$2") || exit 2
root=$(realpath "$3") || exit 2
points=${4:-150}
for variable in $(compgen -e STEELYARD_); do
    unset "$variable"
done
export STEELYARD_DATA=$root/models LC_ALL=C
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
cd "$scratch" || exit 2

awk 'BEGIN { print "TIMESTAMP,ContextTokens,GeneratedTokens"
    for (i = 0; i < 60; i++)
        printf "2023-11-16 18:15:%02d.%07d,%d,%d\n", i / 2, i % 2 * 5000000 + i, 100 + i * 37, 5 + i * 13 % 90
}' > trace.csv
common="--trace trace.csv --model llama-3.1-8b --gpu a100-80g"
run="run $common --quiet --format json --policy vtc --requests requests.csv"
text="run $common --policy check(sjf) --batcher lightllm-slora --set kv.tokens=8192 --requests requests.csv"
cluster="run $common --quiet --replicas 3 --router d2lpm{quantum=500} --policy dlpm --set load.concurrency=9"
sweep="sweep $common --vary policy=fcfs,vtc --reps 2 --set load.bootstrap=5s --db sweep.db"

tests=0
failures=0

# steps TOP COUNT: 1..10, then about COUNT numbers up to TOP, ever further apart.
steps() {
    awk -v top="$1" -v count="$2" 'BEGIN {
        f = exp(log(top / 10 + 1) / count)
        for (n = 1; n < top; n = n < 10 ? n + 1 : int(n * f) + 1)
            print n
        if (top > 0)
            print top
    }'
}

# complain TEXT: about the run that `what`, `fault` and $@ of the caller describe
complain() {
    failures=$((failures + 1))
    echo "# $what, $fault: $1"
    head -n 3 err | sed 's/^/#     /'
}


# resume ARGS...: the failed sweep once more, without a fault
resume() {
    local status
    timeout -k 1 60 "$binary" "$@" --resume > out 2> err < /dev/null
    status=$?
    if [ $status -ne 0 ]; then
        complain "status $status when resumed"
    elif ! cmp -s out clean.out; then
        complain "resumed, but another output"
    fi
}

# attempt WHAT VARIABLE=N ARGS...: one faulty run, held against the clean one
attempt() {
    local what=$1 fault=$2 status
    shift 2
    rm -f sweep.db* requests.csv
    # stderr goes through a pipe, which no limit on files touches
    timeout -k 1 60 env "$fault" LD_PRELOAD="$shim" "$binary" "$@" 2>&1 > out < /dev/null | cat > err
    status=${PIPESTATUS[0]}
    tests=$((tests + 1))
    case $status in
    0) cmp -s out clean.out || complain "status 0, but another output" ;;
    2 | 3 | 4 | 5) cmp -s err clean.err && complain "status $status without a word on stderr" ;;
    124) complain "hangs" ;;
    *) complain "status $status" ;;
    esac
    if [ "$status" -ne 0 ] && [ -s sweep.db ]; then
        resume "$@"
    fi
}

# clean WHAT ARGS...: the run without a fault; sets allocations and writes
clean() {
    local what=$1 fault="no fault"
    shift
    rm -f sweep.db* requests.csv count
    if ! FAULT_COUNT=$PWD/count LD_PRELOAD=$shim "$binary" "$@" > clean.out 2> err; then
        complain "fails"
        return 1
    fi
    mv err clean.err
    read -r allocations writes < count
    echo "# $what: $allocations allocations, $writes writes"
}

# faults WHAT COMMAND: all kinds
faults() {
    local what=$1 n jobs=()
    shift
    clean "$what" "$@" || return
    [ "$what" = sweep ] && jobs=(-j 1) # so that the n-th is always the same
    for n in $(steps "$allocations" "$points"); do
        attempt "$what" FAULT_ALLOC="$n" "$@" "${jobs[@]}"
    done
    for n in $(steps "$writes" 10); do
        attempt "$what" FAULT_WRITE="$n" "$@"
    done
    for n in 0 1 100 1000 4096 20000; do
        attempt "$what" FAULT_BYTES="$n" "$@"
    done
}

read -ra words <<< "$run"
faults run "${words[@]}"
read -ra words <<< "$text"
faults text "${words[@]}"
read -ra words <<< "$cluster"
faults cluster "${words[@]}"
read -ra words <<< "$sweep"
faults sweep "${words[@]}"
read -ra words <<< "$common"
for format in text json csv; do # a full device as standard output
    timeout 60 "$binary" run "${words[@]}" --quiet --format $format > /dev/full 2> err
    status=$?
    tests=$((tests + 1))
    if [ $status -ne 5 ] || [ ! -s err ]; then
        failures=$((failures + 1))
        echo "# standard output is full, $format: status $status instead of 5, or not a word"
    fi
done
echo "# $tests runs with a fault"
echo 1..1
if [ $failures -eq 0 ]; then
    echo "ok 1 - faults"
else
    echo "not ok 1 - faults: $failures of $tests"
fi
