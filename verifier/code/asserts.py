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
        self.texts = job["tests"] if isinstance(job["tests"], list) else [job["tests"]]
        self.trees = [ast.parse(text) for text in self.texts]
        for tree in self.trees:
            tree.body = [n for n in tree.body if not self.is_import_of_candidate(n)]
        self.trees.append(ast.Module(self.calls_nobody_makes(job["entry"]), []))
        self.asserts = sum(isinstance(n, ast.Call) and is_unittest(n)
                           for t in self.trees for n in ast.walk(t))
        self.has_asserts = self.asserts > 0 or any(
            isinstance(n, ast.Assert) for t in self.trees for n in ast.walk(t))
        self.free = self.free_names()
        self.codes = []
        for tree in self.trees:
            tree.body = self.rewrite(tree.body)
            ast.fix_missing_locations(tree)
            self.codes.append(compile(tree, "<tests>", "exec", dont_inherit=True))

    def is_import_of_candidate(self, node):
        """from solution import f: the names are the candidate's."""
        return isinstance(node, ast.ImportFrom) and node.module == "solution" and \
            all(a.asname is None and a.name != "*" for a in node.names)

    def calls_nobody_makes(self, entry):
        """check(entry), and the functions that are there for pytest to find."""
        calls = []
        for node in (n for t in self.trees for n in t.body if isinstance(n, ast.FunctionDef)):
            if calls_of(node.name, self.trees):
                continue
            arguments = node.args.posonlyargs + node.args.args
            if node.name == "check" and entry:
                calls += ast.parse("check(%s)" % entry).body
            elif node.name.startswith("test") and len(arguments) == len(node.args.defaults):
                calls += ast.parse("%s()" % node.name).body
        return calls

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

    def rewrite(self, body, form="reporting"):
        """form: what becomes of an assert there, a key of FORMS."""
        out = []
        for node in body:
            if isinstance(node, ast.Assert):
                out.append(self.rewritten(node, form))
                continue
            inside = rest = form
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inside = "reporting"
            elif isinstance(node, ast.Try) and node.handlers:
                inside = "alternative" if is_alternative(node) else "tried"
                for handler in node.handlers:
                    handler.body = self.rewrite(handler.body, rest)
            for field in ("body", "orelse", "finalbody"):
                if isinstance(getattr(node, field, None), list):
                    part = self.rewrite(getattr(node, field), inside if field == "body" else rest)
                    setattr(node, field, part)
            for case in getattr(node, "cases", ()):
                case.body = self.rewrite(case.body, form)
            out.append(node)
        return out

    def rewritten(self, node, form):
        if isinstance(node.test, ast.Constant):
            if form != "tried":
                return node  # assert False: the end, or the tests' own to catch
        else:
            self.asserts += 1
        test = node.test
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            equal = ast.Name("_hone_equal", ast.Load())
            node.test = ast.Call(equal, [test.left, test.comparators[0]], [])
        passed = "0" if isinstance(test, ast.Constant) else "_hone_passed(%d)" % node.lineno
        call = ast.parse(FORMS[form] % (node.lineno, passed)).body[0]
        call.body = [node]
        return call


# Where the tests catch exceptions themselves an assert still raises; but that it did not hold is
# counted, unless they have another assert for that case.
FORMS = {
    "reporting": "try:\n 0\nexcept Exception as _hone_e:\n _hone_failed(%d, _hone_e)\nelse:\n %s",
    "tried": "try:\n 0\nexcept AssertionError as _hone_e:\n _hone_tried(%d, _hone_e)\n raise\n"
             "else:\n %s",
    "alternative": "try:\n 0\nexcept AssertionError as _hone_e:\n %d\n raise\nelse:\n %s"}


def is_alternative(node):
    return any(isinstance(n, ast.Assert) and not isinstance(n.test, ast.Constant)
               for handler in node.handlers for n in ast.walk(handler))


def is_unittest(call):
    return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and \
        call.func.value.id == "self" and call.func.attr.startswith("assert")


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

    def tried(self, line, error):
        if not getattr(error, "of_candidate", False):  # what it raises is the tests' to judge
            self.fail(line, error)

    def fail(self, line, error):
        self.failed += 1
        wrong = isinstance(error, AssertionError) and not getattr(error, "of_candidate", False)
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


def prepare_unittest(texts):
    """Test classes are run by run_unittests, whoever calls unittest.main."""
    if any("unittest" in text for text in texts):
        import unittest
        unittest.main = lambda *arguments, **keywords: None


def run_unittests(names, score):
    unittest = sys.modules.get("unittest")
    case = getattr(unittest, "TestCase", None)
    kinds = [k for k in names.values() if isinstance(k, type) and case and issubclass(k, case)]
    if kinds:
        count_asserts(case, score)
    for kind in dict.fromkeys(k for k in kinds if k.__module__ == "tests"):
        kind.setUpClass()
        for method in unittest.TestLoader().getTestCaseNames(kind):
            try:
                run_method(kind(method), method)
            except unittest.SkipTest:
                continue
            except Exception as error:
                score.fail(0, error)
        kind.tearDownClass()


def run_method(case, method):
    case.setUp()
    try:
        getattr(case, method)()
    finally:
        case.tearDown()
        case.doCleanups()


def count_asserts(case, score):
    """Each assert method that holds is one assert, not those that it calls."""
    depth = [0]

    def counting(original):
        def method(*arguments, **keywords):
            depth[0] += 1
            try:
                result = original(*arguments, **keywords)
            finally:
                depth[0] -= 1
            if depth[0] == 0:
                score.ok(0)
            return result
        return method

    for name in dir(case):
        if name.startswith("assert"):
            setattr(case, name, counting(getattr(case, name)))
