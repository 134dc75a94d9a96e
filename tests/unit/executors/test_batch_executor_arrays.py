"""For Batch: one job or child for each attempt, whatever call is lost and wherever a scheduler dies."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.unit.batch_double import Killed, World

from skylift.core.attempt import Attempt, Submission
from skylift.core.errors import Refused
from skylift.executors.batch_compute import BatchCompute

pytestmark = pytest.mark.unit
FAULTS = ("before", "after", "kill before", "kill after", "TooManyRequestsException")


def attempts(count: int, **fields: Any) -> list[Attempt]:
    labels = {"dag_id": "d", "task_id": "t"}
    return [Attempt(str(uuid.uuid4()), 1, lambda: "{}", labels=labels, **fields) for _ in range(count)]


def flown(world: World, many: Sequence[Attempt], **how: Any) -> tuple[dict[str, str], BatchCompute]:
    """Submits like the fleet: by group key, again those answered with ``later``; a new process adopts a killed one's."""
    compute, left, refs = world.compute(**how), {one.token: one for one in many}, dict[str, str]()
    for _ in range(40):
        if not left:
            break
        groups: dict[Any, list[Attempt]] = {}
        for one in left.values():
            groups.setdefault(compute.group_key(one) or one.token, []).append(one)
        try:
            for group in groups.values():
                refs |= noted(group, compute.submit(group))
        except Killed:
            compute = world.compute(**how)
            # What was answered is lost with the process: nothing of it is in Airflow's database.
            refs = {}
            left = {one.token: replace(one, adopted=True) for one in many}
        left = {token: one for token, one in left.items() if token not in refs}
        world.clock.advance(1.5)
    assert not left
    return refs, compute


def noted(group: Sequence[Attempt], answers: Sequence[Submission]) -> dict[str, str]:
    assert len(answers) == len(group)
    assert not [one.refused for one in answers if one.refused]
    return {one.token: answer.ref for one, answer in zip(group, answers, strict=True) if answer.ref}


@settings(max_examples=120, deadline=None)
@given(
    count=some.integers(1, 4),
    together=some.booleans(),
    late=some.sampled_from([0.0, 4.0]),
    faults=some.dictionaries(some.integers(1, 12), some.sampled_from(FAULTS), max_size=3),
)
def test_exactly_one_job_or_child_for_each_attempt(
    count: int, together: bool, late: float, faults: dict[int, str]
) -> None:
    world = World(**{f"n{number}": fault for number, fault in faults.items()})
    world.late = late
    many = attempts(count)
    refs, compute = flown(world, many, together=together)
    world.late = 0.0
    assert world.tokens() == {token: [ref] for token, ref in refs.items()}
    for one in many:
        assert compute.find(one) == [refs[one.token]]
        assert world.compute(together=together).find(one) == [refs[one.token]], "a new process finds it"


def test_a_thousand_of_one_kin_are_one_call_and_stay_apart() -> None:
    world = World()
    many = attempts(1000)
    refs, compute = flown(world, many)
    assert world.calls.count("SubmitJob") == 1
    assert world.calls.count("PutObject") == 1001
    assert len(set(refs.values())) == 1000
    compute.stop(refs[many[7].token], "because")
    (job_id,) = world.jobs
    assert {*world.shown} == {f"{job_id}:7"}
    again = world.compute()
    assert [again.find(one) for one in many] == [[refs[one.token]] for one in many]
    assert world.calls.count("ListObjects") <= 2, "the lists are listed once, not for each child"


def test_what_differs_goes_apart() -> None:
    compute = World().compute()
    plain, other = attempts(2)
    group_key = compute.group_key(plain)
    assert group_key is not None
    assert group_key == compute.group_key(other)
    assert compute.group_key(replace(plain, executor_config={"jobQueue": "x"})) != group_key
    assert compute.group_key(replace(plain, queue="gpu")) != group_key
    assert compute.group_key(replace(plain, shortages=1)) != group_key
    for alone in (replace(plain, number=2), replace(plain, adopted=True)):
        assert compute.group_key(alone) is None
    assert World().compute(together=False).group_key(plain) is None
    assert compute.group_key(replace(plain, executor_config={"a": {1: object()}})) is not None, "it never raises"


