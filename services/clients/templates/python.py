# SPDX-License-Identifier: Apache-2.0
#
# A reward function with verl's signature; TRL's (prompts, completions, **columns) works as well.
# Spec: python:{{path}}.py:compute_score
import re


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """1.0 where the one answer is the gold number, 0.5 where it is within 1 %, else 0.0."""
    answer_region = solution_str.split("</think>")[-1]
    if "<think>" in answer_region:  # it never stopped thinking: nothing said there is an answer
        return 0.0
    answers = re.findall(r"<answer>\s*(-?\d{1,18}(?:\.\d{1,18})?)\s*</answer>", answer_region)
    if len(answers) != 1:
        return 0.0
    answer, gold = float(answers[0]), float(ground_truth)
    close = abs(answer - gold) <= 0.01 * abs(gold)
    return {"score": 1.0 if answer == gold else 0.5 if close else 0.0, "close": close}
