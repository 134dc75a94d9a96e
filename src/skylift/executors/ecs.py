"""``AwsEcsExecutor``: every workload of Airflow is its own ECS task. ECS's words end in this file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from skylift.aws.clients import client
from skylift.aws.ecs_endings import EcsEndings
from skylift.aws.ecs_tasks import MOST_PER_DESCRIBE, EcsTask, EcsTasks, NoCluster, Throttled
from skylift.aws.output import Output
from skylift.core.attempt import Attempt, Compute, Observation, Phase, Submission
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.core.names import tag_value
from skylift.executors import in_container
from skylift.executors.connection import session_of
from skylift.executors.ecs_options import EcsOptions, ecs_options, on_fargate
from skylift.executors.executor import SkyliftExecutor
from skylift.executors.last_words_ecs import EcsWitness
from skylift.executors.payload import Payload, Payloads
from skylift.executors.settings import LAST_LINES, OWN_SECTION, PAYLOAD_URL, TAGS, Options

log = logging.getLogger(__name__)

MOST_OVERRIDE_CHARACTERS = 8192
"""Of RunTask's ``overrides`` as JSON (botocore model ``ecs/2014-11-13``, RunTask.overrides)."""

MOST_TAGS = 50
"""Tags of one ECS resource (botocore model, Tag)."""


class AwsEcsExecutor(SkyliftExecutor):
    """Runs every workload as its own ECS task; drop-in for the amazon provider's executor of that name."""

    def make_compute(self) -> Compute:
        """The compute of the options. Raises ``Refused`` with one line that names a wrong option."""
        options = ecs_options(self.conf)
        own = Options(self.conf, OWN_SECTION)
        session = session_of(options.connection, options.region)
        ecs = client("ecs", region=options.region or None, attempts=1, read_timeout=20, session=session)
        tasks = EcsTasks(ecs, options.cluster)
        try:
            payloads = Payloads(own[PAYLOAD_URL], session=session, region=options.region)
        except ValueError as error:
            raise Refused(f"[{OWN_SECTION}] payload_url: {error}") from error
        if options.check_health:
            self._check(tasks)
        output = Output(session, options.region)
        witness = EcsWitness(EcsEndings(ecs, options.cluster), options.container, output, most=own[LAST_LINES])
        return EcsCompute(tasks, options, payloads, tags=own[TAGS], witness=witness)

    def _check(self, tasks: EcsTasks) -> None:
        """Looks for the cluster, at the start only. No cluster stops the start; a bad moment does not."""
        try:
            tasks.has_default_strategy()
        except NoCluster:
            raise
        except SkyliftError as error:
            self.log.warning("The ECS cluster could not be looked for (check_health_on_startup); going on: %s", error)

    def most_attempts(self) -> int:
        """Containers for one launch."""
        return ecs_options(self.conf).most_attempts


class EcsCompute:
    """ECS as a ``Compute``; its contract stands in ``skylift.core.attempt``.

    Args:
        tasks: the calls.
        options: what every RunTask has in common.
        payloads: how the workload gets into the container.
        tags: whether ECS tasks are tagged with the attempt's labels.
        witness: finds out more about one ECS task; ``None``: nobody does.
    """

    most_per_submit = 1
    most_per_observe = MOST_PER_DESCRIBE

    def __init__(
        self,
        tasks: EcsTasks,
        options: EcsOptions,
        payloads: Payloads,
        *,
        tags: bool = True,
        witness: EcsWitness | None = None,
    ) -> None:
        self.witness = witness
        self._tasks = tasks
        self._options = options
        self._payloads = payloads
        self._tags = tags
        self._launch: dict[str, str] | None = None

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        return [self._submit(attempt) for attempt in attempts]

    def observe(self, refs: Sequence[str]) -> list[Observation]:
        known = self._tasks.describe(refs)
        return [observation(ref, known.get(ref), self._options.container) for ref in refs]

    def stop(self, ref: str, why: str) -> None:
        self._tasks.stop(ref, why)

    def find(self, attempt: Attempt) -> list[str]:
        if attempt.external_id.startswith("arn:"):
            # The amazon provider's executor kept the ARN there: its ECS tasks are taken over as they are.
            return [attempt.external_id]
        return self._tasks.started_by(attempt.external_id)

    def kin(self, attempt: Attempt) -> None:
        """RunTask's ``count`` gives all the same overrides, so every attempt goes alone."""

    def renew(self, attempt: Attempt, ref: str) -> bool:  # noqa: ARG002  as in Compute
        """Puts the workload's object again, with a fresh token; an inline workload cannot be changed."""
        return in_container.WORKLOAD_URL in self._payloads.prepare(attempt).environment

    def explain(self, ref: str) -> str:
        return self.witness.explain(ref) if self.witness else ""

    def _submit(self, attempt: Attempt) -> Submission:
        try:
            check_wishes(attempt.wishes, self._options.container)
            payload = self._payloads.prepare(attempt)
            request = run_task_request(self._options, attempt, payload, tags=self._tags)
            return Submission(ref=self._tasks.run({**self._default_launch(request), **request}))
        except Throttled as error:
            return Submission(later=str(error), throttled=True)
        except Unavailable as error:
            return Submission(later=str(error))
        except Refused as error:
            return Submission(refused=str(error))

    def _default_launch(self, request: Mapping[str, Any]) -> dict[str, str]:
        """FARGATE, when neither we nor the cluster say anything else."""
        if request.get("launchType") or request.get("capacityProviderStrategy"):
            return {}
        if self._launch is None:
            try:
                self._launch = {} if self._tasks.has_default_strategy() else {"launchType": "FARGATE"}
            except Refused as error:
                # RunTask tells better what is wrong with the cluster; and without the permission to look, Fargate it is.
                log.warning("launch_type FARGATE is assumed: %s", error)
                self._launch = {"launchType": "FARGATE"}
        return self._launch


