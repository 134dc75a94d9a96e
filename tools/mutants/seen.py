"""Which test runs which line: recorded by one run of the tests under coverage, kept in ``.mutants/``, renewed where
test files changed."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tools.mutants.trials import ROOT, Tests

FILE = ROOT / ".mutants" / "seen.json"
# They read the source text itself, so they notice a file rather than a mistake.
NOT_THESE = ("tests/unit/test_law.py", "tests/unit/test_docs.py")


ELSEWHERE = {
    "src/skylift/executors/in_container/stay": (
        "unit/executors/test_warm_stops.py",
        "local/executors/test_warm_on_cloud.py",
    ),
    "src/skylift/executors/in_container/": (
        "unit/executors/test_executor_command.py",
        "local/executors/test_executor_in_container.py",
    ),
    "src/skylift/control/parts/": ("contract/test_control_parts.py", "local/control/test_control_environments.py"),
    "src/skylift/localcloud/ecs/": ("local/localcloud/test_ecs_tasks.py", "local/localcloud/test_ecs_health.py"),
    "src/skylift/localcloud/containers/template": ("local/localcloud/test_ecs_templates.py",),
    "src/skylift/localcloud/containers/shim": ("local/localcloud/test_ecs_runners.py",),
}
"""What also runs where no recording reaches, as text or with an environment of its own, and the test files that are
about it: tried where no recorded test runs a line."""


@dataclass
class Seen:
    """For each line of the source as it was recorded, the tests that ran it; asked by lines of the source as it is."""

    seconds: dict[str, float] = field(default_factory=dict)
    ran: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def tests_of(self, file: str, line: int, most_seconds: float) -> Tests:
        """The tests that run this line, likeliest to notice first: those that run few lines of other files."""
        found = self._tests_of(file, line)
        chosen, seconds = [], 0.0
        here = Counter(test for tests in self.ran.get(file, {}).values() for test in tests)
        cost = {test: (self._reach[test] - here[test]) / 500 + self.seconds[test] for test in found}
        naming = self._naming(file, line)
        far = {test: here[test] == 0 and test.split("::")[0] not in naming for test in found}
        for test in sorted(found, key=lambda test: (far[test], cost[test], test)):
            seconds += self.seconds[test]
            if chosen and seconds > most_seconds:
                break
            chosen.append(test)
        if not chosen:
            chosen = [f"tests/{test}" for start, tests in ELSEWHERE.items() if file.startswith(start) for test in tests]
            return Tests(tuple(dict.fromkeys(chosen)), 60.0 * len(chosen), len(chosen))
        return Tests(tuple(chosen), seconds, len(found))

    def __post_init__(self) -> None:
        self._lines: dict[str, dict[int, int]] = {}
        self._reach: Counter[str] = Counter()
        for lines in self.ran.values():
            for tests in lines.values():
                self._reach.update(tests)

    def _tests_of(self, file: str, line: int) -> set[str]:
        first, last, names = _statement(file, line)
        if names is None:
            return self._ran(file, [line]) or self._ran(file, range(first, last + 1))
        naming = self._naming(file, line)
        named = {test for test in self.seconds if test.split("::")[0] in naming}
        return named | self._users(file, names) or self._ran(file, [line], imported=False)

    def _naming(self, file: str, line: int) -> set[str]:
        """The files of tests that import the name that a line binds, and so may look at it without running a line."""
        names = _statement(file, line)[2] or set()
        module = file.removeprefix("src/").removesuffix(".py").replace("/", ".")
        after = {test: _text(test).partition(f"from {module} import ")[2] for test in self.digests if _is_there(test)}
        word = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b") if names else None
        return {test for test, text in after.items() if word and word.search(text)}

    def _users(self, file: str, names: set[str]) -> set[str]:
        """What runs once, at import, is noticed by those who run the lines that use it: of functions, because whoever
        is first to import a file runs all others of its lines."""
        word = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b") if names else None
        found: set[str] = set()
        for other in self.ran if word else ():
            if word and (ROOT / other).is_file() and any(name in _text(other) for name in names):
                lines = [n for n, text in enumerate(_text(other).splitlines(), 1) if word.search(text)]
                found |= self._ran(other, [n for n in lines if _statement(other, n)[2] is None])
        return found or {test for tests in self.ran.get(file, {}).values() for test in tests if test in self.seconds}

    def _ran(self, file: str, lines: Iterable[int], *, imported: bool = True) -> set[str]:
        """Who ran these lines; ``imported``: also the tests of a file that ran them when it was imported."""
        ran = self.ran.get(file, {})
        then = self._then(file)
        found = {test for line in lines for test in ran.get(then.get(line, 0), ())}
        whole = tuple(test for test in found if test.endswith("::")) if imported else ()
        return {test for test in self.seconds if test in found or (whole and test.startswith(whole))}

    def _then(self, file: str) -> dict[int, int]:
        """Today's line -> the same line when it was recorded (a changed line counts as the one that it replaced)."""
        if file in self._lines:
            return self._lines[file]
        old, new = self.texts.get(file, "").splitlines(), _text(file).splitlines()
        found = self._lines[file] = {line: line for line in range(1, len(new) + 1)} if old == new else {}
        if old == new:
            return found
        for _, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            for at in range(c, d):
                if b > a:
                    found[at + 1] = min(a + at - c, b - 1) + 1
        return found


