#!/bin/sh
# Write the golden table anew: tests/golden/update.sh BUILD_DIR. Look at the difference before you commit
# it: a number that moved is a rule that changed, and the commit says which and why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-$here/../../build}" && pwd)
ninja -C "$build" tests/test_golden >/dev/null
STEELYARD_DATA="$here/../../models" "$build/tests/test_golden" --update >"$here/table.tsv.new"
mv "$here/table.tsv.new" "$here/table.tsv"
git -C "$here" diff --stat -- table.tsv
