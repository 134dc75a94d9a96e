"""Figures that the pages state, and advice that people read at an end, are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.core.attempt import Exit
from skylift.executors import exit_words
from skylift.executors.batch_observation import _meaning as meaning_on_batch
from skylift.executors.ecs import _meaning as meaning_on_ecs
from skylift.executors.in_container import stay, warm

pytestmark = pytest.mark.unit
DOCS = Path(__file__).parents[3] / "docs"
LISTING, GET = 0.005 / 1000, 0.0004 / 1000
"""Dollars for one request to S3 in us-east-1."""


def test_what_warm_containers_cost_at_s3_is_on_the_page() -> None:
    page = " ".join((DOCS / "warm.md").read_text().split())
    listens = f"the executor lists that prefix once a second ({3600 / warm.LISTEN * LISTING:.3f} $ an hour"
    looks = f"A waiting container asks twice a second ({3600 / stay.LOOK * GET:.3f} $ an hour)"
    assert listens in page
    assert looks in page
    assert (warm.LISTEN, stay.LOOK) == (1.0, 0.5)


def test_out_of_memory_says_where_to_give_more() -> None:
    reason = "OutOfMemoryError: Container killed due to memory usage"
    ecs = "it was out of memory: give the container or the ECS task more (executor_config)"
    batch = "it was out of memory: give the container more (executor_config: containerOverrides.resourceRequirements)"
    assert meaning_on_ecs(137, reason) == ecs
    assert meaning_on_batch(137, reason, "Essential container in task exited") == batch
    assert meaning_on_batch(None, "", "Host EC2 (instance i-1) terminated.").startswith("its EC2 instance is gone")


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (None, "OutOfMemory", ""),
        (0, "", ""),
        (1, "", ""),
        (137, "", "the container, or the Airflow task's process in it, was killed (SIGKILL)"),
        (137, "memory limit", "it was out of memory: give the container more"),
        (143, "", "the container, or the Airflow task's process in it, was stopped (SIGTERM)"),
        (139, "", "the container, or the Airflow task's process in it, was ended (SIGSEGV)"),
        (128 + 64, "", "the container, or the Airflow task's process in it, was ended (SIGRTMAX)"),
        (128, "", ""),
        (128 + 65, "", ""),
        (1, "OutOfMemoryError", "it was out of memory: give the container more"),
    ],
)
def test_what_a_code_means(code: int | None, reason: str, text: str) -> None:
    assert exit_words.words(code, reason) == text


@pytest.mark.parametrize("code", [code for code in Exit if code not in (Exit.DONE, Exit.ENDED_BADLY)])
def test_each_code_of_ours_that_people_can_act_on_has_its_words(code: Exit) -> None:
    assert bool(exit_words.words(int(code))) == (code in exit_words.WORDS)
    acted_on = {
        Exit.NOT_TLS,
        Exit.IS_TLS,
        Exit.NO_EXECUTION_API,
        Exit.NO_ACCESS,
        Exit.STOPPED_OUTSIDE,
        Exit.NOT_TRUSTED,
    }
    assert acted_on <= {*exit_words.WORDS}
