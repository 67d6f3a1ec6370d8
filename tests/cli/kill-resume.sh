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

sweep()
{
    "$steelyard" sweep --trace trace.csv --model llama-2-7b --gpu a10g --set load.bootstrap=20s \
        --set series.step=20s --vary 'policy=fcfs,vtc{lift=off},sjf' --vary load.scale=0.3:0.6:0.1 \
        --reps 4 --quiet -j 3 --requests "$@"
}

runs_in()
{
    if [ -s "$1" ]; then "$steelyard" db export "$1" --table run | tail -n +2 | wc -l; else echo 0; fi
}

now_ms()
{
    date +%s%3N
}

begin=$(now_ms)
sweep --db whole.db > whole.txt
whole_ms=$(($(now_ms) - begin))
"$steelyard" db export whole.db > whole.csv
all=$(runs_in whole.db)
echo "undisturbed: $all runs in $whole_ms ms"

# kill_after MS DB: start or go on, and kill.
kill_after()
{
    sweep --db "$2" --resume > /dev/null 2>&1 &
    local pid=$!
    sleep "$(awk -v ms="$1" 'BEGIN { print ms / 1000 }')"
    kill -9 "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
}

sweep --db int.db > /dev/null 2> int.txt &
pid=$!
sleep "$(awk -v ms="$whole_ms" 'BEGIN { print ms / 3000 }')"
kill -INT "$pid"
status=0
wait "$pid" || status=$?
echo "interrupted: status $status, $(runs_in int.db) runs: $(cat int.txt)"
[ "$status" -eq 130 ] && [ "$(runs_in int.db)" -lt "$all" ]
sweep --db int.db --resume | cmp - whole.txt
"$steelyard" db export int.db | cmp - whole.csv

midway=0
for round in $(seq $rounds); do
    db=$round.db
    first=$((whole_ms * (RANDOM % 90 + 2) / 100))
    kill_after "$first" "$db"
    after_first=$(runs_in "$db")
    kill_after "$((whole_ms * (RANDOM % 30 + 1) / 100))" "$db"
    after_second=$(runs_in "$db")
    echo "round $round: killed after $first ms with $after_first runs, again with $after_second"
    if [ "$after_second" -lt "$after_first" ]; then
        echo "FAILED: runs were lost"
        exit 1
    fi
    if [ "$after_first" -gt 0 ] && [ "$after_first" -lt "$all" ]; then
        midway=$((midway + 1))
    fi
    sweep --db "$db" --resume > again.txt
    "$steelyard" db export "$db" > again.csv
    cmp whole.csv again.csv
    cmp whole.txt again.txt
    if [ -e "$db-journal" ]; then
        echo "FAILED: a journal is left behind"
        exit 1
    fi
    rm -f "$db"
done

if [ "$midway" -lt 3 ]; then
    echo "FAILED: only $midway of $rounds kills hit a sweep midway; this tested nothing"
    exit 1
fi
echo "ok: $rounds rounds, $midway of them cut midway"
