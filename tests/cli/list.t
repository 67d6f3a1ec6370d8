# Each kind has rows, its JSON parses as a configuration would, and each name can be explained.
$ for k in policies predictors batchers models gpus topologies costs traces metrics options; do steelyard list $k > rows; [ $(wc -l < rows) -ge 1 ] || echo "$k: empty"; for n in $(cut -d' ' -f1 rows); do steelyard explain $n > /dev/null || echo "$k $n"; done; done
$ for k in policies predictors batchers models gpus topologies costs traces metrics options; do steelyard list $k --json > rows.json; [ $(grep -c '^    "name"' rows.json) -eq $(steelyard list $k | wc -l) ] || echo "$k: rows differ"; steelyard config validate rows.json; done 2>&1 | sort -u
1> steelyard: rows.json: a configuration is one JSON object
# Every policy, batcher and cost model says where it comes from.
$ for k in policies predictors batchers costs; do steelyard list $k --json | grep -c '^    "source": ".'  | grep -vx $(steelyard list $k | wc -l); done | cat
$ steelyard list gpus --data-dir none
2> steelyard: none: no gpus are there
? 5
$ STEELYARD_DATA=none steelyard list gpus
2> steelyard: none: no gpus are there
? 5
$ steelyard list metric > m; head -2 m
1> completed                       [1] Requests that got their last token and arrived after the warm-up.
1> failed                          [1] Requests that did not complete: rejected plus refused plus those unfinished at the end.
