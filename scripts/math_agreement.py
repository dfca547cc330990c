#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far does `hone grade --verifier math` agree with Math-Verify, and how much faster is it?

Development only; nothing of the product calls it. Needs `pip install math-verify` in an
environment of its own:

    python3 scripts/math_agreement.py --hone build/hone --in rows.jsonl [--limit N] [--bare]

Rows: {"id", "gold" or "answer", "response", "pred" or "completion"}. Prints each difference, the
share that agrees, and the time per row of both, measured in the same run on one core each.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

from math_verify import parse, verify
from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig


def rows_of(path, limit):
    rows = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            gold = row.get("gold", row.get("answer"))
            text = row.get("response", row.get("pred", row.get("completion")))
            if isinstance(gold, str) and isinstance(text, str):
                rows.append({"id": str(row.get("id", number)), "answer": gold, "completion": text})
    return rows[:limit] if limit else rows


def hone_grade(binary, rows, bare):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
        file.flush()
        command = [binary, "grade", "--verifier", "math", "--in", file.name, "--jsonl"]
        if bare:
            command.append("--bare")
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} failed: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], seconds


def math_verify(row):
    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    gold = row["answer"]
    if "$" not in gold and "\\boxed" not in gold:
        gold = f"${gold}$"
    try:
        return bool(verify(parse(gold, targets), parse(row["completion"], targets)))
    except Exception as error:  # its own timeouts and parser errors count as wrong
        print(f"{row['id']}: Math-Verify raised {type(error).__name__}")
        return False


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--hone", default="build/hone")
    options.add_argument("--in", dest="path", required=True)
    options.add_argument("--limit", type=int, default=0)
    options.add_argument("--bare", action="store_true")
    args = options.parse_args()
    rows = rows_of(args.path, args.limit)
    ours, _ = hone_grade(args.hone, rows, args.bare)
    repeats = max(1, 2000 // max(1, len(rows)))
    _, seconds = hone_grade(args.hone, rows * repeats, args.bare)
    _, start_up = hone_grade(args.hone, rows[:1], args.bare)
    ours_us = max(0.0, seconds - start_up) / (len(rows) * repeats) * 1e6
    times, agree = [], 0
    math_verify(rows[0])  # tables are built on the first call
    for row, graded in zip(rows, ours):
        start = time.perf_counter()
        theirs = math_verify(row)
        times.append(time.perf_counter() - start)
        if theirs == (graded["outcome"] == "correct"):
            agree += 1
        else:
            print(f"{row['id']}: Math-Verify {theirs}, hone {graded['outcome']}: "
                  f"gold {row['answer'][-80:]!r}, extracted {graded['extracted'][:80]!r} "
                  f"({graded['detail'][:100]})")
    theirs_us = statistics.mean(times) * 1e6
    print(f"agree on {agree} of {len(rows)}")
    print(f"hone {ours_us:.1f} us a row (reading and writing JSON included); Math-Verify mean "
          f"{theirs_us:.0f} us, median {statistics.median(times) * 1e6:.0f} us: "
          f"{theirs_us / max(ours_us, 0.1):.0f} times as fast")


if __name__ == "__main__":
    main()
