#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hone replay as a user runs it: a small run is made again to the bit, with other threads, in
another folder, after a kill; and whatever is flipped in it is named, exit 3.

    tests/integration/replay.py build/hone
"""
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

HONE = os.path.abspath(sys.argv[1])
CONFIG = """
name: "small" seed: 3
policy { shape {
  hidden_size: 32 num_hidden_layers: 2 first_k_dense_replace: 1 kv_lora_rank: 16
  n_routed_experts: 4 num_experts_per_tok: 2 n_shared_experts: 1 max_position_embeddings: 64 } }
pretrain { steps: 60 batch: 16 documents { generator: "running_sum" } }
tasks { sources { generator: "running_sum" } }
rollout { prompts: 4 group_size: 4 max_tokens: 24 }
learner { preset: "grpo" iterations: 8 minibatches: 2 kl: "k3" reference_reset_iterations: 3 }
evaluation { every: 4 limit: 8 final_limit: 8 }
checkpoint { every: 3 keep: 0 }
"""


def hone(*arguments, code=0):
    done = subprocess.run([HONE, *map(str, arguments)], capture_output=True, text=True)
    what = "hone " + " ".join(map(str, arguments))
    assert done.returncode == code, f"{what}: exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
    return done.stdout


def report(run, *arguments, code=0):
    return json.loads(hone("replay", run, *arguments, "--json", "--quiet", code=code))


def first(run, stage, *arguments):
    """The one stage that differs, and its first difference."""
    found = report(run, *arguments, code=3)
    assert found["identical"] is False
    differing = {s["name"]: s for s in found["stages"] if s["differing"] > 0}
    assert list(differing) == [stage], (stage, differing)
    return differing[stage]["first_difference"], differing[stage]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Copy:
    """A copy of a run to be spoilt."""

    def __init__(self, run):
        self.path = tempfile.mkdtemp(dir=os.path.dirname(run)) + "/run"
        shutil.copytree(run, self.path, symlinks=True)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(os.path.dirname(self.path))


def sql(run, statement, *values):
    store = sqlite3.connect(run + "/store.sqlite")
    rows = store.execute(statement, values).fetchall()
    store.commit()
    store.close()
    return rows


def flip_channel(run, name, change, checksum):
    """Changes one value of the third trajectory of a group of iteration 5. Returns its id and the
    value's index in it."""
    trajectory, n, group_first = sql(
        run, 'SELECT t.id, t.n, g.first FROM trajectory t JOIN task_group g ON g.n = t."group" '
        "WHERE g.iteration = 5 AND t.position = 2 ORDER BY t.n LIMIT 1")[0]
    row, data, dtype, layout, codec = sql(
        run, "SELECT c.n, c.bytes, f.dtype, f.layout, f.codec FROM channel c JOIN channel_kind f "
        "ON f.n = c.kind WHERE f.name = ? AND c.trajectory = ? AND c.iteration = 0",
        name, group_first)[0]
    assert codec == "raw", codec
    tokens = sql(run, "SELECT tokens, completion_tokens FROM trajectory WHERE n >= ? AND n < ? "
                 "ORDER BY n", group_first, n + 1)
    width = 2 if dtype == "u16" else 4
    sampled = layout == "sampled"
    place = sum(t[1] if sampled else t[0] for t in tokens[:-1]) + (1 if sampled else tokens[-1][0] - 2)
    index = tokens[-1][0] - tokens[-1][1] + 1 if sampled else tokens[-1][0] - 2
    data = bytearray(data)
    at = place * width
    data[at:at + width] = change(bytes(data[at:at + width]))
    sql(run, "UPDATE channel SET bytes = ? WHERE n = ?", bytes(data), row)
    if checksum:
        sql(run, "UPDATE channel SET crc32c = ? WHERE n = ?", crc32c(bytes(data)), row)
    return trajectory, index


def flip_bit(word):
    return bytes([word[0] ^ 1]) + word[1:]


def flip_tensor(path, name, element):
    with open(path, "r+b") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        at = 8 + size + header[name]["data_offsets"][0] + 4 * element
        file.seek(at + 2)
        byte = file.read(1)[0]
        file.seek(at + 2)
        file.write(bytes([byte ^ 0x10]))


