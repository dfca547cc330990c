# SPDX-License-Identifier: Apache-2.0
#
# Part of the tester's driver: tests as code in which each assert reports to a score. An assert that
# fails is counted and the next one is run, so that a verdict says how many of them pass.
import ast

KEPT = 64      # outcomes reported one by one
CLIPPED = 300  # characters of a value in the report


class Stop(BaseException):
    """Enough failures."""


class Tests:
    """The tests as code in which each assert reports to a Score and does not end the run."""

    def __init__(self, job):
        texts = job["tests"] if isinstance(job["tests"], list) else [job["tests"]]
        self.trees = [ast.parse(text) for text in texts]
        entry = job["entry"]
        defined = [n.name for t in self.trees for n in t.body if isinstance(n, ast.FunctionDef)]
        if entry and "check" in defined and not calls_of("check", self.trees):
            self.trees.append(ast.parse("check(%s)" % entry))
        self.has_asserts = any(isinstance(n, ast.Assert) for t in self.trees for n in ast.walk(t))
        self.asserts = 0
        self.free = self.free_names()
        self.codes = []
        for tree in self.trees:
            tree.body = self.rewrite(tree.body)
            ast.fix_missing_locations(tree)
            self.codes.append(compile(tree, "<tests>", "exec", dont_inherit=True))

    def free_names(self):
        loaded, bound = set(), set()
        for node in (n for tree in self.trees for n in ast.walk(tree)):
            if isinstance(node, ast.Name):
                (loaded if isinstance(node.ctx, ast.Load) else bound).add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                bound.update((a.asname or a.name).split(".")[0] for a in node.names)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                bound.add(node.name)
        return sorted(n for n in loaded - bound if not hasattr(builtins, n))

    def rewrite(self, body):
        """Asserts report; those whose failure the tests catch themselves stay as they are."""
        out = []
        for node in body:
            if isinstance(node, ast.Assert) and not isinstance(node.test, ast.Constant):
                out.append(self.reporting(node))
                continue
            if not (isinstance(node, ast.Try) and node.handlers):
                for field in ("body", "orelse", "finalbody"):
                    if isinstance(getattr(node, field, None), list):
                        setattr(node, field, self.rewrite(getattr(node, field)))
            out.append(node)
        return out

    def reporting(self, node):
        self.asserts += 1
        test = node.test
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            equal = ast.Name("_hone_equal", ast.Load())
            node.test = ast.Call(equal, [test.left, test.comparators[0]], [])
        call = ast.parse("try:\n 0\nexcept Exception as _hone_e:\n _hone_failed(%d, _hone_e)\n"
                         "else:\n _hone_passed(%d)" % (node.lineno, node.lineno)).body[0]
        call.body = [node]
        return call


def calls_of(name, trees):
    return [n for t in trees for n in ast.walk(t) if isinstance(n, ast.Call) and
            isinstance(n.func, ast.Name) and n.func.id == name]


class Score:
    def __init__(self, stop_at_first_failure, wall):
        self.wall = wall
        self.stop = stop_at_first_failure
        self.passed = 0
        self.failed = 0
        self.kept = []
        self.first_failure = None
        self.sides = None

    def equal(self, left, right):
        self.sides = None
        if left == right:
            return True
        self.sides = [clip(left), clip(right)]
        return False

    def ok(self, line):
        if self.wall.called_back:  # how often is the candidate's choice
            return
        self.passed += 1
        self.keep(["pass", line])

    def fail(self, line, error):
        self.failed += 1
        wrong = isinstance(error, AssertionError) and error.__traceback__.tb_next is None
        sides = self.sides or ["", ""]
        what = [clip_text(str(error)), *sides] if wrong else [name_of(error), "", ""]
        outcome = ["wrong" if wrong else "runtime_error", line]
        self.keep(outcome)
        self.first_failure = self.first_failure or outcome + what
        self.sides = None
        if self.stop:
            raise Stop()

    def keep(self, outcome):
        if len(self.kept) < KEPT:
            self.kept.append(outcome)


def clip_text(text):
    return text if len(text) <= CLIPPED else text[:CLIPPED] + "..."


def clip(value):
    try:
        return clip_text(repr(value))
    except BaseException as error:
        return "<%s>" % type(error).__name__


def name_of(error):
    text = "%s: %s" % (type(error).__name__, error)
    return clip_text(text)
