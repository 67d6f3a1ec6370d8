# Words that make no sense: what is said, and status 2.
$ steelyard 2>/dev/null
? 2
$ steelyard lst
2> steelyard: command 'lst' is not known; did you mean 'list'? (steelyard help)
? 2
$ steelyard list
2> steelyard: list what? policies, predictors, batchers, routers, models, gpus, topologies, costs, tiers, offloads, evictions, prefetches, misses, placements, routes, traces, metrics or options
? 2
$ steelyard list polices
2> steelyard: list 'polices' is not known; did you mean 'policies'? (steelyard help list)
? 2
$ steelyard list policies --jsn
2> steelyard: option '--jsn' is not known; did you mean '--json'? (steelyard help list)
? 2
$ steelyard list policies batchers
2> steelyard: 'batchers' is one word too many (steelyard help list)
? 2
$ steelyard explain
2> steelyard: explain what? A key, a policy, a metric (steelyard help explain)
? 2
$ steelyard explain mean_tftt_ms
2> steelyard: name 'mean_tftt_ms' is not known; did you mean 'mean_ttft_ms'? (steelyard list)
? 2
$ steelyard explain load.scle
2> steelyard: name 'load.scle' is not known; did you mean 'load.scale'? (steelyard list)
? 2
$ steelyard config
2> steelyard: config what? init, expand, validate or diff
? 2
$ steelyard config expnd
2> steelyard: config command 'expnd' is not known; did you mean 'expand'? (steelyard help config)
? 2
$ steelyard config expand --set
2> steelyard: option '--set' needs a value
? 2
$ steelyard config expand --set nonsense
2> steelyard: --set 'nonsense': KEY=VALUE is wanted
? 2
$ steelyard config expand --set =1
2> steelyard: --set '=1': KEY=VALUE is wanted
? 2
$ steelyard config expand a.json b.json
2> steelyard: 'b.json' is one word too many (steelyard help config)
? 2
$ steelyard config diff
2> steelyard: config diff needs one or two files
? 2
$ steelyard completion csh
2> steelyard: shell 'csh' is not known; did you mean 'zsh'? (bash, zsh, fish)
? 2
$ steelyard --version --jsn
2> steelyard: --version takes --json or nothing, not '--jsn'
? 2
$ steelyard help lst
2> steelyard: command 'lst' is not known; did you mean 'list'? (steelyard help)
? 2
# Results that cannot be written are a failure, status 5.
$ steelyard list gpus > /dev/full
2> steelyard: standard output: No space left on device
? 5