def check_wishes(wishes: Mapping[str, Any], container: str) -> None:
    """Refuses an ``executor_config`` that cannot work. It says what to change."""
    if not isinstance(wishes, Mapping):
        raise Refused(f"executor_config must be a dict with arguments of ECS RunTask, not {type(wishes).__name__}")
    for word in ("command", "name"):
        if word in wishes:
            raise Refused(f"executor_config must not set {word!r}: the executor decides what runs in the container")
    for one in (wishes.get("overrides") or {}).get("containerOverrides") or []:
        if "name" not in one:
            raise Refused("executor_config: every entry of overrides.containerOverrides needs the container's 'name'")
        if one["name"] == container and "command" in one:
            raise Refused(f"executor_config must not set 'command' of container {container!r}: it runs Airflow")


def run_task_request(options: EcsOptions, attempt: Attempt, payload: Payload, *, tags: bool) -> dict[str, Any]:
    """RunTask's arguments. ``executor_config`` is merged over the options: dicts recursively, anything else replaces.

    Raises:
        Refused: the overrides are longer than ECS takes.
    """
    request = merged(options.request, attempt.wishes)
    if attempt.wishes.get("capacityProviderStrategy"):
        request.pop("launchType", None)
    elif attempt.wishes.get("launchType"):
        request.pop("capacityProviderStrategy", None)
    if not on_fargate(request):
        request.pop("platformVersion", None)
    override = _override_of(request, options.container)
    override["command"] = list(payload.command)
    given = override.get("environment") or []
    override["environment"] = [
        *(pair for pair in given if pair.get("name") not in payload.environment),
        *({"name": name, "value": value} for name, value in payload.environment.items()),
    ]
    length = len(json.dumps(request["overrides"], separators=(",", ":")))
    if length > MOST_OVERRIDE_CHARACTERS:
        raise Refused(
            f"the container's command and overrides have {length} characters, ECS takes {MOST_OVERRIDE_CHARACTERS}: "
            f"set [{OWN_SECTION}] payload_url = s3://bucket/prefix so that the workload goes through S3"
        )
    if tags:
        request["tags"] = _tags(request.get("tags") or [], attempt.labels)
    # Ours whatever anybody wished: they are how a restart finds its containers again, and never starts a second.
    return {**request, "startedBy": attempt.external_id, "clientToken": attempt.token}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of ``base`` with ``over`` merged into it; neither is changed, no part is shared."""
    result = {key: deepcopy(value) for key, value in base.items()}
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else deepcopy(value)
    return result


def _override_of(request: dict[str, Any], container: str) -> dict[str, Any]:
    overrides: list[dict[str, Any]] = request.setdefault("overrides", {}).setdefault("containerOverrides", [])
    for one in overrides:
        # The amazon provider documents that the first entry of RUN_TASK_KWARGS may leave the name out.
        if one.setdefault("name", container) == container:
            return one
    overrides.insert(0, {"name": container})
    return overrides[0]


def _tags(given: Sequence[Mapping[str, str]], labels: Mapping[str, str]) -> list[dict[str, str]]:
    taken = {tag.get("key") for tag in given}
    ours = [{"key": key, "value": tag_value(value)} for key, value in labels.items() if key not in taken]
    return [*(dict(tag) for tag in given), *ours][:MOST_TAGS]


def observation(ref: str, task: EcsTask | None, container: str) -> Observation:
    """What ECS says, in the house's words."""
    if task is None:
        return Observation(ref, Phase.MISSING, reason="ECS does not know this task (MISSING)")
    main = task.container(container)
    code = main.exit_code if main else None
    # ECS sets the stop code with the request already, long before STOPPED.
    by_request = task.stop_code == "UserInitiated"
    if task.last_status != "STOPPED":
        running = task.last_status in {"RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING"}
        # The Airflow container is essential, so its end is the ECS task's; not waiting for DEPROVISIONING saves seconds.
        ended = main is not None and main.status == "STOPPED" and code is not None
        phase = Phase.STOPPED if ended else Phase.RUNNING if running else Phase.WAITING
        return Observation(ref, phase, task.started, code, by_request, _reason(task, container))
    return Observation(
        ref,
        Phase.STOPPED,
        began=task.started or code is not None,
        exit_code=code,
        by_request=by_request,
        reason=_reason(task, container),
    )


def _reason(task: EcsTask, container: str) -> str:
    main = task.container(container)
    parts = [
        " ".join(filter(None, (task.stop_code, task.stopped_reason and f"({task.stopped_reason})"))),
        f"container {container}: {main.reason}" if main and main.reason else "",
        f"exit code {main.exit_code}" if main and main.exit_code is not None else "",
        _meaning(main.exit_code, main.reason) if main else "",
        task.arn,
    ]
    return "; ".join(filter(None, parts))


def _meaning(code: int | None, reason: str) -> str:
    if "OutOfMemory" in reason or (code == 137 and "memory" in reason.lower()):
        return "it was out of memory: give the container or the ECS task more (executor_config)"
    return {137: "killed (SIGKILL; often out of memory)", 143: "stopped (SIGTERM)"}.get(code or 0, "")
