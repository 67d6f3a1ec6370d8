#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/fetch-traces with a curl that needs no network. Usage: test_fetch_traces.sh ROOT
set -u
fetch=$1/scripts/fetch-traces
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
cat > "$dir/bin/curl" << 'END'
#!/usr/bin/env bash
# Writes the address into the file behind --output; fails for the address in $FAIL.
out= url=
while (($#)); do
    case $1 in
    --output) out=$2; shift ;;
    --retry) shift ;;
    -*) ;;
    *) url=$1 ;;
    esac
    shift
done
[[ -n ${FAIL:-} && $url == *"$FAIL"* ]] && exit 22
printf '%s' "$url" > "$out"
END
chmod +x "$dir/bin/curl"
PATH=$dir/bin:$PATH
n=0
verdict() { # NAME STATUS
    n=$((n + 1))
    if (($2 == 0)); then echo "ok $n - $1"; else echo "not ok $n - $1"; fi
}
echo 1..7

bash -n "$fetch"
verdict "it parses" $?

# Every address names a full commit or a release.
"$fetch" --list | tail -n +2 | grep -Ev '/[0-9a-f]{40}/|/releases/download/' > "$dir/loose"
[[ ! -s $dir/loose && $("$fetch" --list | wc -l) -gt 10 ]]
verdict "sources are pinned" $?

"$fetch" -d "$dir/a" mooncake > "$dir/out" 2>&1 && [[ $(ls "$dir/a" | wc -l) == 3 ]] &&
    grep -q "$(sha256sum < "$dir/a/mooncake-synthetic.jsonl" | cut -d' ' -f1)  mooncake-synthetic" "$dir/out"
verdict "files arrive and unknown checksums are printed" $?

"$fetch" -d "$dir/b" burstgpt-3 > "$dir/out" 2>&1
[[ $? == 5 && ! -e $dir/b/burstgpt-3.csv ]] && grep -q 'expected 2299986a' "$dir/out"
verdict "a wrong checksum is an error and the file does not get its name" $?

FAIL=conversation "$fetch" -d "$dir/c" mooncake > "$dir/out" 2>&1
[[ $? == 5 && ! -e $dir/c/mooncake-conversation.jsonl && -e $dir/c/mooncake-toolagent.jsonl ]]
verdict "a failed download is an error and does not stop the others" $?

"$fetch" -d "$dir/d" nosuch > "$dir/out" 2>&1
[[ $? == 2 ]] && grep -q "no trace is called 'nosuch'" "$dir/out"
verdict "an unknown name is a usage error" $?

"$fetch" --bogus > /dev/null 2>&1
[[ $? == 2 ]]
verdict "an unknown option is a usage error" $?
