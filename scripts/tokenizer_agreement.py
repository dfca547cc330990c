#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares `hone tokenize` with the Hugging Face library `tokenizers` on random texts.

    scripts/tokenizer_agreement.py build/hone [--texts 100000] [--seed 1] [--only NAME]
    scripts/tokenizer_agreement.py build-bench/bin/tokenizer_bench --speed FILE...

The second form times both on one thread, in CPU time, in the same run.

A development judge: needs the packages tokenizers and (for templates) jinja2, and HONE_DATA_DIR
with tokenizers/. Hone itself needs neither. Families whose files are not at hand are made from
GPT-2's vocabulary with their own pre-tokenizers, normalizers, added tokens and templates.

Texts hold characters that Unicode 14 assigns: PCRE2 10.42 knows these, the judge may know more. Of
these, characters whose NFC the judge does not know (its tables are older) are left out and counted.
Exit code 3 at the first difference of a family, after showing it.
"""
import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unicodedata

from tokenizers import Tokenizer, normalizers

DATA = os.path.join(os.environ.get("HONE_DATA_DIR", ""), "tokenizers")
WORDS_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
WORDS_QWEN2 = WORDS_LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*stages):
    return {"type": "Sequence", "pretokenizers": list(stages)}


def added(content, token_id, **flags):
    token = {"id": token_id, "content": content, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
    return {**token, **flags}


def read(name):
    path = os.path.join(DATA, name)
    opener = gzip.open if name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def families():
    """Name to the text of a tokenizer.json."""
    gpt2 = read("gpt2/tokenizer.json")

    def variant(**changes):
        file = json.loads(json.dumps(gpt2))
        for key, value in changes.items():
            if key in file["model"]:
                file["model"][key] = value
            else:
                file[key] = value
        return file

    pairs = [merge.split(" ") for merge in gpt2["model"]["merges"]]
    specials = [added(text, 50257 + i) for i, text in enumerate(
        ["<|begin_of_text|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<think>", "</think>"])]
    base = gpt2["added_tokens"]
    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
                           {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                         {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<|begin_of_text|>": {
                    "id": "<|begin_of_text|>", "ids": [50257], "tokens": ["<|begin_of_text|>"]}}}
    made = {
        "deepseek_v3": read("deepseek_v3/tokenizer.json.gz"),
        "deepseek_coder": read("deepseek_coder/tokenizer.assembled.json"),
        "gpt2": gpt2,
        "llama3": variant(pre_tokenizer=sequence(split(WORDS_LLAMA3), BYTES), merges=pairs,
                          ignore_merges=True, added_tokens=base + specials,
                          post_processor={"type": "Sequence", "processors": [BYTES, template]}),
        "qwen2": variant(pre_tokenizer=sequence(split(WORDS_QWEN2), BYTES),
                         normalizer={"type": "NFC"}, added_tokens=base + specials),
        "smollm2": variant(pre_tokenizer=sequence(
            {"type": "Digits", "individual_digits": True}, {**BYTES, "use_regex": True})),
        "deepseek_llm": variant(pre_tokenizer=sequence(
            split("[\r\n]"), split("\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u0370-"
                                   "\u0373\u0410-\u044f\u1e00-\u1f15\uff21-\uff3a]+"),
            split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
            split("\\s+$"), split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
            {"type": "Digits", "individual_digits": True}, BYTES)),
        "prefix": variant(pre_tokenizer={**BYTES, "use_regex": True, "add_prefix_space": True}),
        "prefix_late": variant(pre_tokenizer=sequence(
            split("\\p{N}+"), {**BYTES, "use_regex": True, "add_prefix_space": True})),
        "flags": variant(normalizer={"type": "NFC"}, added_tokens=base + [
            added("<l>", 50257, lstrip=True), added("<r>", 50258, rstrip=True),
            added("<lr>", 50259, lstrip=True, rstrip=True),
            added("on", gpt2["model"]["vocab"]["on"], single_word=True, special=False),
            added("\u1e0d", 50260, normalized=True, special=False),
            added("\u1ea1", 50261, normalized=True, special=False),
            added("<l><r>", 50262, special=False), added("<think>", 50263, normalized=True)]),
        # Needs PCRE2 itself: lazy repeats, look-behind, choices after runs, atomic groups.
        "general": variant(pre_tokenizer=sequence(
            split("(?<=[a-z])[A-Z]+?(?=[a-z])"), split("\\p{L}+(?:'[a-z]+|-)?"),
            split("(?>\\p{N}+)(?!\\.)|^\\s+|\\S+$"), BYTES)),
    }
    for behavior in ["Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous", "Isolated"]:
        for invert in [False, True]:
            made[f"{behavior}{'_inverted' if invert else ''}"] = variant(pre_tokenizer=sequence(
                split("\\p{N}", behavior, invert), split(" ", behavior, invert, "String"),
                split("[a-m]*", behavior, invert), {"type": "Digits", "individual_digits": False},
                BYTES))
    return made


def has_known_form(character):
    """Whether the judge normalizes it as Python's Unicode 14 does, alone and beside marks."""
    judge = normalizers.NFC()
    probes = [character, character + "\u0334", "\u0301" + character,
              unicodedata.normalize("NFD", character)]
    return all(judge.normalize_str(p) == unicodedata.normalize("NFC", p) for p in probes)


