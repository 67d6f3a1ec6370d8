# Every command has help, the two ways agree, and help is a result: standard output, status 0.
$ commands=$(steelyard help | sed -n 's/^  \([a-z]*\) .*/\1/p'); for c in $commands; do [ $c = help ] || { steelyard help $c > a && steelyard $c --help | cmp a - && grep -q "^usage: steelyard $c" a || echo "$c: wrong"; }; done
# Each flag that a help text names is understood, as far as one word alone can tell.
$ for c in $(steelyard help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do for f in $(steelyard help $c 2> /dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u); do steelyard $c $f 2>&1 | grep "option '$f' is not known" | sed "s/^/$c: /"; done; done
# No line of help is wider than a terminal of 100 columns.
$ for c in $(steelyard help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do steelyard help $c 2> /dev/null | grep -E '.{101}'; done | cat
1>        steelyard fit OUTPUT... --from nccl-tests [--op OP] [--ranks N] [--nodes N] -o COLLECTIVES.json
1> --from nccl-tests: its output (or a probe's file) becomes times by size, for roofline{collectives=FILE} and the
$ steelyard help | head -4
1> steelyard: simulate LLM serving on traces, and compare scheduling policies
1>
1> usage: steelyard COMMAND [...]
1>
$ steelyard --version
1> steelyard VERSION
$ steelyard --version --json | grep -v compiler
1> {
1>   "name": "steelyard",
1>   "version": "VERSION",
1> }
# Completion scripts parse, and complete commands, flags, names and keys.
$ steelyard completion bash > c.bash && bash -n c.bash && bash -c '. ./c.bash; COMP_WORDS=(steelyard com); COMP_CWORD=1; _steelyard; echo "${COMPREPLY[@]}"; COMP_WORDS=(steelyard run --pol); COMP_CWORD=2; _steelyard; echo "${COMPREPLY[@]}"; COMP_WORDS=(steelyard run --policy fc); COMP_CWORD=3; _steelyard; echo "${COMPREPLY[@]}"; COMP_WORDS=(steelyard list m); COMP_CWORD=2; _steelyard; echo "${COMPREPLY[@]}"'
1> completion
1> --policy
1> fcfs
1> models misses metrics
$ steelyard completion zsh | sed -n 1p
1> #compdef steelyard
$ steelyard completion fish | grep -c 'subcommand_from run. -l policy -x -a'
1> 1
$ steelyard help help | cmp - <(steelyard --help); steelyard -h | cmp - <(steelyard help)
