# SPDX-License-Identifier: Apache-2.0
#
# Mutants of the reference solutions: mutants.py DATA_DIR CODE_DIR PER_TASK
#
# Each mutant is a solution with one small fault (an operator swapped, a constant off by one, a
# condition negated, a constant returned). It is run natively with the data's own tests; "killed"
# says whether they failed it. Those that took too long are left out. One JSON row a line, the
# same every time. The programs run without a sandbox: they are the data's own, nearly.
import ast
import copy
import gzip
import io
import json
import os
import random
import resource
import signal
import sys

SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
         ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.Add: ast.Sub, ast.Sub: ast.Add,
         ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv,
         ast.And: ast.Or, ast.Or: ast.And}


def mutations(tree, function):
    """Functions that put one fault each into a copy of the tree, by node number. function: the one
    to put it in; "" for all: what a prompt defines besides is not the candidate's."""
    inside = {id(n) for part in tree.body if getattr(part, "name", "") == function or not function
              for n in ast.walk(part)}
    for number, node in enumerate(ast.walk(tree)):
        if id(node) not in inside:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield number, lambda n: n.ops.__setitem__(0, SWAPS[type(n.ops[0])]())
        if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
            yield number, lambda n: setattr(n, "op", SWAPS[type(n.op)]())
        if isinstance(node, ast.Constant) and type(node.value) is int:
            yield number, lambda n: setattr(n, "value", n.value + 1)
            yield number, lambda n: setattr(n, "value", n.value - 1)
        if isinstance(node, (ast.If, ast.IfExp)):
            yield number, lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        if isinstance(node, ast.Return) and node.value is not None:
            yield number, lambda n: setattr(n, "value", ast.Constant(None))
            yield number, lambda n: setattr(n, "value", ast.Constant(0))


def mutants(code, count, function):
    tree = ast.parse(code)
    chosen = list(mutations(tree, function))
    random.Random(code).shuffle(chosen)
    for number, change in chosen[:count]:
        changed = copy.deepcopy(tree)
        change(list(ast.walk(changed))[number])
        yield ast.unparse(ast.fix_missing_locations(changed))


def run(row, code, names):
    """0: the tests pass, 1: they fail, 2: too long."""
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 1)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(2))
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        sys.stdout = io.StringIO()
        random.seed(0)
        tests = row["tests"] if isinstance(row["tests"], list) else [row["tests"]]
        try:
            exec(code, names)
            for test in tests:
                exec(test, names)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    data, code_folder, per_task = sys.argv[1], sys.argv[2], int(sys.argv[3])
    kit = {"__name__": "kit"}
    for part in ("wire.py", "preamble.py"):
        with open(os.path.join(code_folder, part)) as f:
            exec(f.read(), kit)
    for path, every in (("humaneval/test.jsonl", 1), ("mbpp/test.jsonl", 3),
                        ("leetcode/train.jsonl.gz", 12)):
        opened = gzip.open if path.endswith("gz") else open
        with opened(os.path.join(data, path), "rt") as f:
            rows = [json.loads(line) for line in f][::every]
        for row in rows:
            names = kit["preamble"]() if row["source"] == "leetcode" else {}
            whole, function = row["canonical_solution"], ""
            if row["source"] == "humaneval":
                whole, function = row["prompt"] + whole, row["entry_point"]
            for code in mutants(whole, per_task, function):
                ending = run(row, code, dict(names, __name__="native"))
                if ending in (0, 1):
                    print(json.dumps({"killed": ending == 1, "completion": code, **row}))


main()