def pools():
    """Lists of strings to draw from."""
    every = [chr(c) for c in range(0x110000)
             if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co")]
    assigned = [c for c in every if has_known_form(c)]
    print(f"{len(every)} characters, {len(every) - len(assigned)} left out for their NFC")
    marks = [c for c in assigned if unicodedata.combining(c)]
    spaces = list(" \t\n\r\u000b\u000c\u001c\u001f\u0085\u00a0\u1680\u180e\u2003\u2028\u2029\u202f"
                  "\u205f\u200b\u3000\ufeff") + ["  ", "\n\n", "\r\n", "    ", " \n", "\t\t"]
    words = ("the of and in to on is was for that with as his by it at from be had her I You "
             "count total apples each hundred answer def return while x1 foo_bar CamelCase HTTP "
             "don't I'll we've IT'S 'S 's'd 'ſ can't 3rd 12345 1,000,000 3.14 0x1F ½ ² Ⅷ ٣٤ १२ 中文"
             " 日本語 カタカナ 한국어 привет ελληνικά עברית हिन्दी é é Å Å ﬁ ǰ ſ K naïve façade d\u0323 \u1e0d a\u0323 \u1ea1").split(" ")
    specials = ("<｜User｜> <｜Assistant｜> <｜begin▁of▁sentence｜> <｜end▁of▁sentence｜> <|endoftext|> "
                "<|im_start|> <|im_end|> <|begin_of_text|> <|eot_id|> <think> </think> <l> <r> <lr> "
                "<l><r> <｜User <|im_ on 💡 👩‍👩‍👧 🇩🇪 🙂 õ ÷").split(" ")
    jamo = [chr(c) for c in list(range(0x1100, 0x1200)) + list(range(0xac00, 0xac80))]
    return [
        (30, [chr(c) for c in range(32, 127)]), (25, words), (15, spaces), (8, assigned),
        (6, marks), (4, specials), (3, jamo), (3, [chr(c) for c in range(0x80, 0x250)]),
        (3, [chr(c) for c in range(0x4e00, 0x9fa6)]), (2, [chr(c) for c in range(0, 32)]),
        (2, [c for c in assigned if unicodedata.category(c)[0] == "N"]),
        (2, [c for c in assigned if unicodedata.category(c)[0] in "PS"]),
    ]


def texts(count, seed):
    rng = random.Random(seed)
    weights, lists = zip(*pools())
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 25)):
            drawn = rng.choice(rng.choices(lists, weights)[0])
            parts.append(drawn * (rng.randrange(1, 9) if rng.random() < 0.1 else 1))
            if rng.random() < 0.35:
                parts.append(" ")
        yield "".join(parts)


