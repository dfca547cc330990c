# SPDX-License-Identifier: Apache-2.0
#
# The driver in the candidate's jail. It loads the candidate's code and then either answers the
# tester's questions over descriptors 4 and 5 ("serve"), or calls one function on a list of inputs
# and writes what it returns to descriptor 3 ("calls"). No expected value is ever here, so nothing
# in this file is a secret or a defence: a candidate that replaces it all still has to write the
# right values.
import types


def load(job):
    """The candidate's module, or what went wrong: [kind, type, message]."""
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    names = module.__dict__
    if job["preamble"]:
        names.update(preamble())
    try:
        code = programs(job)
        define(helpers(job["prompts"], job["entry"]), names)
        for program in code:
            exec(program, names)
    except SyntaxError as error:
        return None, ["compile_error", type(error).__name__, str(error)]
    except BaseException as error:
        return None, ["runtime_error"] + describe(error)
    return names, None


def programs(job):
    """What to run, in order: the prompt's code and the candidate's, or both as one text when the
    candidate's is the rest of a function that the prompt began."""
    code, entry = job["code"], job["entry"]
    prompt = prompt_code(job["prompts"], entry)
    try:
        whole = compile(code, "<candidate>", "exec", dont_inherit=True)
        failure = None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        whole, failure = None, error
    if whole is not None and not (prompt and entry not in whole.co_names):
        return [compile(prompt, "<prompt>", "exec", dont_inherit=True), whole]
    for begin in ("", "    ", "\n", "\n    "):
        text = prompt + begin + code
        if prompt and parses(text):
            return [compile(text, "<candidate>", "exec", dont_inherit=True)]
    if whole is not None:
        return [whole]
    raise failure if isinstance(failure, SyntaxError) else SyntaxError(str(failure))


def describe(error):
    try:
        return [type(error).__name__, str(error)[:1000]]
    except BaseException:
        return [type(error).__name__, ""]


def find(names, wanted):
    """A name of the module, dotted or not, or a method of its class Solution."""
    if wanted not in names and "." not in wanted and hasattr(names.get("Solution"), wanted):
        wanted = "Solution." + wanted
    first, *rest = wanted.replace("()", "").split(".")
    found = names[first]
    for name in rest:
        found = getattr(found() if isinstance(found, type) else found, name)
    return found


def run_calls(job):
    names, failure = load(job)
    function = None
    if failure is None:
        try:
            function = find(names, job["entry"])
        except BaseException as error:
            failure = ["undefined"] + describe(error)
    if failure is not None:
        write_line(3, {"load": failure})
        return

    def refuse(value):
        raise NotPlain("it returned an object of class %s, which is not plain data" %
                       type(value).__name__)

    for index, arguments in enumerate(job["inputs"]):
        record = {"i": index}
        try:
            record["v"] = encode(function(*arguments), refuse)
            json.dumps(record, ensure_ascii=False).encode()
            write_line(3, record)
            continue
        except UnicodeEncodeError:
            record = {"i": index, "n": "it returned text that is no Unicode"}
        except NotPlain as error:
            record = {"i": index, "n": str(error)}
        except BaseException as error:
            record = {"i": index, "e": describe(error)}
        write_line(3, record)


class Server:
    def __init__(self, names):
        self.names = names
        self.objects = []
        self.places = {}  # id of an object -> its place in objects
        self.questions = open(4, "rb", closefd=False)
        self.operations = {"names": self.get_names, "call": self.call, "get": getattr,
                           "set": setattr, "getitem": lambda o, k: o[k],
                           "setitem": lambda o, k, v: o.__setitem__(k, v),
                           "delitem": lambda o, k: o.__delitem__(k), "len": len,
                           "iter": lambda o: list(o), "str": str}

    def serve(self):
        """Answers questions until something else comes: the reply to a callback, or the end."""
        while True:
            line = self.questions.readline()
            question = json.loads(line) if line else {}
            if "q" not in question:
                return question
            reply = {"s": question["s"]}
            try:
                reply.update(self.answer(question))
            except NotPlain as error:
                reply["n"] = str(error)
            except BaseException as error:
                reply["e"] = describe(error)
            write_line(5, reply)

    def answer(self, question):
        arguments = decode(question["a"], self.lookup)
        result = self.operations[question["q"]](*arguments)
        answer = {"v": encode(result, self.handle)}
        if question["q"] != "call":
            return answer
        after = encode(arguments[1:], self.handle)
        if after != question["a"][1:]:  # it changed its arguments in place
            answer["m"] = after
        return answer

    def get_names(self, wanted, shared):
        """shared: names of the prompt's classes, whose instances cross by value."""
        SHARED.update({n: self.names[n] for n in shared if isinstance(self.names.get(n), type)})
        return {n: self.names[n] for n in wanted if n in self.names}

    def call(self, function, arguments, keywords):
        return function(*arguments, **keywords)

    def handle(self, value):
        if isinstance(value, Callback):
            return {"f": value.number}
        place = self.places.setdefault(id(value), len(self.objects))
        if place == len(self.objects):
            self.objects.append(value)
        return {"h": place, "c": type(value).__name__}

    def lookup(self, handle):
        return Callback(self, handle["f"]) if "f" in handle else self.objects[handle["h"]]


class Callback:
    """A function of the tests that was passed as an argument."""

    def __init__(self, server, number):
        self.server = server
        self.number = number

    def __call__(self, *arguments, **keywords):
        call = encode([list(arguments), keywords], self.server.handle)
        write_line(5, {"f": self.number, "a": call})
        reply = self.server.serve()
        if "v" not in reply:
            raise RuntimeError(": ".join(reply.get("e", ["the tests are gone"])))
        return decode(reply["v"], self.server.lookup)


def main():
    job = json.loads(sys.stdin.buffer.read())
    if job["mode"] == "calls":
        run_calls(job)
    else:
        names, failure = load(job)
        write_line(5, {"load": failure})
        if failure is None:
            Server(names).serve()
    os._exit(0)


main()