def renewed(folders: Sequence[str]) -> Seen:
    """What is known, after the test files that are new or changed since have been run once more."""
    seen = _read()
    digests = {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in _test_files(folders)
    }
    stale = [name for name, digest in digests.items() if seen.digests.get(name) != digest]
    gone = [name for name in seen.digests if not (ROOT / name).is_file()]
    if stale or gone:
        print(f"recording which lines {len(stale)} test files run ...", flush=True)
        seen = _merged(seen, {*stale, *gone}, _record(stale) if stale else {"seconds": {}, "ran": {}})
        seen.digests = {name: d for name, d in (seen.digests | digests).items() if name not in gone}
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(
            json.dumps({name: getattr(seen, name) for name in ("seconds", "texts", "digests")} | _packed(seen.ran))
        )
    return seen


def _test_files(folders: Sequence[str]) -> list[Path]:
    """The files of tests in these folders and all folders below; a file stands for itself."""
    found = [path for name in folders for path in (sorted((ROOT / name).rglob("test_*.py")) or [ROOT / name])]
    return [path for path in found if str(path.relative_to(ROOT)) not in NOT_THESE]


def _read() -> Seen:
    if not FILE.exists():
        return Seen()
    kept = json.loads(FILE.read_text())
    ids = kept.pop("ids")
    kept["ran"] = {
        file: {int(n): [ids[test] for test in tests] for n, tests in lines.items()}
        for file, lines in kept["ran"].items()
    }
    return Seen(**kept)


def _packed(ran: dict[str, dict[int, list[str]]]) -> dict[str, Any]:
    """Each test's long id once."""
    ids: dict[str, int] = {}
    numbers = {
        file: {line: [ids.setdefault(test, len(ids)) for test in tests] for line, tests in lines.items()}
        for file, lines in ran.items()
    }
    return {"ids": list(ids), "ran": numbers}


def _record(files: Sequence[str]) -> dict[str, Any]:
    target = FILE.with_name("recorded.json")
    target.parent.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tools.mutants.recording", "-q", "--timeout=600", "-m", "not long and "
                                                                                                       "not soak", *files],
        cwd=ROOT, env={**os.environ, "MUTANTS_RECORD": str(target)}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        sys.exit(f"The tests do not run, so nothing was recorded:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).splitlines()[-15:]))
        print("What fails without any mistake is left out.", flush=True)
    recorded: dict[str, Any] = json.loads(target.read_text())
    target.unlink()
    return recorded


def _merged(seen: Seen, stale: set[str], new: dict[str, Any]) -> Seen:
    """Old lines are carried over to today's numbers, so that old and new can be told in one way."""
    files = {*seen.ran, *new["ran"]}
    ran: dict[str, dict[int, list[str]]] = {}
    for file in files:
        if not (ROOT / file).is_file():
            continue
        then = seen._then(file)
        count = len((ROOT / file).read_text().splitlines())
        lines = {}
        for line in range(1, count + 1):
            old = [t for t in seen.ran.get(file, {}).get(then.get(line, 0), ()) if t.split("::")[0] not in stale]
            tests = [*old, *new["ran"].get(file, {}).get(str(line), ())]
            if tests:
                lines[line] = tests
        ran[file] = lines
    kept = {test: took for test, took in seen.seconds.items() if test.split("::")[0] not in stale}
    texts = {file: (ROOT / file).read_text() for file in ran}
    return Seen(kept | new["seconds"], ran, texts, seen.digests)


@cache
def _is_there(file: str) -> bool:
    return (ROOT / file).is_file()


@cache
def _text(file: str) -> str:
    return (ROOT / file).read_text()


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse(_text(file))


def _statement(file: str, line: int) -> tuple[int, int, set[str] | None]:
    """The statement around a line: its first and last line; the names that it binds, if it runs at import, else
    None."""
    first = last = line
    names: set[str] | None = set()
    body: list[ast.stmt] = _tree(file).body
    while body:
        node = next((n for n in body if _begin(n) <= line <= (n.end_lineno or 0)), None)
        if node is None:
            break
        first, last, body = _begin(node), node.end_lineno or 0, []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if line < node.body[0].lineno:
                return first, last, {node.name}
            names, body = None, node.body
        elif isinstance(node, ast.ClassDef):
            names, body = {node.name}, node.body
        elif names is not None and isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return first, last, names | {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        else:
            body = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            for handler in getattr(node, "handlers", ()):
                body = [*body, *handler.body]
            for case in getattr(node, "cases", ()):
                body = [*body, *case.body]
    return first, last, names


def _begin(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
