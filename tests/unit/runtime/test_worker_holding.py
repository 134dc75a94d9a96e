"""What a Celery worker works on is held: hidden in SQS, protected in ECS, and let go when it is done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from skylift.runtime.workers.holding import Holding
from skylift.runtime.workers.outdated import Outdated
from skylift.runtime.workers.protection import Protection

pytestmark = pytest.mark.unit


@dataclass
class FakeMessage:
    delivery_info: dict[str, Any]


@dataclass
class FakeRequest:
    message: FakeMessage
    acknowledged: bool = False


@dataclass
class Sqs:
    calls: list[tuple[str, list[str], set[int]]] = field(default_factory=list)

    def change_message_visibility_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> None:
        receipts = [entry["ReceiptHandle"] for entry in Entries]
        self.calls.append((QueueUrl, receipts, {entry["VisibilityTimeout"] for entry in Entries}))


class Agent:
    """ECS's agent: says yes, or what ``refusal`` says."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.refusal: dict[str, Any] = {}
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                agent.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                body = json.dumps(agent.refusal or {"protection": agent.asked[-1]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def protection(self) -> Protection:
        return Protection.of({"ECS_AGENT_URI": f"http://127.0.0.1:{self.server.server_port}/agent"})

    @property
    def states(self) -> list[bool]:
        return [one["ProtectionEnabled"] for one in self.asked]


@pytest.fixture
def agent() -> Iterator[Agent]:
    one = Agent()
    yield one
    one.server.shutdown()


@dataclass
class Scene:
    """A worker with a clock of its own."""

    agent: Agent
    now: float = 1000.0
    outdated: bool = False
    left: int = 0
    sqs: Sqs = field(default_factory=Sqs)

    def __post_init__(self) -> None:
        self.holding = Holding(
            self.sqs, self.agent.protection, lambda _: self.outdated, self._leave, clock=lambda: self.now
        )

    def _leave(self) -> None:
        self.left += 1

    def take(self, receipt: str, queue: str = "q") -> FakeRequest:
        request = FakeRequest(FakeMessage({"sqs_queue": queue, "sqs_message": {"ReceiptHandle": receipt}}))
        self.holding.take(request)
        return request

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.holding.look()


def test_it_is_protected_before_the_work_begins_and_until_it_has_ended(agent: Agent) -> None:
    scene = Scene(agent)
    request = scene.take("r1")
    assert agent.asked == [{"ProtectionEnabled": True, "ExpiresInMinutes": 20}]
    assert scene.after(60)
    request.acknowledged = True
    assert scene.after(1), "the next Airflow task may come at once"
    assert agent.states == [True]
    assert not scene.after(5)
    assert agent.states == [True, False]


def test_its_protection_and_its_messages_are_renewed_for_hours(agent: Agent) -> None:
    scene = Scene(agent)
    request = scene.take("r1")
    for _ in range(int(2.5 * 3600)):
        scene.after(1)
    assert len(agent.asked) == 31, "at first, and each five minutes, of the twenty that it lasts"
    assert all(agent.states)
    assert scene.sqs.calls == [("q", ["r1"], {60})] * 450, "each twenty seconds, of the sixty that it is hidden"
    request.acknowledged = True
    scene.after(60)
    assert len(scene.sqs.calls) == 450


def test_ten_messages_go_into_one_call(agent: Agent) -> None:
    scene = Scene(agent)
    for number in range(12):
        scene.take(f"r{number}")
    scene.take("other", queue="q2")
    scene.after(20)
    assert sorted((queue, len(receipts)) for queue, receipts, _ in scene.sqs.calls) == [("q", 2), ("q", 10), ("q2", 1)]


def test_a_message_that_comes_again_does_not_hide_the_one_that_runs(agent: Agent) -> None:
    """It is dropped at once: Airflow says that its task already runs."""
    scene = Scene(agent)
    scene.take("first")
    scene.take("again").acknowledged = True
    scene.after(20)
    assert scene.sqs.calls == [("q", ["first"], {60})]


def test_a_worker_that_cannot_be_protected_works_and_asks_again(agent: Agent) -> None:
    scene = Scene(agent)
    agent.refusal = {"failure": {"Reason": "TASK_NOT_VALID"}}
    scene.take("r1")
    for _ in range(14):
        scene.after(1)
    assert agent.states == [True]
    agent.refusal = {}
    scene.after(1)
    scene.after(100)
    assert agent.states == [True, True]


def test_a_replaced_worker_leaves_once_while_it_works(agent: Agent) -> None:
    scene = Scene(agent)
    scene.take("r1")
    scene.after(1)
    assert scene.left == 0
    scene.outdated = True
    scene.after(1)
    scene.after(1)
    assert scene.left == 1
    assert all(agent.states), "what it has is finished under protection"


class S3:
    def __init__(self, told: str) -> None:
        self.told = told
        self.asked = 0

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self.asked += 1
        return {"Body": self}

    def read(self) -> bytes:
        return self.told.encode()


@pytest.mark.parametrize(
    ("told", "old"),
    [
        ('{"definition": "arn:aws:ecs:us-east-1:0:task-definition/skylift-e-worker:7"}', False),
        ('{"definition": "arn:aws:ecs:us-east-1:0:task-definition/skylift-e-worker:8"}', True),
        ("{}", False),
        ("not json", False),
    ],
)
def test_a_worker_is_outdated_when_another_definition_is_announced(told: str, old: bool) -> None:
    s3 = S3(told)
    outdated = Outdated(s3, "bucket", "key", "skylift-e-worker:7")
    assert outdated.look(0.0) is old
    assert outdated.look(59.0) is False
    assert s3.asked == 1
    assert outdated.look(60.0) is old
    assert not Outdated(s3, "bucket", "key", "").look(0.0)
