#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# no_weak_symbols.sh OBJECT...: fails when an object compiled for one instruction set defines a
# weak symbol. The linker keeps one copy of those, and an old processor could get a new one's.
set -eu
[ "$#" -gt 0 ] || { echo "no objects given" >&2; exit 2; }
found=$(nm -C --defined-only "$@" | grep -E ' [VvWwu] ' || true)
if [ -n "$found" ]; then
  echo "weak symbols in per-instruction-set objects:" >&2
  echo "$found" >&2
  exit 1
fi
echo "$# objects, no weak symbol"
