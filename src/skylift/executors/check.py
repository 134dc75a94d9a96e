"""``python -m skylift.executors.check``: checks whether this Airflow is ready for our executors, and who adopts what
runs.

Run it where the scheduler runs, with the scheduler's environment, before and after you change the line ``[core]
executor``. It reads Airflow's configuration and database, asks AWS what the executors ask when they start, and changes
nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from skylift.core.errors import Refused

USAGE = "usage: python -m skylift.executors.check\n\n" + __doc__.partition("\n\n")[2]

ECS, BATCH = "skylift.executors.ecs.AwsEcsExecutor", "skylift.executors.batch.AwsBatchExecutor"
THEIRS = {
    "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor": ECS,
    "airflow.providers.amazon.aws.executors.ecs.AwsEcsExecutor": ECS,
    "airflow.providers.amazon.aws.executors.batch.batch_executor.AwsBatchExecutor": BATCH,
    "airflow.providers.amazon.aws.executors.batch.AwsBatchExecutor": BATCH,
}
"""The amazon provider's paths of its executors, and what stands for each here."""

MOST_NAMED = 5
"""DAGs, or hosts, that one line lists."""


class Mark(StrEnum):
    """How a line begins."""

    FINE = "✓"
    KNOW = "!"
    WRONG = "✗"


@dataclass(frozen=True)
class Line:
    """One finding, with what to do."""

    mark: Mark
    text: str


@dataclass(frozen=True)
class Name:
    """An executor as ``[core] executor`` names it (a short form of Airflow's ``ExecutorName``).

    Attributes:
        team: "" for the executors of all teams.
    """

    path: str
    alias: str = ""
    team: str = ""

    @property
    def words(self) -> set[str]:
        """The names by which a DAG or a row of the database may refer to it."""
        return {self.path, self.path.rpartition(".")[2], self.alias} - {""}

    @property
    def ours(self) -> str:
        """Our class for it, even if the provider's is still configured; "" for any other executor."""
        return THEIRS.get(self.path, self.path if self.path in {ECS, BATCH} else "")


def main(arguments: Sequence[str] = ()) -> int:
    """Prints what it finds. Returns 1 if something is wrong, 2 for wrong usage."""
    if arguments:
        print(USAGE)  # noqa: T201  a program's output
        return 0 if set(arguments) <= {"-h", "--help"} else 2
    wrong = False
    for line in check():
        wrong |= line.mark is Mark.WRONG
        print(f"{line.mark} {line.text}", flush=True)  # noqa: T201  as above
    return int(wrong)


def check() -> Iterator[Line]:
    """All findings, as they come."""
    try:
        from skylift.executors import check_airflow  # lazy: without Airflow we must still be able to say so
    except ImportError as error:
        missing = str(error.name).partition(".")[0]
        yield Line(
            Mark.WRONG,
            f"{missing} is not installed here: run this with the Python and the environment of Airflow's scheduler "
            f"(this one is {sys.executable}).",
        )
        return
    yield Line(Mark.FINE, check_airflow.versions())
    try:
        names = check_airflow.names()
    except Exception as error:  # noqa: BLE001  whatever Airflow says of its own configuration
        yield Line(Mark.WRONG, f"[core] executor cannot be used: {error}")
        return
    yield from configured(names)
    for name in names:
        if name.ours:
            yield _can_start(check_airflow, name)
    try:
        facts = check_airflow.facts(names)
    except Exception as error:  # noqa: BLE001  Airflow's database, in any of its ways
        yield Line(
            Mark.WRONG, f"Airflow's database cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}"
        )
        return
    yield from named(names, facts.by_executor, facts.dags, facts.broken)
    yield from taking_over(names, facts)


def configured(names: Sequence[Name]) -> Iterator[Line]:
    """What ``[core] executor`` says."""
    for name in names:
        whose = f" of team {name.team!r}" if name.team else ""
        if name.path in THEIRS:
            yield Line(
                Mark.KNOW,
                f"[core] executor{whose} names the amazon provider's {name.path}. To change over, write instead: "
                f"{name.alias or name.path}:{name.ours} (before the colon stands the name by which DAGs and rows "
                "of the database may know it).",
            )
        elif name.ours:
            known = f", also known as {name.alias}" if name.alias else ""
            yield Line(Mark.FINE, f"[core] executor{whose} names {name.path}{known}.")
    if not any(name.ours for name in names):
        yield Line(Mark.WRONG, f"[core] executor names no executor of ours: {ECS} or {BATCH}.")


