#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does peft load the adapters that hone saves, and hone those that peft makes?

A development check against an outside judge; neither the product nor its tests need it. For each
preset: a random model, a short run with LoRA, then
 1. transformers + peft with our adapter against `hone score` of the adapter's directory;
 2. transformers with our merged copy against the same;
 3. `hone score` of an adapter that peft made on that model, A and B random, against transformers +
    peft: attention, single projections, experts (which transformers 5 fuses) by target_parameters
    and by target_modules. Routers ("all-linear" takes them) are refused.
Usage: peft_agreement.py HONE_BINARY [PRESET...]
"""

import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

LIMIT = 2e-4
RUN = """
name: "adapters"
seed: 3
policy { model_dir: "%s" lora { r: 4 lora_alpha: 16 %s } }
tasks { sources { generator: "mini_countdown" } }
rollout { prompts: 4 group_size: 4 max_tokens: 8 workers: 1 }
learner { preset: "grpo" iterations: 4 filter_flat: false optimizer { learning_rate: 3e-2 } }
rewards { parts { name: "random" } }
evaluation { every: 0 final_limit: 8 limit: 8 }
checkpoint { every: 4 }
"""
FUSED = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
DENSE = ["gate_proj", "up_proj", "down_proj"]
TARGETS = {  # what peft can put beside a model of transformers 5, whose experts are fused
    "v3-tiny": ['"attention"', '"attention" target_modules: "shared_experts"', '"experts"'],
    "v2-tiny": ['"attention"', '"mlp" target_modules: "kv_b_proj"', '"experts"'],
    "llama-tiny": ['"attention"', '"mlp" target_modules: "k_proj"'],
}


def configs(preset):
    """What peft is asked to make."""
    def make(modules, parameters=None, **more):
        values = dict(dict(r=3, lora_alpha=5, task_type="CAUSAL_LM"), **more)
        return peft.LoraConfig(target_modules=modules, target_parameters=parameters, **values)
    if preset == "llama-tiny":
        return [make("all-linear"), make(["q_proj", "v_proj"]),
                make(["down_proj", "k_proj"], r=4, lora_alpha=2, use_rslora=True)]
    queries = ["q_a_proj", "q_b_proj"] if preset == "v3-tiny" else ["q_proj"]
    attention = [*queries, "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
    return [make(attention), make(["kv_b_proj"], r=4, lora_alpha=2, use_rslora=True),
            make([], FUSED), make([], FUSED[:1]), make([], FUSED[1:]),
            make(attention, FUSED, use_rslora=True), make(DENSE), make([*attention, *DENSE])]




def hone(*args, stdin=None):
    done = subprocess.run(args, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(args)}: {done.stdout}{done.stderr}")
    return done.stdout


def base_model(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)


def ours(binary, directory, rows):
    text = "\n".join(json.dumps({"id": i, "token_ids": row}) for i, row in enumerate(rows))
    out = hone(binary, "score", "--model", directory, "--in", "-", "--jsonl", stdin=text)
    return [json.loads(line)["logprobs"][1:] for line in out.splitlines()]


@torch.no_grad()
def theirs(model, rows):
    out = []
    for row in rows:
        logprobs = torch.log_softmax(model(torch.tensor([row])).logits[0].float(), -1)
        out.append([logprobs[t - 1, row[t]].item() for t in range(1, len(row))])
    return out


def gap(a, b):
    return max(abs(x - y) for r, s in zip(a, b) for x, y in zip(r, s))


class Report:
    failed = False

    def say(self, what, found, changed):
        good = math.isfinite(found) and found <= LIMIT and changed > 100 * LIMIT
        self.failed |= not good
        print(f"{what}: largest logprob gap {found:.2e} (the adapters moved some by {changed:.2e})"
              f" {'ok' if good else 'FAILED'}", flush=True)


def check_ours(binary, report, work, made, target, rows):
    run = pathlib.Path(work) / "run.textproto"
    run.write_text(RUN % (made, f"target_modules: {target}"))
    out = f"{work}/run"
    hone(binary, "train", str(run), "--out", out, "--threads", "1", "--quiet")
    adapter = f"{out}/checkpoints/latest"
    plain, adapted = ours(binary, made, rows), ours(binary, adapter, rows)
    changed = gap(plain, adapted)
    model = peft.PeftModel.from_pretrained(base_model(made), adapter)
    report.say(f"{target} ours in peft", gap(adapted, theirs(model, rows)), changed)
    hone(binary, "checkpoint", "convert", adapter, "--out", f"{work}/merged")
    report.say(f"{target} ours merged", gap(adapted, theirs(base_model(f"{work}/merged"), rows)),
               changed)


def check_theirs(binary, report, work, made, config, rows):
    torch.manual_seed(4)
    model = peft.get_peft_model(base_model(made), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.3)
    model.save_pretrained(f"{work}/peft")
    adapted = ours(binary, f"{work}/peft", rows)
    targets = sorted(config.target_modules or []) + sorted(config.target_parameters or [])
    report.say(f"{' '.join(targets)} theirs in hone", gap(adapted, theirs(model, rows)),
               gap(adapted, ours(binary, made, rows)))


def check_router_refused(binary, report, work, made):
    config = peft.LoraConfig(r=3, lora_alpha=5, task_type="CAUSAL_LM", target_modules="all-linear")
    peft.get_peft_model(base_model(made), config).save_pretrained(f"{work}/peft")
    done = subprocess.run([binary, "checkpoint", "hash", f"{work}/peft"], capture_output=True,
                          text=True)
    good = done.returncode != 0 and "mlp.gate" in done.stderr
    report.failed |= not good
    print(f"a router's adapter: {'refused' if good else 'FAILED'}: {done.stderr.strip()}")


def main():
    binary, models = sys.argv[1], sys.argv[2:] or list(TARGETS)
    random.seed(5)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    rows = [[random.randrange(256) for _ in range(random.randint(2, 40))] for _ in range(40)]
    report = Report()
    for preset in models:
        print(preset)
        for target in TARGETS[preset]:
            with tempfile.TemporaryDirectory() as work:
                hone(binary, "model", "init", preset, "--out", f"{work}/made", "--seed", "3")
                check_ours(binary, report, work, f"{work}/made", target, rows)
        for config in configs(preset):
            with tempfile.TemporaryDirectory() as work:
                hone(binary, "model", "init", preset, "--out", f"{work}/made", "--seed", "3")
                check_theirs(binary, report, work, f"{work}/made", config, rows)
        if preset == "v3-tiny":
            with tempfile.TemporaryDirectory() as work:
                hone(binary, "model", "init", preset, "--out", f"{work}/made", "--seed", "3")
                check_router_refused(binary, report, work, f"{work}/made")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
