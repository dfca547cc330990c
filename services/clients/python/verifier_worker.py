# SPDX-License-Identifier: Apache-2.0
#
# A reward function of somebody's, unchanged, as a verifier worker of Hone: JSON Lines on the
# descriptors it was started with (docs/custom_verifiers.md). Run as: python3 -c THIS FILE FUNCTION.
import asyncio
import importlib.util
import inspect
import json
import math
import os
import sys
import traceback

MAX_LINE_BYTES = 1 << 20


def take_descriptors():
    """Our pipes, out of the function's reach: what it prints goes to stderr, what it reads is empty."""
    lines_in = os.fdopen(os.dup(0), "r", encoding="utf-8", newline="\n")
    lines_out = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdin = open(0, "r", closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace",
                           closefd=False)
    return lines_in, lines_out


def say(lines_out, row):
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        line = json.dumps({"item_id": row["item_id"],
                           "outage": "its answer is longer than 1 MiB"}).encode() + b"\n"
    while line:
        line = line[os.write(lines_out, line):]


def last_line(error):
    """The exception's last line, and where in the user's file it came from."""
    text = traceback.format_exception_only(type(error), error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    return f"{text} ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"


def load(path, name):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    sys.argv = [path]
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    function = module
    for part in name.split("."):
        function = getattr(function, part)
    return function


def signature_of(function):
    names = set(inspect.signature(function).parameters)
    if "completions" in names:
        return "trl"
    if "solution_str" in names:
        return "verl"
    raise TypeError(
        "the parameters " + ", ".join(inspect.signature(function).parameters) + " are neither "
        "TRL's (prompts, completions, **columns) nor "
        "verl's (data_source, solution_str, ground_truth, extra_info)")


def only_known(function, arguments):
    """All arguments for **kwargs; else those that the function names."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return arguments
    names = {p.name for p in parameters}
    return {name: value for name, value in arguments.items() if name in names}


def trl_arguments(function, item):
    gold = item["answer"]
    columns = {"answer": gold, "solution": gold, "ground_truth": gold}
    columns.update(item["metadata"])
    if gold:
        columns["answer"] = gold
    columns.update(prompts=item["prompt"], completions=item["completion"])
    return only_known(function, {name: [value] for name, value in columns.items()})


def verl_arguments(function, item):
    metadata = item["metadata"]
    extra = metadata.get("extra_info")
    if not isinstance(extra, dict):
        extra = {k: v for k, v in metadata.items() if k not in ("data_source", "ground_truth")}
    gold = item["answer"] or metadata.get("ground_truth", "")
    return only_known(function, {
        "data_source": metadata.get("data_source", ""),
        "solution_str": item["completion"],
        "ground_truth": gold,
        "extra_info": extra,
    })


def number(value):
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"the function returned {value}")
    return value


def row_of(item_id, result, kind):
    if kind == "trl":
        result = list(result)
        if len(result) != 1:
            raise ValueError(f"the function returned {len(result)} rewards for 1 completion")
        result = result[0]
    if result is None:
        return {"item_id": item_id, "skipped": "the function returned None"}
    if not isinstance(result, dict):
        return {"item_id": item_id, "score": number(result)}
    if "score" not in result:
        raise KeyError("the function returned a dict without 'score'")
    row = {"item_id": item_id, "score": number(result["score"]), "parts": {}}
    words = []
    for name, value in result.items():
        if name == "score":
            continue
        name = "_".join(str(name).replace("/", "_").split())[:64] or "_"
        try:
            row["parts"][name if name != "accuracy" else "accuracy_"] = number(value)
        except (TypeError, ValueError):
            words.append(f"{name}: {str(value)[:200]}")
    if words:
        row["detail"] = "; ".join(words)[:2000]
    return row


def main():
    path, name = sys.argv[1], sys.argv[2]
    lines_in, lines_out = take_descriptors()
    try:
        function = load(path, name)
        kind = signature_of(function)
    except BaseException as error:  # SystemExit and KeyboardInterrupt of an import too
        print(f"cannot load {path}:{name}: {last_line(error)}", file=sys.stderr)
        return 1
    arguments_of = trl_arguments if kind == "trl" else verl_arguments
    loop = None  # made when it is needed: it takes a socket pair, which a jail does not give
    say(lines_out, {"hone_verifier": 1, "name": name, "version": "1",
                    "description": f"{name} of {os.path.basename(path)} ({kind}'s signature)"})
    for line in lines_in:
        item = json.loads(line)
        try:
            result = function(**arguments_of(function, item))
            if inspect.isawaitable(result):
                if loop is None:
                    loop = asyncio.new_event_loop()
                    asyncio.set_event_loop(loop)
                result = loop.run_until_complete(result)
            row = row_of(item["item_id"], result, kind)
        except BaseException as error:
            row = {"item_id": item["item_id"], "outage": last_line(error)[:2000]}
        sys.stdout.flush()
        say(lines_out, row)
    return 0


# Not sys.exit: threads that the function left behind must not keep the process.
code = main()
sys.stderr.flush()
os._exit(code)
