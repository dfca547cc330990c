# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files of tests/policy/model/golden_test.cc.

Needs PyTorch (Debian: apt-get install python3-torch python3-numpy) and is run by hand, only when
the files must change:  python3 tests/golden/make_golden.py [NAME ...]

A textbook forward of each kind of layer (keys and values materialised, no cache, no packing) in float64
with weights that are exact in float32; gradients by autograd. Each file is a safetensors file:
weights under published names, gradients as "grad/NAME", and per sequence b "tokens.b",
"d_logprobs.b", "d_entropy.b" (coefficients of the loss), "logprobs.b" and "entropy.b".
  loss = sum_t d_logprob_t logprob_t + d_entropy_t entropy_t, + alpha * balance of each sequence
Index t of a sequence is about token t; index 0 is zero. Metadata holds the configuration, alpha,
temperature, vocabulary and the loss.
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np
import torch

torch.set_default_dtype(torch.float64)

V3 = dict(
    model_type="deepseek_v3", vocab_size=40, hidden_size=24, intermediate_size=32,
    moe_intermediate_size=8, num_hidden_layers=3, num_attention_heads=2, q_lora_rank=14,
    kv_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6, n_routed_experts=8,
    n_shared_experts=1, num_experts_per_tok=3, n_group=4, topk_group=2, topk_method="noaux_tc",
    scoring_func="sigmoid", norm_topk_prob=True, routed_scaling_factor=2.5,
    first_k_dense_replace=1, rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=64)

V2 = dict(
    model_type="deepseek_v2", vocab_size=40, hidden_size=24, intermediate_size=32,
    moe_intermediate_size=8, num_hidden_layers=3, num_attention_heads=2, q_lora_rank=0,
    kv_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=6, n_routed_experts=8,
    n_shared_experts=2, num_experts_per_tok=3, n_group=4, topk_group=2,
    topk_method="group_limited_greedy", scoring_func="softmax", norm_topk_prob=False,
    routed_scaling_factor=1.6, first_k_dense_replace=1, rms_norm_eps=1e-5, rope_theta=50000.0,
    max_position_embeddings=64,
    rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=16,
                      beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=0.707))

# Grouped queries, halves rotated: with biases and llama3 frequencies; with norms of heads and
# experts.
LLAMA = dict(
    model_type="llama", vocab_size=40, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=6, attention_bias=True,
    first_k_dense_replace=2, rms_norm_eps=1e-5, rope_theta=500000.0, max_position_embeddings=64,
    rope_scaling=dict(type="llama3", factor=8.0, original_max_position_embeddings=16,
                      low_freq_factor=1.0, high_freq_factor=4.0))

QWEN3_MOE = dict(
    model_type="qwen3_moe", vocab_size=40, hidden_size=24, intermediate_size=32,
    moe_intermediate_size=8, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    head_dim=6, num_experts=8, n_routed_experts=8, num_experts_per_tok=3, n_group=1, topk_group=1,
    topk_method="greedy", scoring_func="softmax", norm_topk_prob=True, first_k_dense_replace=0,
    rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=64)

LATENT_EPS = 1e-6


