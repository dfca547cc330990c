#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a policy that learned to reason: installs, builds, pretrains a tiny base policy
# (reused by later calls), runs GRPO on it, and shows what changed. Options go to `hone train`,
# e.g. scripts/quickstart.sh --seed 2
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
scripts/build.sh hone
out=runs/quickstart
n=2
while [ -e "$out" ]; do
  out=runs/quickstart-$n
  n=$((n + 1))
done
exec build/hone train configs/run/quickstart.textproto --out "$out" "$@"
