# SPDX-License-Identifier: Apache-2.0
#
# First part of both drivers (candidate.py and tester.py follow it in one program): how values cross
# the wall between two jails, and how the prompt's code is found.
#
# A value crosses as JSON. None, bool, str, finite float, int below 2**63 and list stand for
# themselves; all else is an object of one key, its tag. decode() builds exact builtin types and
# nothing else, whatever the other side wrote: no object of the candidate's own class, no subclass
# and no code comes through. What is not plain data becomes a handle: a number that names an object
# which stays where it is.
import __future__
import ast
import collections
import decimal
import enum
import fractions
import json
import math
import os
import re
import sys

MAX_LINE = 32 << 20  # bytes of one message
MAX_DEPTH = 200      # lists in lists
MAX_DRAWN = 10000    # items taken from a generator
PLAIN_TYPES = {t.__name__: t for t in (bool, bytes, complex, dict, float, frozenset, int, list,
                                       object, set, str, tuple, type(None))}


class NotPlain(BaseException):
    """A value cannot cross, or an object was compared that stays on the other side."""


class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next


class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val = val
        self.left = left
        self.right = right


SHARED = {}  # classes that the prompt defines, by name: each jail has its own of them


def encode(value, handle, depth=0):
    """handle(value) gives what stands for a value that is not plain data, or raises NotPlain."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if -1 << 63 <= value < 1 << 63 else {"i": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"n": repr(value)}
    if depth > MAX_DEPTH:
        raise NotPlain("a value is nested more than %d deep" % MAX_DEPTH)
    if kind is list:
        kinds = set(map(type, value))
        if kinds <= {str, bool}:
            return value
        if kinds == {int} and min(value) >= -1 << 63 and max(value) < 1 << 63:
            return value
        return [encode(v, handle, depth + 1) for v in value]
    tag = SEQUENCES.get(kind)
    if tag is not None:
        return {tag: [encode(v, handle, depth + 1) for v in value]}
    if kind in MAPPINGS:
        return {"d": [[encode(k, handle, depth + 1), encode(v, handle, depth + 1)]
                      for k, v in dict.items(value)]}
    return encode_rare(value, kind, handle, depth + 1)


SEQUENCES = {tuple: "t", set: "s", frozenset: "z", collections.deque: "q"}
MAPPINGS = (dict, collections.Counter, collections.defaultdict, collections.OrderedDict)


def encode_rare(value, kind, handle, depth):
    if kind is bytes or kind is bytearray:
        return {"b": bytes(value).hex()}
    if kind is complex:
        return {"c": [encode(value.real, handle), encode(value.imag, handle)]}
    if kind is range:
        return {"r": [encode(n, handle) for n in (value.start, value.stop, value.step)]}
    if kind is fractions.Fraction:
        return {"F": [encode(n, handle) for n in (value.numerator, value.denominator)]}
    if kind is decimal.Decimal:
        return {"D": str(value)}
    if kind is type and PLAIN_TYPES.get(value.__name__) is value:
        return {"y": value.__name__}
    if kind.__name__ == "ListNode" and hasattr(value, "val") and hasattr(value, "next"):
        return {"L": encode_list_nodes(value, handle, depth)}
    if kind.__name__ == "TreeNode" and hasattr(value, "left") and hasattr(value, "right"):
        return {"T": encode_tree_nodes(value, handle, depth)}
    if kind.__module__ in ("builtins", "itertools") and hasattr(kind, "__next__"):
        drawn = []
        for item in value:
            if len(drawn) == MAX_DRAWN:
                return {"g": drawn, "more": True}
            drawn.append(encode(item, handle, depth))
        return {"g": drawn}
    if SHARED.get(kind.__name__) is kind:
        return {"o": [kind.__name__, encode_object(value, handle, depth)]}
    return handle(value)


def encode_object(value, handle, depth):
    """What an instance of a shared class holds: a member's name, a tuple's items, or attributes."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, tuple):
        return {"t": [encode(v, handle, depth) for v in tuple.__iter__(value)]}
    slots = [n for c in type(value).__mro__ for n in getattr(c, "__slots__", ()) if
             n not in ("__dict__", "__weakref__") and hasattr(value, n)]
    held = {n: getattr(value, n) for n in slots}
    held.update(getattr(value, "__dict__", {}))
    return {"d": [[str(n), encode(v, handle, depth)] for n, v in held.items()]}


