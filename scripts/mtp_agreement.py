#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does the module that predicts further ahead compute what DeepSeek-V3 describes?

A development check against a twin in PyTorch; neither the product nor its tests need it. The trunk
and the module's decoder layer are transformers' own (it passes the module over, so its layer is
loaded as one layer more of another model); norms, eh_proj and head are written out here. Compared,
in float32:
 - logprobs of 50 rows, within 1e-4 absolute, and of 4 rows for every token that could end them;
 - the loss over all of them, within 1e-4 relative;
 - gradients of the sum of 8 rows' logprobs, within 1e-3 of the largest of their tensor: of the
   module's parameters when it is detached (all others must be zero), of all of them through the
   whole model;
 - the names of the module's tensors in a file that hone wrote.
Usage: mtp_agreement.py HONE_BINARY MTP_DRIVER
"""

import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from parity import gradient_error, gradients_of

LIMIT, GRADIENT_LIMIT, GRADIENT_ROWS = 1e-4, 1e-3, 8
OWN = ["enorm", "hnorm", "eh_proj", "shared_head.norm"]
ATTENTION = {"v3-tiny": ["q_a_proj", "q_a_layernorm", "q_b_proj"], "v2-tiny": ["q_proj"]}


def published_names(preset, config):
    """Of the module's tensors, as model.layers.61 of DeepSeek-V3 has them."""
    names = {f"{name}.weight" for name in [*OWN, "embed_tokens", "shared_head.head",
                                           "input_layernorm", "post_attention_layernorm",
                                           "mlp.gate"]}
    names |= {f"self_attn.{name}.weight" for name in [
        *ATTENTION[preset], "kv_a_proj_with_mqa", "kv_a_layernorm", "kv_b_proj", "o_proj"]}
    if config["topk_method"] == "noaux_tc":
        names.add("mlp.gate.e_score_correction_bias")
    for block in ["shared_experts", *(f"experts.{e}" for e in range(config["n_routed_experts"]))]:
        names |= {f"mlp.{block}.{name}.weight" for name in ["gate_proj", "up_proj", "down_proj"]}
    return {f"model.layers.{config['num_hidden_layers']}.{name}" for name in names}


def norm(x, weight, eps):
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def load(directory):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


class Twin:
    """The trunk, and the module as DeepSeek-V3's report and released weights have it."""

    def __init__(self, made, work, config, pre_norm):
        self.layers, self.eps = config["num_hidden_layers"], config["rms_norm_eps"]
        self.pre_norm = pre_norm
        self.trunk = load(made)
        # The same model where the module's decoder layer is the last layer.
        shutil.copytree(made, work / "longer")
        longer = dict(config, num_hidden_layers=self.layers + 1, num_nextn_predict_layers=0)
        (work / "longer/config.json").write_text(json.dumps(longer))
        longer = load(work / "longer")
        self.layer, self.rotary = longer.model.layers[self.layers], longer.model.rotary_emb
        tensors = load_file(made / "model.safetensors")
        self.own = {k: tensors[f"model.layers.{self.layers}.{k}.weight"].requires_grad_()
                    for k in OWN}

    def logprobs(self, row):
        """[T - 2, W]: row i is about token i + 2."""
        ids, states = torch.tensor([row]), []
        hook = self.trunk.model.norm.register_forward_hook(
            lambda _, inputs, output: states.extend([inputs[0], output]))
        self.trunk.model(ids)
        hook.remove()
        hidden = states[0 if self.pre_norm else 1][:, :-2]
        embedded = self.trunk.model.embed_tokens(ids[:, 1:-1])
        joined = torch.cat([norm(embedded, self.own["enorm"], self.eps),
                            norm(hidden, self.own["hnorm"], self.eps)], -1)
        u = joined @ self.own["eh_proj"].T
        count = u.shape[1]
        positions = torch.arange(count)[None]
        mask = torch.full((count, count), float("-inf")).triu(1)[None, None]
        g = self.layer(u, attention_mask=mask, position_ids=positions,
                       position_embeddings=self.rotary(u, positions))
        g = g[0] if isinstance(g, tuple) else g
        logits = norm(g, self.own["shared_head.norm"], self.eps) @ self.trunk.lm_head.weight.T
        return torch.log_softmax(logits[0], -1)

    def picked(self, row):
        return self.logprobs(row).gather(1, torch.tensor(row[2:])[:, None])[:, 0]

    def gradients(self, rows):
        sum(self.picked(row).sum() for row in rows).backward()
        prefix = f"model.layers.{self.layers}."
        named = list(self.trunk.named_parameters())
        named += [(prefix + name, value) for name, value in self.layer.named_parameters()]
        named += [(f"{prefix}{name}.weight", value) for name, value in self.own.items()]
        for _, value in named:  # nothing reaches the trunk's final norm with mtp_pre_norm
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        return gradients_of(named)


