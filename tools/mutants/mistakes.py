"""The one-line mistakes that could be planted in a file: a comparison turned, a removal left out, a number off by one
...

Only places whose effect a test could see: no types, no documentation, no log lines, no texts for people, no names of
threads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

TURNED = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
    ast.And: "or", ast.Or: "and",
    ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "+",
    ast.BitOr: "&", ast.BitAnd: "|",
}  # fmt: skip
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
# A word that a program reads: a key, a name, a state. Sentences are for people.
WORD = re.compile(r"[\w.:/*$-]{2,}")
LOCK = re.compile(r"lock|mutex|_news|_ONE_PARSES|_line\b", re.IGNORECASE)
LOG = re.compile(r"(self\.)?_?log(ger|s)?\.(debug|info|warning|error|exception|critical)\b", re.IGNORECASE)
SPELLED = {"!=": " != ", "not in": " not in ", "is not": " is not "}


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake: this span of the file's text becomes that."""

    file: str
    line: int
    start: int
    end: int
    text: str
    kind: str

    def planted(self, source: str) -> str:
        """The whole file with the mistake in it."""
        return source[: self.start] + self.text + source[self.end :]

    def is_python(self, source: str) -> bool:
        """Whether the file could still be imported; what cannot be is no mistake that anybody makes unseen."""
        try:
            compile(self.planted(source), self.file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
        return True

    def lines(self, source: str) -> tuple[str, str]:
        """The line as it is, and as it would be (of several lines: the first that differ)."""
        old, new = source.splitlines(), self.planted(source).splitlines()
        at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(new) - 1)
        return old[at].strip(), new[at].strip()


def mistakes_in(file: str, source: str) -> list[Mistake]:
    """All mistakes that this tool knows how to make in a file, in the order of the text; ask each whether it
    ``is_python``."""
    return sorted(set(_Planter(file, source).everything()))


