"""How many Celery workers there should be: out at once, in after a while, never beyond the bounds."""

from __future__ import annotations

import pytest
from tests.control_scenes import WITH_WORKERS, request, spec

from skylift.control.api.validation import Invalid, spec_of
from skylift.control.scaling import Calm, Work, bounds, needed, scaled, slots

pytestmark = pytest.mark.unit
IDLE = 120.0


def environment(least: int = 1, most: int = 4, **options: str):  # type: ignore[no-untyped-def]
    named = {name.replace("__", "."): value for name, value in options.items()}
    return spec(MinWorkers=least, MaxWorkers=most, AirflowConfigurationOptions=named)


@pytest.mark.parametrize(
    ("database", "queue", "workers"),
    [
        (Work(), Work(), 1),
        (Work(queued=1), Work(), 1),
        (Work(queued=5), Work(), 1),
        (Work(queued=6), Work(), 2),
        (Work(queued=2, running=4), Work(), 2),
        (Work(), Work(queued=11), 3),
        (Work(queued=3), Work(queued=1, running=15), 4),
        (Work(queued=500), Work(queued=500), 4),
    ],
)
def test_the_larger_count_decides_within_the_bounds(database: Work, queue: Work, workers: int) -> None:
    assert needed(environment(), database, queue) == workers


def test_an_option_allows_no_worker_at_all() -> None:
    none = environment(skylift__min_workers="0")
    assert bounds(none) == (0, 4)
    assert [needed(none, Work(queued=n), Work()) for n in (0, 1)] == [0, 1]
    assert bounds(environment(2, skylift__min_workers="3")) == (3, 4)


@pytest.mark.parametrize("text", ["-1", "5", "one", ""])
def test_an_impossible_least_number_is_refused(text: str) -> None:
    options = {"skylift.min_workers": text}
    with pytest.raises(Invalid, match="from 0 to MaxWorkers \\(4\\)"):
        spec_of(request(MinWorkers=1, MaxWorkers=4, AirflowConfigurationOptions=options), WITH_WORKERS)


@pytest.mark.parametrize(("said", "expected"), [("", 5), ("8,1", 8), ("3", 3), ("0,0", 5), ("many", 5)])
def test_a_worker_runs_as_many_as_its_class_or_the_option_says(said: str, expected: int) -> None:
    assert slots(environment(celery__worker_autoscale=said) if said else environment()) == expected


def test_more_at_once_fewer_after_a_while() -> None:
    assert scaled(1, 3, Calm(), 0.0, IDLE) == (3, Calm())
    wanted, calm = scaled(3, 1, Calm(), 100.0, IDLE)
    assert (wanted, calm) == (3, Calm(100.0, 1))
    wanted, calm = scaled(3, 1, calm, 219.0, IDLE)
    assert (wanted, calm) == (3, Calm(100.0, 1))
    assert scaled(3, 1, calm, 220.0, IDLE) == (1, Calm())


def test_what_was_needed_meanwhile_stays() -> None:
    _, calm = scaled(4, 1, Calm(), 0.0, IDLE)
    _, calm = scaled(4, 3, calm, 60.0, IDLE)
    assert scaled(4, 1, calm, 120.0, IDLE) == (3, Calm()), "three were needed a minute ago"


def test_work_that_comes_back_ends_the_wait() -> None:
    _, calm = scaled(2, 0, Calm(), 0.0, IDLE)
    wanted, calm = scaled(2, 2, calm, 119.0, IDLE)
    assert (wanted, calm) == (2, Calm())
    assert scaled(2, 0, calm, 121.0, IDLE) == (2, Calm(121.0, 0))