def parameter_shapes(c):
    C, E, F = c["hidden_size"], c.get("n_routed_experts"), c.get("moe_intermediate_size")
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], C),
              "lm_head.weight": (c["vocab_size"], C), "model.norm.weight": (C,)}

    def mlp(prefix, width):
        shapes[prefix + "gate_proj.weight"] = (width, C)
        shapes[prefix + "up_proj.weight"] = (width, C)
        shapes[prefix + "down_proj.weight"] = (C, width)

    def grouped(p):
        H, J, d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        for kind, out, width in (("q", H * d, C), ("k", J * d, C), ("v", J * d, C), ("o", C, H * d)):
            shapes[p + f"self_attn.{kind}_proj.weight"] = (out, width)
            if c.get("attention_bias"):
                shapes[p + f"self_attn.{kind}_proj.bias"] = (out,)
            if kind in "qk" and c["model_type"].startswith("qwen3"):
                shapes[p + f"self_attn.{kind}_norm.weight"] = (d,)

    def latent(p):
        H, Q, R = c["num_attention_heads"], c["q_lora_rank"], c["kv_lora_rank"]
        N, D, V = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
        if Q:
            shapes[p + "self_attn.q_a_proj.weight"] = (Q, C)
            shapes[p + "self_attn.q_a_layernorm.weight"] = (Q,)
            shapes[p + "self_attn.q_b_proj.weight"] = (H * (N + D), Q)
        else:
            shapes[p + "self_attn.q_proj.weight"] = (H * (N + D), C)
        shapes[p + "self_attn.kv_a_proj_with_mqa.weight"] = (R + D, C)
        shapes[p + "self_attn.kv_a_layernorm.weight"] = (R,)
        shapes[p + "self_attn.kv_b_proj.weight"] = (H * (N + V), R)
        shapes[p + "self_attn.o_proj.weight"] = (C, H * V)

    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        shapes[p + "input_layernorm.weight"] = (C,)
        shapes[p + "post_attention_layernorm.weight"] = (C,)
        latent(p) if "kv_lora_rank" in c else grouped(p)
        if i < c["first_k_dense_replace"]:
            mlp(p + "mlp.", c["intermediate_size"])
            continue
        shapes[p + "mlp.gate.weight"] = (E, C)
        if c["topk_method"] == "noaux_tc":
            shapes[p + "mlp.gate.e_score_correction_bias"] = (E,)
        for j in range(E):
            mlp(p + f"mlp.experts.{j}.", F)
        if c.get("n_shared_experts"):
            mlp(p + "mlp.shared_experts.", c["n_shared_experts"] * F)
    return shapes


def make_weights(c, seed):
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in parameter_shapes(c).items():
        if name.endswith("bias"):
            value = rng.uniform(-0.2, 0.2, shape)
        elif len(shape) == 1:
            value = rng.uniform(0.8, 1.2, shape)
        else:
            value = rng.normal(0, 0.25, shape)
        value = value.astype(np.float32).astype(np.float64)
        weights[name] = torch.tensor(value, requires_grad=not name.endswith("correction_bias"))
    return weights


def rms_norm(x, weight, eps):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def mscale(factor, m):
    return 1.0 if factor <= 1 else 0.1 * m * math.log(factor) + 1.0


