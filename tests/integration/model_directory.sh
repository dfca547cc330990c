#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A run that starts from a model directory: a random model is made, dressed as a published one,
# trained, saved, resumed, evaluated, converted; what is not Hone's own comes through byte for byte.
# Usage: model_directory.sh HONE_BINARY
set -euo pipefail
hone=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

"$hone" model init v3-tiny --out "$work/made" --seed 7 --shard-size 100KB >/dev/null
"$hone" model init v3-tiny --out "$work/again" --seed 7 --shard-size 100KB >/dev/null
diff -r "$work/made" "$work/again" || fail "the same seed made two models"
[ "$(find "$work/made" -name 'model-*.safetensors' | wc -l)" -gt 3 ] || fail "no shards"
"$hone" checkpoint verify "$work/made" >/dev/null || fail "verify"

# As if somebody else had published it: no hone.json, keys and files that Hone does not know.
cp -r "$work/made" "$work/published"
cd "$work/published"
rm hone.json
sed -i 's/"vocab_size"/"future_key": [1e22,  {"a":1.50}],\n  "vocab_size"/' config.json
printf '{"eos_token_id": [256, 10],  "top_p": 0.95}' >generation_config.json
printf '{"eos_token": "<eos>", "chat_template": "{{ x }}"}' >tokenizer_config.json
printf '{ "eos_token": "<eos>" }' >special_tokens_map.json
printf '{{ messages }}\n' >chat_template.jinja
cd - >/dev/null
[ "$("$hone" checkpoint hash "$work/made")" = "$("$hone" checkpoint hash "$work/published")" ] ||
  fail "the hash is of more than the weights"

cat >"$work/run.textproto" <<'END'
name: "directory"
seed: 3
tasks { sources { generator: "mini_countdown" } }
rollout { prompts: 4 group_size: 4 max_tokens: 8 workers: 1 }
learner { preset: "grpo" iterations: 4 filter_flat: false optimizer { learning_rate: 1e-3 } }
rewards { parts { name: "random" } }
evaluation { every: 0 final_limit: 8 limit: 8 }
checkpoint { every: 2 }
END
run() {
  "$hone" train "$work/run.textproto" --set "policy.model_dir=\"$work/published\"" --out "$1" \
    --threads 1 --quiet "${@:2}" >/dev/null
}
run "$work/a" || fail "the run"
latest=$work/a/checkpoints/latest
for name in generation_config.json tokenizer.json tokenizer_config.json special_tokens_map.json \
  chat_template.jinja config.json; do
  cmp "$work/published/$name" "$latest/$name" || fail "$name was changed on its way"
done
"$hone" checkpoint verify "$latest" >/dev/null || fail "the saved checkpoint"
code=0
"$hone" checkpoint diff "$work/published" "$latest" >"$work/diff" || code=$?
[ "$code" -eq 3 ] || fail "diff exits $code after training: $(cat "$work/diff")"

# Any of the model's ends stops a completion, and the row says which: greedy texts that come by
# token 10 end there.
ends() {
  "$hone" generate --model "$1" --in "$work/prompts" --jsonl |
    sed -n 's/.*"stop_token":\([0-9]*\).*/\1/p' | sort -u | tr '\n' ' '
}
for i in $(seq 40); do
  echo "{\"id\":$i,\"token_ids\":[$i],\"max_tokens\":200,\"seed\":$i}"
done >"$work/prompts"
[ "$(ends "$work/made")" = "256 " ] || fail "one end: $(ends "$work/made")"
[ "$(ends "$work/published")" = "10 256 " ] || fail "two ends: $(ends "$work/published")"
[ "$(ends "$latest")" = "10 256 " ] || fail "two ends after training: $(ends "$latest")"

# Resumed from the middle, it is the same run.
mkdir -p "$work/b"
cp -r "$work/a/." "$work/b"
rm -rf "$work/b/checkpoints/step-000004" "$work/b/summary.json"
ln -sfn step-000002 "$work/b/checkpoints/latest"
run "$work/b" --resume "$work/b" || fail "the resumed run"
[ "$("$hone" checkpoint hash "$latest")" = "$("$hone" checkpoint hash "$work/b/checkpoints/latest")" ] ||
  fail "the resumed run went another way"
"$hone" eval --model "$latest" --tasks mini_countdown --limit 4 --max-tokens 8 --json --quiet >/dev/null ||
  fail "eval"

# Other forms of the same weights.
"$hone" checkpoint convert "$latest" --out "$work/fused" --experts fused --shard-size 90KB >/dev/null
"$hone" checkpoint convert "$work/fused" --out "$work/apart" >/dev/null
"$hone" checkpoint diff "$latest" "$work/apart" >/dev/null || fail "convert changed a weight"
"$hone" checkpoint convert "$latest" --out "$work/fp8" --dtype fp8 >/dev/null
"$hone" checkpoint verify "$work/fp8" >/dev/null || fail "fp8"

# A flipped byte is found.
printf '\x7f\xc0' | dd of="$work/made/model-00002-of-$(ls "$work/made" |
  sed -n 's/model-00001-of-\(.*\).safetensors/\1/p').safetensors" bs=1 seek=20000 conv=notrunc 2>/dev/null
code=0
"$hone" checkpoint verify "$work/made" 2>/dev/null || code=$?
[ "$code" -eq 6 ] || fail "verify exits $code on an altered file"

"$hone" model info "$work/published" --json --no-measure | grep -q '"family":"deepseek_v3"' || fail "info"
"$hone" model info "$work/published/config.json" --no-measure >/dev/null || fail "info of a config.json"
echo "a run from a model directory: trained, saved whole, resumed, evaluated, converted"
