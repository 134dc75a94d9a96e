"""``AwsEcsExecutor``: every workload of Airflow is its own ECS task. No other file of the executors knows ECS's
words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from skylift.aws.clients import client
from skylift.aws.ecs.endings import EcsEndings
from skylift.aws.ecs.tasks import (
    MOST_PER_DESCRIBE,
    DescribedTask,
    EcsContainer,
    EcsTasks,
    NoCapacity,
    NoCluster,
    Throttled,
    task_of,
)
from skylift.aws.output import LogReader
from skylift.core.attempt import Attempt, Compute, Observation, Phase, Submission
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.executors import exit_words
from skylift.executors.airflow_compat import executor_names
from skylift.executors.events.source import Source
from skylift.executors.events.sqs import ECS_TASK, source_of
from skylift.executors.executor import SkyliftExecutor
from skylift.executors.executor_config.ecs_advice import advised
from skylift.executors.executor_config.ecs_request import check_options, loaded, wanted
from skylift.executors.in_container.payload import Payloads, payloads_of
from skylift.executors.in_container.warm import staying
from skylift.executors.last_words.ecs import EcsExplainer
from skylift.executors.options.connection import session_of
from skylift.executors.options.ecs import ECS_SECTION, EcsOptions, ecs_options
from skylift.executors.options.settings import EVENTS_QUEUE, LAST_LINES, OWN_SECTION, TAGS, Options
from skylift.executors.options.teams import team_of

log = logging.getLogger(__name__)


class AwsEcsExecutor(SkyliftExecutor):
    """Runs every workload as its own ECS task; drop-in for the amazon provider's executor of that name."""

    def make_compute(self) -> Compute:
        """The compute of the options. Raises ``Refused`` with one line that names a wrong option."""
        options = ecs_options(self.conf)
        check_options(options)
        own = Options(self.conf, OWN_SECTION)
        session = session_of(options.connection, options.region, ECS_SECTION, team_of(self))
        ecs = client("ecs", region=options.region or None, attempts=1, read_timeout=20, session=session)
        tasks = EcsTasks(ecs, options.cluster)
        payloads = payloads_of(own, session, options.region, executor_names())
        if options.check_health:
            self._check(tasks, options)
        labels = {"team": team} if (team := team_of(self)) else {}
        output = LogReader(session, options.region)
        explainer = EcsExplainer(EcsEndings(ecs, options.cluster), options.container, output, most=own[LAST_LINES])
        compute = EcsCompute(tasks, options, payloads, tags=own[TAGS], labels=labels, explainer=explainer)
        return staying(compute, payloads, own)

    def make_source(self) -> Source | None:
        """The queue with ECS's events; ``None`` without one. Raises ``Refused``, like ``make_compute``."""
        options = ecs_options(self.conf)
        queue = Options(self.conf, OWN_SECTION)[EVENTS_QUEUE]
        if not queue:
            return None
        session = session_of(options.connection, options.region, ECS_SECTION, team_of(self))

        def sighted(detail: Mapping[str, Any]) -> Observation | None:
            return sighting(detail, options.container)

        return source_of(queue, {ECS_TASK: sighted}, session=session, region=options.region)

    def _check(self, tasks: EcsTasks, options: EcsOptions) -> None:
        """Checks at start that the clusters exist. A missing cluster stops the start; a temporary failure does not."""
        for one in (options, *options.queues.values()):
            try:
                tasks.has_default_strategy(one.cluster)
            except NoCluster as error:
                raise Refused(f"{one.source('cluster')}: {error}") from error
            except SkyliftError as error:
                self.log.warning(
                    "The ECS cluster could not be looked for (check_health_on_startup); going on: %s", error
                )
                return

    def most_attempts(self) -> int:
        """Most containers for one launch."""
        return ecs_options(self.conf).most_attempts


