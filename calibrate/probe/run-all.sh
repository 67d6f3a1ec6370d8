#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that a GPU is needed for, in one go: builds steelyard-probe with nvcc, measures the device
# and executes a plan on it. The files go into a new folder below the current one (or below $1), named
# after the date, the GPU and its driver. Run again with the same folder in OUT=... to go on.
#
# The rest needs steelyard and no GPU: judge.sh fits the measurements and compares the executed steps with
# their simulation. With GPU=NAME (as h200) and steelyard built here it is run at the end; otherwise copy the
# folder to a machine that has it.
#
# Exit codes are those of steelyard-probe and judge.sh; ARCH=sm_90 builds for another chip than the one that
# is there.
#
#   calibrate/probe/run-all.sh [FOLDER] [-- options of steelyard-probe, as --device 1 or --quick]
set -euo pipefail

usage()
{
    cat << 'EOF'
usage: run-all.sh [FOLDER] [-- options of steelyard-probe, as --device 1 or --quick]

Builds steelyard-probe with nvcc, measures the GPU and executes the bundled plans on it. The files go into
FOLDER/DATE-GPU-DRIVER (default: below the current folder). Then, where steelyard is: judge.sh.

  OUT=DIR         this folder instead; one that is there is gone on with
  ARCH=sm_90      builds for another chip than the one that is there
  GPU=h200        runs judge.sh at the end, with this name
  STEELYARD=FILE  the program for judge.sh (default: build/steelyard, then PATH)

Exit codes: those of steelyard-probe and judge.sh; 1 without nvcc, 6 without a GPU.
EOF
}

case "${1:-}" in
-h | --help) usage; exit 0 ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
below=.
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    case $1 in
    -*) printf "run-all.sh: option '%s' is not known; options of the probe come after -- (run-all.sh --help)\n" "$1" >&2; exit 2 ;;
    esac
    below=$1
    shift
fi
[ "${1:-}" != -- ] || shift

die()
{
    printf 'run-all.sh: %s\n' "$*" >&2
    exit 1
}

nvcc=$(command -v nvcc || true)
[ -n "$nvcc" ] || nvcc=/usr/local/cuda/bin/nvcc
[ -x "$nvcc" ] || die "no nvcc on PATH or in /usr/local/cuda/bin: the CUDA Toolkit is needed"

# ARCH says what to build for; the program itself still refuses to run without a GPU.
if [ -z "${ARCH:-}" ] && ! nvidia-smi -L 2> /dev/null | grep -q '^GPU'; then
    printf 'run-all.sh: no usable NVIDIA GPU here (nvidia-smi lists none)\n' >&2
    exit 6
fi

# Name and driver of the first GPU, fit for a file name; "gpu" where nvidia-smi does not tell.
name=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null | head -n 1 |
    sed 's/NVIDIA //; s/[^A-Za-z0-9.]\{1,\}/-/g' || true)
out=${OUT:-$below/$(date -u +%Y%m%d-%H%M)-${name:-gpu}}
mkdir -p "$out"

# The objects in parallel, as many at a time as there are processors.
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
printf '==> building with %s\n' "$nvcc" >&2
# shellcheck disable=SC2016 # expanded by the inner shell
find "$root/calibrate/probe" -name '*.cu' | sort |
    xargs -P "$(nproc)" -I{} sh -c '"$1" -O3 -arch="$5" -I"$2" -c "$3" -o "$4/$(basename "$3").o"' \
        sh "$nvcc" "$root" {} "$objects" "${ARCH:-native}"
"$nvcc" -O3 -I"$root" "$objects"/*.o "$root"/calibrate/probe/*.c "$root/sim/core/err.c" -lcublasLt -lcublas \
    -o "$out/steelyard-probe"

printf '==> measuring into %s\n' "$out/probe.json" >&2
status=0
"$out/steelyard-probe" -o "$out/probe.json" --continue "$@" || status=$?
# 1: some results were wrong and are listed; the rest, and the replay, are still of use.
[ "$status" -le 1 ] || exit "$status"

device=()
for ((i = 1; i <= $#; i++)); do
    case ${!i} in
    --device) next=$((i + 1)) && device=(--device "${!next}") ;;
    --device=*) device=("${!i}") ;;
    esac
done
for plan in "$root"/calibrate/probe/plans/*.jsonl; do
    printf '==> executing %s\n' "$(basename "$plan")" >&2
    cp "$plan" "$out/"
    "$out/steelyard-probe" --replay "$plan" -o "$out/replay-$(basename "$plan" .jsonl).json" "${device[@]}"
done
if [ -n "${GPU:-}" ] && { [ -x "${STEELYARD:-$root/build/steelyard}" ] || command -v steelyard > /dev/null; }; then
    printf '==> fitting and judging\n' >&2
    "$root/calibrate/probe/judge.sh" "$out" --gpu "$GPU" || status=$?
else
    printf '==> measured. Where steelyard is: calibrate/probe/judge.sh %s --gpu GPU\n' "$out" >&2
fi
printf '==> done: %s\n' "$out" >&2
exit "$status"
