#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: recipe.sh SOURCE_FOLDER
#
# Follows docs/ADD-A-POLICY.md word for word: all its sh blocks, in order, in a copy of the tree.
set -euo pipefail

source=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for variable in $(compgen -e STEELYARD_ || true); do
    unset "$variable"
done

mkdir "$work/tree"
tar -C "$source" --exclude='./build*' --exclude=./.git -cf - . | tar -C "$work/tree" -xf -
awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0; print ""; next } inside' \
    "$source/docs/ADD-A-POLICY.md" > "$work/recipe"
[ "$(grep -c . "$work/recipe")" -gt 50 ] || { echo 'no commands in docs/ADD-A-POLICY.md' >&2; exit 1; }
cd "$work/tree"
bash -euxo pipefail "$work/recipe"
