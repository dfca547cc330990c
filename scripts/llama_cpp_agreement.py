#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Greedy text and speed of a GGUF model: hone beside llama.cpp's own runtime.

Development only: needs the PyPI packages llama-cpp-python and gguf.
Usage: llama_cpp_agreement.py HONE_BINARY MODEL.gguf HONE_DIRECTORY [--threads N] [--tokens N]

HONE_DIRECTORY is what `hone checkpoint convert MODEL.gguf` made. llama.cpp runs twice: on the file
as it is, where it multiplies 4-bit weights by activations rounded to 8 bits, and on the same
weights written out in float32, which is what hone computes with. Texts may part where the two best
tokens are nearly tied; how near is printed, as hone has it. Speeds are of one completion at a time,
in this run, with the same number of threads; other work on the machine slows both.
"""
import argparse
import json
import math
import pathlib
import subprocess
import tempfile
import time

import gguf
import llama_cpp
import numpy as np

QUESTIONS = [
    "What is the capital of France?", "Name three primary colors.", "What is 12 plus 30?",
    "Write a haiku about the sea.", "Who wrote Hamlet?", "Explain why the sky is blue.",
    "List the days of the week.", "Translate 'good morning' into Spanish.",
    "What is photosynthesis?", "Give me a recipe for pancakes.", "What is the largest planet?",
    "How many legs does a spider have?", "Write a short story about a dog.",
    "What is the boiling point of water?", "Name a fruit that is yellow.",
    "What is a prime number?", "Who painted the Mona Lisa?", "What is the opposite of hot?",
    "Tell me a joke.", "What does DNA stand for?", "Write a Python function that adds two numbers.",
    "What is 7 times 8?", "Describe the water cycle.", "What language is spoken in Brazil?",
]


def prompt_of(question):
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def hone(args, command, rows, *flags):
    text = "\n".join(json.dumps(row) for row in rows)
    done = subprocess.run([args.hone, command, "--model", args.directory, "--in", "-", "--jsonl",
                           "--threads", str(args.threads), *flags],
                          input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_float32(source, target):
    """The same file with every tensor in float32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, element)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Peer:
    def __init__(self, path, args):
        self.model = llama_cpp.Llama(str(path), n_ctx=1024, n_batch=512, n_threads=args.threads,
                                     n_threads_batch=args.threads, logits_all=False, verbose=False)
        self.end = self.model.token_eos()

    def logprobs(self):
        pointer = llama_cpp.llama_get_logits_ith(self.model.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, (self.model.n_vocab(),)).astype(np.float64)
        return logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())

    def greedy(self, tokens, count):
        """Tokens, the first distribution, and seconds of prefill and of decoding."""
        self.model.reset()
        began = time.perf_counter()
        self.model.eval(tokens)
        first = self.logprobs()
        read = time.perf_counter()
        out = []
        best = int(first.argmax())
        while True:
            out.append(best)
            if best == self.end or len(out) == count:
                return out, first, read - began, time.perf_counter() - read
            self.model.eval([best])
            best = int(self.logprobs().argmax())


def gap_at(args, tokens, ours, theirs):
    """How far apart hone has the two tokens after `tokens`."""
    rows = [{"id": 0, "token_ids": tokens + [ours]}, {"id": 1, "token_ids": tokens + [theirs]}]
    a, b = hone(args, "score", rows)
    return a["logprobs"][-1] - b["logprobs"][-1]


def compare(args, name, path, prompts, ours):
    peer = Peer(path, args)
    same_tokens = sum(peer.model.tokenize(p.encode(), add_bos=False, special=True) == t
                      for p, t in prompts)
    texts, shared, gaps, worst, read, wrote = 0, 0, [], 0.0, [0, 0.0], [0, 0.0]
    for (_, tokens), row in zip(prompts, ours):
        theirs, first, prefill_s, decode_s = peer.greedy(tokens, args.tokens)
        read = [read[0] + len(tokens), read[1] + prefill_s]
        wrote = [wrote[0] + len(theirs) - 1, wrote[1] + decode_s]
        mine = row["token_ids"]
        worst = max(worst, abs(first[mine[0]] - row["first"]))
        at = next((i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), None)
        texts += at is None
        shared += len(mine) if at is None else at
        if at is not None:
            gaps.append(gap_at(args, tokens + mine[:at], mine[at], theirs[at]))
    print(f"{name}: prompts tokenized alike {same_tokens}/{len(prompts)}; greedy texts the same "
          f"{texts}/{len(prompts)}, tokens before the first difference {shared}/"
          f"{sum(len(r['token_ids']) for r in ours)}; first logprob within {worst:.1e}; where texts "
          f"part hone has the two tokens apart by {', '.join(f'{g:.1e}' for g in gaps) or '-'}")
    print(f"{name}: prefill {read[0] / read[1]:.1f} tokens/s, decode {wrote[0] / wrote[1]:.1f} "
          f"tokens/s, {args.threads} threads", flush=True)
    return read[0] / read[1], wrote[0] / wrote[1]


def hone_speed(args, prompts):
    """Seconds of scoring and of one completion after another, loading taken off."""
    def timed(command, rows, *flags):
        began = time.perf_counter()
        out = hone(args, command, rows, *flags)
        return time.perf_counter() - began, out
    empty, _ = timed("score", [{"id": 0, "token_ids": [1]}])
    rows = [{"id": i, "token_ids": tokens} for i, (_, tokens) in enumerate(prompts)]
    read_s, _ = timed("score", rows)
    long = [{"id": 0, "token_ids": prompts[0][1], "max_tokens": 2 * args.tokens, "temperature": 1.0}]
    wrote_s, out = timed("generate", long)
    read = sum(len(t) for _, t in prompts) / max(read_s - empty, 1e-9)
    wrote = len(out[0]["token_ids"]) / max(wrote_s - empty, 1e-9)
    print(f"hone, float32: prefill (scoring) {read:.1f} tokens/s, decode {wrote:.1f} tokens/s, "
          f"{args.threads} threads", flush=True)
    return read, wrote


def main():
    parser = argparse.ArgumentParser()
    for name in ("hone", "gguf", "directory"):
        parser.add_argument(name)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=48)
    args = parser.parse_args()
    texts = [prompt_of(question) for question in QUESTIONS]
    ids = subprocess.run([args.hone, "tokenize", "--model", args.directory, "--in", "-", "--jsonl"],
                         input="\n".join(json.dumps({"id": i, "text": t}) for i, t in enumerate(texts)),
                         capture_output=True, text=True, check=True)
    prompts = list(zip(texts, [json.loads(line)["ids"] for line in ids.stdout.splitlines()]))
    ours = hone(args, "generate", [{"id": i, "token_ids": t, "max_tokens": args.tokens,
                                    "temperature": 0} for i, (_, t) in enumerate(prompts)])
    for row in ours:
        row["first"] = row["logprobs"][0]
    with tempfile.TemporaryDirectory() as work:
        plain = pathlib.Path(work) / "float32.gguf"
        write_float32(args.gguf, plain)
        mine = hone_speed(args, prompts)
        for name, path in (("llama.cpp, float32", plain), ("llama.cpp, as published", args.gguf)):
            theirs = compare(args, name, path, prompts, ours)
            print(f"hone / {name}: prefill {mine[0] / theirs[0]:.2f}, decode {mine[1] / theirs[1]:.2f}")


if __name__ == "__main__":
    main()