def rope_angles(c, length):
    D, theta, scaling = c.get("qk_rope_head_dim", c.get("head_dim")), c["rope_theta"], c.get(
        "rope_scaling")
    f = torch.tensor([theta ** (-2 * i / D) for i in range(D // 2)])
    stretch = 1.0
    if scaling and scaling["type"] == "llama3":
        wavelengths = 2 * math.pi / f
        original, low, high = (scaling["original_max_position_embeddings"],
                               scaling["low_freq_factor"], scaling["high_freq_factor"])
        smooth = (original / wavelengths - low) / (high - low)
        mixed = (1 - smooth) * f / scaling["factor"] + smooth * f
        f = torch.where(wavelengths > original / low, f / scaling["factor"],
                        torch.where(wavelengths < original / high, f, mixed))
    elif scaling:
        def correction(turns):
            original = scaling["original_max_position_embeddings"]
            return D * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
        low = max(math.floor(correction(scaling["beta_fast"])), 0)
        high = min(math.ceil(correction(scaling["beta_slow"])), D - 1)
        if low == high:
            high += 0.001
        ramp = ((torch.arange(D // 2) - low) / (high - low)).clamp(0, 1)
        f = f * (1 - ramp) + f / scaling["factor"] * ramp
        stretch = (mscale(scaling["factor"], scaling["mscale"]) /
                   mscale(scaling["factor"], scaling["mscale_all_dim"]))
    angles = torch.arange(length)[:, None] * f[None, :]
    return angles.cos() * stretch, angles.sin() * stretch


def rotate(x, cos, sin):
    """x: [T, ..., D], pairs adjacent."""
    while cos.dim() < x.dim():
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def grouped_attention(c, w, p, x):
    T, H, J, d = x.shape[0], c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    cos, sin = rope_angles(c, T)
    def project(kind, heads):
        y = x @ w[p + f"{kind}_proj.weight"].T + w.get(p + f"{kind}_proj.bias", 0)
        y = y.view(T, heads, d)
        if p + f"{kind}_norm.weight" in w:
            y = rms_norm(y, w[p + f"{kind}_norm.weight"], c["rms_norm_eps"])
        if kind == "v":
            return y
        first, second = y[..., :d // 2], y[..., d // 2:]
        k, n = cos[:, None], sin[:, None]
        return torch.cat((first * k - second * n, second * k + first * n), -1)
    q, k, v = project("q", H), project("k", J), project("v", J)
    k, v = k.repeat_interleave(H // J, 1), v.repeat_interleave(H // J, 1)
    scores = torch.einsum("thd,jhd->htj", q, k) * d ** -0.5
    mask = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    probabilities = scores.masked_fill(mask, float("-inf")).softmax(-1)
    out = torch.einsum("htj,jhv->thv", probabilities, v).reshape(T, H * d)
    return out @ w[p + "o_proj.weight"].T + w.get(p + "o_proj.bias", 0)


def attention(c, w, p, x):
    if "kv_lora_rank" not in c:
        return grouped_attention(c, w, p, x)
    T, H = x.shape[0], c["num_attention_heads"]
    N, D, V, R = (c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"],
                  c["kv_lora_rank"])
    if c["q_lora_rank"]:
        q = rms_norm(x @ w[p + "q_a_proj.weight"].T, w[p + "q_a_layernorm.weight"], LATENT_EPS)
        q = q @ w[p + "q_b_proj.weight"].T
    else:
        q = x @ w[p + "q_proj.weight"].T
    q = q.view(T, H, N + D)
    a = x @ w[p + "kv_a_proj_with_mqa.weight"].T
    latent = rms_norm(a[:, :R], w[p + "kv_a_layernorm.weight"], LATENT_EPS)
    kv = (latent @ w[p + "kv_b_proj.weight"].T).view(T, H, N + V)
    cos, sin = rope_angles(c, T)
    k_rope = rotate(a[:, R:], cos, sin)[:, None, :].expand(T, H, D)
    q = torch.cat((q[..., :N], rotate(q[..., N:], cos, sin)), -1)
    k = torch.cat((kv[..., :N], k_rope), -1)
    scale = (N + D) ** -0.5
    scaling = c.get("rope_scaling")
    if scaling and scaling["mscale_all_dim"]:
        scale *= mscale(scaling["factor"], scaling["mscale_all_dim"]) ** 2
    scores = torch.einsum("thd,jhd->htj", q, k) * scale
    mask = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    probabilities = scores.masked_fill(mask, float("-inf")).softmax(-1)
    out = torch.einsum("htj,jhv->thv", probabilities, kv[..., N:])
    return out.reshape(T, H * V) @ w[p + "o_proj.weight"].T


def mlp(w, p, x):
    gate = torch.nn.functional.silu(x @ w[p + "gate_proj.weight"].T)
    return (gate * (x @ w[p + "up_proj.weight"].T)) @ w[p + "down_proj.weight"].T


def moe(c, w, p, x):
    """Returns the output and this layer's balance loss of the sequence, alpha apart."""
    T, E, K = x.shape[0], c["n_routed_experts"], c["num_experts_per_tok"]
    G, sigmoid = c["n_group"], c["scoring_func"] == "sigmoid"
    z = x @ w[p + "gate.weight"].T
    s = z.sigmoid() if sigmoid else z.softmax(-1)
    choice = s.detach() + (w[p + "gate.e_score_correction_bias"] if sigmoid else 0)
    groups = choice.view(T, G, E // G)
    group_scores = groups.topk(2, -1).values.sum(-1) if sigmoid else groups.max(-1).values
    kept = torch.zeros(T, G).scatter_(1, group_scores.topk(c["topk_group"], -1).indices, 1.0)
    allowed = kept.bool().unsqueeze(-1).expand(T, G, E // G).reshape(T, E)
    chosen = choice.masked_fill(~allowed, float("-inf")).topk(K, -1).indices
    weights = s.gather(1, chosen)
    if c["norm_topk_prob"]:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    if sigmoid or not c["norm_topk_prob"]:
        weights = weights * c["routed_scaling_factor"]
    rows = []
    for t in range(T):
        rows.append(sum(weights[t, k] * mlp(w, p + f"experts.{int(chosen[t, k])}.", x[t])
                        for k in range(K)))
    out = torch.stack(rows)
    if c.get("n_shared_experts"):
        out = out + mlp(w, p + "shared_experts.", x)
    counted = s.detach().topk(K, -1).indices if sigmoid else chosen
    f = torch.zeros(T, E).scatter_(1, counted, 1.0).sum(0) * E / (K * T)
    P = (s / s.sum(-1, keepdim=True)).mean(0)
    return out, (f * P).sum()


def forward(c, w, tokens):
    """Logits [T, W] and the sum of the layers' balance losses."""
    x = w["model.embed_tokens.weight"][tokens]
    balance = torch.zeros(())
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = rms_norm(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"])
        x = x + attention(c, w, p + "self_attn.", h)
        h = rms_norm(x, w[p + "post_attention_layernorm.weight"], c["rms_norm_eps"])
        if i < c["first_k_dense_replace"]:
            x = x + mlp(w, p + "mlp.", h)
        else:
            out, loss = moe(c, w, p + "mlp.", h)
            x = x + out
            balance = balance + loss
    x = rms_norm(x, w["model.norm.weight"], c["rms_norm_eps"])
    return x @ w["lm_head.weight"].T, balance


def write_safetensors(path, tensors, metadata):
    header, offset = {"__metadata__": metadata}, 0
    for name, value in tensors.items():
        kind = {"float32": "F32", "int32": "I32"}[str(value.dtype)]
        header[name] = {"dtype": kind, "shape": list(value.shape),
                        "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            out.write(value.tobytes())


def make(path, c, seed):
    rng = np.random.default_rng(seed + 1)
    weights = make_weights(c, seed)
    vocabulary, temperature, alpha = 37, 0.8, 0.25
    loss, tensors = torch.zeros(()), {}
    for b, length in enumerate((11, 18)):
        tokens = rng.integers(0, vocabulary, length)
        # The last token is read by nobody.
        logits, balance = forward(c, weights, torch.tensor(tokens[:-1]))
        logprobs = (logits[:, :vocabulary] / temperature).log_softmax(-1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        drawn = logprobs.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0]
        d_logprobs = torch.tensor(rng.normal(0, 1, length).astype(np.float32).astype(float))
        d_entropy = torch.tensor(rng.normal(0, 1, length).astype(np.float32).astype(float))
        loss = loss + (d_logprobs[1:] * drawn).sum() + (d_entropy[1:] * entropy).sum()
        loss = loss + alpha * balance
        zero = torch.zeros(1)
        tensors[f"tokens.{b}"] = tokens.astype(np.int32)
        for name, value in (("d_logprobs", d_logprobs), ("d_entropy", d_entropy),
                            ("logprobs", torch.cat((zero, drawn))),
                            ("entropy", torch.cat((zero, entropy)))):
            tensors[f"{name}.{b}"] = value.detach().numpy().astype(np.float32)
    loss.backward()
    for name, value in weights.items():
        tensors[name] = value.detach().numpy().astype(np.float32)
        if value.requires_grad:
            # An expert that no token chose has none.
            gradient = torch.zeros_like(value) if value.grad is None else value.grad
            tensors["grad/" + name] = gradient.numpy().astype(np.float32)
    metadata = dict(config=json.dumps(c), alpha=repr(alpha), temperature=repr(temperature),
                    vocabulary=str(vocabulary), loss=repr(float(loss)))
    write_safetensors(path, tensors, metadata)
    print(path.name, path.stat().st_size, "bytes, loss", float(loss))


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parent
    for name, c, seed in (("deepseek_v3", V3, 3), ("deepseek_v2", V2, 2), ("llama", LLAMA, 4),
                          ("qwen3_moe", QWEN3_MOE, 5)):
        if name in (sys.argv[1:] or [name]):
            make(here / f"{name}.safetensors", c, seed)