def make(binary, work, preset, pre_norm):
    """A random model with a module, with gains that do something."""
    def init(config, out):
        subprocess.run([binary, "model", "init", config, "--out", out], check=True,
                       stdout=subprocess.DEVNULL)
    init(preset, work / "plain")
    config = json.loads((work / "plain/config.json").read_text())
    config.update(num_nextn_predict_layers=1, mtp_pre_norm=pre_norm)
    (work / "config.json").write_text(json.dumps(config))
    made = work / "made"
    init(work / "config.json", made)
    (made / "hone.json").unlink()
    tensors = load_file(made / "model.safetensors")
    layer = f"model.layers.{config['num_hidden_layers']}."
    want = published_names(preset, config)
    names = {name for name in tensors if name.startswith(layer)}
    for name in tensors:
        if "norm" in name:
            tensors[name] = 1 + 0.3 * torch.randn_like(tensors[name])
        elif tensors[name].dim() == 2:
            tensors[name] = tensors[name] * 4
    tensors[layer + "embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors[layer + "shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    save_file(tensors, made / "model.safetensors", {"format": "pt"})
    return made, config, names ^ want, len(want)


def compare(binary, driver, preset, pre_norm, rows, work):
    made, config, odd, named = make(binary, work, preset, pre_norm)
    vocabulary = config["vocab_size"]
    ended = [row[:-1] + [last] for row in rows[:4] for last in range(vocabulary)]
    text = "\n".join(" ".join(map(str, row)) for row in rows + ended)
    out = subprocess.run([driver, made, work], input=text, text=True, check=True,
                         capture_output=True).stdout
    ours = [np.array(line.split(), np.float32) for line in out.splitlines()]
    twin = Twin(made, work, config, pre_norm)
    with torch.no_grad():
        theirs = [twin.picked(row).numpy() for row in rows]
        whole = np.concatenate([twin.logprobs(row)[-1].numpy() for row in rows[:4]])
    mine = ours[:len(rows)]
    gap = max(np.abs(a - b).max() for a, b in zip(mine, theirs))
    gap_whole = np.abs(np.array([row[-1] for row in ours[len(rows):]]) - whole).max()
    losses = [-np.concatenate(x).astype(np.float64).mean() for x in (mine, theirs)]
    loss = abs(losses[0] - losses[1]) / losses[1]
    want = twin.gradients(rows[:GRADIENT_ROWS])
    through = gradient_error(want, work, "through.f32")
    prefix = f"model.layers.{config['num_hidden_layers']}."
    alone = {k: v if k.startswith(prefix) else np.zeros_like(v) for k, v in want.items()}
    detached = gradient_error(alone, work, "detached.f32")
    spread = np.concatenate(mine).max() - np.concatenate(mine).min()
    good = (max(gap, gap_whole, loss) <= LIMIT and spread > 1 and not odd
            and max(through[0], detached[0]) <= GRADIENT_LIMIT)
    print(f"{preset} {'before' if pre_norm else 'behind'} the final norm: logprobs {gap:.1e} (they "
          f"spread over {spread:.1f} nats), of every last token {gap_whole:.1e}, loss {losses[0]:.6f} "
          f"{loss:.1e}, gradients through {through[0]:.1e} of {through[1]} ({through[2]}), detached "
          f"{detached[0]:.1e} ({detached[2]}), names {named - len(odd)}/{named} {sorted(odd)} "
          f"{'ok' if good else 'FAILED'}", flush=True)
    return good


def main():
    binary, driver = sys.argv[1:]
    random.seed(5)
    torch.manual_seed(5)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    rows = [[random.randrange(256) for _ in range(random.randint(3, 40))] for _ in range(50)]
    good = True
    for preset, pre_norm in [("v3-tiny", False), ("v3-tiny", True), ("v2-tiny", False)]:
        with tempfile.TemporaryDirectory() as work:
            good &= compare(binary, driver, preset, pre_norm, rows, pathlib.Path(work))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
