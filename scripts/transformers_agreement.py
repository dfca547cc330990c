#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does transformers load what hone saves, and give the same logprobs?

A development check against an outside judge; neither the product nor its tests need it.
Usage: transformers_agreement.py HONE_BINARY [PRESET_OR_CONFIG...]
"""

import json
import math
import random
import subprocess
import sys
import tempfile

import torch
import transformers

LIMIT = 2e-4


def hone(*args, stdin=None):
    done = subprocess.run(args, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(args)}: {done.stdout}{done.stderr}")
    return done.stdout


def largest_gap(binary, directory, rows):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True)
    # As weights are tied the head has no key of its own; nothing else may be absent.
    missing = [k for k in info["missing_keys"] if not model.config.tie_word_embeddings]
    if missing or info["unexpected_keys"] or info["mismatched_keys"]:
        sys.exit(f"{directory}: missing {missing}, unexpected {info['unexpected_keys']}, "
                 f"mismatched {info['mismatched_keys']}")
    text = "\n".join(json.dumps({"id": i, "token_ids": row}) for i, row in enumerate(rows))
    scored = hone(binary, "score", "--model", directory, "--in", "-", "--jsonl", stdin=text)
    gap, same, compared = 0.0, 0, 0
    with torch.no_grad():
        for row, line in zip(rows, scored.splitlines()):
            ours = json.loads(line)
            logits = model(torch.tensor([row])).logits[0].float()
            logprobs = torch.log_softmax(logits, -1)
            for t in range(1, len(row)):
                gap = max(gap, abs(ours["logprobs"][t] - logprobs[t - 1, row[t]].item()))
                same += ours["argmax"][t] == int(logits[t - 1].argmax())
                compared += 1
    return gap, same, compared


def main():
    binary, models = sys.argv[1], sys.argv[2:] or ["v3-tiny", "v2-tiny"]
    random.seed(5)
    failed = False
    for model in models:
        with tempfile.TemporaryDirectory() as work:
            made = f"{work}/made"
            hone(binary, "model", "init", model, "--out", made, "--seed", "3", "--shard-size", "200KB")
            hone(binary, "checkpoint", "convert", made, "--out", f"{work}/bf16", "--dtype", "bfloat16")
            hone(binary, "checkpoint", "convert", f"{work}/bf16", "--out", f"{work}/f32",
                 "--dtype", "float32")
            rows = [[random.randrange(256) for _ in range(random.randint(2, 60))] for _ in range(200)]
            for form in ["made", "f32"]:
                gap, same, compared = largest_gap(binary, f"{work}/{form}", rows)
                good = gap <= LIMIT and math.isfinite(gap)
                failed = failed or not good
                print(f"{model} {form}: largest logprob gap {gap:.2e}, argmax {same}/{compared}"
                      f" {'ok' if good else 'FAILED'}")
            ours = hone(binary, "tokenize", "--model", made, "--in", "-", "--jsonl",
                        stdin=json.dumps({"id": 0, "text": "héllo 12"}))
            theirs = transformers.AutoTokenizer.from_pretrained(made)("héllo 12")["input_ids"]
            if json.loads(ours)["ids"] != theirs:
                failed = True
                print(f"{model}: tokens {ours} {theirs} FAILED")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
