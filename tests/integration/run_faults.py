#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a run: peers that are missing or unfit, damaged folders, hostile input.

A run says so at once, in a sentence, with the exit code of the handbook, and leaves nothing
half-made. Usage: run_faults.py HONE_BINARY
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HONE = sys.argv[1]
WORK = tempfile.mkdtemp(prefix="hone-faults-")
CONFIG = os.path.join(WORK, "run.textproto")
BASES = os.path.join(WORK, "bases")
SERVERS = []
USAGE, NOT_FOUND, UNAVAILABLE, CORRUPT, LACKS = 2, 4, 5, 6, 7

with open(CONFIG, "w") as file:
    file.write("""name: "faults" seed: 3
policy { shape { hidden_size: 32 num_hidden_layers: 1 first_k_dense_replace: 1
  kv_lora_rank: 16 q_lora_rank: 16 max_position_embeddings: 64 } }
pretrain { steps: 60 batch: 16 documents { generator: "running_sum" } }
tasks { sources { generator: "running_sum" } }
rollout { prompts: 8 group_size: 4 max_tokens: 16 workers: 1 }
learner { preset: "grpo" iterations: 4 filter_flat: false }
evaluation { every: 0 limit: 8 final_limit: 8 }
checkpoint { every: 2 }
""")


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(part) for part in what))


def command(out, *more, resume=False, bases=BASES):
    where = ["--resume", out] if resume else [CONFIG, "--out", out]
    return [HONE, "train", *where, "--bases", bases, "--threads", "1", "--quiet", *more]


def train(out, *more, **options):
    return subprocess.run(command(out, *more, **options), capture_output=True, timeout=120)


def refuses(result, code, *words):
    text = result.stderr.decode()
    check(result.returncode == code, "exit", result.returncode, "not", code, text)
    for word in words:
        check(word in text, repr(word), "is not in:", text)


def serve(*arguments):
    server = subprocess.Popen([HONE, "serve", *arguments], stdout=subprocess.PIPE)
    SERVERS.append(server)
    return server, json.loads(server.stdout.readline())["listening"]


def hashes(out):
    read = lambda *a: subprocess.run([HONE, *a], capture_output=True, check=True).stdout
    return (read("checkpoint", "hash", f"{out}/checkpoints/latest"), read("runs", "hash", out))


def peers_that_are_missing_or_unfit_are_named_before_pretraining_begins():
    _, verifier = serve("verifier", "--listen", "127.0.0.1:0")
    _, policy = serve("policy", "--listen", "127.0.0.1:0", "--slots", "4")
    nobody = f"unix:{WORK}/nobody"
    for flag, address, code, words in [
            ("--policy", nobody, UNAVAILABLE, ["--policy", nobody]),
            ("--policy", verifier, USAGE, ["no policy"]),
            ("--policy", policy, USAGE, ["gradient_slots: 8", "4 there", "--slots"]),
            ("--policy", "10.0.0.1:1", USAGE, ["loopback"]),
            ("--verifier", nobody, UNAVAILABLE, ["--verifier", nobody]),
            ("--verifier", policy, USAGE, ["--verifier", "judges nothing"])]:
        out = os.path.join(WORK, "peers")
        bases = os.path.join(WORK, "peers-bases")
        refuses(train(out, flag, address, bases=bases), code, *words)
        check(not os.path.exists(bases), flag, address, ": it was pretrained all the same")
        check(not os.path.exists(out), flag, address, ": a run's folder was made")


def main():
    tests = [test for name, test in globals().items() if re.match("[a-z]+_[a-z]+_", name)]
    try:
        for test in tests:
            began = time.time()
            test()
            print(f"{test.__name__.replace('_', ' ')}: {time.time() - began:.1f} s", flush=True)
    finally:
        for server in SERVERS:
            server.kill()
        shutil.rmtree(WORK, ignore_errors=True)


if __name__ == "__main__":
    main()
