#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: systems.py STEELYARD ROOT

Every system in the table of docs/EXPERTS.md runs as written, under the invariants."""
import os
import re
import subprocess
import sys

steelyard, root = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
with open(os.path.join(root, "docs", "EXPERTS.md"), encoding="utf-8") as f:
    rows = re.findall(r"^\| ([^|]+) \| `((?:gpu=|experts\.)[^`]*)` \|$", f.read(), re.M)
failed = len(rows) < 10
print("%d systems" % len(rows))
for name, keys in rows:
    command = [steelyard, "run", os.path.join(root, "examples", "offload.json"), "--quiet", "--format", "csv"]
    for key in ["trace=synth:sharegpt{requests=1}", "executor=layers", "check=on"] + keys.split(" "):
        command += ["--set", key]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    good = run.returncode == 0 and not run.stderr and re.search(r"^expert_decode_hit_rate,[01]", run.stdout, re.M)
    if not good:
        failed = True
        print("%s: status %d\n%s" % (name, run.returncode, run.stderr))
sys.exit(failed)