def flipped_tokens(run, checksum):
    with Copy(run) as copy:
        trajectory, index = flip_channel(copy, "token_ids", flip_bit, checksum)
        for scope in (["--iteration", 5], ["--all"], ["--trajectory", trajectory]):
            difference, stage = first(copy, "sampling", *scope)
            assert difference["trajectory"] == trajectory and difference["what"] == "token"
            assert difference["index"] == index and stage["differing"] == 1, difference
        # The store alone gives other weights for iteration 6 on: they are made by sampling again.
        difference, stage = first(copy, "sampling", "--iteration", 6)
        assert difference["iteration"] == 5 and difference["index"] == index, difference


def flipped_figures(run):
    with Copy(run) as copy:
        trajectory, index = flip_channel(copy, "behaviour_logprobs", flip_bit, True)
        difference, stage = first(copy, "sampling", "--all")
        assert difference["what"] == "logprob of token" and difference["trajectory"] == trajectory
        assert difference["index"] == index and stage["differing"] == 1, difference
    with Copy(run) as copy:
        n, trajectory, values = sql(
            copy, "SELECT v.n, t.id, v.reward_values FROM verdict v JOIN trajectory t "
            'ON t.n = v.trajectory JOIN task_group g ON g.n = t."group" WHERE g.iteration = 4 '
            "LIMIT 1 OFFSET 3")[0]
        values = json.loads(values)
        values[0] = 1 - values[0]
        sql(copy, "UPDATE verdict SET reward_values = ? WHERE n = ?", json.dumps(values, separators=(",", ":")), n)
        for scope in (["--all"], ["--trajectory", trajectory[:14]]):
            difference, stage = first(copy, "rewards", *scope)
            assert difference["trajectory"] == trajectory and stage["differing"] == 1
            assert difference["what"] == "reward part accuracy", difference
    with Copy(run) as copy:
        n, trajectory, value = sql(copy, "SELECT n, id, advantage FROM trajectory LIMIT 1 OFFSET 40")[0]
        sql(copy, "UPDATE trajectory SET advantage = ? WHERE n = ?", value + 0.5, n)
        difference, stage = first(copy, "advantages", "--all")
        assert difference["trajectory"] == trajectory and difference["what"] == "advantage"
        assert stage["differing"] == 1
    with Copy(run) as copy:
        sql(copy, "UPDATE metric SET value = value * 1.5 WHERE iteration = 7 AND name = 'policy/grad_norm'")
        difference, stage = first(copy, "backward", "--iteration", 7)
        assert difference["what"] == "metric policy/grad_norm", difference
    with Copy(run) as copy:
        sql(copy, "UPDATE policy_update SET learning_rate = learning_rate * 2.0 "
            "WHERE iteration = 2 AND minibatch = 1")
        difference, stage = first(copy, "optimizer", "--iterations", "1..3")
        assert difference["what"] == "update 2, learning rate", difference


def flipped_weights(run, bases):
    name = "model.layers.1.self_attn.kv_b_proj.weight"
    step = sorted(os.listdir(run + "/checkpoints"))
    middle = [s for s in step if s.startswith("step-")][1]
    with Copy(run) as copy:
        flip_tensor(f"{copy}/checkpoints/{middle}/model.safetensors", name, 77)
        for scope in (["--all"], ["--iteration", 4]):
            difference, stage = first(copy, "checkpoints", *scope)
            assert difference["what"] == f"{middle}, tensor {name}, element", difference
            assert difference["index"] == 77 and stage["differing"] == 1 and difference["iteration"] == 3
        report(copy, "--iterations", "1..2")  # before it nothing is wrong
    with Copy(run) as copy:
        flip_tensor(f"{copy}/checkpoints/{middle}/optimizer.safetensors", "adam_v." + name, 5)
        difference, stage = first(copy, "checkpoints", "--all")
        assert difference["what"] == f"{middle}, tensor adam_v.{name}, element"
        assert difference["index"] == 5 and stage["differing"] == 1
    with Copy(run) as copy:
        flip_tensor(f"{copy}/checkpoints/step-000000/model.safetensors", name, 9)
        hone("replay", copy, "--iteration", 1, "--quiet", code=4)  # it says what to do
        difference, stage = first(copy, "checkpoints", "--all", "--bases", bases)
        assert difference["what"] == f"step-000000, tensor {name}, element"
        assert difference["index"] == 9 and stage["differing"] == 1
        report(copy, "--iteration", 8)  # from a later checkpoint: it is not looked at


