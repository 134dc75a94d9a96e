"""Rules for the code: which layer may import which, which foreign libraries, no cycles, no imports in functions,
sizes."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.toothless import toothless

SRC = Path(__file__).parents[2] / "src" / "skylift"
LAYERS = {
    "core": set(),
    "aws": {"core"},
    "wire": {"core"},
    "executors": {"aws", "core"},
    "runtime": {"aws", "core"},
    "anyscale": {"aws", "core"},
    "anyscale_fake": {"aws", "wire", "core"},
    "control": {"aws", "wire", "core"},
    "deploy": {"aws", "core"},
    "localcloud": {"wire", "core"},
    "cli": {"executors", "runtime", "control", "deploy", "localcloud", "anyscale_fake", "aws", "wire", "core"},
    "testing": {"localcloud", "anyscale_fake", "wire", "core"},
}
FOREIGN = {
    "core": set(),
    "aws": {"boto3", "botocore"},
    "wire": {"botocore", "msgspec", "uvicorn"},
    "executors": {"airflow", "sqlalchemy"},
    # jwt, cryptography and starlette are Airflow's own dependencies: it checks sessions and serves plugins with them.
    "runtime": {"airflow", "celery", "cryptography", "jwt", "sqlalchemy", "starlette", "statsd"},
    # httpx and pathspec are dependencies of Airflow's task SDK. anyscale: only where a user has installed it (vendor.py).
    "anyscale": {"airflow", "anyscale", "httpx", "pathspec"},
    # boto3: in the program of a job's container, for packages in a bucket.
    "anyscale_fake": {"boto3"},
    # cryptography: signs sign-in tokens (Ed25519; the standard library has no signatures).
    "control": {"cryptography", "psycopg"},
    "deploy": set(),
    "localcloud": {"botocore", "cryptography", "ministack", "moto", "psutil", "werkzeug"},
    # yaml: reads ecs-cli's files; moto has it, too.
    "cli": {"click", "rich", "watchfiles", "uvicorn", "yaml"},
    "testing": {"boto3", "botocore", "pytest"},
}
MOST_LINES_PER_FILE = 400
MOST_LINES_PER_FUNCTION = 60
MOST_COLUMNS = 120
MOST_FILES_PER_FOLDER = 24
OUTSIDE = re.compile(r"\bR\d{1,2}\b|\bissue \d+\b|\b(?:executors2?|mwaa|environments2?|localaws|anyscale)\.md, \d")
"""Words that only readers of papers outside this repository understand."""
FILLER = re.compile(r"See (?:the file's text|``[\w.]+``)\.?")

OF_OTHERS = re.compile(
    r"runtime/|executors/(?:in_container/|airflow_compat|check_airflow|orders|options/teams|last_words/(?:logs|live_log))|aws/shapes"
    r"|localcloud/(?:emulators/|containers/runner|ecs/tasks/slots|images/pythons|postgres/guard)|cli/(?:doctor|serving/serve)"
)
"""Files that look at objects of others (Airflow, an emulator, the operating system), which differ by version."""

FILES = sorted(SRC.rglob("*.py"))
pytestmark = pytest.mark.unit


def layer_of(path: Path) -> str:
    parts = path.relative_to(SRC).parts
    return parts[0] if len(parts) > 1 else ""


def module_of(path: Path) -> str:
    parts = ["skylift", *path.relative_to(SRC).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_file_keeps_the_law(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    lines = text.splitlines()
    layer = layer_of(path)
    assert ast.get_docstring(tree), "a file begins with one sentence: what it is"
    assert len(lines) <= MOST_LINES_PER_FILE, f"{len(lines)} lines: a room with too much in it"
    for line, name in imports_of(tree):
        head, *rest = name.split(".")
        where = f"line {line}: {layer or 'top'} imports {name}"
        if head == "skylift" and rest and layer:
            target = rest[0] if (SRC / rest[0]).is_dir() else ""
            assert target in {"", layer} | LAYERS[layer], where
        elif head not in sys.stdlib_module_names and head != "skylift" and layer:
            assert head in FOREIGN[layer], where
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_LINES_PER_FUNCTION, f"{node.name}: a long function"
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    assert "# lazy:" in lines[inner.lineno - 1], f"line {inner.lineno}: say why, with '# lazy: ...'"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_file_is_easy_to_read(path: Path) -> None:
    text = path.read_text()
    assert [n for n, line in enumerate(text.splitlines(), 1) if len(line) > MOST_COLUMNS] == [], (
        "lines that are too long"
    )
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            assert not FILLER.fullmatch(ast.get_docstring(node) or ""), f"{node.name}: a docstring that says nothing"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_what_an_object_can_do_is_named_by_its_type(path: Path) -> None:
    """``getattr(compute, "explainer", None)`` is a path that no tool follows: a Protocol names the capability."""
    looks = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr"}
        if len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
    ]
    assert not looks or OF_OTHERS.match(str(path.relative_to(SRC))), looks


def test_a_folder_has_few_files() -> None:
    counts = {
        str(folder.relative_to(SRC)): len(list(folder.glob("*.py"))) for folder in {path.parent for path in FILES}
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES_PER_FOLDER} == {}


def test_a_public_class_name_has_one_home() -> None:
    homes = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(SRC)))
    assert len(homes) > 100
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_nothing_refers_to_papers_outside_the_repository() -> None:
    root = SRC.parents[1]
    paths = [path for top in ("src", "tests", "bench", "docs") for path in (root / top).rglob("*.py")]
    paths += [*(root / "docs").rglob("*.md"), *root.glob("*.md")]
    found = {
        str(path.relative_to(root)): words
        for path in paths
        if path.name != "test_law.py" and (words := OUTSIDE.findall(path.read_text()))
    }
    assert len(paths) > 400
    assert found == {}


def test_no_import_cycles() -> None:
    known = {module_of(path): path for path in FILES}
    edges = {
        name: {target for _, target in _top_level_imports(path) if target in known and target != name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "import cycle: " + " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for target in edges[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in known:
        visit(name, ())


def _top_level_imports(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        yield from imports_of(node) if isinstance(node, ast.Import | ast.ImportFrom) else ()


def test_tests_never_patch() -> None:
    """Real boto3 against our own wire instead of mocks: a patched test proves only the patch."""
    banned = ("mock.patch", "monkeypatch.setattr", "from unittest", "import unittest")
    paths = [path for path in (SRC.parents[1] / "tests").rglob("*.py") if path.name != "test_law.py"]
    found = {path.name: [word for word in banned if word in path.read_text()] for path in paths}
    assert len(found) > 100
    assert {name: words for name, words in found.items() if words} == {}


def test_every_test_can_fail() -> None:
    paths = sorted((SRC.parents[1] / "tests").rglob("*.py"))
    assert list(toothless({path: ast.parse(path.read_text()) for path in paths})) == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("run()", "asserts nothing"),
        ("assert True", "always true"),
        ("assert (x, 'told')", "always true"),
        ("assert run() in {True, False}", "always true"),
        ("assert MOST == MOST", "always true"),
        ("for one in run(): assert one", "may be empty"),
        ("assert all(one for one in run())", "may be empty"),
        ("for _ in range(3):\n  for one in run(): assert one", "may be empty"),
        ("assert run()", ""),
        ("judge()", ""),
        ("with pytest.raises(OSError): run()", ""),
        ("found = [1, 2]\nfor one in found: assert one", ""),
        ("found = run()\nassert len(found) == 2\nfor one in found: assert one", ""),
    ],
)
def test_a_test_that_cannot_fail_is_found(body: str, why: str) -> None:
    text = "def judge():\n assert x\ndef test_it():\n" + "\n".join(f" {line}" for line in body.splitlines())
    found = list(toothless({Path("test_x.py"): ast.parse(text)}))
    assert [why in one for one in found] == ([True] if why else [])


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports test files by their bare names."""
    paths = sorted((SRC.parents[1] / "tests").rglob("test_*.py"))
    names = [path.name for path in paths]
    assert [path for path in paths if names.count(path.name) > 1] == []
