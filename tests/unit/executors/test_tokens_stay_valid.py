"""However long a container waits, the token that it starts with is valid; attempts with equal keys go in one call."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from tests.unit.executor_airflow import ecs_conf
from tests.unit.executor_tower import Tower, ended

from skylift.aws.ecs.tasks import EcsTasks
from skylift.core.attempt import Attempt, Exit, Submission
from skylift.core.clock import ManualClock
from skylift.core.errors import Refused, Unavailable
from skylift.executors.ecs import EcsCompute
from skylift.executors.fleet.fake import FakeCompute
from skylift.executors.fleet.settle import Event
from skylift.executors.in_container.payload import MOST_REMEMBERED, Payloads
from skylift.executors.options.ecs import ecs_options

pytestmark = pytest.mark.unit

LIFE = 600.0


def made_at(clock: ManualClock) -> Callable[[], str]:
    """A document that says when its token was made."""
    return lambda: str(clock())


def age(tower: Tower, ref: str) -> float:
    return tower.clock() - float(tower.compute.documents[ref])


def test_each_launch_makes_its_own_token() -> None:
    tower = Tower()
    tower.order(document=made_at(tower.clock))
    tower.fly(1)
    tower.compute.fail_to_start("fake:x.1")
    tower.fly(400)
    assert tower.compute.documents["fake:x.2"] > tower.compute.documents["fake:x.1"]


@pytest.mark.parametrize("error", [None, Unavailable("throttled"), Refused("no s3:PutObject for a while")])
def test_by_reference_the_token_of_what_waits_is_renewed_in_time(error: Exception | None) -> None:
    tower = Tower(token=LIFE)
    tower.compute.by_reference = True
    tower.order(document=made_at(tower.clock))
    for _ in range(20 * 6):
        tower.compute.refusals["renew"] = [error] if error else []
        tower.fly(10)
        assert age(tower, "fake:x.1") < LIFE
    assert tower.compute.submitted == ["x.1"], "twenty minutes in RUNNABLE, and it kept its place in the queue"
    tower.compute.run("fake:x.1")
    tower.fly(10)
    before = len(tower.compute.renewals)
    tower.fly(1200)
    assert len(tower.compute.renewals) == before, "what runs needs no new token"


class Bucket:
    """Stands where boto3's S3 client would: counts what is put."""

    def __init__(self) -> None:
        self.put: Counter[str] = Counter()

    def client(self, *_: object, **__: object) -> Bucket:
        return self

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.put[Key] += 1


def test_on_ecs_a_workload_is_put_once_a_minute_at_most_and_renewed_whenever_that_is_asked_for() -> None:
    """A launch that is throttled is asked for again and again; a renewal must reach the object however young it is."""

    def throttled(**_: object) -> object:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "RunTask")

    bucket = Bucket()
    tasks = EcsTasks(SimpleNamespace(run_task=throttled))
    compute = EcsCompute(tasks, ecs_options(ecs_conf(launch_type="FARGATE")), Payloads("s3://b/p", session=bucket))
    one = Attempt("x", 1, lambda: "{}")
    for _ in range(10):
        assert compute.submit([one])[0].throttled
    assert bucket.put == {"p/x.1.json": 1}
    assert compute.renew(one, "arn:1")
    assert bucket.put == {"p/x.1.json": 2}
    compute._payloads._clock = lambda: time.monotonic() + 61
    assert compute.submit([one])[0].throttled
    assert bucket.put == {"p/x.1.json": 3}
    inline = EcsCompute(tasks, ecs_options(ecs_conf(launch_type="FARGATE")), Payloads())
    assert not inline.renew(one, "arn:1")


def test_what_is_remembered_of_objects_is_bounded() -> None:
    payloads = Payloads("s3://b/p", session=Bucket())
    for number in range(MOST_REMEMBERED + 100):
        payloads.prepare(Attempt(f"x{number}", 1, lambda: "{}"))
    assert len(payloads._put) == MOST_REMEMBERED


def test_inline_what_waits_too_long_is_stopped_and_launched_anew() -> None:
    tower = Tower(token=LIFE, most_attempts=1)
    tower.order(document=made_at(tower.clock))
    for _ in range(40 * 6):
        tower.fly(10)
        assert len(tower.compute.alive()) <= 1
        for ref in tower.compute.alive():
            assert age(tower, ref) < LIFE
    tower.compute.run(tower.compute.alive()[0])
    tower.fly(10)
    tower.compute.exit(tower.compute.alive()[0], Exit.DONE)
    tower.fly(60)
    assert ended(tower.news) == [("x", Event.NONE)], "not counted as a failure though one attempt is all there may be"
    assert tower.tally.sum("repeats", why="token") == len(tower.compute.submitted) - 1 >= 3


def test_a_scheduler_that_finds_the_stop_of_the_one_before_makes_the_next_attempt() -> None:
    compute = FakeCompute()
    first = Tower(compute, token=LIFE)
    first.order()
    first.fly(LIFE * 0.9)
    compute_stopped = compute.stops == ["fake:x.1"]
    assert compute_stopped
    second = Tower(compute, token=LIFE)
    second.order(adopted=True)
    second.fly(30)
    assert compute.alive() == ["fake:x.2"]


def test_attempts_of_one_kin_go_in_one_call() -> None:
    tower = Tower(FakeCompute(most_per_submit=10_000), linger=2.0)
    tower.compute.kin_by = "dag_id"
    for number in range(1000):
        tower.order(f"x{number}", labels={"dag_id": "d"})
    tower.order("other", labels={"dag_id": "e"})
    tower.order("none", labels={})
    tower.fly(1)
    assert tower.compute.submitted == ["none.1"]
    tower.fly(2)
    assert sorted(tower.compute.calls) == [1, 1, 1000]
    assert len(tower.compute.alive()) == 1002


def test_a_full_call_does_not_linger_and_a_throttled_one_stays_together() -> None:
    tower = Tower(FakeCompute(most_per_submit=10), linger=5.0)
    tower.compute.kin_by = "dag_id"
    tower.compute.refusals["submit"] = [Submission(later="429", throttled=True)] * 10
    for number in range(25):
        tower.order(f"x{number}", labels={"dag_id": "d"})
    tower.fly(0)
    assert tower.compute.calls == [10, 10]
    tower.fly(10)
    assert sum(tower.compute.calls) == 35
    assert len(tower.compute.calls) <= 5
    assert len(tower.compute.alive()) == 25


def test_one_revoked_while_it_lingers_is_not_launched() -> None:
    tower = Tower(FakeCompute(most_per_submit=10), linger=5.0)
    tower.compute.kin_by = "dag_id"
    for number in range(3):
        tower.order(f"x{number}", labels={"dag_id": "d"})
    tower.fly(1)
    tower.fleet.revoke("x1", "cancelled")
    tower.fly(10)
    assert sorted(tower.compute.submitted) == ["x0.1", "x2.1"]
    assert tower.fleet._launching._group_key == {}, "nothing is kept of what waited"


def test_five_hundred_launches_at_twenty_a_second() -> None:
    tower = Tower(launches=20)
    for number in range(500):
        tower.order(f"x{number}")
    tower.fly(26)
    assert len(tower.compute.alive()) == 500
