#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: kill-resume.sh STEELYARD [SEED]
#
# First a sweep is interrupted (SIGINT): status 130, whole runs, and --resume ends it. Then one is killed
# (SIGKILL) at ten random moments, resumed, killed again and resumed to its end. Each
# time the database must then equal that of an undisturbed sweep, row for row, and the printed table to
# the byte. Moments come from SEED, which is printed.
set -euo pipefail

steelyard=$(realpath "$1")
seed=${2:-20261121}
rounds=10
RANDOM=$((seed % 32768))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo "seed $seed"

# Three clients, some 4000 requests; lengths and gaps from a small linear congruence.
awk 'BEGIN {
    print "time_s,client,prompt_tokens,output_tokens"
    for (i = 0; i < 4000; i++) {
        x = (x * 1103515245 + 12345) % 2147483648
        t += 0.05 + (x % 1000) / 5000
        printf "%.4f,c%d,%d,%d\n", t, x % 3, 50 + x % 700, 20 + int(x / 7) % 400
    }
}' > trace.csv

args=(sweep --trace trace.csv --model llama-2-7b --gpu a10g --set load.bootstrap=20s
    --set series.step=20s --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.3:0.6:0.1
    --reps 6 --quiet -j 3 --requests)

sweep()
{
    "$steelyard" "${args[@]}" "$@"
}

runs_in()
{
    if [ -s "$1" ]; then "$steelyard" db export "$1" --table run | tail -n +2 | wc -l; else echo 0; fi
}

now_ms()
{
    date +%s%3N
}

# The quicker of two, so that on a busy machine the moments still fall inside.
whole_ms=999999
for _ in 1 2; do
    rm -f whole.db
    begin=$(now_ms)
    sweep --db whole.db > whole.txt
    took=$(($(now_ms) - begin))
    whole_ms=$((took < whole_ms ? took : whole_ms))
done
"$steelyard" db export whole.db > whole.csv
all=$(runs_in whole.db)
echo "undisturbed: $all runs in $whole_ms ms"

# signal_after MS DB SIGNAL: start or go on, and send the signal; the status of the sweep is printed.
signal_after()
{
    local pid status=0
    "$steelyard" "${args[@]}" --db "$2" --resume > out.txt 2> err.txt & # no function: pid is its own
    pid=$!
    sleep "$(awk -v ms="$1" 'BEGIN { print ms / 1000 }')"
    kill "-$3" "$pid" 2> /dev/null || true
    { wait "$pid"; } 2> /dev/null || status=$?
    echo "$status"
}

fail()
{
    echo "FAILED: $*"
    exit 1
}

status=$(signal_after $((whole_ms / 3)) int.db INT)
left=$(runs_in int.db)
echo "interrupted: status $status, $left runs: $(cat err.txt)"
[ "$status" -eq 130 ] || fail "status is not 130"
[ "$left" -lt "$all" ] || fail "nothing was interrupted"
[ -s out.txt ] && fail "half a table was printed"
sweep --db int.db --resume | cmp - whole.txt
"$steelyard" db export int.db | cmp - whole.csv

midway=0
for round in $(seq $rounds); do
    db=$round.db
    first=$((whole_ms * (RANDOM % 90 + 2) / 100))
    status=$(signal_after "$first" "$db" KILL)
    [ "$status" -eq 137 ] || [ "$status" -eq 0 ] || fail "status $status"
    after_first=$(runs_in "$db")
    signal_after "$((whole_ms * (RANDOM % 30 + 1) / 100))" "$db" KILL > second.txt
    after_second=$(runs_in "$db")
    echo "round $round: killed after $first ms with $after_first runs, again with $after_second"
    [ "$after_second" -ge "$after_first" ] || fail "runs were lost"
    if [ "$status" -eq 137 ] && [ "$after_first" -lt "$all" ]; then
        midway=$((midway + 1))
    fi
    sweep --db "$db" --resume > again.txt
    "$steelyard" db export "$db" > again.csv
    cmp whole.csv again.csv
    cmp whole.txt again.txt
    [ ! -e "$db-journal" ] || fail "a journal is left behind"
    rm -f "$db"
done

[ "$midway" -ge 3 ] || fail "only $midway of $rounds kills hit a sweep midway; this tested nothing"
echo "ok: $rounds rounds, $midway of them cut midway"
