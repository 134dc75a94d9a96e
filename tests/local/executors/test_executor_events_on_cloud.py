"""State by events on the local cloud: two schedulers on one queue, a server that is killed, a queue that is deleted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.ecs_cloud import LOG_GROUP, Cloud, client, furnished
from tests.local.events_threads import NEVER, QUEUE, Scheduler, aim, furnish
from tests.local.localcloud.test_ecs_events import free_port, start_server

from skylift.executors.fleet.settle import Event

pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with furnished(tmp_path_factory.mktemp("cloud")) as started:
        furnish(started.client, "exit 3")
        yield started


def test_two_schedulers_on_one_queue_each_hear_of_their_own(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    aim(monkeypatch, cloud.url)
    one, other = Scheduler(**NEVER), Scheduler(**NEVER)
    try:
        ours, theirs = one.order(8), other.order(8)
        heard = [*one.hear(*ours), *other.hear(*theirs)]
    finally:
        one.threads.end()
        other.threads.end()
    assert {(news.event, "exit code 3" in news.reason) for news in heard} == {(Event.FAILED, True)}
    assert (one.compute.looks, other.compute.looks) == (0, 0)


def test_a_queue_that_is_deleted_costs_looks_and_one_warning(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    aim(monkeypatch, cloud.url)
    scheduler = Scheduler(young=5, old=5, reconcile=3600)
    try:
        scheduler.hear(*scheduler.order(1))
        assert scheduler.compute.looks == 0
        sqs = cloud.client("sqs")
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"])
        news = scheduler.hear(*scheduler.order(3))
    finally:
        scheduler.threads.end()
        furnish(cloud.client, "exit 3")
    assert {one.event for one in news} == {Event.FAILED}
    assert scheduler.compute.looks > 0
    told = [record.getMessage() for record in caplog.records if "polling" in record.getMessage()]
    assert len(told) == 1
    assert "NonExistentQueue" in told[0]


def test_a_queue_that_never_was_stops_no_start(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    aim(monkeypatch, cloud.url, AIRFLOW__SKYLIFT__EVENTS_QUEUE="there-is-none")
    scheduler = Scheduler(young=0.2, old=0.5)
    try:
        assert [news.event for news in scheduler.hear(*scheduler.order(1))] == [Event.FAILED]
    finally:
        scheduler.threads.end()


def test_what_happens_while_the_server_is_killed_is_heard_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = start_server(tmp_path, port)
    aim(monkeypatch, url)
    scheduler = None
    try:
        client("ecs", url).create_cluster()
        client("logs", url).create_log_group(logGroupName=LOG_GROUP)
        furnish(lambda service: client(service, url), "sleep 4; exit 3")
        scheduler = Scheduler(**NEVER)
        names = scheduler.order(3)
        while len(client("ecs", url).list_tasks()["taskArns"]) < 3:
            scheduler.listen()
        server.send_signal(signal.SIGKILL)
        server.wait()
        server = start_server(tmp_path, port)
        news = scheduler.hear(*names, seconds=90)
        assert {one.event for one in news} == {Event.FAILED}
        assert scheduler.compute.looks == 0
    finally:
        if scheduler is not None:
            scheduler.threads.end()
        server.send_signal(signal.SIGTERM)
        server.wait(30)
