#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Unit tests under a sanitizer, one program after another, each in its own build folder.
#   scripts/sanitize.sh address [PROGRAM...]   AddressSanitizer and UndefinedBehaviorSanitizer
#   scripts/sanitize.sh thread [PROGRAM...]    ThreadSanitizer; those with threads by default
# Not in CI: with a cold cache it builds for the better part of an hour on two cores.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kind=${1:-}
shift || true
case $kind in
  address)
    programs=(kernels_test model_test train_test checkpoint_test tokenizer_test policy_test
      verifier_test verifier_math_test verifier_rules_test rewards_test rollout_test store_test
      services_test)
    # Abseil's hash tables of Debian are not built for the sanitizer's container checks.
    export ASAN_OPTIONS=detect_container_overflow=0:detect_leaks=1:allocator_may_return_null=1
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    ;;
  thread)
    programs=(train_test policy_test rollout_test store_test services_test)
    export TSAN_OPTIONS=halt_on_error=1
    ;;
  *)
    sed -n '3,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
[ $# -eq 0 ] || programs=("$@")
cd "$root"
scripts/install.sh
build=build-$kind
[ -f "$build/build.ninja" ] || cmake -G Ninja -S . -B "$build" -DHONE_SANITIZE="$kind" >/dev/null
failed=()
for program in "${programs[@]}"; do
  echo "== $program under $kind"
  ninja -C "$build" -j "${HONE_BUILD_JOBS:-$(nproc)}" "$program"
  "$build/bin/$program" --gtest_brief=1 || failed+=("$program")
done
[ ${#failed[@]} -eq 0 ] || {
  echo "FAILED under $kind: ${failed[*]}" >&2
  exit 1
}
