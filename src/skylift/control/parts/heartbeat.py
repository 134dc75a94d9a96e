"""Replaces containers that hang: the process is alive and ECS sees it run, but it does nothing any more.

Scheduler, DAG processor and triggerer write heartbeats into Airflow's database. The API server is asked for its health.
First the row says which container is to be replaced and why, then ECS is told to stop it, and starts another one: so
a crash in between loses nothing. One container at a time.
"""
# ruff: noqa: ARG002 - the signature is the seam's; not every kind needs all of it

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from skylift.aws.ecs.tasks import DescribedTask
from skylift.control.airflow_config import web_url
from skylift.control.blueprint import COMPONENTS, Part
from skylift.control.definitions import family
from skylift.control.heartbeats import (
    FRESH,
    JOB_TYPES,
    Beats,
    Circumstances,
    Replacements,
    Silence,
    beating,
    by_task,
    interval,
    since,
    watched,
)
from skylift.control.notes import note, note_fact
from skylift.control.part_context import PartContext
from skylift.control.parts.health import ask
from skylift.control.parts.service import desired_count
from skylift.control.plan import PartPhase, Seen
from skylift.control.postgres import PostgresAdmin
from skylift.control.settings import HEARTBEAT_SECONDS, option_of
from skylift.core.containers import Command

HEALTH_PATH = "/api/v2/monitor/health"

BEATS = """
    SELECT job_type, coalesce(hostname, ''), max(latest_heartbeat) FROM job
    WHERE job_type = ANY(%(types)s) AND latest_heartbeat > now() - interval '1 day' GROUP BY 1, 2
"""


class Heartbeats(Protocol):
    """Where heartbeats are read."""

    def read(self, database: str) -> tuple[datetime, Mapping[str, Beats]]:
        """The database's time, and the newest heartbeat by job type and host name. Raises ``Unavailable``."""


class RunningTasks(Protocol):
    """The calls to ECS about running ECS tasks (``aws.ecs.services``)."""

    def family_tasks(self, family: str) -> list[str]: ...


class StoppableTasks(Protocol):
    """The calls to ECS about ECS tasks (``aws.ecs.tasks``)."""

    def describe(self, arns: Sequence[str]) -> dict[str, DescribedTask]: ...

    def stop(self, arn: str, why: str) -> None: ...


class AirflowHeartbeats(Heartbeats):
    """Airflow's table ``job``. One query shows all components; it costs a few milliseconds."""

    def __init__(self, postgres: PostgresAdmin) -> None:
        self._postgres = postgres

    def read(self, database: str) -> tuple[datetime, Mapping[str, Beats]]:
        with self._postgres.connect(database) as connection:
            (now,) = connection.execute("SELECT now()").fetchone() or (datetime.now(UTC),)
            rows = connection.execute(BEATS, {"types": list(JOB_TYPES.values())}).fetchall()
        found: dict[str, dict[str, datetime]] = {}
        for kind, host, beat in rows:
            found.setdefault(kind, {})[host] = beat
        return now, found


@dataclass
class _Look:
    """One look at one environment: what it finds, and what follows.

    Attributes:
        fresh: a younger beat needs no closer look.
        others_beat: whether any component has beaten just now.
        due: the row says already which container is to be stopped.
    """

    context: PartContext
    now: datetime
    fresh: timedelta
    others_beat: bool
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    due: bool = False

    def past(self, role: str) -> Replacements:
        """Earlier replacements of a component."""
        return Replacements.read(self.context.fact(replaced_fact(role)), self.now)

    def limit(self, role: str, one: Silence) -> float:
        """Seconds that a container may be silent."""
        options = self.context.spec.options
        return Circumstances(
            option_of(HEARTBEAT_SECONDS, options),
            interval(role, options),
            self.past(role).times,
            one.beat is not None,  # an API server has none: whether this one ever answered is not known
            self.others_beat,
        ).patience


