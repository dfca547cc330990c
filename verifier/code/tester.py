# SPDX-License-Identifier: Apache-2.0
#
# The driver in the tester's jail. It holds the tests and no line of the candidate's code. What the
# tests call stands in the other jail: a Remote forwards calls, attributes and indices over
# descriptors 5 and 4, and what comes back is plain data or another Remote. A Remote has no truth
# value, is compared with nothing and is never asked about an expected value, so an assert can only
# pass on data. The report goes to descriptor 3, which the candidate does not have.
import builtins
import random

# On plain data these take or hold the answer; an object of the candidate's must not decide it.
PREDICATES = {"startswith", "endswith", "issubset", "issuperset", "isdisjoint", "is_integer",
              "equals"} | {n for n in dir(str) if n.startswith("is")}
# These combine or look up too. An instance of a class that the tests name may have them as its API.
COMBINING = {n for t in (str, bytes, list, tuple, dict, set, frozenset, int, float) for n in dir(t)
             if n in {"symmetric_difference", "intersection", "difference", "union", "count",
                      "replace", "removeprefix", "removesuffix", "index", "rindex", "find", "rfind",
                      "strip", "lstrip", "rstrip", "split", "rsplit", "partition", "rpartition",
                      "intersection_update", "difference_update", "symmetric_difference_update",
                      "update", "translate", "join", "format", "get", "setdefault"}}
COMBINING |= {"compare", "subtract", "almost_equal", "same"}
READS = {"get", "getitem", "len", "iter", "str"}  # asked once, until something may have changed


class CandidateGone(BaseException):
    """The candidate's jail has ended, or it broke the protocol."""


class CandidateError(Exception):
    """An exception of the candidate's that is no builtin one."""


class Canary:
    """A gold that nothing is equal to: what equals it is no plain data."""


class Remote:
    __slots__ = ("_place", "_class")

    def __init__(self, place, class_name):
        object.__setattr__(self, "_place", place)
        object.__setattr__(self, "_class", class_name)

    def __call__(self, *arguments, **keywords):
        return wall.ask("call", self, list(arguments), keywords)

    def __getattr__(self, name):
        if name in ("__name__", "__qualname__", "__wrapped__"):
            raise AttributeError(name)
        if name.startswith("__") or name in PREDICATES:
            raise wall.taint("the tests ask an object of class %s for %s" % (self._class, name))
        if name in COMBINING and self._place not in wall.instances:
            raise wall.taint("the tests ask an object of class %s for %s" % (self._class, name))
        return wall.ask("get", self, name)

    def __setattr__(self, name, value):
        wall.ask("set", self, name, value)

    def __getitem__(self, key):
        return wall.ask("getitem", self, key)

    def __setitem__(self, key, value):
        wall.ask("setitem", self, key, value)

    def __delitem__(self, key):
        wall.ask("delitem", self, key)

    def __len__(self):
        return wall.ask("len", self)

    def __iter__(self):
        return iter(wall.ask("iter", self))

    def __str__(self):
        return wall.ask("str", self)

    def __repr__(self):
        return "<object of class %s>" % self._class

    def _refuse(self, *_):
        raise wall.taint("the tests compare or test an object of class %s, which is not plain "
                         "data" % self._class)

    __bool__ = __contains__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse

    def __eq__(self, other):
        return True if self is other else self._refuse()

    __hash__ = object.__hash__


for _name in ("int", "float", "index", "complex", "abs", "neg", "pos", "invert", "round"):
    setattr(Remote, "__%s__" % _name, Remote._refuse)
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul", "and",
              "or", "xor", "lshift", "rshift"):
    for _side in ("", "r"):
        setattr(Remote, "__%s%s__" % (_side, _name), Remote._refuse)


