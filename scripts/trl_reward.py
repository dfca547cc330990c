#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does hone_reward.py serve TRL's own GRPOTrainer as it is?

Development only; nothing of the product calls it. Needs `pip install trl` (with torch) in an
environment of its own:

    python3 scripts/trl_reward.py --hone build/hone [--code]

A GRPOTrainer with a random model of two tiny layers and reward_funcs=[hone_reward.reward]: first
its own reward step on completions whose rewards are known, plain and as messages, then two whole
training steps. Exit 0: every reward was the expected one. --code: also the verifier "code", which
needs the right to isolate.
"""
import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

ANSWERS = [("<think>so</think> <answer>1/2</answer>", "0.5", 1.0),
           ("<think>so</think> <answer>\\frac{2}{4}</answer>", "$\\frac12$", 1.0),
           ("<think>so</think> <answer>3</answer>", "0.5", 0.0),
           ("no tags at all", "0.5", 0.0),
           ("<think>so</think> <answer>5</answer>", "\\frac{", math.nan),  # gold unreadable: None
           ("", "7", 0.0)]
PROGRAM = "<think>so</think> <answer>```python\ndef f(x):\n    return x {} 1\n```</answer>"
PROGRAMS = [(PROGRAM.format("+"), ["assert f(1) == 2"], 1.0),
            (PROGRAM.format("-"), ["assert f(1) == 2"], 0.0),
            (PROGRAM.format("+"), {"fn_name": "f", "inputs": [[1]], "outputs": [2]}, 1.0)]


def load_client(hone, folder):
    subprocess.run([hone, "verifier", "new", "client", "--kind", "client"], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)
    (path,) = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names
               if name == "hone_reward.py"]
    spec = importlib.util.spec_from_file_location("hone_reward", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_trainer(reward, folder):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>"] + alphabet)}
    core = Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>",
                                        eos_token="<eos>")
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(vocabulary), n_positions=128, n_embd=32,
                                       n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1))
    rows = Dataset.from_list([{"prompt": f"{n} + 1 = ", "answer": str(n + 1)} for n in range(8)])
    config = GRPOConfig(output_dir=folder, per_device_train_batch_size=4, num_generations=4,
                        max_completion_length=16, max_steps=2, report_to=[], use_cpu=True,
                        logging_steps=1, save_strategy="no", bf16=False)
    return GRPOTrainer(model=model, reward_funcs=[reward], args=config, train_dataset=rows,
                       processing_class=tokenizer)


def check(trainer, completions, columns, expected, what):
    prompts = ["p"] * len(completions)
    inputs = [{"prompt": "p", **{key: values[i] for key, values in columns.items()}}
              for i in range(len(completions))]
    got = trainer._calculate_rewards(inputs, prompts, completions, [[1]] * len(completions))
    got = got[:, 0].tolist()
    same = all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(got, expected))
    print(f"{what}: {got} {'as expected' if same else f'but expected {expected}'}")
    return same


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--hone", default="build/hone")
    options.add_argument("--code", action="store_true")
    args = options.parse_args()
    os.environ["HONE_BINARY"] = os.path.abspath(args.hone)
    with tempfile.TemporaryDirectory() as folder:
        client = load_client(os.environ["HONE_BINARY"], folder)
        trainer = make_trainer(client.reward, folder)
        texts, golds, rewards = map(list, zip(*ANSWERS))
        good = check(trainer, texts, {"answer": golds}, rewards, "math, text")
        messages = [[{"role": "assistant", "content": text}] for text in texts]
        good &= check(trainer, messages, {"solution": golds}, rewards, "math, messages")
        if args.code:
            os.environ["HONE_VERIFIER"] = "code"
            client._shared().close()
            client._verifier = None
            texts, tests, rewards = map(list, zip(*PROGRAMS))
            good &= check(trainer, texts, {"tests": tests}, rewards, "code, tests as they are")
            as_json = [json.dumps(t) for t in tests]
            good &= check(trainer, texts, {"tests": as_json}, rewards, "code, tests as JSON")
            client._shared().close()
            client._verifier = None
            os.environ["HONE_VERIFIER"] = "math"
        trainer.train()
        steps = [row for row in trainer.state.log_history if "rewards/reward/mean" in row]
        print(f"{len(steps)} training steps, mean rewards "
              f"{[row['rewards/reward/mean'] for row in steps]}")
        client._shared().close()
    sys.exit(0 if good and len(steps) == 2 else 1)


if __name__ == "__main__":
    main()
