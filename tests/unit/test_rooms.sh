#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may include whom: the direction of the arrows between rooms, checked. Usage: test_rooms.sh ROOT
cd "$1" || exit 1
echo 1..3

# Lines "file: header" of every #include "..." below the folders given, build folders left out.
includes() {
    find "$@" -name '*.[ch]' -o -name '*.cu' -o -name '*.c.in' | LC_ALL=C sort |
        xargs grep -H '^ *# *include *"' | sed 's/^\([^:]*\):.*"\(.*\)".*/\1: \2/'
}

# verdict NUMBER NAME BAD-LINES
verdict() {
    if [ -z "$3" ]; then
        echo "ok $1 - $2"
    else
        echo "not ok $1 - $2"
        echo "$3" | sed 's/^/# /'
    fi
}

bad=$(for room in traces policies models; do
    includes $room | grep -v -e ": sim/core/" -e ": $room/"
done)
verdict 1 "traces, policies and models know sim/core and themselves" "$bad"

verdict 2 "sim/core knows only itself" "$(includes sim/core | grep -v ': sim/core/')"

interfaces='policies/\(policy\|route\|batcher\|offload\|place\|req\|open\|experts\)\|models/\(cost\|llm\|gpu\|measured\|reach\)\|traces/\(trace\|routes\)'
bad=$(includes sim | grep -v '^sim/cli/' | grep ': \(policies\|models\|traces\)/' |
    grep -v ": \($interfaces\)\.h\$")
verdict 3 "sim outside of sim/cli knows only the other rooms' interfaces" "$bad"
