"""What ``python -m skylift.executors.check`` says, sentence by sentence: findings in, lines with their advice out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from skylift.core.errors import Refused
from skylift.executors.check import (
    BATCH,
    ECS,
    MOST_NAMED,
    THEIRS,
    Line,
    Mark,
    Name,
    _can_start,
    configured,
    main,
    named,
    taking_over,
)

pytestmark = pytest.mark.unit
LONG = "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor"
LOCAL = "airflow.executors.local_executor.LocalExecutor"


def test_an_executor_is_known_by_path_class_and_alias() -> None:
    assert Name(ECS, "ecs").words == {ECS, "AwsEcsExecutor", "ecs"}
    assert Name(BATCH).words == {BATCH, "AwsBatchExecutor"}, "no alias is no name"


@pytest.mark.parametrize(
    ("path", "ours"),
    [(ECS, ECS), (BATCH, BATCH), (LONG, ECS), (LOCAL, ""), *((theirs, ours) for theirs, ours in THEIRS.items())],
)
def test_which_of_ours_it_is_or_would_be(path: str, ours: str) -> None:
    assert Name(path).ours == ours
    assert THEIRS[LONG] == ECS
    assert THEIRS["airflow.providers.amazon.aws.executors.batch.AwsBatchExecutor"] == BATCH


def test_what_is_configured() -> None:
    assert list(configured([Name(LOCAL), Name(ECS, "ecs"), Name(BATCH, team="blue")])) == [
        Line(Mark.FINE, f"[core] executor names {ECS}, also known as ecs."),
        Line(Mark.FINE, f"[core] executor of team 'blue' names {BATCH}."),
    ]
    told = "(before the colon stands the name by which DAGs and rows of the database may know it)."
    theirs = f"names the amazon provider's {LONG}. To change over, write instead:"
    assert list(configured([Name(LONG), Name(LONG, "ecs", "blue")])) == [
        Line(Mark.KNOW, f"[core] executor {theirs} {LONG}:{ECS} {told}"),
        Line(Mark.KNOW, f"[core] executor of team 'blue' {theirs} ecs:{ECS} {told}"),
    ]
    assert list(configured([Name(LOCAL)])) == [
        Line(Mark.WRONG, f"[core] executor names no executor of ours: {ECS} or {BATCH}.")
    ]


def test_all_that_is_named_is_there() -> None:
    fine = [Line(Mark.FINE, "Every executor that a DAG or a task instance names is there.")]
    assert list(named([Name(ECS, "ecs")], [("ecs", 3), (ECS, 1)], [("d", "AwsEcsExecutor")], [])) == fine
    assert list(named([], [], [], [])) == fine


def missing(word: str, who: str, advice: str) -> Line:
    return Line(
        Mark.WRONG,
        f"The executor {word} is named by {who}, and [core] executor does not have it: such a DAG file is not parsed, "
        f"and nobody runs or takes over such a task instance. {advice}",
    )


@pytest.mark.parametrize(
    ("here", "word", "advice"),
    [
        (Name(ECS, "ecs"), "other", "Add it there, or change them."),
        (Name(ECS), LONG, f"Write {LONG}:{ECS} in [core] executor."),
        (Name(LOCAL), LONG, f"Write {LONG}:{ECS} in [core] executor."),
        (Name(BATCH, "batch"), LONG, f"Write {LONG}:{ECS} in [core] executor."),
        (
            Name(ECS, "ecs"),
            LONG,
            "An executor has one alias (ecs has it): change the DAGs to that, and let the task instances end or clear "
            "them.",
        ),
    ],
)
def test_what_is_named_and_not_there_comes_with_advice(here: Name, word: str, advice: str) -> None:
    assert list(named([here], [(word, 7)], [], [])) == [missing(word, "7 task instances that are not done", advice)]
    assert list(named([here], [], [("b", word), ("a", word), ("a", word)], [])) == [
        missing(word, "the DAGs a, b", advice)
    ]
    assert list(named([here], [(word, 7)], [("a", word)], [])) == [
        missing(word, "7 task instances that are not done and by the DAGs a", advice)
    ]


def test_each_missing_executor_is_a_line_and_a_long_list_is_cut() -> None:
    dags = [(f"d{number}", "y") for number in range(MOST_NAMED + 2)]
    found = list(named([Name(ECS)], [("x", 1)], dags, ["/b.py", "/a.py", "/a.py"]))
    assert found == [
        missing("x", "1 task instances that are not done", "Add it there, or change them."),
        missing("y", "the DAGs d0, d1, d2, d3, d4 and 2 more", "Add it there, or change them."),
        Line(Mark.WRONG, "Files that Airflow does not parse for an unknown executor: /a.py, /b.py."),
    ]
    whole = list(named([Name(ECS)], [], dags[:MOST_NAMED], []))
    assert whole == [missing("y", "the DAGs d0, d1, d2, d3, d4", "Add it there, or change them.")]


def facts(**members: Any) -> Any:
    known = {"schedulers": [], "running": 0, "foreign": 0, "orphans": 0, "threshold": 30.0, "interval": 300.0}
    return SimpleNamespace(**{**known, **members})


CHANGE_OVER = Line(
    Mark.KNOW,
    "To change over with work running: leave the API server up, or the containers fail; stop the provider's scheduler "
    "with SIGKILL (on SIGTERM it waits, without a limit, until all that runs is over); wait 30 s ([scheduler] "
    "scheduler_health_check_threshold), so that the new one takes over what runs when it starts (else it looks again "
    "after 300 s); then start ours, and run this again.",
)
ORPHANS = Line(
    Mark.KNOW,
    "What belongs to no scheduler is taken over by a running one within 300 s ([scheduler] "
    "orphaned_tasks_check_interval), or by the next that starts.",
)


def running(count: int, foreign: int, orphans: int) -> Line:
    return Line(
        Mark.KNOW,
        f"{count} task instances of these executors are queued or running; {foreign} of them the amazon provider's "
        f"executor has started, and {orphans} belong to a scheduler that is no more.",
    )


def test_who_takes_over_what() -> None:
    ours, theirs = [Name(ECS)], [Name(LONG)]
    nothing = Line(
        Mark.FINE, "No task instance of these executors is queued or running: there is nothing to take over."
    )
    host = Line(Mark.FINE, "A scheduler runs on h: its last heartbeat was 2 s ago.")
    assert list(taking_over(theirs, facts(schedulers=[("h", 2.4)]))) == [host, nothing]
    assert list(taking_over(ours, facts(running=3))) == [running(3, 0, 0)]
    assert list(taking_over(ours, facts(running=3, orphans=1))) == [running(3, 0, 1), ORPHANS]
    assert list(taking_over(ours, facts(running=3, foreign=2))) == [running(3, 2, 0), CHANGE_OVER]
    assert list(taking_over(theirs, facts(running=3))) == [running(3, 0, 0), CHANGE_OVER]
    assert list(taking_over(theirs, facts(running=3, foreign=3, orphans=3))) == [running(3, 3, 3), ORPHANS, CHANGE_OVER]


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ([], Line(Mark.FINE, "AwsEcsExecutor can start: its options are right, and AWS has what they name.")),
        (["a", "b"], Line(Mark.KNOW, "AwsEcsExecutor can start: a; b")),
        (Refused("no cluster"), Line(Mark.WRONG, "AwsEcsExecutor cannot start: no cluster")),
        (ValueError("odd"), Line(Mark.WRONG, "AwsEcsExecutor cannot start: ValueError: odd")),
    ],
)
def test_whether_it_can_start(outcome: Any, line: Line) -> None:
    def start(_: Name) -> list[str]:
        if isinstance(outcome, Exception):
            raise outcome
        return list(outcome)

    assert _can_start(SimpleNamespace(try_start=start), Name(LONG)) == line
    of_team = _can_start(SimpleNamespace(try_start=start), Name(ECS, team="blue"))
    assert of_team == Line(line.mark, line.text.replace("AwsEcsExecutor", "AwsEcsExecutor of team 'blue'"))


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["-h", "--help"], 0), (["--fix"], 2), (["-h", "x"], 2)])
def test_a_word_too_many_is_answered_with_the_usage(
    words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    assert capsys.readouterr().out.startswith("usage: python -m skylift.executors.check\n\nRun it where the")
