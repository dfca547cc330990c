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
METRICS = """reward/mean reward/std reward/accuracy/mean reward/format/mean accuracy/mean format/mean
completion/length_mean completion/length_median completion/truncated_share group/flat_share
group/all_right_share group/all_wrong_share policy/entropy policy/kl_k3 policy/clip_low_share
policy/clip_high_share policy/ratio_mean policy/ratio_max policy/grad_norm policy/learning_rate
policy/update_to_weight train/generator_learner_gap train/staleness_mean moe/load_max_over_mean
moe/dropped verifier/latency_p50_ms verifier/outage_share verifier/skipped_share
reflection/wait_per_completion time/generate_s time/verify_s time/update_s time/store_s time/sync_s
time/cpu_s time/store_cpu_s tokens/per_s tokens/generated tokens/trained
memory/rss_bytes""".split()
USAGE, NOT_FOUND, UNAVAILABLE, CORRUPT, LACKS = 2, 4, 5, 6, 7

with open(CONFIG, "w") as file:
    file.write("""name: "faults" seed: 3
policy { shape { hidden_size: 32 num_hidden_layers: 1 first_k_dense_replace: 0 n_routed_experts: 4
  num_experts_per_tok: 2 kv_lora_rank: 16 q_lora_rank: 16 max_position_embeddings: 64 } }
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


def a_run_leaves_a_log_and_a_figure_under_every_name_of_the_list():
    out = os.path.join(WORK, "logged")
    check(train(out).returncode == 0, "the run")
    with open(f"{out}/logs/train.log") as file:
        lines = file.read().splitlines()
    for line in lines:
        check(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z \d+ (info|warning|error) [ -~]+", line), line)
    for words in ["began", "base ", "evaluated before", "iteration 4/4", "finished, weights"]:
        check(any(words in line for line in lines), words, "is not in the log:", lines)
    with open(f"{out}/metrics.jsonl") as file:
        rows = [json.loads(line) for line in file]
    missing = [name for name in METRICS if name not in rows[-1]]
    check(not missing, "no figure for", missing)
    for row in rows:
        check(0 < row["tokens/trained"] <= row["tokens/generated"],
              "prompts are not trained on:", row["tokens/trained"], row["tokens/generated"])
        check(row["time/store_cpu_s"] <= row["time/cpu_s"], row)


def a_run_that_lost_its_verifier_goes_on_with_resume_to_the_same_hashes():
    whole, out = os.path.join(WORK, "strict"), os.path.join(WORK, "outage")
    # One completion of 32 may be left out by default, and is counted: no longer the same run.
    more = ["--set", "learner.iterations=60", "--set", "rewards.max_outage_share=0"]
    check(train(whole, *more).returncode == 0, "the whole run")
    address = f"unix:{WORK}/verifier"
    server, _ = serve("verifier", "--listen", address)
    run = subprocess.Popen(command(out, "--verifier", address, *more),
                           stderr=subprocess.PIPE)
    while not os.path.exists(f"{out}/metrics.jsonl"):
        check(run.poll() is None, "the run ended:", run.stderr)
        time.sleep(0.02)
    server.kill()
    server.wait()
    said = run.communicate()[1].decode()
    check(run.returncode == UNAVAILABLE and "--resume" in said, run.returncode, said)
    with open(f"{out}/logs/train.log") as file:
        check(" error iteration " in file.read(), "the log does not say why it ended")
    refuses(train(out, "--verifier", address, resume=True), UNAVAILABLE, "--verifier")
    serve("verifier", "--listen", address)
    more = train(out, "--verifier", address, resume=True)
    check(more.returncode == 0, "it does not go on:", more.stderr.decode())
    check(hashes(out) == hashes(whole), "other hashes than a run without an outage")


def a_damaged_config_of_a_run_is_named_and_touches_nothing():
    out = os.path.join(WORK, "damaged")
    check(train(out).returncode == 0, "the run")
    want = hashes(out)
    path = f"{out}/config.textproto"
    with open(path, "rb") as file:
        config = file.read()
    for damaged in [b"", config[:len(config) // 2], b"\0" * 100, b"seed: 3 \xff\xfe", b"{" * 100000,
                    config.replace(b"seed: 3", b"seed: 3e999"), config + b"surprise: 1\n"]:
        with open(path, "wb") as file:
            file.write(damaged)
        refuses(train(out, resume=True), CORRUPT, "damaged", "config.textproto")
        given = subprocess.run([HONE, "train", CONFIG, "--resume", out, "--quiet"],
                               capture_output=True, timeout=60)
        check(given.returncode in (USAGE, CORRUPT), given.returncode, given.stderr.decode())
    with open(path, "wb") as file:
        file.write(config)
    check(train(out, resume=True).returncode == 0 and hashes(out) == want, "it was touched")


def a_full_disk_stops_a_run_that_goes_on_to_the_same_hashes_once_there_is_room():
    whole = os.path.join(WORK, "whole")
    check(train(whole, "--set", "learner.iterations=60").returncode == 0, "the whole run")
    disk = os.path.join(WORK, "disk")
    os.mkdir(disk)
    for size in ["200k", "500k", "900k", "1500k", "2500k"]:
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "hone-faults", disk],
                               capture_output=True)
        if mount.returncode != 0:
            print("not run: mounting a small disk is not permitted:", mount.stderr.decode().strip())
            return
        try:
            out = f"{disk}/run"
            first = train(out, "--set", "learner.iterations=60")
            refuses(first, LACKS, "space")
            again = train(out, "--set", "learner.iterations=60", resume=os.path.exists(out))
            refuses(again, LACKS, "space")
            room = ["mount", "-o", "remount,size=64m", disk]
            subprocess.run(room, check=True, capture_output=True)
            last = subprocess.run([HONE, "train", CONFIG, "--resume", out, "--bases", BASES, "--set",
                                   "learner.iterations=60", "--threads", "1", "--quiet"],
                                  capture_output=True, timeout=120)
            check(last.returncode == 0, size, "it does not go on:", last.stderr.decode())
            check(hashes(out) == hashes(whole), size, "other hashes than with room")
        finally:
            subprocess.run(["umount", disk], check=True)


def start(*arguments):
    process = subprocess.Popen([HONE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    SERVERS.append(process)
    os.set_blocking(process.stderr.fileno(), False)
    return process


def says(process, words, seconds):
    """Waits until its stderr has the words."""
    text = ""
    end = time.time() + seconds
    while words not in text:
        check(time.time() < end, repr(words), "was not said in", seconds, "s:", text)
        text += (process.stderr.read() or b"").decode()
        time.sleep(0.05)


def ends(process, number, code, seconds):
    """The first signal ends it, with that exit code."""
    process.send_signal(number)
    began = time.time()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        check(False, "it goes on 30 s after signal", number)
    text = (process.stderr.read() or b"").decode()
    check(process.returncode == code, "exit", process.returncode, text)
    check(time.time() - began < seconds, "it took", time.time() - began, "s")
    return text


def a_config_that_names_nothing_leaves_no_run():
    out = os.path.join(WORK, "typo")
    bad = command(out, "--set", 'policy.freeze="expertz"')
    done = subprocess.run(bad, capture_output=True, text=True)
    assert done.returncode == 2 and "expertz" in done.stderr, done
    assert not os.path.exists(out), os.listdir(out)


def trainer_of(out, address):
    more = ["--set", "learner.iterations=60", "--workers", "0", "--listen", address]
    return start(*command(out, *more)[1:])


def iterations_of(out, at_least):
    path = os.path.join(out, "metrics.jsonl")
    end = time.time() + 60
    while not os.path.exists(path) or open(path).read().count("\n") < at_least:
        check(time.time() < end, "it does not come to iteration", at_least)
        time.sleep(0.02)


def a_run_whose_only_worker_is_gone_says_so_and_the_first_sigterm_ends_it_saved():
    whole = os.path.join(WORK, "sixty")
    check(train(whole, "--set", "learner.iterations=60").returncode == 0, "no run")
    address = "unix:" + os.path.join(WORK, "trainer.sock")
    out = os.path.join(WORK, "lonely")
    trainer = trainer_of(out, address)
    agent = start("rollout", "--trainer", address)
    iterations_of(out, 3)
    agent.kill()
    says(trainer, "no rollout worker has been heard of for", 40)
    text = ends(trainer, signal.SIGTERM, 143, 8)
    check("hone train --resume" in text, text)
    check("no rollout worker" in open(os.path.join(out, "logs", "train.log")).read(), "not in the log")
    again = subprocess.run([HONE, "train", "--resume", out, "--bases", BASES, "--threads", "1",
                            "--quiet", "--set", "rollout.workers=1"], capture_output=True, timeout=120)
    check(again.returncode == 0, again.stderr.decode())
    check(hashes(out) == hashes(whole), "other hashes than without the interruption")


def a_run_that_no_worker_ever_joined_ends_at_the_first_sigint():
    out = os.path.join(WORK, "nobody")
    trainer = trainer_of(out, "unix:" + os.path.join(WORK, "nobody.sock"))
    end = time.time() + 60
    while not os.path.exists(os.path.join(out, "checkpoints", "latest")):
        check(time.time() < end, "no first checkpoint")
        time.sleep(0.02)
    time.sleep(0.3)
    ends(trainer, signal.SIGINT, 130, 3)


def workers_whose_trainer_is_gone_say_so_at_once_and_end_at_the_first_sigterm():
    nobody = "unix:" + os.path.join(WORK, "none.sock")
    agent = start("rollout", "--trainer", nobody, "--workers", "2")
    says(agent, f"the trainer at {nobody} does not answer", 2)
    ends(agent, signal.SIGTERM, 143, 1.5)
    # One that dies under them.
    address = "unix:" + os.path.join(WORK, "dying.sock")
    out = os.path.join(WORK, "dying")
    trainer = trainer_of(out, address)
    agent = start("rollout", "--trainer", address)
    iterations_of(out, 2)
    trainer.kill()
    says(agent, "does not answer", 8)
    ends(agent, signal.SIGTERM, 143, 1.5)


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
