#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Verifiers of one's own as a person uses them: the binary, its templates, and hone_reward.py called
# as verl's reward manager and TRL's trainer call it. Usage: custom_verifiers.py HONE_BINARY
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

HONE = os.path.abspath(sys.argv.pop(1))
RIGHT = "<think>so</think> <answer>42</answer>"
WRONG = "<think>so</think> <answer>41</answer>"


def hone(*words, stdin=""):
    done = subprocess.run([HONE, *words], input=stdin, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


class InFolder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder.name)

    def write(self, name, text):
        with open(name, "w") as file:
            file.write(text)
        return name


class Command(InFolder):
    def test_every_template_passes_its_own_test_and_is_never_overwritten(self):
        for kind in ("python", "exec", "rules"):
            name = "my_" + kind
            self.assertEqual(hone("verifier", "new", name, "--kind", kind)[0], 0)
            done = subprocess.run([f"./{name}/test.sh"], env={**os.environ, "HONE": HONE},
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(hone("verifier", "new", name, "--kind", kind)[0], 2)
        self.assertEqual(hone("verifier", "new", "my_grpc", "--kind", "grpc")[0], 0)
        self.assertTrue(os.path.exists("my_grpc/hone/v1/verifier_service.proto"))

    def test_a_verifier_that_can_be_fooled_is_unfit_by_name(self):
        self.write("f.py", "def f(solution_str, ground_truth): return ground_truth in solution_str\n")
        code, out, _ = hone("verifier", "test", "python:f.py:f", "--json")
        self.assertEqual(code, 3)
        report = json.loads(out)
        failed = [row["check"] for row in report["checks"] if row["result"] == "failed"]
        self.assertEqual(failed, ["two_answers", "unclosed_think"])
        code, out, _ = hone("verifier", "test", "python:f.py:f", "--option",
                            "waive=two_answers,unclosed_think")
        self.assertEqual(code, 0, out)

    def test_grade_takes_every_kind_of_spec_and_keeps_fractions(self):
        self.write("f.py", "def f(prompts, completions, answer):\n"
                           "    return [None if a == '' else 0.5 for a in answer]\n")
        rows = "".join(json.dumps({"id": i, "answer": a, "completion": RIGHT}) + "\n"
                       for i, a in enumerate(["42", ""]))
        code, out, _ = hone("grade", "--verifier", "python:f.py:f", "--jsonl", stdin=rows)
        self.assertEqual(code, 0)
        graded = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([(r["outcome"], r["reward"]) for r in graded],
                         [("wrong", 0.5), ("skipped", None)])
        inline = 'rules:{"name": "r", "rules": [{"name": "x", "numeric": true}]}'
        for spec in (inline, f"exec:{HONE} verifier worker numeric"):
            code, out, err = hone("grade", "--strict", "--verifier", spec, stdin=rows)
            self.assertEqual(code, 0, err)
            self.assertEqual([json.loads(line)["outcome"] for line in out.splitlines()],
                             ["correct", "skipped"])

    def test_errors_have_their_exit_codes(self):
        self.write("f.py", "def f(a): return 1\n")
        for spec, wanted in (("python:f.py:f", 2), ("python:g.py:f", 4), ("exec:/no/such", 4),
                             ("grpc:unix:/no/such", 5), ("shell:x", 2), ("oracle", 4)):
            self.assertEqual(hone("verifier", "describe", spec)[0], wanted, spec)

    def test_served_verifiers_are_asked_by_name_and_counted(self):
        self.write("f.py", "def f(solution_str, ground_truth): return ground_truth == '42'\n")
        server = subprocess.Popen(
            [HONE, "serve", "verifier", "--listen", "unix:s.sock", "--verifier",
             "mine=python:f.py:f", "--option", "mine.workers=2"], stdout=subprocess.PIPE, text=True)
        try:
            self.assertIn("listening", server.stdout.readline())
            row = json.dumps({"id": 1, "answer": "42", "completion": "x"})
            code, out, err = hone("grade", "--verifier", "grpc:unix:s.sock#mine", stdin=row)
            self.assertEqual((code, json.loads(out)["outcome"]), (0, "correct"), err)
            code, out, _ = hone("verifier", "describe", "grpc:unix:s.sock#mine", "--json")
            self.assertEqual(json.loads(out)["servers"]["unix:s.sock"]["outcomes/correct"], 1)
        finally:
            server.terminate()
            server.stdout.close()
            self.assertEqual(server.wait(timeout=30), 0)


class Training(InFolder):
    def test_a_verifier_that_fails_a_check_is_refused_before_anything_exists(self):
        self.write("f.py", "def f(solution_str, ground_truth): return ground_truth in solution_str\n")
        self.write("run.textproto", """
            verifiers { name: "mine" spec: "python:f.py:f" }
            pretrain { steps: 1 documents { generator: "running_sum" } }
            tasks { sources { generator: "running_sum" verifier: "mine" } }
            """)
        code, _, err = hone("train", "run.textproto", "--out", "runs/a")
        self.assertEqual(code, 2, err)
        self.assertIn('check "two_answers"', err)
        self.assertFalse(os.path.exists("runs/a"))

    def test_a_declared_verifier_must_have_a_name_and_a_form_of_its_own(self):
        for bad in ('name: "exact" spec: "exec:x"', 'name: "a b" spec: "exec:x"',
                    'name: "a" spec: "shell:x"'):
            self.write("run.textproto", "verifiers { %s } tasks { sources { generator: "
                       '"running_sum" } } pretrain { documents { generator: "running_sum" } }' % bad)
            self.assertEqual(hone("train", "run.textproto", "--dry-run", "--out", "runs/a")[0], 2)


class Elsewhere(InFolder):
    """hone_reward.py in somebody else's training."""

    def setUp(self):
        super().setUp()
        self.assertEqual(hone("verifier", "new", "client", "--kind", "client")[0], 0)
        os.environ.update(HONE_BINARY=HONE, HONE_VERIFIER="numeric")
        spec = importlib.util.spec_from_file_location("hone_reward", "client/hone_reward.py")
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.addCleanup(lambda: self.module._shared().close())

    def test_verl_calls_compute_score_by_keyword(self):
        def score(text, gold):  # as verl's naive reward manager calls it
            return self.module.compute_score(data_source="gsm8k", solution_str=text,
                                             ground_truth=gold, extra_info={"index": 3, "o": object})
        self.assertEqual(score(RIGHT, "42"), 1.0)
        self.assertEqual(score(WRONG, "42"), 0.0)
        self.assertEqual(score("x" * (2 << 20), "42"), 0.0)
        with self.assertRaises(self.module.HoneSkipped):
            score(RIGHT, "not a number")

    def test_trl_calls_reward_with_columns_and_reads_none_as_left_out(self):
        # GRPOTrainer repeats every column of its rows, and adds what it has at hand.
        columns = {"solution": ["42", "42", "what"], "level": [1, 2, 3]}
        rewards = self.module.reward(prompts=["p"] * 3, completions=[RIGHT, WRONG, RIGHT],
                                     completion_ids=[[1], [2], [3]], trainer_state=object(),
                                     **columns)
        self.assertEqual(rewards, [1.0, 0.0, None])
        self.assertEqual(self.module.reward.__name__, "reward")
        chat = self.module.reward(prompts=[[{"role": "user", "content": "p"}]],
                                  completions=[[{"role": "assistant", "content": RIGHT}]],
                                  answer=["42"])
        self.assertEqual(chat, [1.0])

    def test_a_worker_that_dies_is_replaced_and_a_fork_gets_its_own(self):
        ask = lambda: self.module.reward(["p"] * 40, [RIGHT, WRONG] * 20, answer=["42"] * 40)
        self.assertEqual(ask(), [1.0, 0.0] * 20)
        self.module._shared()._worker.kill()
        self.assertEqual(ask(), [1.0, 0.0] * 20)
        child = os.fork()
        if child == 0:
            os._exit(0 if ask() == [1.0, 0.0] * 20 else 1)
        self.assertEqual(ask(), [1.0, 0.0] * 20)
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_no_verifier_at_all_raises_and_never_scores(self):
        verifier = self.module.Verifier(spec="oracle")
        with self.assertRaises(self.module.HoneOutage):
            verifier.judge([{"completion": RIGHT, "answer": "42"}])


unittest.main(verbosity=2)