class EcsCompute(Compute):
    """ECS as a ``Compute``; see its contract in ``skylift.core.attempt``.

    Args:
        tasks: the calls.
        options: what every RunTask has in common, by queue.
        payloads: how the workload gets into the container.
        tags: whether ECS tasks are tagged with the attempt's labels.
        labels: labels of all attempts: the team.
        explainer: finds out more about one ECS task; ``None``: nothing does.
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
        labels: Mapping[str, str] | None = None,
        explainer: EcsExplainer | None = None,
    ) -> None:
        self.explainer = explainer
        self._tasks = tasks
        self._options = options
        self._payloads = payloads
        self._tags = tags
        self._labels = labels or {}
        self._launch: dict[str, dict[str, str]] = {}

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        return [self._submit(attempt) for attempt in attempts]

    def observe(self, refs: Sequence[str]) -> list[Observation]:
        known = self._tasks.describe(refs)
        return [observation(ref, known.get(ref), self._options.container) for ref in refs]

    def stop(self, ref: str, why: str) -> None:
        self._tasks.stop(ref, why)

    def find(self, attempt: Attempt) -> list[str]:
        if attempt.external_id.startswith("arn:"):
            # The amazon provider's executor stored the ARN there: its ECS tasks are adopted as they are.
            return [attempt.external_id]
        cluster = self._options.of(attempt.queue).cluster
        wanted = attempt.executor_config.get("cluster") if isinstance(attempt.executor_config, Mapping) else None
        if wanted and isinstance(wanted, str):
            cluster = wanted
        return self._tasks.started_by(attempt.external_id, cluster)

    def census(self) -> dict[str, list[str]]:
        """All living ECS tasks in the clusters of the options."""
        clusters = dict.fromkeys([self._options.cluster, *(one.cluster for one in self._options.queues.values())])
        found: dict[str, list[str]] = {}
        for cluster in clusters:
            found.update(self._tasks.alive(cluster))
        return found

    def group_key(self, attempt: Attempt) -> None:
        """RunTask's ``count`` gives all of them the same overrides, so every attempt goes alone."""

    def renew(self, attempt: Attempt, ref: str) -> bool:  # noqa: ARG002  as in Compute
        """Writes the workload's object again, with a fresh token; an inline workload cannot be changed."""
        if not self._payloads.by_reference:
            return False
        self._payloads.renew(attempt)
        return True

    def explain(self, ref: str) -> str:
        return self.explainer.explain(ref) if self.explainer else ""

    def _submit(self, attempt: Attempt) -> Submission:
        try:
            labelled = replace(attempt, labels={**attempt.labels, **self._labels})
            return Submission(ref=self._run(self._options.of(attempt.queue), labelled))
        except Throttled as error:
            return Submission(later=str(error), throttled=True)
        except NoCapacity as error:
            return Submission(later=str(error), shortage=True)
        except Unavailable as error:
            return Submission(later=str(error))
        except Refused as error:
            return Submission(refused=str(error))

    def _run(self, options: EcsOptions, attempt: Attempt) -> str:
        # Before the workload is written anywhere, so that a wrong executor_config costs no call.
        request = wanted(options, attempt)
        try:
            payload = self._payloads.prepare(attempt)
        except Refused as error:
            raise Refused(f"[{OWN_SECTION}] payload_url: {error}") from error
        request = loaded(request, options, attempt, payload, tags=self._tags)
        try:
            return self._tasks.run({**self._default_launch(request), **request})
        except Refused as error:
            text = advised(str(error), request, options, attempt.executor_config)
            if options.fallback(attempt.shortages):
                # The next fallback may work; a fallback must not fail what would have run without it.
                raise NoCapacity(f"[{OWN_SECTION}] capacity_fallback: {text}") from error
            raise Refused(text) from error

    def _default_launch(self, request: Mapping[str, Any]) -> dict[str, str]:
        """FARGATE, if neither we nor the cluster say otherwise."""
        if request.get("launchType") or request.get("capacityProviderStrategy"):
            return {}
        cluster = str(request.get("cluster", ""))
        if cluster not in self._launch:
            try:
                default = self._tasks.has_default_strategy(cluster)
            except Refused as error:
                # RunTask explains better what is wrong with the cluster. Without the permission to look, we assume
                # Fargate.
                log.warning("launch_type FARGATE is assumed: %s", error)
                default = False
            self._launch[cluster] = {} if default else {"launchType": "FARGATE"}
        return self._launch[cluster]


def sighting(detail: Mapping[str, Any], container: str) -> Observation | None:
    """What an event "ECS Task State Change" says; ``None`` for an ECS task of a service."""
    if str(detail.get("group", "")).startswith("service:"):
        return None
    task = task_of(detail)
    return observation(task.arn, task, container)


def observation(ref: str, task: DescribedTask | None, container: str) -> Observation:
    """Translates what ECS says.

    Args:
        container: where Airflow runs, for an ECS task whose overrides do not say.
    """
    if task is None:
        return Observation(ref, Phase.MISSING, reason="ECS does not know this task (MISSING)")
    main = airflows(task, container)
    code = main.exit_code if main else None
    # ECS sets the stop code when the stop is requested, long before STOPPED.
    by_request = task.stop_code == "UserInitiated"
    if task.last_status != "STOPPED":
        running = task.last_status in {"RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING"}
        # The Airflow container is essential, so when it ends the ECS task ends; not waiting for DEPROVISIONING saves
        # seconds.
        ended = main is not None and main.status == "STOPPED" and code is not None
        phase = Phase.STOPPED if ended else Phase.RUNNING if running else Phase.WAITING
        began = task.started
    else:
        phase, began = Phase.STOPPED, task.started or code is not None
    return Observation(
        ref,
        phase,
        began=began,
        exit_code=code,
        by_request=by_request,
        reason=_reason(task, main),
        version=task.version,
        shortage=phase is Phase.STOPPED and not began and task.lacked_capacity,
        external_id=task.started_by,
        outside=task.stop_code not in {"", "EssentialContainerExited", "TaskFailedToStart"},
    )


def airflows(task: DescribedTask, container: str) -> EcsContainer | None:
    """The container in which Airflow runs: the overrides say it, otherwise the options do, otherwise there is only
    one."""
    named = task.container(task.airflow or container)
    return task.containers[0] if named is None and len(task.containers) == 1 else named


def _reason(task: DescribedTask, main: EcsContainer | None) -> str:
    parts = [
        " ".join(filter(None, (task.stop_code, task.stopped_reason and f"({task.stopped_reason})"))),
        f"container {main.name}: {main.reason}" if main and main.reason else "",
        f"exit code {main.exit_code}" if main and main.exit_code is not None else "",
        _meaning(main.exit_code, main.reason) if main else "",
        task.arn,
    ]
    return "; ".join(filter(None, parts))


def _meaning(code: int | None, reason: str) -> str:
    return exit_words.words(code, reason, more="give the container or the ECS task more (executor_config)")
