"""Tries mistakes: each is planted in a copy of the tree, in a process forked from one that has the libraries imported.

A worker imports Airflow, botocore and pytest once; a trial then costs its tests and the import of skylift. The copy is
the worker's own:
nothing is ever written to the tree that people work in.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from tools.mutants.mistakes import Mistake

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    "airflow",
    "boto3",
    "botocore",
    "click",
    "hypothesis",
    "psycopg",
    "pytest",
    "rich",
    "sqlalchemy",
    "uvicorn",
)
READERS = (
    "tests/unit/test_words_of_others.py",
    "tests/unit/test_docs.py::test_a_generated_page_is_up_to_date",
)
"""They read words and settings in the source itself, so no recording tells which lines they are about: tried last."""

READ = frozenset({"word", "constant", "argument left out"})
"""The kinds of mistakes that they may notice."""

TYPES = "types"
"""What noticed a mistake that ``make check`` refuses, because a type no longer fits."""

SUBREAPER = 36  # prctl: what a test leaves running becomes the worker's child, and is ended with the trial


@dataclass(frozen=True)
class Tests:
    """What to run for one mistake, likeliest first, and how long that takes without it."""

    ids: tuple[str, ...]
    seconds: float
    of: int


@dataclass(frozen=True)
class Trial:
    """How one mistake went: noticed by this test, or by nothing."""

    mistake: Mistake
    tests: Tests
    noticed_by: str
    seconds: float


def work(pipe: Connection) -> None:
    """A worker: takes a mistake and its tests, answers with a trial, until the other side hangs up."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        worker = _Worker(Path(folder))
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                mistake, tests = pipe.recv()
                pipe.send(worker.trial(mistake, tests))


@dataclass
class _Worker:
    folder: Path
    _green: set[str] = field(default_factory=set)
    _unfit: set[str] = field(default_factory=set)
    _early: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tree = self.folder / "tree"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        for folder in ("src", "tests"):
            for compiled in (ROOT / folder).rglob("__pycache__"):
                shutil.copytree(compiled, self.tree / compiled.relative_to(ROOT), dirs_exist_ok=True)
        os.chdir(self.tree)
        sys.path[:0] = [str(self.tree / "src"), str(self.tree)]
        os.environ["PYTHONPATH"] = str(self.tree / "src")
        os.environ["AIRFLOW_HOME"] = str(self.folder / "airflow")
        # Only what is written for a mistake could go stale: compiled once, then nothing more is.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "src", "tests"], check=True)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        for name in _foreign_modules(self.tree):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        # Airflow's configuration asks our provider for its options: what was read for that is forgotten again, and a
        # mistake in those files is tried in an interpreter of its own.
        for name in [name for name in sys.modules if name.split(".")[0] == "skylift"]:
            self._early.add(Path(sys.modules.pop(name).__file__ or "").resolve())

    def trial(self, mistake: Mistake, tests: Tests) -> Trial:
        began = time.monotonic()
        file = self.tree / mistake.file
        source = file.read_text()
        kept = file.stat()
        noticed_by = ""
        readers = READERS if mistake.kind in READ else ()
        wanted = [test for test in (*tests.ids, *readers) if test not in self._unfit]
        while wanted:
            try:
                file.write_text(mistake.planted(source))
                noticed_by = self._run(wanted, 120 + 5 * tests.seconds, anew=file.resolve() in self._early)
                noticed_by = noticed_by or ("" if mistake.kind in ("word", "constant") else self._types())
            finally:
                file.write_text(source)
                os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))
            if self._trusted(noticed_by, wanted):
                break
            self._unfit.add(noticed_by)
            # Ids that there are no more end pytest at once: then their files, and at last none.
            files = [file for file in dict.fromkeys(test.split("::")[0] for test in wanted) if Path(file).is_file()]
            wanted = (
                [one for one in wanted if one != noticed_by] if "::" in noticed_by else files if files != wanted else []
            )
        return Trial(mistake, tests, noticed_by if wanted else "", time.monotonic() - began)

    def _types(self) -> str:
        """Whether the strict types of ``make check`` refuse the mistake; what they have known before is copied once."""
        cache = self.folder / "types"
        if not cache.exists() and (ROOT / ".mypy_cache").exists():
            shutil.copytree(ROOT / ".mypy_cache", cache)
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--cache-dir", str(cache), "--no-error-summary"],
            cwd=self.tree, check=False, capture_output=True, text=True,
        )  # fmt: skip
        errors = [line for line in done.stdout.splitlines() if ": error: " in line and "[unused-ignore]" not in line]
        return TYPES if errors else ""

    def _trusted(self, test: str, wanted: Sequence[str]) -> bool:
        """What fails in this copy without any mistake tells nothing."""
        if test.startswith("pytest ended"):
            return self._run(wanted, 300, anew=False) != test
        if "::" not in test or test in self._green:
            return True
        if self._run([test], 300, anew=False):
            return False
        self._green.add(test)
        return True

    def _run(self, tests: Sequence[str], seconds: float, *, anew: bool) -> str:
        """The first test that fails; "" when all are green; what else went wrong, in words."""
        answer = self.folder / "answer.json"
        answer.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os.setsid()
            if anew:
                words = ["-c", "import sys; from tools.mutants.trials import test; test(*sys.argv[1:])"]
                os.execv(sys.executable, [sys.executable, *words, str(answer), str(self.folder / "output.txt"), *tests])
            test(str(answer), str(self.folder / "output.txt"), *tests)
        deadline = time.monotonic() + seconds
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                self._end_what_is_left()
                return "time-out"
            time.sleep(0.05)
        self._end_what_is_left()
        return str(json.loads(answer.read_text())) if answer.exists() else "the tests' process died"

    def _end_what_is_left(self) -> None:
        left = psutil.Process().children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


class _First:
    """Remembers the first test that failed."""

    failed = ""

    def pytest_runtest_logreport(self, report: object) -> None:
        if getattr(report, "failed", False) and not self.failed:
            self.failed = getattr(report, "nodeid", "")


def test(answer: str, output: str, *tests: str) -> None:
    """Runs the tests, in a process of their own, and does not come back."""
    import pytest

    to = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(to, 1)
    os.dup2(to, 2)
    first = _First()
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--timeout=240"]
    code = 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        with contextlib.suppress(BaseException):
            code = int(pytest.main([*options, f"--basetemp={folder}/tmp", *tests], plugins=[first]))
    partial = Path(f"{answer}.part")
    partial.write_text(json.dumps(first.failed or ("" if code == 0 else f"pytest ended with {code}")))
    partial.rename(answer)
    os._exit(0)


def _foreign_modules(tree: Path) -> list[str]:
    """What the code and its tests import from outside, at the top of their files."""
    found = set()
    for path in [*tree.glob("src/**/*.py"), *tree.glob("tests/unit/**/*.py"), *tree.glob("tests/contract/**/*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return sorted(name for name in found if name.split(".")[0] in LIBRARIES and not name.endswith("__main__"))
