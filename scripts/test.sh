#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs, builds, and passes the tests. `scripts/test.sh unit` stops after the unit tests.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
scripts/build.sh
label=()
[ "${1:-}" = unit ] && label=(-L unit)
[ -n "${HONE_DATA_DIR:-}" ] || echo "HONE_DATA_DIR is not set: tests on benchmark data will say so"
ctest --test-dir build --output-on-failure -j 2 "${label[@]}"
