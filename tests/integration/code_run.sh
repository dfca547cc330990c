#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A run whose tasks are tiny programs, through the real sandbox: verdicts with evidence, the same
# hashes for one verifying thread and four. Usage: code_run.sh HONE_BINARY SOURCE_DIR
# Exit 77: this machine does not permit isolation.
set -euo pipefail
hone=$1
root=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
config=$root/configs/run/tiny_programs.textproto

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

row='{"id":1,"tests":{"fn_name":"f","inputs":[[1],[2]],"outputs":[3,5]},"completion":'
graded=$(printf '%s\n' "$row\"def f(x): return 2*x+1\"}" "$row\"def f(x): return 3\"}" |
  "$hone" grade --verifier code --jsonl --why) || {
  echo "not run: $graded" >&2
  exit 77
}
grep -q '"outcome":"correct","reward":1.0' <<<"$(sed -n 1p <<<"$graded")" || fail "a right program: $graded"
grep -q '"outcome":"wrong","reward":0.0' <<<"$(sed -n 2p <<<"$graded")" || fail "a wrong program: $graded"

# Coin rewards would do for the policy; what counts here is that programs are run and recorded.
for threads in 1 4; do
  "$hone" train "$config" --bases "$work/bases" --out "$work/t$threads" --quiet \
    --set pretrain.steps=300 --set learner.iterations=2 --set evaluation.final_limit=8 \
    --set "rewards.verify_threads=$threads" >/dev/null || fail "the run failed"
done
[ "$("$hone" runs hash "$work/t1")" = "$("$hone" runs hash "$work/t4")" ] ||
  fail "the store's hash depends on verify_threads"
judged=$(sqlite3 "$work/t1/store.sqlite" \
  "select count(*) from verdict join verifier v on v.n = verifier where v.name like 'code/%'")
[ "$judged" -eq 256 ] || fail "$judged verdicts of the code verifier, not 256"
echo "a run of tiny programs: judged in the sandbox, one hash for 1 and 4 verifying threads"