class HeartbeatParts:
    """Parts of kind HEARTBEAT.

    Args:
        asked: how an API server's health is asked for; {} if it does not answer.
    """

    def __init__(
        self,
        beats: Heartbeats,
        services: RunningTasks,
        tasks: StoppableTasks,
        asked: Callable[[str], Mapping[str, Any]] = ask,
    ) -> None:
        self._beats = beats
        self._services = services
        self._tasks = tasks
        self._asked = asked
        # By environment and role, then by ECS task. Lost when this process ends: then watching begins anew.
        self._watched: dict[tuple[str, str], dict[str, Silence]] = {}
        self._well: dict[tuple[str, str], datetime] = {}

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        seen = self._look(context)
        return {part.name: seen for part in parts}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        """See ``Parts``. Stops the containers that the row names; their services start others."""
        for role in COMPONENTS:
            if arn := context.fact(hung_fact(role)):
                self._tasks.stop(arn, f"skylift: {context.fact(why_fact(role))}")
        return {}

    def remove(self, context: PartContext, part: Part) -> None:
        """Does nothing."""

    def _look(self, context: PartContext) -> Seen:
        now, beats = self._beats.read(context.fact("database.name"))
        fresh = min(FRESH, timedelta(seconds=option_of(HEARTBEAT_SECONDS, context.spec.options)))
        look = _Look(context, now, fresh, any(beating(one, now, fresh) for one in beats.values()))
        for role, kind in JOB_TYPES.items():
            mine = beats.get(kind, {})
            if beating(mine, now, fresh) >= desired_count(context, role):
                self._is_well(look, role)
            else:
                running = self._running(context, role)
                self._judge(look, role, running, by_task([_id(arn) for arn in running], mine))
        # An API server that accepts no requests is found by its load balancer. Here: one that gets no answer out of
        # Airflow any more, although the database answers us.
        if self._asked(f"{web_url(context)}{HEALTH_PATH}"):
            self._is_well(look, Command.API_SERVER)
        else:
            # The load balancer does not say who was asked: the first one stands for all.
            running = self._running(context, Command.API_SERVER)
            self._judge(look, Command.API_SERVER, running, {_id(arn): None for arn in running[:1]})
        phase = PartPhase.DIFFERENT if look.due else PartPhase.MOVING if look.notes else PartPhase.READY
        return Seen(phase, look.facts, ", ".join(look.notes))

    def _judge(self, look: _Look, role: str, running: Sequence[str], beats: Mapping[str, datetime | None]) -> None:
        context, key, named = look.context, self._key(look, role), look.context.fact(hung_fact(role))
        if named in running:
            beat = beats.get(_id(named))
            if beat is not None and look.now - beat < look.fresh:
                look.facts[hung_fact(role)] = ""  # it was only slow
            else:
                look.due = True
                look.notes.append(context.fact(why_fact(role)))
            return
        before, most = self._watched.get(key, {}), 2.0 * context.settings.steady_seconds
        well = self._well.get(key)
        mine = {
            task: watched(before.get(task) or since(beat, well, look.now), beat, look.now, most)
            for task, beat in beats.items()
        }
        self._watched[key] = mine
        if named:  # it is told how long this takes, so it is looked at often
            look.notes.append(context.fact(why_fact(role)))
        overdue = [(task, one) for task, one in mine.items() if one.silent > look.limit(role, one)]
        if not overdue:
            return
        task, one = max(overdue, key=lambda pair: pair[1].silent)
        why = f"{role} hangs: {_silence(role, one)}"
        look.notes = [*(one for one in look.notes if not one.startswith(f"{role} ")), why]
        look.facts |= {
            hung_fact(role): next(arn for arn in running if _id(arn) == task),
            why_fact(role): why,
            replaced_fact(role): look.past(role).once_more(look.now),
            note_fact(role): note(f"{why}; ECS task {task[:8]} is replaced"),
        }

    def _is_well(self, look: _Look, role: str) -> None:
        context = look.context
        self._watched.pop(self._key(look, role), None)
        self._well[self._key(look, role)] = look.now
        if not (arn := context.fact(hung_fact(role))):
            return
        look.facts[hung_fact(role)] = ""
        if arn not in self._running(context, role):
            why = context.fact(why_fact(role)).partition(": ")[2]
            text = f"{role} was replaced, and works: {why} of ECS task {_id(arn)[:8]}"
            look.facts[note_fact(role)] = note(text, look.now.timestamp() - look.past(role).last)

    def _key(self, look: _Look, role: str) -> tuple[str, str]:
        return f"{look.context.spec.name} {look.context.incarnation}", role

    def _running(self, context: PartContext, role: str) -> list[str]:
        """ARNs of the ECS tasks that run, and that nobody has told to stop."""
        arns = self._services.family_tasks(family(context.spec.name, role))[:100]
        found = self._tasks.describe(arns).values() if arns else ()
        return sorted(one.arn for one in found if one.last_status == one.desired_status == "RUNNING")


def _silence(role: str, one: Silence) -> str:
    silent = timedelta(seconds=int(one.silent))
    if role == Command.API_SERVER:
        return f"no health answer for {silent}"
    return f"no heartbeat for {silent}" if one.beat else f"no first heartbeat for {silent}"


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]


def hung_fact(role: str) -> str:
    """The fact that holds the ARN of a component's container that is being replaced; empty when none is."""
    return f"heartbeat.hung.{role}"


def why_fact(role: str) -> str:
    """The fact that says why."""
    return f"heartbeat.why.{role}"


def replaced_fact(role: str) -> str:
    """The fact that holds how often hung containers of a component were replaced (``Replacements``)."""
    return f"heartbeat.replaced.{role}"
