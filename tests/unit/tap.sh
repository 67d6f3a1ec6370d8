#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a cmocka program. cmocka 1.1.7 prints a skipped test as "not ok N # SKIP", which TAP 13 counts
# as a failure (testanything.org: a skip is an "ok"); so a clone without measured data would fail.
set -o pipefail
"$@" | sed -u '/# SKIP/s/^not ok/ok/'
