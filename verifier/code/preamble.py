# SPDX-License-Identifier: Apache-2.0
#
# What LeetCode gives a solution without being asked, in both jails: the node classes and helpers
# its tests use, and the standard library by name (builtins keep their meaning: pow is not math's).
import builtins


def list_node(values):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head


def is_same_list(a, b):
    while a is not None and b is not None:
        if a.val != b.val:
            return False
        a, b = a.next, b.next
    return a is None and b is None


def tree_node(values):
    """Level by level, None for a missing child; the children of a missing node are left out."""
    if not values or values[0] is None:
        return None
    root = TreeNode(values[0])
    places = collections.deque([(root, "left"), (root, "right")])
    for value in values[1:]:
        if not places:
            break
        parent, side = places.popleft()
        if value is not None:
            node = TreeNode(value)
            setattr(parent, side, node)
            places += [(node, "left"), (node, "right")]
    return root


def is_same_tree(a, b):
    pairs = [(a, b)]
    while pairs:
        a, b = pairs.pop()
        if a is None or b is None:
            if a is not b:
                return False
        elif a.val != b.val:
            return False
        else:
            pairs += [(a.left, b.left), (a.right, b.right)]
    return True


MODULES = ("collections", "heapq", "bisect", "itertools", "functools", "math", "operator", "string",
           "random", "re", "datetime", "copy", "typing", "sys", "json", "statistics", "time",
           "fractions", "decimal", "cmath")
STARRED = ("collections", "heapq", "bisect", "itertools", "functools", "math", "string", "typing",
           "operator")


def preamble():
    names = {f.__name__: f for f in (ListNode, TreeNode, list_node, is_same_list, tree_node,
                                     is_same_tree)}
    for module in MODULES:
        names[module] = __import__(module)
    for module in STARRED:
        for name in getattr(names[module], "__all__", None) or dir(names[module]):
            if not name.startswith("_") and not hasattr(builtins, name):
                names.setdefault(name, getattr(names[module], name))
    return names
