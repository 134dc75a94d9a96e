"""``make mutants``: plants one-line mistakes, one at a time, and tells which of them no test notices. See
CONTRIBUTING.md.

By default the lines that changed since main (on main: by the last commit); with --sample N, N random lines of all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import random
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.mutants.mistakes import Mistake, mistakes_in
from tools.mutants.seen import Seen, renewed
from tools.mutants.trials import ROOT, TYPES, Tests, Trial, work

UNSEEN = Path(__file__).with_name("unseen.txt")
SOURCE = "src/skylift"
TESTS = (
    "tests/unit",
    "tests/contract",
    "tests/local/wire",
    "tests/local/control/test_control_store.py",
    "tests/local/control/test_control_reconcile.py",
    "tests/local/control/test_control_rollback.py",
    "tests/local/control/test_control_plane.py",
    "tests/local/localcloud/test_batch_api.py",
    "tests/local/localcloud/test_ecs_exec.py",
)
"""Of tests/local, what runs in the test's own process, in seconds, and is the only one to run many lines: servers and
sockets, SQL, sessions."""


def main() -> int:
    """The command; its exit code is 1 when a mistake passed unnoticed."""
    wanted = _arguments()
    deadline = time.monotonic() + wanted.minutes * 60
    seen = renewed([*TESTS, *wanted.tests_too])
    mistakes = _chosen(wanted)
    if not mistakes:
        print("No changed line of the source in which a mistake could be planted (--sample N takes N lines of all).")
        return 0
    print(f"{len(mistakes)} mistakes, {wanted.workers} workers, at most {wanted.minutes} minutes, seed {wanted.seed}")
    report = _Report(seen)
    for trial in _trials(mistakes, seen, wanted, deadline):
        report.take(trial)
    return report.close(len(mistakes))


class _Report:
    """Tells each survivor at once, and the sum at the end. Who noticed the others is in ``.mutants/noticed.txt``: on a
    busy machine a test may fail because it is slow."""

    def __init__(self, seen: Seen) -> None:
        self._who = (ROOT / ".mutants" / "noticed.txt").open("w")
        self._seen = seen
        self._unseen = _unseen()
        self._noticed: list[Trial] = []
        self._passed: list[Trial] = []
        self._excused: list[Trial] = []

    def take(self, trial: Trial) -> None:
        old, new = trial.mistake.lines((ROOT / trial.mistake.file).read_text())
        if trial.noticed_by:
            self._noticed.append(trial)
            place = f"{trial.mistake.file}:{trial.mistake.line}: {trial.mistake.kind}"
            print(
                f"{place}\n  - {old}\n  + {new}\n  {trial.seconds:.0f} s: {trial.noticed_by}",
                file=self._who,
                flush=True,
            )
        elif (trial.mistake.file, old, new) in self._unseen:
            self._excused.append(trial)
        else:
            self._passed.append(trial)
            print(f"\n{trial.mistake.file}:{trial.mistake.line}: {trial.mistake.kind}\n  - {old}\n  + {new}")
            print(f"  {_whose(trial.tests)}", flush=True)
        tried = len(self._noticed) + len(self._passed) + len(self._excused)
        if tried % 25 == 0:
            print(f"\n... {tried} tried, {len(self._noticed)} noticed", flush=True)

    def close(self, planted: int) -> int:
        tried = len(self._noticed) + len(self._passed) + len(self._excused)
        timed_out = sum(trial.noticed_by == "time-out" for trial in self._noticed)
        typed = sum(trial.noticed_by == TYPES for trial in self._noticed)
        could = len(self._noticed) + len(self._passed)
        print(f"\n{len(self._noticed)} of {could} noticed ({len(self._noticed) / max(1, could):.0%}), of these "
              f"{timed_out} by a time-out and {typed} by strict types (make check); {len(self._excused)} more are in "
              f"{UNSEEN.name}, because nobody could see them")  # fmt: skip
        for room, (good, of) in sorted(self._rooms().items()):
            print(f"  {room:<32} {good:>4} of {of}")
        if tried < planted:
            print(f"{planted - tried} were not tried: time was up (--minutes)")
        return 1 if self._passed else 0

    def _rooms(self) -> dict[str, tuple[int, int]]:
        rooms: dict[str, tuple[int, int]] = {}
        for trial in [*self._noticed, *self._passed]:
            room = "/".join(trial.mistake.file.split("/")[2:-1][:2])
            good, of = rooms.get(room, (0, 0))
            rooms[room] = (good + bool(trial.noticed_by), of + 1)
        return rooms


def _whose(tests: Tests) -> str:
    if not tests.ids:
        return "no test of those that were recorded runs this line"
    shown = ", ".join(tests.ids[:3]) + (f" and {len(tests.ids) - 3} more" if len(tests.ids) > 3 else "")
    tried = "" if len(tests.ids) == tests.of else f" (the likeliest {len(tests.ids)} of {tests.of}: --most-seconds)"
    return f"run by {shown}{tried}"


def _trials(mistakes: Sequence[Mistake], seen: Seen, wanted: argparse.Namespace, deadline: float) -> Iterator[Trial]:
    """Each worker has one mistake at a time, in the order of the draw: whenever time is up, what was tried is a fair
    sample."""
    waiting = deque(mistakes)

    def take() -> tuple[Mistake, Tests] | None:
        if not waiting or time.monotonic() > deadline:
            return None
        mistake = waiting.popleft()
        return mistake, seen.tests_of(mistake.file, mistake.line, wanted.most_seconds)

    spawn = multiprocessing.get_context("spawn")
    pipes: dict[multiprocessing.connection.Connection, multiprocessing.process.BaseProcess] = {}
    for _ in range(wanted.workers):
        if (next_one := take()) is None:
            break
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=work, args=(theirs,))
        process.start()
        theirs.close()
        pipes[ours] = process
        ours.send(next_one)
    try:
        while pipes:
            for pipe in multiprocessing.connection.wait(list(pipes)):
                yield pipe.recv()  # type: ignore[union-attr]
                if next_one := take():
                    pipe.send(next_one)  # type: ignore[union-attr]
                else:
                    pipe.close()  # type: ignore[union-attr]
                    pipes.pop(pipe).join()  # type: ignore[arg-type]
    finally:
        for pipe, process in pipes.items():
            pipe.close()
            process.join(300)


def _chosen(wanted: argparse.Namespace) -> list[Mistake]:
    """At most one mistake for each line, drawn by the seed."""
    dice = random.Random(wanted.seed)
    changed = None if wanted.sample or wanted.line else _changed_lines(wanted.base)
    by_line: dict[tuple[str, int], list[Mistake]] = {}
    for path in sorted((ROOT / SOURCE).rglob("*.py")):
        file = str(path.relative_to(ROOT))
        if any(file.startswith(f"{SOURCE}/{room}") for room in wanted.rooms) and (changed is None or file in changed):
            for mistake in mistakes_in(file, path.read_text()):
                if changed is None or mistake.line in changed[file]:
                    by_line.setdefault((file, mistake.line), []).append(mistake)
    if wanted.line:
        asked = [one for (file, line), found in by_line.items() if f"{file}:{line}" in wanted.line for one in found]
        return [one for one in asked if one.is_python((ROOT / one.file).read_text())]
    lines, most = list(by_line), wanted.sample or wanted.most
    dice.shuffle(lines)
    drawn: list[Mistake] = []
    for line in lines:
        dice.shuffle(by_line[line])
        source = (ROOT / line[0]).read_text()
        drawn += [one for one in by_line[line] if one.is_python(source)][:1] if len(drawn) < most else []
    return drawn


def _changed_lines(base: str) -> dict[str, set[int]]:
    """Lines that are new or changed since the base, in commits or not yet."""
    base = base or _default_base()
    told = _git("diff", "--unified=0", "--no-color", base, "--", SOURCE)
    changed: dict[str, set[int]] = {}
    file = ""
    for line in told.splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ b/")
        elif found := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(found[1]), int(found[2] or 1)
            changed.setdefault(file, set()).update(range(first, first + count))
    for file in _git("ls-files", "--others", "--exclude-standard", "--", SOURCE).splitlines():
        changed[file] = set(range(1, (ROOT / file).read_text().count("\n") + 2))
    return changed


def _default_base() -> str:
    """Where this branch left main; on main itself, the commit before."""
    base = _git("merge-base", "main", "HEAD").strip()
    return "HEAD~1" if base == _git("rev-parse", "HEAD").strip() and not _git("diff", "HEAD", "--", SOURCE) else base


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _unseen() -> set[tuple[str, str, str]]:
    """The mistakes that nobody could see: ``file``, ``- old``, ``+ new``, with a reason above each."""
    found, file, old = set(), "", ""
    for line in UNSEEN.read_text().splitlines():
        if line.startswith("src/"):
            file = line.strip()
        elif line.startswith("- "):
            old = line[2:].strip()
        elif line.startswith("+ "):
            found.add((file, old, line[2:].strip()))
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", default=[""], help="folders below src/skylift (default: all)")
    parser.add_argument("--base", default="", help="changed lines since this commit (default: main, or HEAD~1 on it)")
    parser.add_argument("--sample", type=int, default=0, help="this many random lines of all, instead of the changed")
    parser.add_argument("--line", action="append", default=[], help="every mistake in this line: FILE:LINE")
    parser.add_argument("--seed", default="1", help="the same seed draws the same mistakes (default: 1)")
    parser.add_argument("--most", type=int, default=200, help="at most this many changed lines (default: 200)")
    parser.add_argument("--minutes", type=float, default=20, help="begin no trial after that (default: 20)")
    parser.add_argument("--most-seconds", type=float, default=60, help="of tests for one mistake (default: 60)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--tests-too", nargs="+", default=[], help="folders or files of tests beside those that are always looked at"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
