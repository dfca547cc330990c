#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# GRPO runs that train adapters, and all but the experts: what is saved, kill -9 and resume, one hash
# for any threads, the merged copy, the base untouched.
# Usage: adapters.sh HONE_BINARY
set -euo pipefail
hone=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$hone" model init v3-tiny --out "$work/base" --seed 7 >/dev/null
cp -r "$work/base" "$work/copy"
cat >"$work/run.textproto" <<'END'
name: "adapters"
seed: 3
tasks { sources { generator: "mini_countdown" } }
rollout { prompts: 4 group_size: 4 max_tokens: 8 }
learner { preset: "grpo" iterations: 6 filter_flat: false optimizer { learning_rate: 1e-2 } }
rewards { parts { name: "random" } }
evaluation { every: 0 final_limit: 8 limit: 8 }
checkpoint { every: 2 keep: 0 }
END
lora='policy { lora { r: 4 target_modules: "attention" target_modules: "experts" } }'
{ cat "$work/run.textproto"; echo "$lora"; } >"$work/lora.textproto"
{ cat "$work/run.textproto"; echo 'policy { freeze: "experts" freeze: "embeddings" }'; } \
  >"$work/freeze.textproto"
run() {  # CONFIG OUT OPTIONS
  "$hone" train "$work/$1.textproto" --set "policy.model_dir=\"$work/base\"" --out "$2" --quiet \
    "${@:3}" >/dev/null
}
hash_of() { "$hone" checkpoint hash "$1/checkpoints/latest"; }

for kind in lora freeze; do
  run $kind "$work/$kind" --threads 1 || fail "the $kind run"
  grep -q '"max_generator_learner_gap": 0.0' "$work/$kind/summary.json" || fail "$kind: a gap"
  run $kind "$work/$kind-2" --threads 2 --workers 2 || fail "the $kind run on two threads"
  [ "$(hash_of "$work/$kind")" = "$(hash_of "$work/$kind-2")" ] || fail "$kind: threads changed it"
  # Killed once it has saved something.
  "$hone" train "$work/$kind.textproto" --set "policy.model_dir=\"$work/base\"" --quiet \
    --out "$work/$kind-3" --threads 1 >/dev/null &
  pid=$!
  until [ -e "$work/$kind-3/checkpoints/step-000002" ] || ! kill -0 $pid 2>/dev/null; do
    sleep 0.01
  done
  kill -9 $pid 2>/dev/null || true
  wait $pid 2>/dev/null || true
  run $kind "$work/$kind-3" --threads 1 --resume "$work/$kind-3" || fail "the resumed $kind run"
  [ "$(hash_of "$work/$kind")" = "$(hash_of "$work/$kind-3")" ] || fail "$kind: resume changed it"
  [ "$("$hone" runs hash "$work/$kind")" = "$("$hone" runs hash "$work/$kind-3")" ] ||
    fail "$kind: resume changed the store"
done
diff -r "$work/base" "$work/copy" || fail "the base was changed"
[ "$("$hone" checkpoint hash "$work/lora/checkpoints/step-000000")" = \
  "$("$hone" checkpoint hash "$work/base")" ] || fail "version 0 is not the base"
[ "$(hash_of "$work/lora")" != "$("$hone" checkpoint hash "$work/base")" ] || fail "nothing moved"

latest=$work/lora/checkpoints/latest
[ ! -e "$latest/model.safetensors" ] && [ -s "$latest/adapter_model.safetensors" ] ||
  fail "the base was copied"
"$hone" checkpoint convert "$latest" --out "$work/merged" >/dev/null || fail "merging"
[ "$("$hone" checkpoint hash "$work/merged")" = "$(hash_of "$work/lora")" ] || fail "merged hash"
printf '{"id":1,"token_ids":[1,2,3,4]}\n' >"$work/rows"
"$hone" score --model "$latest" --in "$work/rows" --jsonl >"$work/a"
"$hone" score --model "$work/merged" --in "$work/rows" --jsonl >"$work/b"
cmp "$work/a" "$work/b" || fail "the merged copy scores otherwise"

code=0
"$hone" checkpoint diff "$work/base" "$work/freeze/checkpoints/latest" >"$work/diff" || code=$?
[ "$code" -eq 3 ] || fail "nothing moved beside the frozen experts"
grep -E 'mlp\.experts|embed_tokens|lm_head' "$work/diff" && fail "something frozen moved"

for bad in 'lora { target_modules: "w1" }' 'freeze: "expert"' 'lora { } freeze: "norms"'; do
  { cat "$work/run.textproto"; echo "policy { $bad }"; } >"$work/bad.textproto"
  code=0
  run bad "$work/bad" 2>/dev/null || code=$?
  [ "$code" -eq 2 ] || fail "exit $code for policy { $bad }"
  rm -rf "$work/bad"
done
echo "adapters: ok"
