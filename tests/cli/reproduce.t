# Without the recorded runs: what needs them is skipped and said so, the rest is made.
$ steelyard reproduce --list | head -3
1> vtc-table2           VTC, OSDI'24, table 2: service difference on the real trace
1> vtc-table2-profiled  VTC, OSDI'24, appendix: service difference under the profiled cost
1> vtc-fig3             VTC, OSDI'24, figure 3: two backlogged clients
$ steelyard reproduce vtc-table2 | sed -n '2,3p;$p' ; steelyard reproduce vtc-table2 | grep -vc skipped
1>                             published        ours    +-95 %        sd   ratio     tolerance  verdict
1>   FCFS, max diff               759.97           -         -         -       -        15.0 %  skipped
1>
1> 3
$ steelyard reproduce vtc-table2 | grep 'recorded data'
1>   skipped: the recorded data are not here; see --data
$ steelyard reproduce vtc-weighted --format json > w.json; grep -c '"verdict": "inside"' w.json
1> 9
# The same bytes again, whatever the environment says.
$ STEELYARD_SEED=77 STEELYARD_LOAD__SCALE=3 steelyard reproduce vtc-weighted --format json | cmp - w.json
# Words that make no sense.
$ steelyard reproduce
2> steelyard: reproduce what? Names from 'steelyard reproduce --list', or all
? 2
$ steelyard reproduce vtc-table3
2> steelyard: reproduction 'vtc-table3' is not known; did you mean 'vtc-table2'? (steelyard reproduce --list)
? 2
$ steelyard reproduce vtc-weighted --data /nowhere
2> steelyard: --data /nowhere: no folder groundtruth in it
? 5
$ steelyard reproduce vtc-weighted --format yaml
2> steelyard: format 'yaml' is not known (text, json)
? 2
