#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A GRPO run that trains the module that predicts further ahead: its loss falls, further than that of
# a frozen one beside the same policy; one hash and one module for any threads, kill -9 and resume;
# its tensors' names.
# Usage: mtp.sh HONE_BINARY
set -euo pipefail
hone=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

cat >"$work/run.textproto" <<'END'
name: "mtp"
seed: 2
policy {
  shape {
    hidden_size: 32 num_hidden_layers: 2 first_k_dense_replace: 1 kv_lora_rank: 16 q_lora_rank: 16
    n_routed_experts: 4 num_experts_per_tok: 2 n_shared_experts: 1 max_position_embeddings: 64
    num_nextn_predict_layers: 1
  }
  mtp_loss: 1
}
pretrain { steps: 200 batch: 16 documents { generator: "running_sum" } }
tasks { sources { generator: "running_sum" } }
rollout { prompts: 16 group_size: 4 max_tokens: 24 }
learner { preset: "grpo" iterations: 40 filter_flat: false optimizer { learning_rate: 1e-3 } }
evaluation { every: 0 final_limit: 8 limit: 8 }
checkpoint { every: 4 keep: 0 }
END
train() { "$hone" train "$work/run.textproto" --bases "$work/bases" --quiet "$@" >/dev/null; }
# Policy, store, and the file that holds the module too.
hashes() {
  "$hone" checkpoint hash "$work/$1/checkpoints/latest"
  "$hone" runs hash "$work/$1"
  sha256sum <"$work/$1/checkpoints/latest/model.safetensors"
}

train --out "$work/first" --threads 1 || fail "the run"
grep -q '"max_generator_learner_gap": 0.0' "$work/first/summary.json" || fail "a gap"
want=$(hashes first)
train --out "$work/two" --threads 2 --workers 2 || fail "the run on two threads"
[ "$(hashes two)" = "$want" ] || fail "threads changed a bit"

"$hone" train "$work/run.textproto" --bases "$work/bases" --quiet --out "$work/killed" --threads 1 \
  >/dev/null &
pid=$!
until [ -e "$work/killed/checkpoints/step-000008" ] || ! kill -0 $pid 2>/dev/null; do
  sleep 0.01
done
kill -9 $pid 2>/dev/null || fail "the run ended before it was killed"
wait $pid 2>/dev/null || true
train --resume "$work/killed" --threads 1 || fail "the resumed run"
[ "$(hashes killed)" = "$want" ] || fail "resume changed a bit"

# Carried along, or frozen: the policy is the same, and what the module says is not.
train --out "$work/carried" --threads 1 --set policy.mtp_loss=0 || fail "the run that carries it"
train --out "$work/frozen" --threads 1 --set 'policy.freeze="*.layers.2.*"' || fail "a frozen one"
for run in carried frozen; do
  [ "$("$hone" checkpoint hash "$work/$run/checkpoints/latest")" = "$(head -1 <<<"$want")" ] ||
    fail "$run: training the module changed the policy"
done
mean() {  # RUN head|tail: of mtp/loss over 6 iterations
  grep -o '"mtp/loss":[^,}]*' "$work/$1/metrics.jsonl" | cut -d: -f2 | "$2" -n 6 |
    awk '{ sum += $1 } END { if (NR != 6) exit 1; print sum / NR }'
}
first=$(mean first head) last=$(mean first tail) frozen=$(mean frozen tail)
echo "mtp/loss: $first in the first 6 iterations, $last in the last 6, $frozen had it been frozen"
awk "BEGIN { exit !($last < 0.8 * $first && $last < $frozen) }" || fail "its loss does not fall"

names() { head -c 20000 "$1/model.safetensors" | grep -ao '"model\.layers\.2\.[^"]*"' | sort; }
for name in enorm hnorm eh_proj embed_tokens shared_head.norm shared_head.head input_layernorm \
  post_attention_layernorm self_attn.{q_a_proj,q_a_layernorm,q_b_proj,kv_a_proj_with_mqa} \
  self_attn.{kv_a_layernorm,kv_b_proj,o_proj} mlp.gate \
  mlp.{experts.{0,1,2,3},shared_experts}.{gate,up,down}_proj; do
  echo "\"model.layers.2.$name.weight\""
done >"$work/published"
echo '"model.layers.2.mlp.gate.e_score_correction_bias"' >>"$work/published"
for run in first carried; do
  diff <(sort "$work/published") <(names "$work/$run/checkpoints/latest") ||
    fail "$run: other names than published ones"
done
echo "mtp: ok"