class _Planter:
    def __init__(self, file: str, source: str) -> None:
        self._file = file
        self._source = source
        self._bytes_of_lines = [line.encode() for line in source.splitlines(keepends=True)]
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def everything(self) -> Iterator[Mistake]:
        for node in _visible(ast.parse(self._source)):
            for start, end, text, kind in self._of(node):
                mistake = Mistake(self._file, self._source.count("\n", 0, start) + 1, start, end, text, kind)
                if self._source[start:end] != text:
                    yield mistake

    def _of(self, node: ast.AST) -> Iterator[tuple[int, int, str, str]]:
        match node:
            case ast.Compare(ops=[operator]):
                yield self._between(node.left, node.comparators[0], TURNED[type(operator)], "comparison")
            case ast.BoolOp():
                yield self._between(node.values[0], node.values[1], TURNED[type(node.op)], "and/or")
            case ast.BinOp(op=operator) if type(operator) in TURNED and not _is_text(node):
                yield self._between(node.left, node.right, TURNED[type(operator)], "arithmetic")
            case ast.AugAssign(op=operator) if type(operator) in TURNED:
                yield self._between(node.target, node.value, TURNED[type(operator)] + "=", "arithmetic")
            case ast.UnaryOp(op=ast.Not()):
                yield *self._span(node), self._text(node.operand), "not left out"
            case ast.Constant():
                yield from self._constant(node)
            case ast.Call():
                yield from self._call(node)
            case ast.With() | ast.AsyncWith():
                yield from self._with(node)
            case ast.ExceptHandler(type=ast.expr() as caught):
                yield *self._span(caught), "ZeroDivisionError", "exception not caught"
            case ast.stmt():
                yield from self._statement(node)
        if isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
            yield *self._span(node.test), f"(not ({self._text(node.test)}))", "condition negated"
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                if not isinstance(test, ast.Compare | ast.UnaryOp):
                    yield *self._span(test), f"(not ({self._text(test)}))", "condition negated"

    def _constant(self, node: ast.Constant) -> Iterator[tuple[int, int, str, str]]:
        match node.value:
            case bool():
                yield *self._span(node), str(not node.value), "constant"
            case int() | float():
                yield *self._span(node), repr(node.value + 1 if node.value < 10 else node.value * 10), "constant"
            case str() if WORD.fullmatch(node.value):
                yield *self._span(node), repr(f"{node.value}X"), "word"

    def _call(self, node: ast.Call) -> Iterator[tuple[int, int, str, str]]:
        for keyword in node.keywords:
            if keyword.arg and not _is_label(node, keyword):
                start, end = self._span(keyword)
                after = re.compile(r"\s*,").match(self._source, end)
                yield start, after.end() if after else end, "", "argument left out"
        if isinstance(node.func, ast.Name) and node.func.id in SWAPPED:
            yield *self._span(node.func), SWAPPED[node.func.id], "function"

    def _with(self, node: ast.With | ast.AsyncWith) -> Iterator[tuple[int, int, str, str]]:
        for item in node.items:
            text = self._text(item.context_expr)
            if len(node.items) == 1 and not item.optional_vars:
                kind = "lock" if LOCK.search(text) else "suppress" if "suppress" in text else ""
                if kind:
                    yield self._start(node), self._span(item.context_expr)[1], "if True", f"{kind} left out"

    def _statement(self, node: ast.stmt) -> Iterator[tuple[int, int, str, str]]:
        match node:
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.Delete() | ast.AugAssign() | ast.Raise():
                yield *self._span(node), "pass", "statement left out"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
                yield *self._span(node), "pass", "statement left out"
            case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
                yield *self._span(node), "return None", "nothing returned"
            case ast.Continue():
                yield *self._span(node), "break", "loop"
            case ast.Break():
                yield *self._span(node), "continue", "loop"

    def _between(self, left: ast.expr, right: ast.expr, text: str, kind: str) -> tuple[int, int, str, str]:
        """The operator between two operands; a bracket or a comment between them stays."""
        start, end = self._span(left)[1], self._span(right)[0]
        old = re.search(r"not\s+in|is\s+not|\bis\b|\bin\b|\band\b|\bor\b|[!=<>+\-*/%|&]+", self._source[start:end])
        if old is None:
            return start, start, "", kind
        return start + old.start(), start + old.end(), text, kind

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return self._start(node), self._place(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _start(self, node: ast.AST) -> int:
        return self._place(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def _place(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._bytes_of_lines[line - 1][:column].decode())

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._source[start:end]


def _visible(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes whose effect a test could see."""
    match node:
        case ast.Expr(value=ast.Constant() | ast.JoinedStr()):
            return
        case ast.Call() if LOG.match(ast.unparse(node.func)):
            return
        case ast.Expr(value=ast.Call() as call) if LOG.match(ast.unparse(call.func)):
            return
        case ast.ClassDef() if any("Protocol" in ast.unparse(base) for base in node.bases):
            return
        case ast.If() if "TYPE_CHECKING" in ast.unparse(node.test):
            return
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]):
            return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        if isinstance(node, ast.JoinedStr | ast.FormattedValue) and name == "format_spec":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant):
                continue  # before Python 3.12 a piece of an f-string does not know where it stands
            if isinstance(child, ast.AST) and not _is_cast(child) and not _is_label(node, child):
                yield from _visible(child)


def _is_cast(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("cast", "TypeVar")


def _is_label(node: ast.AST, child: ast.AST) -> bool:
    """What a thread or an asyncio task is called: for whoever looks at stacks."""
    called = node.func if isinstance(node, ast.Call) else None
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    if not isinstance(node, ast.Call) or name not in ("Thread", "ThreadPoolExecutor", "create_task"):
        return False
    second = name == "ThreadPoolExecutor" and child in node.args[1:2]
    return second or (isinstance(child, ast.keyword) and child.arg in ("name", "thread_name_prefix"))


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in (node.left, node.right)
    )
