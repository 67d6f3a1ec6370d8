# shellcheck shell=bash disable=SC2034 # sourced; the lists are used there
# SPDX-License-Identifier: Apache-2.0
# Shared by scripts/demo and scripts/test: find the source folder, install what is missing, build.
# To be sourced by bash.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What building and plotting needs, as Debian 12 names it.
packages_build="gcc libc6-dev meson ninja-build pkg-config libgsl-dev zlib1g-dev libcjson-dev
    libsqlite3-dev librandom123-dev libxxhash-dev gnuplot-nox"
# What the tests need on top.
packages_test="make libcmocka-dev clang libclang-rt-14-dev"

say()
{
    printf '==> %s\n' "$*" >&2
}

die()
{
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# The packages of the list that are neither installed nor provided by an installed one (pkg-config is a
# part of pkgconf).
missing_packages()
{
    local p
    for p in "$@"; do
        if [ "$p" = pkg-config ] && command -v pkg-config > /dev/null; then
            continue
        fi
        dpkg-query -W -f='${db:Status-Status}\n' "$p" 2> /dev/null | grep -q '^installed$' || echo "$p"
    done
}

as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo > /dev/null; then
        sudo "$@"
    else
        die "not root and no sudo; please install by hand: $missing"
    fi
}

# Installs nothing, and asks nothing of the network, when everything is there.
install_packages()
{
    if ! command -v dpkg-query > /dev/null; then
        say "this is no Debian system; what the build needs: $*"
        return 0
    fi
    missing=$(missing_packages "$@" | tr '\n' ' ')
    if [ -z "$missing" ]; then
        return 0
    fi
    say "installing: $missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing >&2
}

# build_in FOLDER [meson options]: configure once, then build. Output only when something is wrong.
build_in()
{
    local folder=$1
    shift
    local log
    log=$(mktemp)
    if [ ! -f "$folder/build.ninja" ]; then
        say "configuring ${folder#"$root"/}"
        meson setup "$folder" "$root" "$@" > "$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
    fi
    say "building ${folder#"$root"/}"
    ninja -C "$folder" > "$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
    rm -f "$log"
}