def test_one_of_its_kin_is_sent_alone() -> None:
    world = World()
    (one,) = attempts(1)
    refs, _ = flown(world, [one])
    assert ":" not in refs[one.token]
    assert [call for call in world.calls if call != "PutObject"] == ["SubmitJob"], "no ListJobs before a first submit"


def test_asking_again_with_one_token_gives_the_same_job() -> None:
    world = World()
    compute = world.compute(url="", together=False)
    (one,) = attempts(1)
    assert len({compute.submit([one])[0].ref for _ in range(3)}) == 1
    assert len(world.jobs) == 1


def test_a_number_that_is_not_the_first_is_found_after_a_restart() -> None:
    world = World()
    (one,) = attempts(1)
    old = world.compute().submit([one])[0].ref
    new = world.compute().submit([replace(one, number=2)])[0].ref
    compute = world.compute()
    assert compute.find(one) == [old, new]
    assert compute.submit([replace(one, adopted=True)])[0].ref == new, "the newest counts"
    assert compute.renew(one, new)
    assert len(world.objects) == 2
    world.objects.clear()
    compute.renew(one, new)
    assert [*world.objects] == [f"p/{one.external_id}.2.json"], "the workload of the job that is there is renewed"


def test_a_workload_in_the_command_cannot_be_renewed() -> None:
    compute = World().compute(url="", together=False)
    (one,) = attempts(1)
    assert compute.renew(one, compute.submit([one])[0].ref) is False


def test_jobs_of_the_provider_s_executor_are_taken_over() -> None:
    world = World()
    (one,) = attempts(1, adopted=True)
    world.jobs[one.external_id] = {"jobName": "constant", "jobQueue": "jq"}
    compute = world.compute()
    assert compute.find(one) == [one.external_id]
    assert compute.submit([one])[0].ref == one.external_id


def test_a_census_gives_all_that_is_alive_singles_and_children() -> None:
    world = World()
    many, (alone,) = attempts(30), attempts(1)
    refs, compute = flown(world, many)
    old = compute.submit([alone])[0].ref
    new = compute.submit([replace(alone, number=2)])[0].ref
    calls = len(world.calls)
    found = world.compute().census()
    assert found == {one.external_id: [refs[one.token]] for one in many} | {alone.external_id: [old, new]}
    assert len(world.calls) - calls <= 6
    world.shown[old] = {"status": "FAILED"}
    assert world.compute().census()[alone.external_id] == [new]


def test_a_workload_is_put_once_for_a_launch_that_is_asked_for_again_and_again() -> None:
    world = World()
    world.throttled = "SubmitJob"
    (one,), compute = attempts(1), world.compute()
    for _ in range(10):
        assert compute.submit([one])[0].throttled
    assert world.calls.count("PutObject") == 1
    assert compute.renew(one, "any")
    assert world.calls.count("PutObject") == 2


def test_who_uses_no_arrays_need_not_be_allowed_to_list_the_bucket() -> None:
    world = World()
    world.hidden = True
    (one,) = attempts(1)
    ref = world.compute(together=False).submit([one])[0].ref
    assert world.compute(together=False).find(one) == [ref]
    with pytest.raises(Refused, match="ListObjects"):
        world.compute(together=True).find(one)


def test_a_throttle_is_told_as_such_and_submits_nothing_twice() -> None:
    world = World(n2="TooManyRequestsException")
    compute = world.compute(together=False)
    (one,) = attempts(1)
    (answer,) = compute.submit([one])
    assert answer.throttled
    assert compute.submit([one])[0].ref
    assert "ListJobs" not in world.calls, "a throttle is a clear answer"


def test_a_wrong_executor_config_is_refused_for_each_attempt_alone() -> None:
    world = World()
    answers = world.compute().submit(attempts(2, executor_config={"command": ["x"]}))
    assert ["command" in answer.refused for answer in answers] == [True, True]
    assert world.compute().submit(attempts(1, executor_config=[1]))[0].refused  # type: ignore[arg-type]
    assert not world.jobs