def encode_list_nodes(node, handle, depth):
    values, seen = [], set()
    while node is not None:
        if id(node) in seen:
            raise NotPlain("a linked list that runs in a circle")
        seen.add(id(node))
        values.append(encode(node.val, handle, depth))
        node = node.next
    return values


def encode_tree_nodes(root, handle, depth):
    """In preorder; each node is [value], each missing child None."""
    out, seen, stack = [], set(), [root]
    while stack:
        node = stack.pop()
        if node is None:
            out.append(None)
            continue
        if id(node) in seen:
            raise NotPlain("a tree with a node in two places")
        seen.add(id(node))
        out.append([encode(node.val, handle, depth)])
        stack += [node.right, node.left]
    return out


def decode(value, lookup, depth=0):
    """lookup(handle) gives the object that a handle names. ValueError for what nobody encodes."""
    kind = type(value)
    if kind is list:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        if not {list, dict} & set(map(type, value)):
            return value[:]
        return [decode(v, lookup, depth + 1) for v in value]
    if kind is not dict:
        return value
    if depth > MAX_DEPTH or not value:
        raise ValueError("no value")
    tag = next(iter(value))
    body = value[tag]
    if tag in ("t", "s", "z", "q", "g"):
        items = [decode(v, lookup, depth + 1) for v in expect(body, list)]
        if tag == "g":
            return drawn_again(items, value.get("more") is True)
        if tag in ("s", "z"):
            refuse_collisions(items)
        return {"t": tuple, "s": set, "z": frozenset, "q": collections.deque}[tag](items)
    if tag == "d":
        pairs = [[decode(x, lookup, depth + 1) for x in expect(p, list)] for p in
                 expect(body, list)]
        refuse_collisions([k for k, _ in pairs])
        return {k: v for k, v in pairs}
    if tag in RARE:
        return decode_rare(tag, body, lookup, depth + 1)
    return lookup(value)


RARE = set("inbcrFDyLTo")


def decode_rare(tag, body, lookup, depth):
    if tag == "i":
        return int(expect(body, str), 16)
    if tag == "n":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[body]
    if tag == "b":
        return bytes.fromhex(expect(body, str))
    if tag in ("c", "r", "F"):
        parts = [decode(v, lookup, depth) for v in expect(body, list)]
        for part in parts:
            expect(part, float if tag == "c" else int)
        return {"c": complex, "r": range, "F": fractions.Fraction}[tag](*parts)
    if tag == "D":
        number = decimal.Decimal(expect(body, str)[:100])
        if number.is_finite() and abs(number.adjusted()) > 400:
            raise ValueError("too large a decimal")
        return number
    if tag == "y":
        return PLAIN_TYPES[body]
    if tag == "L":
        head = None
        for v in reversed(expect(body, list)):
            head = ListNode(decode(v, lookup, depth), head)
        return head
    if tag == "o":
        return decode_object(expect(body, list), lookup, depth)
    return decode_tree_nodes(expect(body, list), lookup, depth)


def decode_object(body, lookup, depth):
    """An instance of this jail's own class of that name. No attribute hides one of its methods."""
    kind = SHARED[expect(body[0], str)]
    held = decode(body[1], lookup, depth)
    if issubclass(kind, enum.Enum):
        return kind[expect(held, str)]
    if issubclass(kind, tuple):
        return tuple.__new__(kind, expect(held, tuple))
    made = object.__new__(kind)
    for name, value in expect(held, dict).items():
        of_class = getattr(kind, expect(name, str), None)
        if name.startswith("__") or callable(of_class) or isinstance(of_class, property):
            raise ValueError("an attribute in the place of a method")
        object.__setattr__(made, name, value)
    return made