def named(
    names: Sequence[Name], rows: Iterable[tuple[str, int]], dags: Iterable[tuple[str, str]], broken: Iterable[str]
) -> Iterator[Line]:
    """Executors that DAGs or database rows name, but ``[core] executor`` does not contain.

    Args:
        rows: an executor's name, and how many unfinished task instances have it.
        dags: a DAG's id, and an executor that it names.
        broken: DAG files that Airflow cannot parse for that reason.
    """
    known = set().union(*(name.words for name in names)) if names else set()
    missing: dict[str, tuple[int, set[str]]] = {}
    for word, count in rows:
        if word not in known:
            missing[word] = (count, set())
    for dag, word in dags:
        if word not in known:
            missing.setdefault(word, (0, set()))[1].add(dag)
    for word, (count, who) in sorted(missing.items()):
        things = [f"{count} task instances that are not done"] if count else []
        things += [f"the DAGs {_listed(who)}"] if who else []
        yield Line(
            Mark.WRONG,
            f"The executor {word} is named by {' and by '.join(things)}, and [core] executor does not have it: such a "
            f"DAG file is not parsed, and nobody runs or takes over such a task instance. {_alias(word, names)}",
        )
    if files := set(broken):
        yield Line(Mark.WRONG, f"Files that Airflow does not parse for an unknown executor: {_listed(files)}.")
    if not missing and not files:
        yield Line(Mark.FINE, "Every executor that a DAG or a task instance names is there.")


def taking_over(names: Sequence[Name], facts: Any) -> Iterator[Line]:
    """Who owns what runs now, and when the next scheduler adopts it."""
    for host, age in facts.schedulers:
        yield Line(Mark.FINE, f"A scheduler runs on {host}: its last heartbeat was {age:.0f} s ago.")
    if not facts.running:
        yield Line(
            Mark.FINE, "No task instance of these executors is queued or running: there is nothing to take over."
        )
        return
    yield Line(
        Mark.KNOW,
        f"{facts.running} task instances of these executors are queued or running; {facts.foreign} of them the amazon "
        f"provider's executor has started, and {facts.orphans} belong to a scheduler that is no more.",
    )
    if facts.orphans:
        yield Line(
            Mark.KNOW,
            f"What belongs to no scheduler is taken over by a running one within {facts.interval:.0f} s "
            "([scheduler] orphaned_tasks_check_interval), or by the next that starts.",
        )
    if any(name.path in THEIRS for name in names) or facts.foreign:
        yield Line(
            Mark.KNOW,
            "To change over with work running: leave the API server up, or the containers fail; stop the provider's "
            "scheduler with SIGKILL (on SIGTERM it waits, without a limit, until all that runs is over); wait "
            f"{facts.threshold:.0f} s ([scheduler] scheduler_health_check_threshold), so that the new one takes "
            f"over what runs when it starts (else it looks again after {facts.interval:.0f} s); then start ours, and "
            "run "
            "this again.",
        )


def _can_start(airflow: Any, name: Name) -> Line:
    whose = f" of team {name.team!r}" if name.team else ""
    what = f"{name.ours.rpartition('.')[2]}{whose}"
    try:
        said = airflow.try_start(name)
    except Refused as error:
        return Line(Mark.WRONG, f"{what} cannot start: {error}")
    except Exception as error:  # noqa: BLE001  Airflow's own checks of its configuration among them
        return Line(Mark.WRONG, f"{what} cannot start: {type(error).__name__}: {error}")
    if said:
        return Line(Mark.KNOW, f"{what} can start: {'; '.join(said)}")
    return Line(Mark.FINE, f"{what} can start: its options are right, and AWS has what they name.")


def _alias(word: str, names: Sequence[Name]) -> str:
    ours = THEIRS.get(word, "")
    here = next((name for name in names if name.ours == ours), None) if ours else None
    if not ours:
        return "Add it there, or change them."
    if here and here.alias and here.path == ours:
        return (
            f"An executor has one alias ({here.alias} has it): change the DAGs to that, and let the task instances end "
            "or clear them."
        )
    return f"Write {word}:{ours} in [core] executor."


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
