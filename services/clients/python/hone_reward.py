# SPDX-License-Identifier: Apache-2.0
#
# Hone's verifiers as the reward function of a verl or TRL run elsewhere. Standard library only: it
# starts `hone verifier worker SPEC` and speaks JSON Lines with it (docs/custom_verifiers.md).
#
#   verl:  custom_reward_function.path=hone_reward.py custom_reward_function.name=compute_score
#   TRL:   GRPOTrainer(..., reward_funcs=[hone_reward.reward])
#
# Read from the environment: HONE_VERIFIER (a spec; default math), HONE_BINARY (default hone),
# HONE_OPTIONS (KEY=VALUE words), HONE_LENIENT=1 (read answers as `hone grade` does; default: as
# Hone's training does, the answer stands in <answer>..</answer>), HONE_TIMEOUT_S (default 60).
#
# An outage is never a reward: TRL gets None for it, verl a HoneOutage (it knows no other way).
import json
import os
import select
import shlex
import subprocess
import threading
import time

_MAX_LINE_BYTES = 1 << 20  # of the protocol
_MAX_WAITING = 4  # answers that may lie unread: they fit the pipe together


class HoneOutage(RuntimeError):
    """The verifier could not do its work. Says nothing about the completion."""


class HoneSkipped(ValueError):
    """The verifier cannot judge this item: its gold cannot be read."""


class Verifier:
    """One `hone verifier worker`, restarted when it dies. Thread-safe; a fork gets its own."""

    def __init__(self, spec=None, binary=None, options=None, lenient=None, timeout_s=None):
        self.spec = spec or os.environ.get("HONE_VERIFIER", "math")
        self.binary = binary or os.environ.get("HONE_BINARY", "hone")
        self.options = options if options is not None else shlex.split(
            os.environ.get("HONE_OPTIONS", ""))
        self.lenient = (os.environ.get("HONE_LENIENT", "") == "1") if lenient is None else lenient
        self.timeout_s = timeout_s or float(os.environ.get("HONE_TIMEOUT_S", "60"))
        self._lock = threading.Lock()
        self._worker = None
        self._owner = 0
        self._sent = 0
        self._buffer = b""

    def judge(self, items):
        """items: dicts with completion, answer, and maybe prompt, metadata, tests, truncated.
        Returns a dict per item: {"score"} or {"skipped"} or {"outage"}, with detail. Raises
        HoneOutage when no worker can be started: that is not about any item."""
        with self._lock:
            answers = [None] * len(items)
            for attempt in range(2):
                todo = [i for i, answer in enumerate(answers) if answer is None]
                if not todo:
                    break
                why = self._ask(items, todo, answers, alone=attempt > 0)
            return [a if a is not None else {"outage": why} for a in answers]

    def close(self):
        if self._worker is not None:
            if self._owner == os.getpid():
                self._worker.kill()
                self._worker.wait()
            else:  # after a fork it is the parent's: only our ends are ours to close
                self._worker.returncode = 0
            self._worker.stdin.close()
            self._worker.stdout.close()
        self._worker = None

    def _ask(self, items, todo, answers, alone):
        why, waiting = "", {}
        todo = list(todo)
        while todo or waiting:
            self._start()
            try:
                while todo and len(waiting) < (1 if alone else _MAX_WAITING):
                    i = todo.pop(0)
                    self._sent += 1
                    line = self._line(str(self._sent), items[i])
                    if len(line) > _MAX_LINE_BYTES:  # a limit of the completion's own: a real 0
                        answers[i] = {"score": 0.0, "detail": "limit_exceeded: over 1 MiB"}
                        continue
                    waiting[str(self._sent)] = i
                    self._send(line)
                if not waiting:
                    continue
                row = self._answer()
                answers[waiting.pop(row["item_id"])] = row
            except (OSError, KeyError, ValueError, HoneOutage) as error:
                why = f"hone verifier worker {self.spec}: {error!r}"
                self.close()
                waiting = {}
                if not alone:
                    return why
        return why

    def _start(self):
        if self._worker is not None and self._owner == os.getpid():
            return
        self.close()
        self._buffer = b""
        command = [self.binary, "verifier", "worker", self.spec]
        for option in self.options:
            command += ["--option", option]
        self._owner = os.getpid()
        try:
            self._worker = subprocess.Popen(command, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, bufsize=0)
            hello = self._answer()
            if hello.get("hone_verifier") != 1:
                raise HoneOutage(f"no hello but {hello}")
        except (OSError, ValueError, HoneOutage) as error:
            self.close()
            raise HoneOutage(f"cannot start {shlex.join(command)}: {error!r}") from error

    def _line(self, item_id, item):
        metadata = item.get("metadata") or {}
        row = {"item_id": item_id, "id": str(item.get("id", "")), "prompt": item.get("prompt", ""),
               "completion": item["completion"], "answer": item["answer"], "metadata": metadata,
               "truncated": bool(item.get("truncated", False)), "lenient": self.lenient}
        if "tests" in item:
            row["tests"] = item["tests"]
        return json.dumps(row).encode() + b"\n"

    def _send(self, line):
        while line:
            line = line[os.write(self._worker.stdin.fileno(), line):]

    def _answer(self):
        deadline = time.monotonic() + self.timeout_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._worker.stdout], [], [], left)[0]:
                raise HoneOutage(f"no answer within {self.timeout_s} s")
            data = os.read(self._worker.stdout.fileno(), 1 << 16)
            if not data:
                raise HoneOutage(f"it exited with status {self._worker.wait()}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)


_verifier = None


def _shared():
    global _verifier
    if _verifier is None:
        _verifier = Verifier()
    return _verifier


def _jsonable(value):
    try:
        json.dumps(value)
        return True
    except (TypeError, ValueError):
        return False


def _text(message):
    """A completion or prompt as TRL has it: text, or a list of messages."""
    if isinstance(message, str):
        return message
    return "\n".join(str(part.get("content") or "") for part in message)


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """verl's signature. 1.0 or 0.0, or the verifier's own fraction."""
    metadata = {k: v for k, v in (extra_info or {}).items() if _jsonable(v)}
    metadata["data_source"] = data_source
    gold = ground_truth if isinstance(ground_truth, str) else json.dumps(ground_truth)
    item = {"completion": solution_str, "answer": gold, "metadata": metadata}
    if _shared().spec == "code":  # verl keeps tests where golds are
        item["tests"] = metadata.pop("tests", ground_truth)
    row = _shared().judge([item])[0]
    if "score" in row:
        return float(row["score"])
    if "skipped" in row:
        raise HoneSkipped(row["skipped"])
    raise HoneOutage(row["outage"])


def reward(prompts, completions, **columns):
    """TRL's signature. None where there is no verdict: skipped items and outages."""
    golds = next((columns[name] for name in ("answer", "solution", "ground_truth")
                  if name in columns), None)
    items = []
    for i, completion in enumerate(completions):
        metadata = {name: values[i] for name, values in columns.items()
                    if isinstance(values, (list, tuple)) and len(values) == len(completions)
                    and _jsonable(values[i])}
        gold = "" if golds is None else golds[i]
        items.append({"prompt": _text(prompts[i]), "completion": _text(completion),
                      "answer": gold if isinstance(gold, str) else json.dumps(gold),
                      "metadata": metadata})
        if "tests" in metadata:
            items[-1]["tests"] = metadata.pop("tests")
    return [row.get("score") for row in _shared().judge(items)]