def refusals(run):
    hone("replay", run, code=2)
    hone("replay", run, "--iteration", "9", code=4)
    hone("replay", run, "--iteration", "x", code=2)
    hone("replay", run, "--trajectory", "zz", code=4)
    hone("replay", run + "/nothing", "--all", code=4)
    with Copy(run) as copy:
        shutil.rmtree(copy + "/checkpoints")
        hone("replay", copy, "--iteration", 3, code=4)
    with Copy(run) as copy:
        for checkpoint in os.listdir(copy + "/checkpoints"):
            path = f"{copy}/checkpoints/{checkpoint}/hone.json"
            if not checkpoint.startswith("step-"):
                continue
            text = open(path).read()
            text = re.sub(r'("backend": ?")[^"]*', r"\1cpu/avx4096 gcc-1 kernels-1", text)
            text = re.sub(r'("digest": ?")[0-9a-f]{64}', r"\g<1>" + "0" * 64, text)
            digest = hashlib.sha256(text.encode()).hexdigest()
            text = re.sub(r'("digest": ?")0{64}', r"\g<1>" + digest, text)
            open(path, "w").write(text)
        done = subprocess.run([HONE, "replay", copy, "--all"], capture_output=True, text=True)
        assert done.returncode == 7 and "cpu/avx4096" in done.stderr, done
    with Copy(run) as copy:
        sql(copy, "UPDATE segment SET text = '\x1b[31mred\x07' || text WHERE kind = 'model' AND n = "
            "(SELECT min(n) FROM segment WHERE kind = 'model')")
        shown = hone("replay", copy, "--iteration", 1, code=3)
        assert "\x1b" not in shown and "\x07" not in shown and "\\x1b[31mred" in shown, shown


