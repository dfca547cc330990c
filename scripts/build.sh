#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, configures and builds into build/. Arguments are ninja targets.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/scripts/install.sh"
cd "$root"
[ -f build/build.ninja ] || cmake -G Ninja -S . -B build >build.log 2>&1 || {
  cat build.log >&2
  exit 1
}
rm -f build.log
ninja -C build -j "${HONE_BUILD_JOBS:-$(nproc)}" "$@"
