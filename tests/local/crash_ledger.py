"""A user who keeps books while the local cloud is killed: what was asked, what was acknowledged, and whether it came
true."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.local.batch_cloud import define, prepare, submit
from tests.local.ecs_cloud import LOG_GROUP, NETWORK, client, definition, wait_for

CODES = (0, 3, 5)
STEADY = 2
"""ECS tasks that the service wants."""


@dataclass
class Ledger:
    """What one user did, over many lives of the server.

    Attributes:
        asked: client token -> exit code of every RunTask that was sent, answered or not.
        accepted: client token -> ARN, of those that were answered.
        stopped: ARNs of sleepers whose StopTask was answered.
        jobs: ids of array jobs that were answered.
        things: names of secrets, objects and log lines that were acknowledged.
        clients: by service.
        busy: set once the server of now has answered.
    """

    port: int
    marks: Path
    dice: random.Random
    asked: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    sleepers: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    things: list[str] = field(default_factory=list)
    clients: dict[str, Any] = field(default_factory=dict)
    busy: threading.Event = field(default_factory=threading.Event)

    def client(self, service: str) -> Any:
        """A client that does not try again; made once, which costs more than a call."""
        if service not in self.clients:
            self.clients[service] = client(service, f"http://127.0.0.1:{self.port}")
        return self.clients[service]

    def open(self) -> None:
        """What everything else needs; before the first crash."""
        ecs, batch = self.client("ecs"), self.client("batch")
        ecs.create_cluster()
        self.client("logs").create_log_group(logGroupName=LOG_GROUP)
        self.client("logs").create_log_stream(logGroupName=LOG_GROUP, logStreamName="ours")
        self.client("s3").create_bucket(Bucket="ledger")
        ecs.register_task_definition(**definition("true"))
        for name in ("sleep", "kept"):
            ecs.register_task_definition(**{**definition("sleep", "300", stopTimeout=2), "family": name})
        ecs.create_service(serviceName="kept", taskDefinition="kept", desiredCount=STEADY, networkConfiguration=NETWORK)
        prepare(batch)
        define(
            batch,
            "sh",
            "-c",
            f"echo once >> {self.marks}/job-$AWS_BATCH_JOB_ID; exit $((AWS_BATCH_JOB_ARRAY_INDEX % 2))",
        )

    def work(self) -> None:
        """Asks for this and that until the server is gone."""
        self.until_gone([self.run, self.run, self.run, self.sleep, self.stop, self.roll, self.array, self.keep])

    def until_gone(self, deeds: Sequence[Callable[[], None]]) -> None:
        """One of these after the other, until the server is gone."""
        while True:
            try:
                self.dice.choice(deeds)()
                self.busy.set()
            except (BotoCoreError, ClientError):
                return

    def run(self) -> None:
        token = f"t{len(self.asked)}"
        self.asked[token] = self.dice.choice(CODES)
        self.repeat(token)

    def repeat(self, token: str) -> None:
        """Sends a RunTask, or sends it again; the same token must mean the same ECS task."""
        code = self.asked[token]
        script = f"echo once >> {self.marks}/{token}; sleep 0.{int(token[1:]) % 5}; exit {code}"
        overrides = {"containerOverrides": [{"name": "main", "command": ["sh", "-c", script]}]}
        answer = self.client("ecs").run_task(
            taskDefinition="work", networkConfiguration=NETWORK, overrides=overrides, clientToken=token
        )
        (task,) = answer["tasks"]
        assert self.accepted.setdefault(token, task["taskArn"]) == task["taskArn"], "the same token, another ECS task"

    def sleep(self) -> None:
        answer = self.client("ecs").run_task(taskDefinition="sleep", networkConfiguration=NETWORK)
        self.sleepers.append(answer["tasks"][0]["taskArn"])

    def stop(self) -> None:
        if self.sleepers:
            arn = self.dice.choice(self.sleepers)
            self.client("ecs").stop_task(task=arn, reason="enough")
            self.sleepers.remove(arn)
            self.stopped.append(arn)

    def roll(self) -> None:
        self.client("ecs").update_service(service="kept", forceNewDeployment=True)

    def array(self) -> None:
        if len(self.jobs) < 12:
            self.jobs.append(submit(self.client("batch"), arrayProperties={"size": 2}))

    def keep(self) -> None:
        name = f"thing-{len(self.things)}-{self.dice.randrange(10**9)}"
        self.client("secretsmanager").create_secret(Name=name, SecretString=name)
        self.client("s3").put_object(Bucket="ledger", Key=name, Body=name.encode())
        event = {"timestamp": int(time.time() * 1000), "message": name}
        self.client("logs").put_log_events(logGroupName=LOG_GROUP, logStreamName="ours", logEvents=[event])
        self.things.append(name)

    def settle(self) -> None:
        """Repeats what was never answered, stops what sleeps, waits until all is over."""
        ecs, batch = self.client("ecs"), self.client("batch")
        for token in self.asked:
            self.repeat(token)
        for arn in ecs.list_tasks(family="sleep")["taskArns"]:
            ecs.stop_task(task=arn, reason="the end")
        wait_for(lambda: not ecs.list_tasks(family="work")["taskArns"], 60)
        wait_for(lambda: not ecs.list_tasks(family="sleep")["taskArns"], 60)
        for name in self.jobs:
            wait_for(lambda name=name: _ended(batch, name), 60, lambda name=name: str(_job(batch, name)))

    def audit(self) -> None:
        """Nothing lost, nothing doubled, exit codes true."""
        ecs = self.client("ecs")
        for token, code in self.asked.items():
            (task,) = ecs.describe_tasks(tasks=[self.accepted[token]])["tasks"]
            assert (task["lastStatus"], task["containers"][0].get("exitCode")) == ("STOPPED", code), task
            assert (self.marks / token).read_text() == "once\n", f"{token} ran more than once"
        for arn in self.stopped:
            (task,) = ecs.describe_tasks(tasks=[arn])["tasks"]
            assert (task["lastStatus"], task["stopCode"], task["stoppedReason"]) == (
                "STOPPED",
                "UserInitiated",
                "enough",
            )
            assert task["containers"][0].get("exitCode", 143) in {143, 137}, task
        self._audit_jobs()
        self._audit_things()

    def _audit_jobs(self) -> None:
        batch = self.client("batch")
        for name in self.jobs:
            assert _job(batch, name)["status"] == "FAILED", "its child 1 failed"
            children = [_job(batch, f"{name}:{index}") for index in range(2)]
            assert [child["status"] for child in children] == ["SUCCEEDED", "FAILED"], children
            assert [child["container"]["exitCode"] for child in children] == [0, 1]
            for index in range(2):
                assert (self.marks / f"job-{name}:{index}").read_text() == "once\n"

    def _audit_things(self) -> None:
        if not self.things:
            return  # nor is there a log stream of theirs
        secrets, s3 = self.client("secretsmanager"), self.client("s3")
        logs = self.client("logs").get_paginator("filter_log_events")
        lines = {
            event["message"]
            for page in logs.paginate(logGroupName=LOG_GROUP, logStreamNames=["ours"])
            for event in page["events"]
        }
        for name in self.things:
            assert secrets.get_secret_value(SecretId=name)["SecretString"] == name
            assert s3.get_object(Bucket="ledger", Key=name)["Body"].read() == name.encode()
            assert name in lines


def _job(batch: Any, name: str) -> dict[str, Any]:
    found = batch.describe_jobs(jobs=[name])["jobs"]
    return dict(found[0]) if found else {"status": "unknown"}


def _ended(batch: Any, name: str) -> bool:
    return _job(batch, name)["status"] in {"SUCCEEDED", "FAILED"}
