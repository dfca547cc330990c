#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the published Jinja templates render a few conversations: tests/golden/chat_renderings.json.

    HONE_DATA_DIR=... python3 tests/golden/make_chat_renderings.py > tests/golden/chat_renderings.json

Development only: needs jinja2 and HONE_DATA_DIR with tokenizers/. The conversations are our own.
"""
import json
import os

from jinja2.sandbox import ImmutableSandboxedEnvironment

DATA = os.path.join(os.environ["HONE_DATA_DIR"], "tokenizers")
USER, BOT, SYSTEM = "user", "assistant", "system"
CONVERSATIONS = [
    [(USER, "What is 1 + 1?")],
    [(SYSTEM, "Be brief."), (USER, " Hi \n")],
    [(USER, "a"), (BOT, "<think>\nwell\n</think>\n\nb"), (USER, "c")],
    [(SYSTEM, "s\u00a0"), (USER, "a"), (BOT, "plain"), (USER, "b"), (BOT, "x</think>y</think>z"),
     (USER, "c \u3000")],
    [(USER, "only"), (BOT, "<think>t</think>\nlast word")],
    [(BOT, "first"), (USER, "<tool_response>1</tool_response>")],
]


def template(name):
    with open(os.path.join(DATA, "chat_templates", name + ".jinja"), encoding="utf-8") as file:
        return file.read()


def main():
    with open(os.path.join(DATA, "deepseek_v3/tokenizer_config.json"), encoding="utf-8") as file:
        v3 = json.load(file)["chat_template"]
    deepseek = {"bos_token": "<｜begin▁of▁sentence｜>"}
    sources = {
        "r1_chat": (template("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B"), deepseek),
        "v3_chat": (v3, deepseek),
        "v31_chat": (template("deepseek-ai-DeepSeek-V3.1"), deepseek),
        "v31_think": (template("deepseek-ai-DeepSeek-V3.1"), {**deepseek, "thinking": True}),
        "qwen2": (template("Qwen-Qwen2.5-7B-Instruct"), {}),
        "qwq": (template("Qwen-QwQ-32B"), {}),
        "qwen3": (template("Qwen-Qwen3-0.6B"), {}),
        "qwen3_no_think": (template("Qwen-Qwen3-0.6B"), {"enable_thinking": False}),
        "llama3_2": (template("meta-llama-Llama-3.2-3B-Instruct"),
                     {"bos_token": "<|begin_of_text|>"}),
    }
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    rows = []
    for name, (source, values) in sources.items():
        compiled = environment.from_string(source)
        for conversation in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in conversation]
            text = compiled.render(messages=messages, add_generation_prompt=True, **values)
            rows.append({"template": name, "messages": messages, "text": text})
    print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")


if __name__ == "__main__":
    main()