def killed_and_resumed(config, folder, bases, whole):
    run = folder + "/killed"
    arguments = [HONE, "train", config, "--out", run, "--bases", bases, "--quiet"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while process.poll() is None and time.time() < deadline:
        if os.path.exists(run + "/checkpoints/step-000006"):
            process.send_signal(signal.SIGKILL)
        time.sleep(0.002)
    process.wait()
    hone("train", "--resume", run, "--bases", bases, "--quiet")
    assert hone("runs", "hash", run) == hone("runs", "hash", whole)
    report(run, "--all")


def fingerprints(run):
    name = "model.layers.1.self_attn.kv_b_proj.weight"
    with Copy(run) as copy:
        names, values = sql(copy, "SELECT l.names, v.fingerprints FROM version_tensors v JOIN "
                            "tensor_list l ON l.n = v.list WHERE v.version = 5")[0]
        values = json.loads(values)
        values[json.loads(names).index(name)] ^= 1
        sql(copy, "UPDATE version_tensors SET fingerprints = ? WHERE version = 5", json.dumps(values))
        difference, stage = first(copy, "optimizer", "--all")
        assert difference["what"] == f"version 5, fingerprint of {name}" and stage["differing"] == 1
        assert difference["iteration"] == 3, difference


def forgotten(config, folder, bases, run):
    """Traces that were not kept: the same hash, made again and held against their digests."""
    whole = hone("runs", "hash", run)
    slim = folder + "/slim"
    process = subprocess.Popen([HONE, "train", config, "--out", slim, "--bases", bases, "--quiet", "--set",
                                "store.keep_every=4"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while process.poll() is None and time.time() < deadline:
        if os.path.exists(slim + "/checkpoints/step-000006"):
            process.send_signal(signal.SIGKILL)
        time.sleep(0.002)
    process.wait()
    hone("train", "--resume", slim, "--bases", bases, "--quiet")
    with Copy(run) as copy:
        hone("runs", "gc", copy, "--keep", 9, "--keep-every", 4)
        for path in (copy, slim):
            left = sql(path, "SELECT DISTINCT g.iteration FROM channel c JOIN trajectory t ON t.n = "
                       'c.trajectory JOIN task_group g ON g.n = t."group" ORDER BY 1')
            assert left == [(4,), (8,)], left
            assert hone("runs", "hash", path) == whole
            hone("runs", "verify", path)
            report(path, "--all")
            report(path, "--iteration", 6)
            trajectory = sql(path, 'SELECT t.id FROM trajectory t JOIN task_group g ON g.n = t."group" '
                             "WHERE g.iteration = 3 LIMIT 1")[0][0]
            report(path, "--trajectory", trajectory)
            hone("rescore", path, "--verifier", "exact", code=4)
            hone("rescore", path, "--verifier", "exact", "--iterations", "4..4")
        group = sql(copy, "SELECT id FROM task_group WHERE iteration = 2 LIMIT 1")[0][0]
        sql(copy, "UPDATE task_group SET digest = zeroblob(16) WHERE id = ?", group)
        difference, stage = first(copy, "store", "--all")
        assert group in difference["what"] and stage["differing"] == 1, difference


def otherwise(run):
    changed = json.loads(hone("replay", run, "--iterations", "2..3", "--with", "temperature=0.3", "--json", "--quiet"))
    assert changed["trajectories"] == 32 and changed["changed"] > 0
    same = json.loads(hone("replay", run, "--iteration", "2", "--with", "temperature=1", "--json", "--quiet"))
    assert same["changed"] == 0
    weights = json.loads(hone("replay", run, "--iteration", "1", "--with",
                              f"weights={run}/checkpoints/latest", "--json", "--quiet"))
    assert weights["changed"] > 0
    scored = json.loads(hone("rescore", run, "--verifier", "exact", "--json"))
    assert scored["trajectories"] == 8 * 16
    with Copy(run) as copy:
        hone("rescore", copy, "--verifier", "format", "--keep")
        kept = sql(copy, "SELECT count(*) FROM verdicts WHERE origin = 'rescore' AND verifier LIKE 'format/%'")
        assert kept == [(8 * 16,)], kept
        assert hone("runs", "hash", copy) == hone("runs", "hash", run)
        report(copy, "--iteration", 4)
    trajectory = sql(run, "SELECT id FROM trajectory WHERE completion_tokens > 6 LIMIT 1 OFFSET 20")[0][0]
    curve = [hone("branch", run, "--trajectory", trajectory, "--every", 3, "--samples", 8,
                  "--threads", threads, "--json", "--quiet") for threads in (1, 2)]
    assert curve[0] == curve[1] and len(json.loads(curve[0])["points"]) >= 3


def carried(run, folder):
    bundle = folder + "/part.hone"
    hone("export", run, "--iterations", "4..6", "-o", bundle)
    hone("export", run, "-o", bundle, code=2)  # it exists
    elsewhere = folder + "/elsewhere"
    os.mkdir(elsewhere)
    moved = shutil.copy(bundle, elsewhere)
    found = report(moved, "--iterations", "4..6", "--threads", 3)
    assert found["identical"] and {s["name"] for s in found["stages"]} >= {"checkpoints", "optimizer"}
    report(moved, "--iteration", 7, code=4)
    trajectory = sql(run, "SELECT t.id FROM trajectory t JOIN task_group g ON g.n = t.\"group\" "
                     "WHERE g.iteration = 5 LIMIT 1")[0][0]
    report(moved, "--trajectory", trajectory)
    data = bytearray(open(moved, "rb").read())
    data[len(data) // 2] ^= 1
    open(moved, "wb").write(data)
    hone("replay", moved, "--all", code=6)
    leftovers = [n for n in os.listdir(tempfile.gettempdir()) if n.startswith("hone-replay-")]
    assert not [n for n in leftovers if os.path.exists(f"{tempfile.gettempdir()}/{n}/store.sqlite")]

    rows = folder + "/rows.jsonl"
    hone("export", run, "--jsonl", "verl", "-o", rows, "--iterations", "2")
    lines = [json.loads(line) for line in open(rows)]
    assert len(lines) == 16
    assert all(set(l) >= {"input", "output", "gts", "score", "step"} for l in lines)
    hone("export", run, "--jsonl", "inspect", "-o", folder + "/log.json")
    log = json.load(open(folder + "/log.json"))
    assert log["version"] == 2 and len(log["samples"]) == 8 * 16
    sample = log["samples"][0]
    assert {m["id"] for m in sample["messages"]} == {sample["uuid"] + "-0", sample["uuid"] + "-1"}
    rewards = [s["scores"]["reward"]["value"] for s in log["samples"]]
    mean = log["results"]["scores"][1]["metrics"]["mean"]["value"]
    assert abs(mean - sum(rewards) / len(rewards)) < 1e-9
    # Into a folder: by the names that those tools look for.
    hone("export", run, "--jsonl", "verl", "-o", folder + "/verl/", "--iterations", "2..3")
    assert sorted(os.listdir(folder + "/verl")) == ["2.jsonl", "3.jsonl"]
    assert open(folder + "/verl/2.jsonl").read() == open(rows).read()
    hone("export", run, "--jsonl", "inspect", "-o", folder + "/inspect/")
    (name,) = os.listdir(folder + "/inspect")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\+\d\d-\d\d_[A-Za-z0-9-]+_[0-9a-f]+\.json", name), name
    assert open(f"{folder}/inspect/{name}").read() == open(folder + "/log.json").read()
    page = folder + "/page.html"
    hone("export", run, "--html", "-o", page)
    html = open(page).read()
    assert "<script" not in html and "default-src 'none'" in html and html.count("<details>") == 8 * 16
    redacted = folder + "/redacted.jsonl"
    hone("export", run, "--jsonl", "verl", "--redact", "-o", redacted)
    answer = lines[0]["output"]
    assert len(answer) > 4 and answer not in open(redacted).read()
    hone("export", run, "--redact", "-o", folder + "/no", code=2)


def untrusted(run, folder):
    """A file from a stranger runs no program before it is told that it may."""
    own, bad = folder + "/own", folder + "/own.tar"
    shutil.copytree(run, own, symlinks=True)
    text = open(own + "/config.textproto").read() + (
        f'verifiers {{ name: "theirs" spec: "exec:/usr/bin/touch {folder}/ran" }}\n')
    open(own + "/config.textproto", "w").write(text)
    sql(own, "UPDATE run SET config = ?", text)
    hone("export", own, "--iterations", "4..6", "-o", bad)
    done = subprocess.run([HONE, "replay", bad, "--iteration", "4", "--quiet"], capture_output=True, text=True)
    assert done.returncode == 2 and "--trust" in done.stderr and "exec:" in done.stderr, done
    assert not os.path.exists(folder + "/ran")


def damaged_before_gc(run):
    with Copy(run) as copy:
        shutil.rmtree(copy + "/checkpoints/step-000000")
        hone("runs", "gc", copy, "--keep-every", 4, code=6)
        assert sql(copy, "SELECT count(*) FROM task_group WHERE content IS NOT NULL") == [(0,)]
    with Copy(run) as copy:
        path = copy + "/checkpoints/step-000016/model.safetensors"
        data = bytearray(open(path, "rb").read())
        data[-5] ^= 1
        open(path, "wb").write(data)
        hone("runs", "gc", copy, "--keep", 1, code=6)
        assert os.path.exists(copy + "/checkpoints/step-000012")


def retrained(run, folder):
    same, other = folder + "/same", folder + "/other"
    hone("retrain", run, "--from", 1, "--set", "clip_high=0.2", "--out", same, "--quiet")
    summary = json.load(open(run + "/summary.json"))
    # The same loss on the same rollouts is the run itself.
    assert summary["weights_hash"] == hone("checkpoint", "hash", same + "/checkpoints/latest").strip()
    hone("retrain", run, "--from", 4, "--set", "loss=cispo", "--set", "advantage=drgrpo", "--out", other, "--quiet")
    assert summary["weights_hash"] != hone("checkpoint", "hash", other + "/checkpoints/latest").strip()
    hone("retrain", run, "--from", 4, "--set", "rollout.top_k=3", "--out", folder + "/no", code=2)
    hone("replay", other, "--all", code=2)
    compared = json.loads(hone("compare", run, other, "--tasks", "running_sum", "--limit", "40", "--json", "--quiet"))
    # Where every group is flat the two losses give the same weights.
    assert compared["first_divergence"]["iteration"] >= 4, compared["first_divergence"]
    assert compared["evaluations"][0]["tasks"] == 40
    against = json.loads(hone("compare", run, run, "--json"))
    assert against["first_divergence"] is None and against["config"] == []
    assert against["same_iterations"] == 8 and against["evaluations"][0]["mcnemar_p"] == 1
    base = json.loads(hone("compare", run + "/checkpoints/step-000000", run + "/checkpoints/latest",
                           "--tasks", "running_sum", "--limit", "20", "--json", "--quiet"))
    assert base["evaluations"][0]["tasks"] == 20


def bisected(run):
    for metric, update in (("completion/length_mean", 1), ("policy/grad_norm", 0)):
        found = json.loads(hone("bisect", run, "--metric", metric, "--json", "--quiet"))
        assert found["update_iteration"] == found["iteration"] - update
        assert found["remade"] == found["value"], found  # to the bit
        assert 0 <= found["groups_tried"] <= 4  # flat groups teach nothing
        assert found["groups_tried"] == 0 or any(g["without"] != found["remade"] for g in found["groups"]), found
    hone("bisect", run, "--metric", "tokens/per_s", code=2)
    hone("bisect", run, "--metric", "reward/nothing/mean", code=4)


def adapters(config, folder, bases):
    run = folder + "/adapters"
    text = open(config).read().replace("policy { shape", 'policy { lora { r: 2 lora_alpha: 4 target_modules: "attention" } shape')
    own = folder + "/adapters.textproto"
    open(own, "w").write(text.replace("keep: 0", "keep: 0").replace("iterations: 8", "iterations: 4"))
    hone("train", own, "--out", run, "--bases", bases, "--quiet")
    report(run, "--all")
    with Copy(run) as copy:
        path = f"{copy}/checkpoints/step-000006/adapter_model.safetensors"
        with open(path, "rb") as file:
            name = sorted(n for n in json.loads(file.read(struct.unpack("<Q", file.read(8))[0])) if "lora_B" in n)[0]
        flip_tensor(path, name, 3)
        difference, stage = first(copy, "checkpoints", "--all")
        assert difference["what"] == f"step-000006, tensor {name}, element" and difference["index"] == 3
        assert stage["differing"] == 1


def main():
    folder = tempfile.mkdtemp(prefix="hone_replay_")
    # What is left behind in it is this test's own.
    os.environ["TMPDIR"] = tempfile.tempdir = folder + "/tmp"
    os.mkdir(tempfile.tempdir)
    try:
        config, run, bases = folder + "/small.textproto", folder + "/run", folder + "/bases"
        open(config, "w").write("# SPDX-License-Identifier: Apache-2.0\n" + CONFIG)
        hone("train", config, "--out", run, "--bases", bases, "--threads", 2, "--quiet")
        for threads in (1, 3):
            found = report(run, "--all", "--threads", threads)
            assert found["identical"] is True
            assert {s["name"] for s in found["stages"]} >= {
                "checkpoints", "tasks", "sampling", "verification", "rewards", "advantages", "batch",
                "forward", "backward", "optimizer"}
        with Copy(run) as copy:
            report(copy, "--iteration", 8, "--threads", 1)
            report(copy, "--iterations", "2..5", "--stored-verdicts")
            for (trajectory,) in sql(copy, "SELECT id FROM trajectory ORDER BY id LIMIT 3"):
                report(copy, "--trajectory", trajectory)
        killed_and_resumed(config, folder, bases, run)
        flipped_tokens(run, checksum=False)
        flipped_tokens(run, checksum=True)
        flipped_figures(run)
        flipped_weights(run, bases)
        fingerprints(run)
        forgotten(config, folder, bases, run)
        refusals(run)
        otherwise(run)
        carried(run, folder)
        untrusted(run, folder)
        damaged_before_gc(run)
        retrained(run, folder)
        bisected(run)
        adapters(config, folder, bases)
        with Copy(run) as copy:
            hone("runs", "gc", copy, "--keep", 1)
            assert sorted(n for n in os.listdir(copy + "/checkpoints") if n.startswith("step-")) == [
                "step-000000", "step-000016"]
            report(copy, "--iteration", 5)  # its weights are made again from version 0
            hone("runs", "rm", copy)
            assert not os.path.exists(copy)
            hone("runs", "rm", folder, code=4)
            os.mkdir(copy)  # for the end of `with`
    finally:
        shutil.rmtree(folder)
    print("replay: identical, and every flip was named")


main()
