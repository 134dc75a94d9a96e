"""Scheduling policies of Batch: whose turn it is, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.batch_world import ME, World, played, until

from skylift.core.clock import ManualClock
from skylift.localcloud.batch.fair_share import ShareLedger, ranked, weight_of
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit

POLICY: dict[str, Any] = {
    "shareDecaySeconds": 1000,
    "shareDistribution": [
        {"shareIdentifier": "a", "weightFactor": 0.25},
        {"shareIdentifier": "team*", "weightFactor": 2},
        {"shareIdentifier": "plain"},
    ],
}


def test_a_weight_is_that_of_the_identifier_or_its_prefix() -> None:
    assert [weight_of(one, POLICY) for one in ("a", "teamX", "team", "plain", "b")] == [0.25, 2, 2, 1, 1]


def test_who_has_used_least_for_its_weight_is_next_and_then_who_is_oldest() -> None:
    oldest = {"a": 9, "teamX": 3, "b": 4}
    assert ranked({}, oldest, POLICY) == ["teamX", "b", "a"]
    assert ranked({"a": 4, "teamX": 1, "b": 1.5}, oldest, POLICY) == ["a", "b", "teamX"]


def test_what_was_used_fades() -> None:
    clock = ManualClock()
    ledger = ShareLedger(clock)
    ledger.take("q", "a", 4)
    ledger.take("q", "a", 2)
    clock.advance(5000)
    assert ledger.used("q", "a", POLICY) == 6
    ledger.leave("q", "a", 4)
    assert ledger.used("q", "a", POLICY) == pytest.approx(6, abs=0.05)
    clock.advance(500)
    assert ledger.used("q", "a", POLICY) == pytest.approx(4, abs=0.05)
    clock.advance(1000)
    assert ledger.used("q", "a", POLICY) == 2
    assert ledger.used("q", "b", POLICY) == ledger.used("other", "a", POLICY) == 0


def shared_queue(world: World, **policy: Any) -> str:
    """The queue ``fair``; its policy's ARN."""
    arn = str(world.batch.create_scheduling_policy(ME, {"name": "p", "fairsharePolicy": policy})["arn"])
    order = [{"order": 1, "computeEnvironment": "ce"}]
    request = {"jobQueueName": "fair", "priority": 1, "computeEnvironmentOrder": order, "schedulingPolicyArn": arn}
    world.batch.create_job_queue(ME, request)
    return arn


def front(world: World) -> list[str]:
    jobs = world.batch.get_job_queue_snapshot(ME, {"jobQueue": "fair"})["frontOfQueue"]["jobs"]
    return [one["jobArn"].rsplit("/", 1)[-1] for one in jobs]


def test_shares_take_turns_by_weight_and_jobs_of_a_share_by_priority(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare(schedulingPriority=5)
        shared_queue(world, shareDistribution=[{"shareIdentifier": "heavy", "weightFactor": 0.5}])
        names = {}
        for share in ("light", "heavy"):
            for number in range(4):
                names[world.submit(jobQueue="fair", shareIdentifier=share)] = f"{share} {number}"
        urgent = world.submit(jobQueue="fair", shareIdentifier="light", schedulingPriorityOverride=9)
        names[urgent] = "light urgent"
        begun: list[str] = []
        while len(begun) < len(names):
            await until(lambda: any(world.job(one)["status"] == "RUNNING" for one in names if names[one] not in begun))
            (running,) = [one for one in names if world.job(one)["status"] == "RUNNING"]
            begun.append(names[running])
            assert not {names[one] for one in front(world)} & {*begun}
            world.container(running).end(0)
            await world.ends(running)
        first = ["heavy 0", "light urgent", "heavy 1", "light 0", "heavy 2", "heavy 3"]
        assert begun == [*first, "light 1", "light 2", "light 3"]
        shown = world.job(urgent)
        assert (shown["shareIdentifier"], shown["schedulingPriority"]) == ("light", 9)

    played(tmp_path, scenario, slots=1)


def test_a_policy_is_kept_changed_and_not_deleted_while_a_queue_has_it(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        arn = shared_queue(world, shareDecaySeconds=700)
        world.batch.update_scheduling_policy(ME, {"arn": arn, "fairsharePolicy": {"computeReservation": 5}})
        world.batch.tag_resource(ME, {"resourceArn": arn, "tags": {"a": "b"}})
        await world.restart()
        (found,) = world.batch.describe_scheduling_policies(ME, {"arns": [arn, f"{arn}x"]})["schedulingPolicies"]
        assert found["fairsharePolicy"] == {"computeReservation": 5, "shareDistribution": []}
        assert (found["name"], found["tags"]) == ("p", {"a": "b"})
        assert world.batch.list_scheduling_policies(ME, {})["schedulingPolicies"] == [{"arn": arn}]
        with pytest.raises(AwsError, match="used by job queues: fair"):
            world.batch.delete_scheduling_policy(ME, {"arn": arn})
        other = world.batch.create_scheduling_policy(ME, {"name": "other"})["arn"]
        world.batch.update_job_queue(ME, {"jobQueue": "fair", "schedulingPolicyArn": other})
        (queue,) = world.batch.describe_job_queues(ME, {"jobQueues": ["fair"]})["jobQueues"]
        assert queue["schedulingPolicyArn"] == other
        world.batch.delete_scheduling_policy(ME, {"arn": arn})
        assert world.batch.list_scheduling_policies(ME, {})["schedulingPolicies"] == [{"arn": other}]
        with pytest.raises(AwsError, match="created without one"):
            world.batch.update_job_queue(ME, {"jobQueue": "q", "schedulingPolicyArn": other})

    played(tmp_path, scenario)


def test_a_share_must_fit_the_queue(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        shared_queue(world)
        with pytest.raises(AwsError, match="shareIdentifier must be specified"):
            world.submit(jobQueue="fair")
        with pytest.raises(AwsError, match="letters and digits"):
            world.submit(jobQueue="fair", shareIdentifier="a-b")
        with pytest.raises(AwsError, match="between 0 and 9999"):
            world.submit(jobQueue="fair", shareIdentifier="a", schedulingPriorityOverride=10_000)
        with pytest.raises(AwsError, match="no scheduling policy"):
            world.submit(shareIdentifier="a")

    played(tmp_path, scenario)


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"shareDecaySeconds": 604_801}, "shareDecaySeconds"),
        ({"computeReservation": 100}, "computeReservation"),
        ({"shareDistribution": [{"shareIdentifier": "a", "weightFactor": 0.0}]}, "weightFactor"),
        ({"shareDistribution": [{"shareIdentifier": "a b"}]}, "letters and digits"),
        ({"shareDistribution": [{"shareIdentifier": "user*"}, {"shareIdentifier": "userA"}]}, "overlap"),
        ({"shareDistribution": [{"shareIdentifier": "a"}, {"shareIdentifier": "a"}]}, "overlap"),
    ],
)
def test_a_policy_that_batch_refuses(tmp_path: Path, policy: dict[str, Any], why: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(AwsError, match=why):
            world.batch.create_scheduling_policy(ME, {"name": "p", "fairsharePolicy": policy})

    played(tmp_path, scenario)
