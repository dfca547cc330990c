#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One hash whoever computes: threads, workers, processes; kill -9 and resume; and another hash
# after one flipped byte. Usage: exactness.sh HONE_BINARY SOURCE_DIR [KILLS] [hone train options]
# The kills are spread over pretraining and training; each such run pretrains a base of its own.
set -euo pipefail
hone=$1
root=$2
kills=${3:-5}
shift $(($# < 3 ? $# : 3))
more=("$@")
[ ${#more[@]} -gt 0 ] || more=(--set rollout.prompts=16 --set learner.iterations=30)
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
config=$root/configs/run/smoke.textproto
bases=$work/bases

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
# exec: a job's pid is the run's own, so that kill -9 hits it and not a shell around it.
start() { exec "$hone" train "$config" --bases "$bases" --quiet "${more[@]}" "$@"; }
train() { (start "$@"); }
hashes() {
  "$hone" checkpoint hash "$work/$1/checkpoints/latest"
  "$hone" runs hash "$work/$1"
}
same() { [ "$(hashes "$1")" = "$want" ] || fail "$1 has other hashes than the first run"; }

train --out "$work/first" --threads 2 --workers 2 >/dev/null
want=$(hashes first)
gap=$(grep -o '"max_generator_learner_gap": [^,]*' "$work/first/summary.json")
[ "$gap" = '"max_generator_learner_gap": 0.0' ] || fail "gap: $gap"

for spec in "1 1" "2 4" "1 2"; do
  read -r threads workers <<<"$spec"
  train --out "$work/t${threads}w$workers" --threads "$threads" --workers "$workers" >/dev/null
  same "t${threads}w$workers"
done
echo "same hashes for 1 and 2 threads, 1, 2 and 4 workers"

# Rollout workers as processes.
start --out "$work/remote" --workers 0 --listen "unix:$work/trainer.sock" >/dev/null &
trainer=$!
for _ in $(seq 600); do [ -S "$work/trainer.sock" ] && break; sleep 0.1; done
"$hone" rollout --trainer "unix:$work/trainer.sock" --quiet >/dev/null 2>&1 &
"$hone" rollout --trainer "unix:$work/trainer.sock" --quiet >/dev/null 2>&1 &
wait "$trainer" || fail "the trainer of remote workers failed"
same remote
echo "same hashes with two rollout workers in processes of their own"

# Policy and verifier as processes.
"$hone" serve policy --listen "unix:$work/policy.sock" >"$work/policy.log" 2>&1 &
policy=$!
"$hone" serve verifier --listen "unix:$work/verifier.sock" >"$work/verifier.log" 2>&1 &
verifier=$!
for _ in $(seq 600); do
  [ -S "$work/policy.sock" ] && [ -S "$work/verifier.sock" ] && break
  sleep 0.1
done
train --out "$work/services" --policy "unix:$work/policy.sock" \
  --verifier "unix:$work/verifier.sock" >/dev/null || fail "the run over services failed"
kill "$policy" "$verifier"
same services
echo "same hashes with policy and verifier in processes of their own"

# Killed at random moments spread over the whole run, pretraining included, then resumed.
bases=$work/killed-bases
began=$(date +%s%N)
train --out "$work/timed" >/dev/null
whole_ms=$((($(date +%s%N) - began) / 1000000))
same timed
kill_at() {  # milliseconds: a new run, killed then
  rm -rf "$work/killed" "$bases"
  start --out "$work/killed" >/dev/null 2>&1 &
  local victim=$!
  sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
  kill -9 "$victim" 2>/dev/null || true
  wait "$victim" 2>/dev/null || true
}
for i in $(seq "$kills"); do
  delay_ms=$((whole_ms * (2 * i - 1) / (2 * kills) + RANDOM % 50))
  kill_at "$delay_ms"
  train --resume "$work/killed" >/dev/null || fail "resume after kill $i (at $delay_ms ms)"
  same killed
done
echo "same hashes after kill -9 at $kills moments of $whole_ms ms and --resume"

# Killed, and its newest checkpoint damaged: the one before it is good, and the run ends the same.
rm -rf "$work/killed" "$bases"
start --out "$work/killed" >/dev/null 2>&1 &
victim=$!
for _ in $(seq 6000); do  # until there are two
  [ "$(find "$work/killed/checkpoints" -maxdepth 1 -name 'step-*' ! -name '*.tmp-*' 2>/dev/null | wc -l)" -ge 2 ] && break
  sleep 0.02
done
kill -9 "$victim" 2>/dev/null || fail "the run ended before it had two checkpoints"
wait "$victim" 2>/dev/null || true
echo '{}' >"$work/killed/checkpoints/latest/trainer.json"
train --resume "$work/killed" >/dev/null 2>"$work/err" || fail "resume past a damaged checkpoint"
grep -q "passing over" "$work/err" || fail "a damaged checkpoint is passed over in silence"
same killed
bases=$work/bases
echo "same hashes after resuming past a damaged checkpoint"

train --resume "$work/first" >/dev/null || fail "resuming a finished run does not exit 0"
set +e
"$hone" train "$config" --bases "$work/bases" --quiet --resume "$work/first" --seed 99 2>"$work/err"
[ $? -eq 2 ] || fail "resume with another config does not exit 2"
grep -q "seed" "$work/err" || fail "resume with another config does not say what differs"
set -e

# One flipped byte of the weights: another hash, and a verdict of damage.
cp -rL "$work/first/checkpoints/latest" "$work/flipped"
file=$work/flipped/model.safetensors
size=$(stat -c %s "$file")
byte=$(od -An -tu1 -j $((size - 9)) -N1 "$file" | tr -d ' ')
printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$file" bs=1 seek=$((size - 9)) conv=notrunc status=none
set +e
flipped=$("$hone" checkpoint hash "$work/flipped" 2>/dev/null)
"$hone" checkpoint verify "$work/flipped" >/dev/null 2>&1
[ $? -eq 6 ] || fail "a flipped byte is not called damage (exit 6)"
[ "$flipped" != "$("$hone" checkpoint hash "$work/first/checkpoints/latest")" ] ||
  fail "a flipped byte does not change the hash"
echo "a flipped byte is another hash, and is called damage"
