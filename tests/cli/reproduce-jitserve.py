#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: reproduce-jitserve.py STEELYARD

What JITServe's figure 17 has to show: the published order of the parts in request and token goodput, and every
ratio within 20 %. Needs no recorded data."""
import json
import subprocess
import sys

# Notes on the paper: request and token goodput of the oracle, JITServe, without analyser, without GMAX, Sarathi.
PUBLISHED = {"oracle": (3.23, 7808), "without analyser": (2.91, 6893), "without GMAX": (2.70, 6080),
             "Sarathi": (1.35, None)}
WHOLE = (3.17, 7637)


def check(true, what):
    if not true:
        sys.exit("reproduce jitserve-ablation: " + what)


rows = json.loads(subprocess.run([sys.argv[1], "reproduce", "jitserve-ablation", "--format", "json"], check=True,
                                 stdout=subprocess.PIPE).stdout)
rows = {r["row"]: r for r in rows}
order = {"request": [], "token": []}
for part, numbers in PUBLISHED.items():
    for i, kind in enumerate(order):
        if numbers[i]:
            row = rows["%s goodput, %s over JITServe" % (kind, part)]
            check(abs(row["published"] - numbers[i] / WHOLE[i]) < 1e-9, "published: %s" % row)
            check(abs(row["ours"] / row["published"] - 1) <= 0.2 and row["verdict"] == "inside", "%s" % row)
            check(row["ci95"] > 0, "no interval: %s" % row)
            order[kind].append(row["ours"])
for kind, ours in order.items():
    ours.insert(1, 1)
    check(ours == sorted(ours, reverse=True), "order of %s goodput: %s" % (kind, ours))
