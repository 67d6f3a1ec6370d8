#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: reproduce-table2.py STEELYARD

Shape of `reproduce --format json`, and what table 2 of VTC has to show: the order of the averages as
published, FCFS, VTC and the oracle within 15 %, work-conserving throughputs within 1 % of each other.
Status 77 (skipped) where the recorded runs are not here."""
import json
import subprocess
import sys

KEYS = {"id", "row", "unit", "published", "ours", "sd", "ci95", "ratio", "tolerance", "from", "to", "verdict"}
VERDICTS = {"inside", "outside", "order holds", "order fails", "skipped"}
ORDER = ["RPM 5", "RPM 20", "VTC oracle", "VTC predict", "VTC", "LCF", "FCFS"]
# Sheng et al., OSDI'24, table 2.
PUBLISHED = {"FCFS": 433.53, "VTC": 251.66, "VTC oracle": 227.51}


def check(true, what):
    if not true:
        sys.exit("reproduce vtc-table2: " + what)


rows = json.loads(subprocess.run([sys.argv[1], "reproduce", "vtc-table2", "--format", "json"], check=True,
                                 stdout=subprocess.PIPE).stdout)
check(isinstance(rows, list) and rows, "not an array of rows")
for r in rows:
    check(set(r) == KEYS, "keys are %s" % sorted(r))
    check(r["id"] == "vtc-table2" and r["verdict"] in VERDICTS, "row %s" % r)
    for key in ("published", "ours", "sd", "ci95", "ratio", "tolerance", "from", "to"):
        check(r[key] is None or isinstance(r[key], (int, float)), "%s is %r" % (key, r[key]))
if all(r["verdict"] == "skipped" for r in rows):
    print("the recorded runs are not here")
    sys.exit(77)

ours = {r["row"]: r["ours"] for r in rows}
avg = [ours[name + ", avg diff"] for name in ORDER]
check(avg == sorted(avg) and len(set(avg)) == len(avg), "order of the averages: %s" % avg)
for name, value in PUBLISHED.items():
    check(abs(ours[name + ", avg diff"] / value - 1) <= 0.15, "%s: %s" % (name, ours[name + ", avg diff"]))
tok_s = [ours[name + ", throughput"] for name in ORDER[2:]]
check(max(tok_s) / min(tok_s) <= 1.01, "throughputs: %s" % tok_s)
order = [r["verdict"] for r in rows if r["row"].startswith("order of")]
check(order == ["order holds"], "verdict on the order: %s" % order)
