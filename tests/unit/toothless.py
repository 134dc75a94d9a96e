"""Finds tests that cannot fail: without an assert, with one that is always true, or with all of them in loops that may
not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
JUDGES = {"raises", "warns", "fail", "expect", "check_call", "result"}
"""Calls that fail by themselves: pytest's, Playwright's, a future's."""

PASSING_ON = {"sorted", "list", "tuple", "set", "enumerate", "reversed", "zip", "product", "items", "values", "keys"}
"""Calls whose result is as empty as what they are given."""


def toothless(files: Mapping[Path, ast.Module]) -> Iterator[str]:
    """``file:line: why`` for each such test."""
    judges = _judges(files)
    for path, tree in files.items():
        for test in ast.walk(tree):
            if isinstance(test, Function) and test.name.startswith("test_"):
                for line, why in _faults(test, judges):
                    yield f"{path.name}:{line}: {test.name} {why}"


def _faults(test: Function, judges: set[str]) -> Iterator[tuple[int, str]]:
    if not _judges_itself(test, judges):
        yield test.lineno, "asserts nothing"
        return
    for node in ast.walk(test):
        if isinstance(node, ast.Assert) and _always_true(node.test):
            yield node.lineno, f"asserts what is always true: {ast.unparse(node.test)}"
    if not any(_is_sure(node, judges, _names(test)) for node in test.body):
        yield test.lineno, "asserts only in loops over what may be empty: say how much there must be"


def _judges(files: Mapping[Path, ast.Module]) -> set[str]:
    """Names of helpers that assert, or call one that does."""
    judges, before = set(JUDGES), 0
    helpers = [node for tree in files.values() for node in ast.walk(tree) if isinstance(node, Function)]
    while len(judges) > before:
        before = len(judges)
        judges |= {one.name for one in helpers if not one.name.startswith("test_") and _judges_itself(one, judges)}
    return judges


def _judges_itself(node: ast.AST, judges: set[str]) -> bool:
    return any(
        isinstance(inner, ast.Assert | ast.Raise) or (isinstance(inner, ast.Call) and _is_judge(inner, judges))
        for inner in ast.walk(node)
    )


def _is_judge(call: ast.Call, judges: set[str]) -> bool:
    return _called(call) in judges or _called(call).startswith("assert_")


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _always_true(test: ast.expr) -> bool:
    match test:
        case ast.Constant():
            return bool(test.value)
        case ast.Tuple():
            return True
        case ast.Compare(ops=[ast.In()], comparators=[ast.Set() | ast.Tuple() as among]):
            return {getattr(one, "value", None) for one in among.elts} == {True, False}
        case ast.Compare(left=ast.Name() | ast.Attribute() as left, ops=[ast.Eq()], comparators=[right]):
            return ast.unparse(left) == ast.unparse(right)
    return False


def _is_sure(node: ast.AST, judges: set[str], known: Mapping[str, ast.expr]) -> bool:
    """Whether an assert in this statement is reached, as far as can be read."""
    if isinstance(node, ast.For | ast.AsyncFor):
        # What a written table holds is taken for more than nothing, too.
        held = {name.id: node.iter for name in ast.walk(node.target) if isinstance(name, ast.Name)}
        return _has_some(node.iter, known) and any(_is_sure(inner, judges, {**known, **held}) for inner in node.body)
    if isinstance(node, ast.Assert):
        test = node.test
        if isinstance(test, ast.Call) and _called(test) == "all" and isinstance(test.args[0], ast.GeneratorExp):
            return _has_some(test.args[0].generators[0].iter, known)
        return True
    if isinstance(node, ast.Call) and _is_judge(node, judges):
        return True
    return any(_is_sure(inner, judges, known) for inner in ast.iter_child_nodes(node))


def _has_some(iterated: ast.expr, known: Mapping[str, ast.expr]) -> bool:
    match iterated:
        case ast.List(elts=held) | ast.Tuple(elts=held) | ast.Set(elts=held) | ast.Dict(values=held):
            return any(not isinstance(one, ast.Starred) or _has_some(one.value, known) for one in held)
        case ast.Constant():
            return bool(iterated.value)
        case ast.Name(id=name):
            return name.isupper() or (name in known and _has_some(known[name], {}))
        case ast.Attribute(attr=name):
            return name.isupper()
        case ast.Call() if _called(iterated) == "range":
            return True
        case ast.Call() if _called(iterated) in PASSING_ON:
            given = [*iterated.args, *([iterated.func.value] if isinstance(iterated.func, ast.Attribute) else [])]
            return any(_has_some(one, known) for one in given)
        case ast.BinOp():
            return _has_some(iterated.left, known) or _has_some(iterated.right, known)
        case ast.ListComp(generators=[only]) | ast.SetComp(generators=[only]):
            return not only.ifs and _has_some(only.iter, known)
    return False


def _names(test: Function) -> dict[str, ast.expr]:
    """What the test's own names stand for, where that is written down once; a parameter stands for what is given."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(test):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found