def hone(binary, folder, rows, *flags):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([binary, "tokenize", "--model", folder, "--jsonl", *flags], input=lines,
                          capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"hone tokenize: {done.stderr}")
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def compare(binary, name, file, samples, rng):
    """Differences found in one family: at most a few are shown."""
    judge = Tokenizer.from_str(json.dumps(file))
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as out:
            json.dump(file, out, ensure_ascii=False)
        with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as out:
            out.write("{}")  # no bos but the template's
        size = judge.get_vocab_size()
        expected = [judge.encode(text, add_special_tokens=False).ids for text in samples]
        got = hone(binary, folder, [{"text": text} for text in samples])
        sequences = expected + [[rng.randrange(size) for _ in range(rng.randrange(1, 12))]
                                for _ in range(len(samples) // 10)]
        decoded = hone(binary, folder, [{"ids": ids} for ids in sequences], "--decode")
        framed = [judge.encode(text).ids for text in samples[:100]]
        special = hone(binary, folder, [{"text": text} for text in samples[:100]],
                       "--add-special-tokens")
    has_template = "TemplateProcessing" in json.dumps(file.get("post_processor"))
    bos = framed[0][0] if has_template else None
    for text, ids, row in zip(samples[:100], framed, special):
        # Never a second bos, where the library would add one.
        if bos is not None and judge.encode(text, add_special_tokens=False).ids[:1] == [bos]:
            ids = ids[1:]
        if row.get("ids") != ids:
            different += 1
            if different > 3:
                continue
            print(f"  special {text!r}\n    judge {ids}\n    hone  {row}")
    for text, ids, row in zip(samples, expected, got):
        if row.get("ids") == ids:
            continue
        different += 1
        if different <= 3:
            print(f"  encode {text!r}\n    judge {ids}\n    hone  {row}")
    for ids, row in zip(sequences, decoded):
        if row.get("text") == judge.decode(ids, skip_special_tokens=False):
            continue
        different += 1
        if different <= 3:
            print(f"  decode {ids}\n    judge {judge.decode(ids, skip_special_tokens=False)!r}\n"
                  f"    hone  {row}")
    print(f"{name}: {len(samples)} texts, {len(sequences)} decoded, {different} differences",
          flush=True)
    return different


def speed(bench, paths):
    """Megabytes a second of CPU time, whole texts and line by line, of both."""
    for name in ["deepseek_v3", "gpt2", "deepseek_coder", "llama3", "qwen2"]:
        file = families()[name]
        judge = Tokenizer.from_str(json.dumps(file))
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as out:
                json.dump(file, out, ensure_ascii=False)
            print(name, flush=True)
            subprocess.run([bench, folder, *paths], check=True)
        for path in paths:
            with open(path, encoding="utf-8", newline="") as text_file:
                text = text_file.read()
            size = len(text.encode()) / 1e6
            began = time.process_time()
            judge.encode(text, add_special_tokens=False)
            whole = time.process_time() - began
            began = time.process_time()
            judge.encode_batch(text.splitlines(True), add_special_tokens=False)
            lines = time.process_time() - began
            print(f"judge {path}: {size / whole:.1f} MB/s whole, {size / lines:.1f} MB/s by lines")


def main():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("hone")
    parser.add_argument("--texts", type=int, default=100000, help="per family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--speed", nargs="+", metavar="FILE")
    options = parser.parse_args()
    if options.speed:
        return speed(options.hone, options.speed)
    samples = list(texts(options.texts, options.seed))
    different = 0
    for name, file in families().items():
        if options.only in ("", name):
            different += compare(options.hone, name, file, samples, random.Random(options.seed))
    sys.exit(3 if different else 0)


if __name__ == "__main__":
    main()
