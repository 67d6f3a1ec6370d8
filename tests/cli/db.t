# Databases and figures.
$ awk 'BEGIN { print "time_s,client,prompt_tokens,output_tokens"; for (i = 0; i < 200; i++) { x = (x * 1103515245 + 12345) % 2147483648; t += 0.05 + (x % 1000) / 5000; printf "%.4f,c%d,%d,%d\n", t, x % 3, 50 + x % 700, 20 + int(x / 7) % 400 } }' > t.csv
$ steelyard sweep --trace t.csv --model llama-2-7b --gpu a10g --set series.step=5s --vary policy=fcfs,vtc --vary load.scale=0.5,1 --db r.db --requests > r.txt
# Every request is there, with its own row; histograms count each of them once.
$ steelyard db export r.db --table request | grep -c ',ok,'
1> 800
$ steelyard db export r.db --table hist | awk -F, '$2 == "ttft" { n[$1] += $6 } END { print n[1], n[2], n[3], n[4] }'
1> 200 200 200 200
$ steelyard db export r.db --table client | cut -d, -f1-4 | sed -n '1p;/^1,/p' | head -3 | cut -d, -f1-3
1> run,k,name
1> 1,0,c0
1> 1,1,c1
$ steelyard db export r.db --format json | python3 -c "import json, sys; d = json.load(sys.stdin); print(list(d), len(d['run']))"
1> ['run', 'metric', 'hist', 'series', 'client', 'request'] 4
$ steelyard db export r.db --table run_log --format json | python3 -c "import json, sys; print(list(json.load(sys.stdin)['run_log'][0]))"
1> ['run', 'started', 'host', 'wall_s', 'argv']
$ steelyard db show r.db 2 | grep -E '^(label|config_hash|completed|argv) ' | sed 's/^config_hash .*/config_hash/; s/  */ /g' | cut -c1-40
1> config_hash
1> label policy=fcfs load.scale=1
1> argv steelyard sweep --trace t.csv --mod
1> completed 200 1
# What makes no sense.
$ steelyard db
2> steelyard: wanted: steelyard db runs|show|merge|export ...
? 2
$ steelyard db rns r.db
2> steelyard: db command 'rns' is not known; did you mean 'runs'? (runs, show, merge, export)
? 2
$ steelyard db runs nothing.db
2> steelyard: nothing.db: unable to open database file
? 5
$ steelyard db runs t.csv
2> steelyard: t.csv: file is not a database
? 3
$ steelyard db show r.db 9
2> steelyard: r.db has no run 9: see 'steelyard db runs r.db'
? 2
$ steelyard db show r.db two
2> steelyard: 'two' is not a run's number: see 'steelyard db runs r.db'
? 2
$ steelyard db export r.db --table metrics
2> steelyard: table 'metrics' is not known; did you mean 'metric'? (run, metric, hist, series, client, request, run_log)
? 2
$ steelyard db merge out.db
2> steelyard: db merge OUT IN...: wanted a database to write and at least one to read
? 2
$ steelyard plot
2> steelyard: plot what? A database that sweep or run --db wrote
? 2
$ steelyard plot r.db --kind cdf-ttf
2> steelyard: kind of figure 'cdf-ttf' is not known; did you mean 'cdf-ttft'? (steelyard help plot)
? 2
$ steelyard plot r.db -o x.svg
2> steelyard: -o x.svg is one file: say with --kind which figure
? 2
$ steelyard plot r.db --only policy=none
2> steelyard: r.db has no run that --only lets through
? 3
# Without gnuplot the data and the script are there all the same, and it is said what is missing.
$ real=$(command -v steelyard); PATH=/nothing $real plot r.db --kind cdf-ttft -o bare/one.svg
2> steelyard: gnuplot cannot be started (No such file or directory): install the package gnuplot-nox (apt install gnuplot-nox); data and scripts are in bare
? 5
$ ls bare
1> one.dat
1> one.gp
# A distribution ends at 1 and never falls.
$ awk '/^[0-9]/ { if ($2 < last && !fresh) print "falls"; last = $2; fresh = 0 } /^$/ { fresh = 1; if (last != "" && last != 1) print "ends at", last; last = "" } END { print last }' bare/one.dat
1> 1