class Wall:
    """The candidate's jail as seen from here."""

    def __init__(self):
        self.replies = open(4, "rb", closefd=False)
        self.asked = 0
        self.answered = 0  # questions, and calls of functions that the tests passed
        self.called_back = 0  # calls that have not returned
        self.known = {}  # what was read, until something may have changed
        self.classes = set()  # places of what the tests name like a class
        self.instances = set()  # places of what these made
        self.calls = 0
        self.remotes = {}
        self.functions = []
        self.given = 0  # names that are plain data, which no call shows
        self.why_gone = ""
        self.tainted = ""
        self.canary = False

    def taint(self, why):
        self.tainted = self.tainted or why
        return NotPlain(why)

    def gone(self, why):
        self.why_gone = self.why_gone or why
        return CandidateGone(why)

    def read(self):
        line = self.replies.readline(MAX_LINE + 1)
        if not line.endswith(b"\n"):
            raise self.gone("too long an answer" if len(line) > MAX_LINE else "it ended")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise self.gone("it wrote what is no message")
        if type(message) is not dict:
            raise self.gone("it wrote what is no message")
        return message

    def write(self, message):
        try:
            write_line(5, message)
        except OSError:
            raise self.gone("it ended")

    def ask(self, operation, *arguments):
        if self.why_gone:
            raise self.gone("")
        self.asked += 1
        self.calls += operation == "call"
        number = self.asked
        sent = encode(list(arguments), self.handle)
        if operation not in READS:
            self.known.clear()
        key = operation + json.dumps(sent)
        if key in self.known:
            return self.result(self.known[key], arguments)
        self.write({"s": number, "q": operation, "a": sent})
        while True:
            reply = self.read()
            if "f" in reply:
                self.call_back(reply)
            elif reply.get("s") == number:
                break
            else:
                raise self.gone("it answered what was not asked")
        self.answered += 1
        if operation in READS:
            self.known[key] = reply
        value = self.result(reply, arguments)
        if type(value) is Remote:
            made = operation == "call" and type(arguments[0]) is Remote and \
                arguments[0]._place in self.classes
            (self.instances.add if made else self.instances.discard)(value._place)
        return value

    def result(self, reply, arguments):
        if "e" in reply:
            raise exception_of(*[str(part) for part in self.pair(reply["e"])])
        if "n" in reply:
            raise self.taint(str(reply["n"]))
        value = self.decode(reply.get("v"))
        if value == Canary() if not isinstance(value, Remote) else False:
            self.canary = True
        if "m" in reply and len(arguments) == 3:
            update(list(arguments[1:]), self.decode(reply["m"]))
        return value

    def decode(self, value):
        try:
            return decode(value, self.lookup)
        except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError) as e:
            raise self.gone("it wrote what is no value: %s" % e)

    def pair(self, value):
        if type(value) is not list or len(value) != 2:
            raise self.gone("it wrote what is no message")
        return value

    def call_back(self, message):
        self.answered += 1
        self.called_back += 1
        try:
            arguments, keywords = self.pair(self.decode(message.get("a")))
            value = self.lookup(message)(*arguments, **keywords)
            reply = {"v": encode(value, self.handle)}
        except (Exception, NotPlain) as error:
            reply = {"e": [type(error).__name__, str(error)[:1000]]}
        finally:
            self.called_back -= 1
            self.known.clear()
        self.write(reply)

    def handle(self, value):
        if type(value) is Remote:
            return {"h": value._place}
        if callable(value) and not isinstance(value, type):
            self.functions.append(value)
            return {"f": len(self.functions) - 1}
        raise NotPlain("the tests pass an object of class %s, which is not plain data" %
                       type(value).__name__)

    def lookup(self, handle):
        function, place = handle.get("f"), handle.get("h")
        if type(function) is int and 0 <= function < len(self.functions):
            return self.functions[function]
        if type(place) is not int:
            raise ValueError("an unknown tag")
        return self.remotes.setdefault(place, Remote(place, str(handle.get("c"))[:80]))


def exception_of(name, message):
    # StopIteration would end a loop of the tests in silence.
    kind = getattr(builtins, name, None) if not name.startswith("Stop") else None
    kind = SHARED.get(name, kind)
    try:
        error = kind.__new__(kind, message) if issubclass(kind, Exception) else None
    except TypeError:
        error = None
    if error is not None:
        error.args = (message,) if message else ()
    error = error or CandidateError("%s: %s" % (name, message) if message else name)
    error.of_candidate = True
    return error


def update(old, new):
    """Gives `old`, which was passed to the candidate, what it became there."""
    if type(old) is not type(new):
        return
    if type(old) is list:
        for i, (a, b) in enumerate(zip(old, new)):
            if not changed_inside(a, b):
                old[i] = b
        old[len(new):] = new[len(old):]
    elif type(old) is dict:
        kept = {k: old[k] if k in old and changed_inside(old[k], v) else v for k, v in new.items()}
        old.clear()
        old.update(kept)
    elif type(old) is set:
        old.clear()
        old.update(new)
    elif type(old) is ListNode or type(old) is TreeNode:
        old.__dict__.update(new.__dict__)
    elif hasattr(old, "__dict__"):
        old.__dict__.clear()
        old.__dict__.update(new.__dict__)


