#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: out-of-tree.sh STEELYARD SOURCE_FOLDER BUILD_FOLDER
#
# A policy outside of the tree: the example is built against the installed headers and runs; what is wrong
# with a shared object is said in a sentence.
set -euo pipefail

steelyard=$(realpath "$1")
source=$(realpath "$2")
build=$(realpath "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STEELYARD_DATA=$source/models LC_ALL=C
cd "$work"

die()
{
    printf 'out-of-tree: %s\n' "$*" >&2
    exit 1
}

# try POLICY: mean time to first token on a trace of four requests, one long prompt first.
printf 'time_s,prompt_tokens,output_tokens\n0,8000,40\n0.01,8000,40\n0.02,100,40\n0.03,100,40\n' > t.csv
try()
{
    "$steelyard" run --trace t.csv --model llama-3.1-8b --gpu a100-80g --policy "$1" \
        --batcher 'vllm-v1{max_num_seqs=1}' --format csv "${@:2}" 2> err | sed -n 's/^mean_ttft_ms,\([^,]*\),.*/\1/p'
}

# refused POLICY TEXT...: an error of configuration whose message has each text.
refused()
{
    local status=0 text
    try "$1" > out || status=$?
    [ "$status" -eq 2 ] || die "$1: status $status"
    for text in "${@:2}"; do
        grep -qF -- "$text" err || die "$1: '$text' is not in: $(cat err)"
    done
}

# Headers as they are installed, found by pkg-config. The prefix is where the build says.
DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet > log 2>&1 || { cat log; die 'meson install'; }
pc=$(find root -name steelyard-policy.pc)
[ -n "$pc" ] || die 'steelyard-policy.pc is not installed'
PKG_CONFIG_PATH=$work/$(dirname "$pc")
export PKG_CONFIG_PATH
prefix=$(pkg-config --variable=prefix steelyard-policy)
CFLAGS=$(pkg-config --define-variable=prefix="$work/root$prefix" --cflags steelyard-policy)
[ -f "$(printf '%s' "$CFLAGS" | sed 's/^ *-I//; s/ *$//')/policies/policy.h" ] || die "no headers at $CFLAGS"

cp "$source"/examples/policy-out-of-tree/* .
make --silent CFLAGS="$CFLAGS -Werror" > log 2>&1 || { cat log; die 'the example does not build'; }

# It schedules: short prompts first is quicker on average; with endless patience it is first come, first
# served; its options and the wrappers work; step by step gives the same.
fcfs=$(try fcfs)
short=$(try ./short_first.so)
awk "BEGIN { exit !($short < 0.9 * $fcfs) }" || die "short first: $short ms, fcfs: $fcfs ms"
[ "$(try './short_first.so{patience=1M}')" = "$fcfs" ] || die 'patience=1M is not fcfs'
[ "$(try short_first.so)" = "$short" ] || die 'a name without a folder is not found here'
[ "$(try 'check(log(./short_first.so{patience=100}))')" = "$short" ] || die 'wrapped it differs'
[ "$(try ./short_first.so --no-skip)" = "$short" ] || die 'step by step differs'
refused './short_first.so{patince=1}' "'patince'" "'patience'"
refused './short_first.so{patience=-1}' "patience"

build_with()
{
    sed "$1" short_first.c > other.c
    # shellcheck disable=SC2086 # flags are words
    cc -std=gnu17 -fPIC -shared ${2:-$CFLAGS} -o "$3" other.c
}

# Another interface number.
cp -r "root$prefix" old
find old -name policy.h -exec sed -i 's/^#define POLICY_ABI .*/#define POLICY_ABI 4711/' {} +
now=$(sed -n 's/^#define POLICY_ABI //p' "$source/policies/policy.h")
build_with '' "$(printf '%s' "$CFLAGS" | sed "s|$work/root$prefix|$work/old|")" old.so
refused ./old.so ./old.so 4711 "$now"

build_with 's/"short-first"/"vtc"/' '' vtc.so
refused ./vtc.so ./vtc.so "'vtc'" 'built-in'
build_with 's/steelyard_policy/my_policy/' '' nameless.so
refused ./nameless.so ./nameless.so 'does not define steelyard_policy'
build_with 's/\.next = ordered_next,//' '' mute.so
refused ./mute.so ./mute.so "'short-first'" 'next'
build_with 's/ordered_next/ordered_nxt/; s/^static int64_t short_first_key/extern req_id ordered_nxt(void *, const struct sched_view *);\n&/' '' undefined.so
refused ./undefined.so 'ordered_nxt'
refused ./missing.so './missing.so' 'No such file'
refused ./ 'not a file'
mkfifo pipe.so
refused ./pipe.so ./pipe.so 'not a file'
printf 'not a library' > text.so
refused ./text.so ./text.so

# A sweep does not go on with another build under the same name.
cp short_first.so mine.so
sweep()
{
    "$steelyard" sweep --trace t.csv --model llama-3.1-8b --gpu a100-80g --vary 'policy=fcfs,./mine.so' \
        --db sweep.db --format csv "$@"
}
sweep > /dev/null
sweep --resume > /dev/null
build_with 's/"100"/"200"/' '' mine.so
status=0
sweep --resume > /dev/null 2> err || status=$?
{ [ "$status" -eq 3 ] && grep -q 'policy file with other contents' err; } || die "resume: $status $(cat err)"
echo 'ok'
