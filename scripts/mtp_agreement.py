#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does the module that predicts further ahead compute what DeepSeek-V3 describes?

A development check against a twin in PyTorch; neither the product nor its tests need it. The trunk
and the module's decoder layer are transformers' own (it passes the module over, so its layer is
loaded as one layer more of another model); norms, eh_proj and head are written out here.
Usage: mtp_agreement.py HONE_BINARY MTP_DRIVER
"""

import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

LIMIT = 2e-4


def norm(x, weight, eps):
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def load(directory):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def with_one_layer_more(made, directory):
    """The same model where the module's decoder layer is the last layer."""
    shutil.copytree(made, directory)
    config = json.loads((directory / "config.json").read_text())
    config["num_hidden_layers"] += 1
    config["num_nextn_predict_layers"] = 0
    (directory / "config.json").write_text(json.dumps(config))
    return load(directory)


@torch.no_grad()
def twin(trunk, longer, tensors, config, row, pre_norm):
    layers, eps = config["num_hidden_layers"], config["rms_norm_eps"]
    own = {k: tensors[f"model.layers.{layers}.{k}.weight"]
           for k in ["enorm", "hnorm", "eh_proj", "shared_head.norm"]}
    ids = torch.tensor([row])
    states = []
    hook = trunk.model.norm.register_forward_hook(lambda m, i, o: states.extend([i[0], o]))
    trunk.model(ids)
    hook.remove()
    hidden = states[0 if pre_norm else 1][:, :-2]
    embedded = trunk.model.embed_tokens(ids[:, 1:-1])
    joined = torch.cat([norm(embedded, own["enorm"], eps), norm(hidden, own["hnorm"], eps)], -1)
    u = joined @ own["eh_proj"].T
    count = u.shape[1]
    positions = torch.arange(count)[None]
    mask = torch.full((count, count), float("-inf")).triu(1)[None, None]
    g = longer.model.layers[layers](u, attention_mask=mask, position_ids=positions,
                                    position_embeddings=longer.model.rotary_emb(u, positions))
    g = g[0] if isinstance(g, tuple) else g
    logits = norm(g, own["shared_head.norm"], eps) @ trunk.lm_head.weight.T
    logprobs = torch.log_softmax(logits[0], -1)
    return [logprobs[t - 2, row[t]].item() for t in range(2, len(row))]


def main():
    binary, driver = sys.argv[1:]
    random.seed(5)
    torch.manual_seed(5)
    rows = [[random.randrange(256) for _ in range(random.randint(3, 40))] for _ in range(50)]
    failed = False
    for preset, pre_norm in [("v3-tiny", False), ("v3-tiny", True), ("v2-tiny", False)]:
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            subprocess.run([binary, "model", "init", preset, "--out", work / "plain"], check=True,
                           stdout=subprocess.DEVNULL)
            config = json.loads((work / "plain/config.json").read_text())
            config["num_nextn_predict_layers"] = 1
            config["mtp_pre_norm"] = pre_norm
            (work / "config.json").write_text(json.dumps(config))
            subprocess.run([binary, "model", "init", work / "config.json", "--out", work / "made"],
                           check=True, stdout=subprocess.DEVNULL)
            (work / "made/hone.json").unlink()
            tensors = load_file(work / "made/model.safetensors")
            for name in tensors:  # gains that do something
                if "norm" in name:
                    tensors[name] = 1 + 0.3 * torch.randn_like(tensors[name])
                elif tensors[name].dim() == 2:
                    tensors[name] = tensors[name] * 4
            layer = f"model.layers.{config['num_hidden_layers']}"
            tensors[f"{layer}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
            tensors[f"{layer}.shared_head.head.weight"] = tensors["lm_head.weight"].clone()
            save_file(tensors, work / "made/model.safetensors", {"format": "pt"})
            text = "\n".join(" ".join(map(str, row)) for row in rows)
            out = subprocess.run([driver, work / "made"], input=text, text=True, check=True,
                                 capture_output=True).stdout
            ours = [[float(x) for x in line.split()] for line in out.splitlines()]
            trunk, longer = load(work / "made"), with_one_layer_more(work / "made", work / "longer")
            gap = 0.0
            for row, mine in zip(rows, ours):
                theirs = twin(trunk, longer, tensors, config, row, pre_norm)
                gap = max([gap] + [abs(a - b) for a, b in zip(mine, theirs)])
            spread = max(map(max, ours)) - min(map(min, ours))
            good = gap <= LIMIT and spread > 1
            failed |= not good
            print(f"{preset} {'before' if pre_norm else 'behind'} the final norm: largest logprob "
                  f"gap {gap:.2e}, logprobs spread over {spread:.1f} nats {'ok' if good else 'FAILED'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