def changed_inside(old, new):
    mutable = type(old) in (list, dict, set, ListNode, TreeNode) or \
        SHARED.get(type(old).__name__) is type(old)
    if type(old) is not type(new) or not mutable or isinstance(old, (tuple, enum.Enum)):
        return False
    update(old, new)
    return True


def run(job, report):
    """Fills the report; what it lacks at the end did not happen."""
    try:
        tests = Tests(job)
    except (SyntaxError, ValueError, RecursionError) as error:
        report["unreadable"] = name_of(error)
        return
    if not tests.has_asserts:
        report["unreadable"] = "there is no assert in them"
        return
    report["asserts"] = tests.asserts
    # From here on the candidate can hold things up.
    write_line(3, {"nonce": job["nonce"], "ready": True})
    report["load"] = wall.read().get("load")
    if report["load"] is not None:
        return
    score = Score(job["stop"], wall)
    names = {"__name__": "tests", "_hone_equal": score.equal, "_hone_passed": score.ok,
             "_hone_failed": score.fail, "_hone_tried": score.tried}
    try:
        report["undefined"] = bind(names, job, tests.free)
        prepare_unittest(tests.texts)
        for code in tests.codes:
            exec(code, names)
        run_unittests(names, score)
        report["finished"] = True
    except Stop:
        pass
    except BaseException as error:
        # What follows an answer (the first brings the names) may be the candidate's doing.
        own = wall.answered < 2 and not wall.given and not wall.why_gone and not wall.tainted
        own = own and not getattr(error, "of_candidate", False)
        report["own" if own else "aborted"] = name_of(error)
    report.update(passed=score.passed, failed=score.failed, outcomes=score.kept,
                  first_failure=score.first_failure, calls=wall.calls + wall.given)


def bind(names, job, free):
    """Gives each free name of the tests its meaning: the prompt's, the preamble's or, last, the
    candidate's; the entry point is always the candidate's. Returns the names nobody defines."""
    entry = job["entry"]
    scope = {"__name__": "prompt"}
    define(helpers(job["prompts"], entry), scope)
    given = {n: v for n, v in scope.items() if not n.startswith("__")}
    known = preamble() if set(free) - given.keys() - {entry, "candidate"} else {}
    if not entry and not set(free) - given.keys() - known.keys():
        # Something must be the candidate's: what the prompt shows is there to be mended, and a
        # function that is called as one of a module is its own.
        given = {}
        known = {k: v for k, v in known.items()
                 if k in MODULES or getattr(v, "__module__", "") == __name__}
    names.update(given)
    SHARED.update({n: v for n, v in given.items() if isinstance(v, type) and
                   v.__module__ == "prompt" and v.__name__ == n})
    for name in free:
        if name not in names and name in known:
            names[name] = known[name]
    wanted = [n for n in free if n == entry or n not in names and n != "candidate"]
    if entry and entry not in wanted:
        wanted.append(entry)
    found = wall.ask("names", wanted, sorted(SHARED))
    for name in wanted:
        names.pop(name, None)
        if type(found) is dict and name in found:
            names[name] = scope[name] = found[name]
            wall.given += not isinstance(found[name], Remote)
    remotes = {n: v._place for n, v in names.items() if type(v) is Remote}
    wall.classes = {p for n, p in remotes.items() if n[0].isupper()}
    wall.classes -= {p for n, p in remotes.items() if not n[0].isupper() and n != "candidate"}
    if entry in names:
        names.setdefault("candidate", names[entry])
    return [name for name in wanted if name not in names]


def main():
    job = json.loads(sys.stdin.buffer.read())
    sys.stdout = open(os.devnull, "w")
    random.seed(0)
    report = {"nonce": job["nonce"]}
    try:
        run(job, report)
    except BaseException as error:
        report["aborted"] = name_of(error)
    report.update(gone=wall.why_gone, tainted=wall.tainted, canary=wall.canary)
    text = json.dumps(report, ensure_ascii=False).encode("utf-8", "replace")
    write_line(3, json.loads(text))
    os._exit(0)


wall = Wall()
main()
