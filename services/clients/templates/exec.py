#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# A verifier as a program that speaks JSON Lines; any language will do. Spec: exec:{{path}}.py
# Says hello, then answers each line with a line until its input ends. Notes go to stderr.
import json
import re
import sys


def judge(completion, gold):
    answer_region = completion.split("</think>")[-1]
    if "<think>" in answer_region:  # it never stopped thinking: nothing said there is an answer
        return {"score": 0.0, "detail": "the reasoning never ends"}
    answers = re.findall(r"<answer>([^<]*)</answer>", answer_region)
    if len(answers) != 1:
        return {"score": 0.0, "detail": f"{len(answers)} answers"}
    right = " ".join(answers[0].split()) == " ".join(gold.split())
    return {"score": 1.0 if right else 0.0, "extracted": answers[0][:1000]}


def say(row):
    print(json.dumps(row), flush=True)


say({"hone_verifier": 1, "name": "{{name}}", "version": "1", "description": "Is it the gold?"})
for line in sys.stdin:
    item = json.loads(line)
    if not item["answer"].strip():
        say({"item_id": item["item_id"], "skipped": "there is no gold"})
    else:
        say({"item_id": item["item_id"], **judge(item["completion"], item["answer"])})
