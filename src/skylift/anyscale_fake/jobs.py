"""Runs jobs: each try is an ECS task. One loop moves all jobs; calls to AWS run in threads."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skylift.anyscale_fake.program as program
from skylift.anyscale_fake.records import JobRecord, Records, RunRecord, new_id, now
from skylift.aws.ecs.tasks import DescribedTask, EcsTasks
from skylift.aws.errors import calling, code_of
from skylift.core.errors import Refused, Unavailable

CLUSTER = "anyscale"
FAMILY = "anyscale-job"
CONTAINER = "ray"
LOG_GROUP = "/skylift/anyscale/jobs"
SECRET = "skylift/anyscale/containers-"  # noqa: S105 - how the secret's name begins
"""Holds what opens the descriptions of jobs, with their ``env_vars``, to job containers and to nobody who may only
describe ECS tasks. Each fake in a cloud has its own."""
TURN_SECONDS = 0.5
DONE = frozenset({"SUCCESS", "BROKEN", "OUT_OF_RETRIES", "TERMINATED"})
_AT_ONCE = 100
_MEMORY = "4096"
OBJECT_STORE_BYTES = 200 * 1024 * 1024
"""Ray would otherwise take a third of the machine's memory for each job."""


class JobRuns:
    """Moves jobs on: starts tries, looks at them, ends them.

    Args:
        records: what is remembered; changed here.
        ecs: boto3's client.
        logs: boto3's client.
        secrets: boto3's client of Secrets Manager.
        token: for job containers: what opens ``spec_url``.
        image: that job containers start from, if a job names none that the local cloud has.
        spec_url: the address at which a try's container gets its description.
        execution_role: ARN of the role with which ECS starts job containers and writes their logs.
        launch: members of RunTask beside ours, e.g. a network.
    """

    def __init__(
        self,
        records: Records,
        ecs: Any,
        logs: Any,
        secrets: Any,
        token: str,
        image: str,
        spec_url: Callable[[JobRecord, RunRecord], str],
        execution_role: str,
        launch: dict[str, Any],
    ) -> None:
        self._records = records
        self._ecs = ecs
        self._logs = logs
        self._secrets = secrets
        self._token = token
        self._tasks = EcsTasks(ecs, CLUSTER)
        self._image = image
        self._spec_url = spec_url
        self._execution_role = execution_role
        self._launch = launch
        self._definition = ""

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            with contextlib.suppress(Refused, Unavailable):  # the local cloud is busy: the next turn may succeed
                await self.turn()
            await asyncio.sleep(TURN_SECONDS)

    async def turn(self) -> None:
        """One look at all jobs that are not over. Raises ``Refused`` or ``Unavailable``."""
        alive = [job for job in self._records.jobs.values() if job.state not in DONE]
        if not alive:
            return
        if not self._definition:
            await asyncio.to_thread(self._prepare)
        for job in alive:
            if not job.runs or job.runs[-1].state == "FAILED":
                self._next_run(job)
            if job.state not in DONE and not job.runs[-1].task:
                await self._start(job, job.runs[-1])
        flying = [job for job in alive if job.state not in DONE and job.runs[-1].task]
        for begin in range(0, len(flying), _AT_ONCE):
            part = flying[begin : begin + _AT_ONCE]
            found = await asyncio.to_thread(self._tasks.describe, [job.runs[-1].task for job in part])
            for job in part:
                await self._look(job, job.runs[-1], found.get(job.runs[-1].task))

    def spec(self, run_id: str, key: str) -> dict[str, Any] | None:
        """What a try's container runs; ``None`` for a wrong key."""
        for job in self._records.jobs.values():
            for run in job.runs:
                if (run.id, run.key) == (run_id, key):
                    return _spec(job)
        return None

    def log(self, run_id: str, most: int = 20_000) -> list[str]:
        """The lines of a try so far. Blocks. Raises ``Refused`` or ``Unavailable``."""
        stream = next((run.stream for job in self._records.jobs.values() for run in job.runs if run.id == run_id), "")
        lines: list[str] = []
        token: dict[str, str] = {}
        while stream and len(lines) < most:
            with calling("logs GetLogEvents"):
                try:
                    answer = self._logs.get_log_events(
                        logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token
                    )
                except self._logs.exceptions.ResourceNotFoundException:
                    break
            lines += [str(event["message"]).rstrip("\n") for event in answer["events"]]
            if not answer["events"] or token.get("nextToken") == answer["nextForwardToken"]:
                break
            token = {"nextToken": answer["nextForwardToken"]}
        return lines[:most]

    def _prepare(self) -> None:
        with calling("ecs CreateCluster anyscale"):
            self._ecs.create_cluster(clusterName=CLUSTER)
        with calling("logs CreateLogGroup"):
            try:
                self._logs.create_log_group(logGroupName=LOG_GROUP)
            except Exception as error:
                if code_of(error) != "ResourceAlreadyExistsException":
                    raise
        secret = self._put_secret()
        options = {"awslogs-group": LOG_GROUP, "awslogs-region": self._ecs.meta.region_name}
        with calling("ecs RegisterTaskDefinition anyscale-job"):
            made = self._ecs.register_task_definition(
                family=FAMILY,
                networkMode="awsvpc",
                requiresCompatibilities=["FARGATE"],
                cpu="1024",
                memory=_MEMORY,
                executionRoleArn=self._execution_role,
                containerDefinitions=[
                    {
                        "name": CONTAINER,
                        "image": self._image,
                        "essential": True,
                        "command": ["python", "-c", Path(program.__file__).read_text()],
                        "secrets": [{"name": program.TOKEN, "valueFrom": secret}],
                        "logConfiguration": {
                            "logDriver": "awslogs",
                            "options": {**options, "awslogs-stream-prefix": "job"},
                        },
                    }
                ],
            )
        self._definition = str(made["taskDefinition"]["taskDefinitionArn"])

    def _put_secret(self) -> str:
        name = SECRET + hashlib.sha256(self._token.encode()).hexdigest()[:8]
        with calling(f"secretsmanager CreateSecret {name}"):
            try:
                return str(self._secrets.create_secret(Name=name, SecretString=self._token)["ARN"])
            except Exception as error:
                if code_of(error) != "ResourceExistsException":
                    raise
            return str(self._secrets.describe_secret(SecretId=name)["ARN"])

    def _next_run(self, job: JobRecord) -> None:
        allowed = int(job.body["config"].get("max_retries", 0)) + 1
        if len(job.runs) >= allowed:
            self._over(job, "OUT_OF_RETRIES")
            return
        job.runs.append(RunRecord(new_id("jobrun"), new_id("key")))
        self._move(job, "RESTARTING" if len(job.runs) > 1 else "AWAITING_CLUSTER_START")

    async def _start(self, job: JobRecord, run: RunRecord) -> None:
        if job.ending:
            self._over(job, "TERMINATED")
            return
        variables = [{"name": program.SPEC_URL, "value": self._spec_url(job, run)}]
        request = {
            "taskDefinition": self._definition,
            "clientToken": run.id[-24:],
            "startedBy": run.id[-36:],
            "overrides": {"containerOverrides": [{"name": CONTAINER, "environment": variables}]},
            **self._launch,
        }
        try:
            run.task = await asyncio.to_thread(self._tasks.run, request)
        except Refused as error:
            job.error = f"no cluster could be started: {error}"
            self._over(job, "BROKEN")
            return
        run.stream = f"job/{CONTAINER}/{run.task.rpartition('/')[2]}"
        self._records.save()

    async def _look(self, job: JobRecord, run: RunRecord, task: DescribedTask | None) -> None:
        if task is None:
            run.state = "FAILED"
            job.error = "its ECS task is gone"
            self._records.save()
            return
        if job.ending and task.last_status != "STOPPED":
            await asyncio.to_thread(self._tasks.stop, run.task, "the job was ended")
        if task.last_status == "RUNNING" and job.state != "RUNNING":
            run.state = "RUNNING"
            self._move(job, "RUNNING")
        if task.last_status != "STOPPED":
            return
        container = task.container(CONTAINER)
        code = container.exit_code if container else None
        run.state = "SUCCEEDED" if code == 0 else "FAILED"
        if job.ending:
            self._over(job, "TERMINATED")
        elif code == 0:
            self._over(job, "SUCCESS")
        else:
            why = f"the entrypoint ended with exit code {code}" if code is not None else task.stopped_reason
            job.error = f"job run {run.id}: {why}"
            self._move(job, "ERRORED")

    def _move(self, job: JobRecord, state: str) -> None:
        job.state, job.since = state, now()
        self._records.save()

    def _over(self, job: JobRecord, state: str) -> None:
        if state in {"SUCCESS", "TERMINATED"}:
            job.error = ""
        self._move(job, state)


def _spec(job: JobRecord) -> dict[str, Any]:
    config = job.body["config"]
    environment = config.get("runtime_env") or {}
    pip = environment.get("pip") or []
    return {
        "entrypoint": config["entrypoint"],
        "working_dir": environment.get("working_dir") or "",
        "py_modules": environment.get("py_modules") or [],
        "pip": pip.get("packages", []) if isinstance(pip, dict) else pip,
        "env_vars": environment.get("env_vars") or {},
        "variables": {"ANYSCALE_HA_JOB_ID": job.id, "ANYSCALE_HA_JOB_NAME": str(job.body.get("name", ""))},
        "object_store_bytes": OBJECT_STORE_BYTES,
    }
