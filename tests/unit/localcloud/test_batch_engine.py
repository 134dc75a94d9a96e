"""Batch's engine on the runner's fake and a manual clock: restarts at every step, timeouts, capacity, big arrays,
forgetting."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.unit.batch_world import ME, World, job_of, played, until

from skylift.core.errors import Unavailable
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.tasks.changes import TaskListener
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit


def test_after_a_restart_what_runs_goes_on_and_what_ended_is_told(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare(retryStrategy={"attempts": 2})
        names = [world.submit() for _ in range(3)]
        goes_on, good, bad = [await world.runs(name) for name in names]
        good.end(0)
        bad.end(9)
        await world.restart()
        assert (await world.ends(names[1]))["status"] == "SUCCEEDED"
        await until(lambda: len(world.runner.known) == 4)
        again = await world.runs(names[2])
        assert again is not bad
        assert again.launch.environment["AWS_BATCH_JOB_ATTEMPT"] == "2"
        assert world.job(names[2])["attempts"][0]["container"]["exitCode"] == 9
        goes_on.end(0)
        assert (await world.ends(names[0]))["status"] == "SUCCEEDED"
        assert len(world.job(names[0])["attempts"]) == 1

    played(tmp_path, scenario)


def test_an_attempt_that_ecs_never_accepted_is_started_after_a_restart(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        name = world.submit()
        first = await world.runs(name)

        def never_accepted(ecs: EcsProvider) -> None:
            ecs.store.forget(list(ecs.store.alive.values()))
            ecs.store.alive.clear()

        with sqlite3.connect(tmp_path / "cloud.db") as disk:  # as the record was between the two transactions
            disk.execute("UPDATE batch_jobs SET body = replace(body, 'RUNNING', 'STARTING') WHERE id = ?", (name,))
        disk.close()
        await world.restart(never_accepted)
        second = await world.runs(name)
        assert second is not first
        assert second.launch.environment["AWS_BATCH_JOB_ATTEMPT"] == "1"
        second.end(0)
        assert len((await world.ends(name))["attempts"]) == 1

    played(tmp_path, scenario)


def test_the_record_says_which_ecs_task_it_is_to_be_before_ecs_accepts_it(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        on_record: list[bool] = []

        class Looks(TaskListener):
            def task_changed(self, task: EcsTask) -> None:
                with sqlite3.connect(tmp_path / "cloud.db") as disk:
                    bodies = [json.loads(body) for (body,) in disk.execute("SELECT body FROM batch_jobs")]
                disk.close()
                on_record.append(task.id in {body.get("task") for body in bodies if body["status"] == "STARTING"})

        world.ecs.engine.changes.listen(Looks())
        name = world.submit()
        (await world.runs(name)).end(0)
        await world.ends(name)
        assert on_record[0]

    played(tmp_path, scenario)


def test_a_sequential_array_goes_on_one_by_one(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        array = world.submit(arrayProperties={"size": 4}, dependsOn=[{"type": "SEQUENTIAL"}])
        (await world.runs(f"{array}:0")).end(0)
        await world.runs(f"{array}:1")
        await world.restart()
        assert world.summary(array) == {"SUCCEEDED": 1, "RUNNING": 1, "PENDING": 2}
        world.container(f"{array}:1").end(1)
        await world.ends(array)
        assert world.summary(array) == {"SUCCEEDED": 1, "FAILED": 3}

    played(tmp_path, scenario)


def test_what_ended_long_before_a_restart_is_not_run_again(tmp_path: Path) -> None:
    """ECS forgets its record after an hour: Batch must have read it before."""

    async def scenario(world: World) -> None:
        world.prepare()
        name = world.submit()
        (await world.runs(name)).end(0)
        while world.ecs.store.alive:  # until ECS has it on record; Batch's own record is dropped with the crash
            await asyncio.sleep(0)
        world.clock.advance(7200)
        await world.restart()
        found = await world.ends(name)
        assert (found["status"], len(world.runner.known)) == ("SUCCEEDED", 1)
        assert found["stoppedAt"] >= found["startedAt"]

    played(tmp_path, scenario)


@pytest.mark.parametrize("seed", range(4))
def test_crashes_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    async def scenario(world: World) -> None:
        dice = random.Random(seed)
        world.prepare(retryStrategy={"attempts": 10})
        singles = [world.submit() for _ in range(12)]
        array = world.submit(arrayProperties={"size": 10})
        after = world.submit(arrayProperties={"size": 10}, dependsOn=[{"jobId": array, "type": "N_TO_N"}])
        everything = [*singles, array, after]
        while world.states(everything)["SUCCEEDED"] < len(everything):
            for _ in range(dice.randrange(40)):
                await asyncio.sleep(dice.choice((0, 0, 0.001)))
                for container in world.runner.running:
                    if dice.random() < 0.2:
                        container.end(dice.choice((0, 0, 0, 1)))
            await world.restart()
        attempts = Counter(
            (job_of(one), one.launch.environment["AWS_BATCH_JOB_ATTEMPT"]) for one in world.runner.known.values()
        )
        assert set(attempts.values()) == {1}
        good = Counter(job_of(one) for one in world.runner.known.values() if one.ended.result().code == 0)
        children = [f"{name}:{index}" for name in (array, after) for index in range(10)]
        assert good == Counter([*singles, *children])

    played(tmp_path, scenario)


def test_an_attempt_has_its_time(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare(retryStrategy={"attempts": 3}, timeout={"attemptDurationSeconds": 600})
        names = [world.submit(), world.submit(timeout={"attemptDurationSeconds": 60})]
        for name in names:
            await world.runs(name)
        world.batch.engine.index.write()  # that they run: unwritten, a restart would count their time anew
        world.clock.advance(61)
        await world.restart()
        found = await world.ends(names[1])
        assert (found["status"], found["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
        assert len(found["attempts"]) == 1
        assert world.container(names[1]).signals == [signal.SIGTERM]
        assert world.job(names[0])["status"] == "RUNNING"

    played(tmp_path, scenario)


def test_a_request_to_end_survives_a_restart(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare(retryStrategy={"attempts": 3})
        world.runner.deaf = True
        name = world.submit()
        container = await world.runs(name)
        world.batch.terminate_job(ME, {"jobId": name, "reason": "enough"})
        await until(lambda: container.signals == [signal.SIGTERM])

        def never_asked(ecs: EcsProvider) -> None:
            for task in ecs.store.alive.values():
                task.document["desiredStatus"] = "RUNNING"

        await world.restart(never_asked)
        await until(lambda: container.signals == [signal.SIGTERM, signal.SIGTERM])
        container.end(0)
        found = await world.ends(name)
        assert (found["status"], found["statusReason"], found["isTerminated"]) == ("FAILED", "enough", True)
        assert len(world.runner.known) == 1

    played(tmp_path, scenario)


def test_waiting_jobs_are_cancelled(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        blocker, runnable = world.submit(), world.submit()
        pending = world.submit(dependsOn=[{"jobId": blocker}])
        await until(lambda: world.job(pending)["status"] == "PENDING")
        container = await world.runs(blocker)
        assert world.job(runnable)["status"] == "RUNNABLE"
        for name in (blocker, runnable, pending, "unknown"):
            world.batch.cancel_job(ME, {"jobId": name, "reason": "no more"})
        assert world.job(runnable)["statusReason"] == "no more"
        assert world.job(runnable)["status"] == "FAILED"
        assert (world.job(blocker)["status"], world.job(blocker)["isCancelled"]) == ("RUNNING", False)
        assert (world.job(pending)["status"], world.job(pending)["isCancelled"]) == ("PENDING", True)
        await world.restart()
        container.end(0)
        assert (await world.ends(pending))["statusReason"] == "no more"
        assert len(world.runner.known) == 1

    played(tmp_path, scenario, slots=1)


def test_arrays_are_cancelled_and_terminated(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        first, second = (world.submit(arrayProperties={"size": 50}) for _ in range(2))
        await until(lambda: world.summary(first) == {"RUNNABLE": 48, "RUNNING": 2})
        world.batch.cancel_job(ME, {"jobId": second, "reason": "no more"})
        assert world.job(second)["status"] == "FAILED"
        assert world.job(f"{second}:7")["statusReason"] == "no more"
        world.batch.cancel_job(ME, {"jobId": first, "reason": "no more"})
        assert world.summary(first) == {"RUNNING": 2, "FAILED": 48}
        assert world.job(first)["status"] == "PENDING"
        await world.restart()
        assert world.summary(first) == {"RUNNING": 2, "FAILED": 48}
        world.batch.terminate_job(ME, {"jobId": f"{first}:1", "reason": "enough"})
        await until(lambda: world.summary(first) == {"RUNNING": 1, "FAILED": 49})
        world.container(f"{first}:0").end(0)
        assert (await world.ends(first))["statusReason"] == "no more"
        assert world.summary(first) == {"SUCCEEDED": 1, "FAILED": 49}

    played(tmp_path, scenario, slots=2)


def test_an_array_and_a_child_of_it_are_awaited_together(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        array = world.submit(arrayProperties={"size": 2})
        waits = world.submit(dependsOn=[{"jobId": f"{array}:1"}, {"jobId": array}])
        for index in (0, 1):
            await world.runs(f"{array}:{index}")
        world.container(f"{array}:0").end(0)
        await world.ends(f"{array}:0")
        world.container(f"{array}:1").end(0)
        (await world.runs(waits)).end(0)
        await world.ends(waits)
        assert [state for name, state in world.told if name == waits].count("RUNNABLE") == 1

    played(tmp_path, scenario)


def test_a_whole_array_fails_with_its_dependency(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        bad = world.submit()
        array = world.submit(arrayProperties={"size": 4}, dependsOn=[{"jobId": bad}])
        last = world.submit(dependsOn=[{"jobId": f"{array}:2"}])
        (await world.runs(bad)).end(1)
        assert (await world.ends(array))["statusReason"] == "Dependent Job failed"
        assert world.job(f"{array}:3")["status"] == "FAILED"
        assert (await world.ends(last))["statusReason"] == "Dependent Job failed"

    played(tmp_path, scenario)


def test_ten_thousand_children_are_cheap(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        array = world.submit(arrayProperties={"size": 10_000})
        await until(lambda: world.summary(array) == {"RUNNABLE": 9996, "RUNNING": 4})
        for container in world.runner.running:
            container.end(0)
        await until(lambda: world.summary(array) == {"RUNNABLE": 9992, "RUNNING": 4, "SUCCEEDED": 4})
        with sqlite3.connect(tmp_path / "cloud.db") as disk:
            rows, size = disk.execute("SELECT count(*), sum(length(body)) FROM batch_jobs").fetchone()
        disk.close()
        assert rows == 9
        assert size < 9 * 2000
        page = world.batch.list_jobs(ME, {"arrayJobId": array, "jobStatus": "RUNNABLE"})
        assert [item["arrayProperties"]["index"] for item in page["jobSummaryList"]] == list(range(8, 108))
        page = world.batch.list_jobs(
            ME, {"arrayJobId": array, "jobStatus": "RUNNABLE", "nextToken": page["nextToken"], "maxResults": 2}
        )
        assert [item["arrayProperties"]["index"] for item in page["jobSummaryList"]] == [108, 109]
        started = time.monotonic()
        await world.restart()
        assert time.monotonic() - started < 2
        await until(lambda: world.summary(array) == {"RUNNABLE": 9992, "RUNNING": 4, "SUCCEEDED": 4})
        world.batch.terminate_job(ME, {"jobId": array, "reason": "enough"})
        found = await world.ends(array)
        assert found["statusReason"] == "enough"
        assert world.summary(array) == {"SUCCEEDED": 4, "FAILED": 9996}

    played(tmp_path, scenario, slots=4)


def test_a_thousand_links_of_a_chain_fail_together(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        first = name = world.submit()
        for _ in range(1000):
            name = world.submit(dependsOn=[{"jobId": name}])
        (await world.runs(first)).end(1)
        assert (await world.ends(name))["statusReason"] == "Dependent Job failed"

    played(tmp_path, scenario)


def test_the_slots_of_the_machine_are_kept(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        names = [world.submit() for _ in range(20)]
        while world.states(names)["SUCCEEDED"] < 20:
            await asyncio.sleep(0.001)
            assert len(world.runner.running) <= 3
            assert world.states(names)["STARTING"] + world.states(names)["RUNNING"] <= 3
            for container in world.runner.running[:1]:
                container.end(0)
        started = [job_of(one) for one in world.runner.known.values()]
        assert started == names

    played(tmp_path, scenario, slots=3)


def test_capacity_is_the_compute_environments(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare(vcpus=1)
        names = [world.submit() for _ in range(10)]
        await until(lambda: world.states(names) == {"RUNNING": 4, "RUNNABLE": 6})
        update = {"computeEnvironment": "ce", "computeResources": {"maxvCpus": 2}}
        world.batch.update_compute_environment(ME, update)
        await until(lambda: world.states(names) == {"RUNNING": 8, "RUNNABLE": 2})
        world.batch.update_compute_environment(ME, {"computeEnvironment": "ce", "state": "DISABLED"})
        world.runner.running[0].end(0)
        await until(lambda: world.states(names)["SUCCEEDED"] == 1)
        await asyncio.sleep(0.02)
        assert world.states(names)["RUNNABLE"] == 2
        world.batch.update_compute_environment(ME, {"computeEnvironment": "ce", "state": "ENABLED"})
        await until(lambda: world.states(names)["RUNNABLE"] == 1)

    played(tmp_path, scenario, slots=50)


def test_what_no_environment_could_ever_take_starts_once_one_is_large_enough(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare(vcpus=1)
        large = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "4096"}]
        name = world.submit(containerOverrides={"resourceRequirements": large})
        behind = world.submit()
        await until(lambda: world.states([name, behind]) == {"RUNNABLE": 1, "RUNNING": 1})
        assert world.job(name)["status"] == "RUNNABLE", "it does not stand in the way of others"
        update = {"computeEnvironment": "ce", "computeResources": {"maxvCpus": 4}}
        world.batch.update_compute_environment(ME, update)
        await world.runs(name)
        assert world.states([name, behind]) == {"RUNNING": 2}

    played(tmp_path, scenario, slots=50)


def test_ended_jobs_are_kept_for_a_day(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        old, array = world.submit(), world.submit(arrayProperties={"size": 2})
        await world.runs(f"{array}:1")
        for container in world.runner.running:
            container.end(0)
        await world.ends(array)
        await world.ends(old)
        waits = world.submit()
        await world.runs(waits)
        world.clock.advance(24 * 3600 - 1)
        await world.restart()
        assert world.states([old, array, f"{array}:1"]) == {"SUCCEEDED": 3}
        world.clock.advance(2)
        await world.restart()
        assert (world.job(old), world.job(array), world.job(f"{array}:1")) == ({}, {}, {})
        assert world.job(waits)["status"] == "RUNNING"
        await world.restart()
        assert world.job(array) == {}

    played(tmp_path, scenario)


def test_changes_become_events(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        name = world.submit(tags={"a": "b"})
        (await world.runs(name)).end(0)
        await world.ends(name)
        await until(
            lambda: [e["detail"]["status"] for e in world.bus.heard if e["source"] == "aws.batch"][-1:] == ["SUCCEEDED"]
        )
        events = [event for event in world.bus.heard if event["source"] == "aws.batch"]
        assert [event["detail"]["status"] for event in events] == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
        assert events[-1]["detail-type"] == "Batch Job State Change"
        assert events[-1]["resources"] == [events[-1]["detail"]["jobArn"]]
        assert events[-1]["detail"]["container"]["exitCode"] == 0
        assert [state for job, state in world.told if job == name] == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]

    played(tmp_path, scenario)


def test_the_end_of_the_cloud_ends_attempts_and_retries_come_after(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        once, again = world.submit(), world.submit(retryStrategy={"attempts": 2})
        for name in (once, again):
            await world.runs(name)
        await world.close()
        await world.restart()
        assert world.job(once)["status"] == "FAILED"
        assert world.job(once)["statusReason"] == "The local cloud is shutting down."
        (await world.runs(again)).end(0)
        assert (await world.ends(again))["status"] == "SUCCEEDED"

    played(tmp_path, scenario)


def test_a_full_disk_refuses_new_jobs_and_loses_none(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        disk = world.batch.store._disk
        (pages,) = disk.execute("PRAGMA page_count").fetchone()
        disk.execute(f"PRAGMA max_page_count = {pages + 8}")
        accepted: list[str] = []

        def fill() -> None:
            while len(accepted) < 1000:
                accepted.append(world.submit(parameters={"a": "x" * 3000}))

        with pytest.raises(Unavailable, match="Free some space"):
            fill()
        assert accepted
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable):
            world.batch.terminate_job(ME, {"jobId": accepted[-1], "reason": "x" * 1000})
        with pytest.raises(Unavailable):
            world.batch.terminate_job(ME, {"jobId": accepted[-1], "reason": "x" * 1000})
        disk.execute("PRAGMA max_page_count = 1000000")
        world.batch.terminate_job(ME, {"jobId": accepted[-1], "reason": "x" * 1000})
        await world.restart()
        assert world.job(accepted[-1])["status"] == "FAILED"
        while world.states(accepted)["SUCCEEDED"] < len(accepted) - 1:
            for container in world.runner.running:
                container.end(0)
            await asyncio.sleep(0.001)
        assert Counter(map(job_of, world.runner.known.values())) == Counter(accepted[:-1])

    played(tmp_path, scenario)


def test_a_queue_that_was_being_deleted_goes_after_a_restart(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        name = world.submit()
        await world.runs(name)
        with sqlite3.connect(tmp_path / "cloud.db") as disk:
            disk.execute("UPDATE batch_things SET body = replace(body, 'VALID', 'DELETING') WHERE kind = 'queue'")
        disk.close()
        await world.restart()
        assert (await world.ends(name))["statusReason"] == "Job queue was deleted"
        await until(lambda: world.batch.describe_job_queues(ME, {})["jobQueues"] == [])

    played(tmp_path, scenario)


def test_definitions_in_use_stay_and_new_jobs_are_refused(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.prepare()
        name = world.submit()
        world.batch.deregister_job_definition(ME, {"jobDefinition": "d:1"})
        with pytest.raises(AwsError, match="JobDefinition name d does not exist or is not in ACTIVE status"):
            world.submit()
        (await world.runs(name)).end(0)
        assert (await world.ends(name))["status"] == "SUCCEEDED"

    played(tmp_path, scenario)
