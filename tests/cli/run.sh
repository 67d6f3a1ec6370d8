#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Command-line tests. Usage: run.sh [--update] BINARY CASES [NAME...]
#
# CASES/NAME/cmd is a shell snippet. It runs in an empty scratch folder with $STEELYARD = the binary
# and $CASE = the case's own folder. Beside it: expect.stdout, expect.stderr (compared byte by byte,
# after the program's version is replaced by VERSION, where the file exists) and expect.status (0 when
# missing). --update writes what came out into the expect files that exist, and all of a case that
# has none yet.
update=
if [ "$1" = --update ]; then
    update=1
    shift
fi
if [ $# -lt 2 ]; then
    sed -n 's/^# Usage: /usage: /p' "$0" >&2
    exit 2
fi
STEELYARD=$(realpath "$1") || exit 2
cases=$(realpath "$2") || exit 2
shift 2
export STEELYARD LC_ALL=C TZ=UTC
unset COLUMNS
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
version=$("$STEELYARD" --version | grep -o '[0-9][0-9.]*[^ ]*' | head -n 1)

# Replace the version's text where it stands.
neutral() {
    awk -v v="$version" '{
        while (v != "" && (i = index($0, v)))
            $0 = substr($0, 1, i - 1) "VERSION" substr($0, i + length(v))
        print
    }' "$1"
}

# Leaves $scratch/got.{stdout,stderr,status}.
run_case() {
    rm -rf "$scratch"/*
    mkdir "$scratch/dir"
    CASE=$1
    export CASE
    (cd "$scratch/dir" && sh "$CASE/cmd" </dev/null >"$scratch/stdout" 2>"$scratch/stderr")
    echo $? >"$scratch/got.status"
    neutral "$scratch/stdout" >"$scratch/got.stdout"
    neutral "$scratch/stderr" >"$scratch/got.stderr"
}

# save CASE
save() {
    fresh=1
    for part in stdout stderr status; do
        [ -e "$1/expect.$part" ] && fresh=
    done
    for part in stdout stderr status; do
        if [ -n "$fresh" ] || [ -e "$1/expect.$part" ]; then
            cp "$scratch/got.$part" "$1/expect.$part"
        fi
    done
}

# compare CASE: the differences
compare() {
    for part in stdout stderr; do
        [ -e "$1/expect.$part" ] && diff -u --label "expected $part" --label "$part" \
            "$1/expect.$part" "$scratch/got.$part"
    done
    want=0
    [ -e "$1/expect.status" ] && want=$(cat "$1/expect.status")
    got=$(cat "$scratch/got.status")
    if [ "$got" != "$want" ]; then
        echo "exit status $got, expected $want; stderr:"
        head -n 5 "$scratch/got.stderr"
    fi
}

[ $# -eq 0 ] && set -- $(ls "$cases")
[ $# -eq 0 ] && echo "no cases in $cases" >&2 && exit 1
echo "1..$#"
number=0
for name; do
    number=$((number + 1))
    run_case "$cases/$name"
    if [ -n "$update" ]; then
        save "$cases/$name"
    fi
    differences=$(compare "$cases/$name")
    if [ -z "$differences" ]; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        printf '%s\n' "$differences" | sed 's/^/# /'
    fi
done
