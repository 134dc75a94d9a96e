"""Makes one Airflow on Fargate, or makes an existing one equal to what is asked; every step may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from skylift.aws.account_calls import AccountCalls
from skylift.core.errors import Refused
from skylift.deploy.fargate import advice, network, roles, service, storage
from skylift.deploy.fargate.look import AirflowSeen, last_lines, look, tasks_of
from skylift.deploy.fargate.wanted import AirflowWanted, Named

LOOK_SECONDS = 0.5
LINES = 15
ENDS = 2
"""Tasks that may end before this gives up; ECS itself gives up after three."""


class Progress(Protocol):
    """Where the steps are shown."""

    def now(self, text: str) -> None:
        """What is being done."""
        ...

    def done(self, text: str) -> None:
        """A step is done."""
        ...

    def note(self, text: str) -> None:
        """What the user should know, although nothing has failed."""
        ...


def make(calls: AccountCalls, named: Named, wanted: AirflowWanted, dags: Path | None, show: Progress) -> str:
    """Makes everything; the container starts. Returns the ARN of the task definition that shall run.

    Raises:
        Refused, Unavailable: a call; what is there already stays, and the same command goes on from there.
    """
    show.now("log group, password")
    storage.ensure_log_group(calls, named, wanted.keep_logs)
    secret = storage.ensure_secret(calls, named)
    show.done(f"log group {named.log_group} ({wanted.keep_logs} days), secret {named.secret}")
    show.now("bucket")
    storage.ensure_bucket(calls, named)
    changed = storage.sync(calls, named, dags)
    show.done(f"bucket {named.bucket}" + (f", {changed} files changed" if dags else ""))
    show.now("roles")
    execution = roles.execution_policy(named, secret, roles.repository_of(wanted.image, calls.region))
    pair = (
        roles.existing(calls, wanted.execution_role) or roles.ensure(calls, named, named.roles[0], execution),
        wanted.role or roles.ensure(calls, named, named.roles[1], roles.task_policy(named)),
    )
    show.done("roles " + ", ".join(one.rpartition("/")[2] for one in pair))
    show.now("network")
    made = network.ensure(calls, wanted, named.whole)
    show.done(f"network {made.vpc}, security group {made.group}: port 8080 for {wanted.allow} only")
    show.now("cluster and service")
    service.ensure_cluster(calls, named)
    revision = service.ensure_definition(calls, named, service.definition(wanted, named, pair, secret))
    service.ensure_service(calls, wanted, named, revision, made, show.now)
    show.done(f"service {named.whole}, task definition {revision.rpartition('/')[2]}")
    return revision


def await_healthy(
    calls: AccountCalls, named: Named, revision: str, show: Progress, seconds: float, clock: Callable[[], float]
) -> AirflowSeen:
    """Waits until Airflow itself says that all of it is well.

    Raises:
        Refused: it will not; the text has ECS's reason, the last lines of the log, and what to do.
    """
    deadline, begun = clock() + seconds, time.time()
    told = ""
    while True:
        seen = look(calls, named)
        failed = _failed(calls, named, revision, begun)
        outlives = seen.seconds >= 2 * max(map(_lived, failed), default=0.0)
        if seen.health == "HEALTHY" and seen.revision == revision and seen.address and outlives:
            return seen
        words = f"waiting for Airflow: {seen.state} {seen.health}".rstrip()
        show.now(f"{words} {seen.address}".rstrip())
        found = service.find_service(calls, named)
        if found is None:
            raise Refused(f"The service {named.whole} is gone: somebody else deleted it. Run the command again.")
        reason = _trouble(found, begun)
        if reason and reason != told:
            show.note(reason)
            told = reason
        _give_up_on(calls, named, found, failed)
        if clock() > deadline:
            raise Refused(
                _story(calls, named, f"not healthy after {seconds:.0f} s ({seen.state} {seen.health})", told, seen.task)
            )
        time.sleep(LOOK_SECONDS if not calls.real else 4 * LOOK_SECONDS)


def _trouble(found: Mapping[str, Any], begun: float) -> str:
    """The newest event of the service that tells of trouble since we began."""
    for event in found.get("events", ()):
        text = str(event["message"])
        if event["createdAt"].timestamp() >= begun - 5 and ("unable to" in text or "unhealthy" in text):
            more = advice.meaning(text)
            return f"{text} {more}".strip()
    return ""


def _failed(calls: AccountCalls, named: Named, revision: str, begun: float) -> list[dict[str, Any]]:
    """The ECS tasks of this revision that have ended by themselves. What follows one must live twice as long before it
    is called healthy: a component that ends again and again may leave Airflow healthy in between."""
    ended = [
        one
        for one in tasks_of(calls, named, "STOPPED")
        if one["taskDefinitionArn"] == revision and one["createdAt"].timestamp() >= begun - 60
    ]
    # One that we (or a deployment) ended is no failure.
    failed = [one for one in ended if one.get("stopCode") not in {"ServiceSchedulerInitiated", "UserInitiated"}]
    return failed + [one for one in ended if "health check" in str(one.get("stoppedReason", "")) and one not in failed]


def _lived(task: Mapping[str, Any]) -> float:
    """Seconds from its pull to its end."""
    begun = task.get("pullStartedAt") or task["createdAt"]
    return float(((task.get("stoppedAt") or begun) - begun).total_seconds())


def _give_up_on(calls: AccountCalls, named: Named, found: Mapping[str, Any], failed: list[dict[str, Any]]) -> None:
    if not failed:
        return
    newest = max(failed, key=lambda one: one["createdAt"])
    why = advice.why_stopped(newest)
    rollout: Mapping[str, Any] = next(
        (one for one in found.get("deployments", ()) if one.get("status") == "PRIMARY"), {}
    )
    if advice.DECISIVE.search(why) or len(failed) >= ENDS or rollout.get("rolloutState") == "FAILED":
        task = str(newest["taskArn"]).rpartition("/")[2]
        raise Refused(_story(calls, named, f"its ECS task ended: {why}", "", task))


def _story(calls: AccountCalls, named: Named, what: str, trouble: str, task: str) -> str:
    lines = last_lines(calls, named, task, LINES) if task else []
    advised = advice.meaning(f"{what} {trouble}")
    return "\n".join(
        [
            f"Airflow did not come up: {what}",
            *([trouble] if trouble else []),
            *(["The last lines of its log:", *(f"  {line}" for line in lines)] if lines else []),
            *([advised] if advised else []),
            f"Change what is wrong and run {named.command('up')} again (it goes on from here), or remove all of it, "
            f"which also ends its cost: {named.command('down')}",
        ]
    )


def explain(calls: AccountCalls, named: Named) -> list[str]:
    """Why it is not healthy: ECS's reason for the task that ended last, its last lines, and what to do."""
    found = tasks_of(calls, named, "STOPPED")
    if not found:
        return []
    newest = max(found, key=lambda one: one["createdAt"])
    why, task = advice.why_stopped(newest), str(newest["taskArn"]).rpartition("/")[2]
    lines = last_lines(calls, named, task, LINES)
    return [f"ECS task {task} ended: {why}", *(f"  {line}" for line in lines), *filter(None, [advice.meaning(why)])]
