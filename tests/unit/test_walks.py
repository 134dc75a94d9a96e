"""The lists in ``docs/walks.md``: each step exists and leads to the next, and no list has more than 20 modules."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from botocore import xform_name

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "walks.md").read_text()
MOST_MODULES = 20
STEP = re.compile(r"^(\d+)\. `([\w.]+)`(?: \(([^)]*)\))?", re.MULTILINE)

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Step:
    """One line of a walk: its name, the module's file, and the path of names in it."""

    number: int
    name: str
    link: str
    file: Path
    inside: tuple[str, ...]

    @property
    def called(self) -> str:
        """What whoever calls it writes."""
        last = self.inside[-1]
        return self.inside[-2] if last in {"__init__", "__call__"} else last

    @property
    def node(self) -> ast.AST:
        return found(self.file, self.inside)


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def found(file: Path, inside: tuple[str, ...]) -> ast.AST:
    """The class or function of that path of names. Raises ``LookupError``."""
    here: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef = tree_of(file)
    for name in inside:
        inner = [
            one
            for one in here.body
            if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name
        ]
        if not inner:
            raise LookupError(f"{file}: there is no {'.'.join(inside)}")
        here = inner[-1]
    return here


def module_of(name: str) -> tuple[Path, tuple[str, ...]]:
    """The file of the module, and what follows of the name. The longest beginning that is a module counts."""
    words = name.split(".")
    for length in range(len(words) - 1, 0, -1):
        head = ".".join(words[:length])
        if words[0] == "airflow":
            spec = importlib.util.find_spec(head) if length > 1 and words[length - 1].islower() else None
            file = Path(spec.origin) if spec and spec.origin else Path()
        else:
            file = ROOT / "src" / "skylift" / Path(*words[:length]).with_suffix(".py")
        if file.is_file():
            return file, tuple(words[length:])
    raise LookupError(f"{name}: no such module")


def steps_of(section: str) -> list[Step]:
    return [
        Step(int(number), name, link, *module_of(name))
        for number, name, link in (match.groups(default="") for match in STEP.finditer(section))
    ]


WALKS = {section.partition("\n")[0]: steps_of(section) for section in PAGE.split("\n## ")[1:] if STEP.search(section)}
STEPS = [
    pytest.param(walk, number, id=f"{walk[0].name}-{number + 1}")
    for walk in WALKS.values()
    for number in range(len(walk))
]


def names_in(node: ast.AST) -> Iterator[str]:
    """All names and attributes that a class or a function uses."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr


def leads(walk: list[Step], number: int) -> str:
    """Why the step before does not lead to this one; "" when it does."""
    step = walk[number]
    back = re.search(r"from (\d+)", step.link)
    before = walk[int(back.group(1)) - 1] if back else walk[number - 1]
    used = {*names_in(before.node)}
    if between := re.search(r"through `(\w+)`", step.link):
        word = between.group(1)
        return "" if word in used and word in {*names_in(step.node)} else f"{before.name} and it do not share {word}"
    if "implements it" in step.link:
        owner = found(step.file, step.inside[:-1])
        assert isinstance(owner, ast.ClassDef)
        bases = {name for base in owner.bases for name in names_in(base)}
        same = step.inside[-1] == before.inside[-1] and before.inside[-2] in bases
        return "" if same else f"{owner.name} does not name {before.inside[-2]} as its base"
    if message := re.search(r"takes (\d+)", step.link):
        taken = walk[int(message.group(1)) - 1].inside[-1]
        cases = {name for one in ast.walk(step.node) if isinstance(one, ast.MatchClass) for name in names_in(one.cls)}
        return "" if taken in cases else f"no case of it takes {taken}"
    if "calls it" in step.link:
        return "" if before.called in {*names_in(step.node)} else f"it does not name {before.called}"
    if operation := re.search(r"operation (\w+)", step.link):
        same = xform_name(operation.group(1)) == step.inside[-1] and "xform_name" in used
        return "" if same else f"{before.name} does not make this name of the operation"
    if program := re.search(r"program `([\w.]+)`", step.link):
        word = program.group(1)
        return "" if step.file.name == word and f'"{word}"' in before.file.read_text() else f"{word} is not started"
    if step.called == "__getattr__":
        return "" if "getattr" in used else f"{before.name} asks nobody for an attribute"
    return "" if step.called in used else f"{before.name} does not name {step.called}"


def test_the_page_has_both_walks() -> None:
    assert [walk[0].called for walk in WALKS.values()] == ["queue_workload", "AloneCloud"]
    assert all("verdict" in [step.called for step in walk] or "soon" in walk[-1].name for walk in WALKS.values())


@pytest.mark.parametrize(("walk", "number"), STEPS)
def test_a_step_exists_and_the_one_before_leads_to_it(walk: list[Step], number: int) -> None:
    step = walk[number]
    assert step.number == number + 1
    assert step.node
    assert not number or leads(walk, number) == ""


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_is_through_few_modules(title: str) -> None:
    modules = {step.file for step in WALKS[title]}
    assert len(modules) <= MOST_MODULES, sorted(map(str, modules))
    claimed = re.search(r"^(\d+) modules", PAGE.partition(title)[2], re.MULTILINE)
    assert claimed
    assert int(claimed.group(1)) == len(modules)


@pytest.mark.parametrize("title", WALKS)
def test_a_step_that_leads_nowhere_is_noticed(title: str) -> None:
    """The check itself: with another step before it, each step that needs no word of its own is out of reach."""
    walk = WALKS[title]
    for number in range(2, len(walk)):
        if not walk[number].link:
            changed = [*walk[: number - 1], walk[0], *walk[number:]]
            assert leads(changed, number), walk[number].name