def decode_tree_nodes(items, lookup, depth):
    root = TreeNode()
    waiting = [(root, "left")]
    for item in items:
        parent, side = waiting.pop()  # IndexError: more nodes than places
        if item is None:
            continue
        (value,) = expect(item, list)
        node = TreeNode(decode(value, lookup, depth))
        setattr(parent, side, node)
        waiting += [(node, "right"), (node, "left")]
    if waiting:
        raise ValueError("a tree that ends early")
    return root.left


def drawn_again(items, more):
    yield from items
    if more:
        raise NotPlain("more than %d items were drawn from a generator" % MAX_DRAWN)


def expect(value, kind):
    if type(value) is not kind:
        raise ValueError("not a " + kind.__name__)
    return value


def refuse_collisions(keys):
    """Keys made to have one hash would make a set of them take hours."""
    if len(keys) > 1000 and len(set(map(hash, keys))) < len(set(map(repr, keys))) // 2:
        raise ValueError("keys of one hash")


def write_line(descriptor, message):
    data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    if len(data) > MAX_LINE:
        raise NotPlain("a value of more than %d bytes" % MAX_LINE)
    while data:
        data = data[os.write(descriptor, data):]


def parses(text):
    try:
        compile(text, "<text>", "exec", dont_inherit=True)
        return True
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def prompt_code(prompts, entry):
    """The Python of the prompt: all of it, a fenced block of it, or its run of code lines; it
    defines the entry point. Empty when there is none."""
    wanted = re.compile(r"^\s*(?:async def|def|class) %s\b" % re.escape(entry), re.M)
    for text in prompts if entry else ():
        for code in [text] + fenced(text)[::-1] + [code_lines(text)]:
            if wanted.search(code) and parses(code):
                return code
    return ""


def fenced(text):
    return [b.split("\n", 1)[-1] for b in text.split("```")[1::2]]


def helpers(prompts, entry):
    """What the prompt gives beside the entry point, wherever in it that stands: a list of
    definitions, imports and assignments. What has no body yet is the candidate's to write."""
    found = []
    for text in prompts:
        codes = [text] if parses(text) else fenced(text) or [code_lines(text)]
        for code in codes:
            tree = parsed(code)
            found += [n for n in tree.body if gives(n, entry)] if tree else []
    return found


def parsed(code):
    """A last function may lack its body."""
    last = code.rstrip().split("\n")[-1]
    indent = " " * (len(last) - len(last.lstrip()) + 4)
    for text in (code, code.rstrip() + "\n" + indent + "pass\n"):
        if parses(text):
            return ast.parse(text)
    return None


def gives(node, entry):
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.Assign):
        return all(isinstance(t, ast.Name) and t.id != entry for t in node.targets)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.value is not None
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return False
    return node.name != entry and not is_stub(node)


def is_stub(node):
    """Nothing but a docstring, pass, ... and NotImplementedError; of a class: in all its parts."""
    if isinstance(node, ast.ClassDef):
        return not node.bases and not node.decorator_list and all(is_stub(n) for n in node.body)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return all(is_stub(n) for n in node.body)
    if isinstance(node, ast.Raise):
        return "NotImplementedError" in ast.dump(node)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and
                                          isinstance(node.value, ast.Constant))


def define(statements, names):
    """Runs each that can be run: examples of calls among them cannot."""
    lazy = any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in statements)
    flags = __future__.annotations.compiler_flag if lazy else 0
    for node in statements:
        module = ast.Module([node], [])
        try:
            exec(compile(module, "<prompt>", "exec", flags, dont_inherit=True), names)
        except Exception:
            continue


def code_lines(text):
    """From the first word of code, which may follow a marker such as "User: ", to the line that is
    none any more."""
    starts = ("from ", "import ", "def ", "class ", "@")
    begin = re.search(r"(?:^|: |> ?)(?=from \w+ import |import \w|def \w|class \w|@\w)", text, re.M)
    lines = []
    for line in text[begin.end():].split("\n") if begin else []:
        if not line.startswith(starts) and line.strip() and line[0] not in " \t#":
            break
        lines.append(line)
    return "\n".join(lines)
