"""One ECS task from acceptance to end: images, secrets, containers in order, exit codes, logs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from skylift.core.clock import Clock
from skylift.localcloud.containers.cpu_shares import give_share
from skylift.localcloud.containers.log_tail import LogTails, Tail
from skylift.localcloud.containers.memory import REASON, MemoryWatch, Watched
from skylift.localcloud.containers.program import Program
from skylift.localcloud.containers.runner import CannotStart, Ended, Launch, Runner, RunningContainer
from skylift.localcloud.ecs.model.lifecycle import STARTING, StopCode, TaskState
from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ecs.tasks import launch as launching
from skylift.localcloud.ecs.tasks.balancing import Balancing
from skylift.localcloud.ecs.tasks.changes import TaskChanges
from skylift.localcloud.ecs.tasks.depends_on import ContainerProgress, DependencyFailed, may_start, patience
from skylift.localcloud.ecs.tasks.fetching import fetch
from skylift.localcloud.ecs.tasks.health_watch import CheckedContainers, HealthWatch
from skylift.localcloud.ecs.tasks.launch import (
    Fetched,
    Wanted,
    container_folder,
    log_target,
    task_memory,
    wanted_containers,
)
from skylift.localcloud.ecs.tasks.leftovers import Leftovers
from skylift.localcloud.ecs.tasks.log_sending import LogSending
from skylift.localcloud.ecs.tasks.pulls import CannotPull, Pulls
from skylift.localcloud.ecs.tasks.role_checks import ExecutionRole, NoResources
from skylift.localcloud.ecs.tasks.slots import Slots
from skylift.localcloud.ecs.tasks.volumes import TaskVolumes, make_sources
from skylift.localcloud.ports import CloudContext, Image, Logs, Roles, Secrets

T = TypeVar("T")
_log = logging.getLogger(__name__)


class _Over(Exception):
    """The ECS task must end before all its containers were started."""


class _Lost(Exception):
    """A container that ran cannot be found; the text says so."""


@dataclass(frozen=True)
class TaskContext:
    """What all task runs share."""

    cloud: CloudContext
    store: EcsStore
    runner: Runner
    pulls: Pulls
    logs: Logs
    secrets: Secrets
    roles: Roles
    balancing: Balancing
    tails: LogTails
    slots: Slots
    memory: MemoryWatch
    clock: Clock
    changes: TaskChanges
    leftovers: Leftovers


class TaskRun(CheckedContainers):
    """Takes one ECS task through its life. Whoever wants it to end sets ``stop_wanted``."""

    def __init__(self, context: TaskContext, task: EcsTask, again: bool) -> None:
        self.task = task
        self.stop_wanted = asyncio.Event()
        self._context = context
        self._again = again
        self._patience = float("inf")
        self._hurry = asyncio.Event()
        self._running: dict[str, RunningContainer] = {}
        self._tails: dict[str, Tail] = {}
        self._begun: dict[str, float] = {}
        self._launches: dict[str, Launch] = {}
        definition = context.store.definitions[task.document["taskDefinitionArn"]]
        self._role = ExecutionRole(context.roles, context.cloud, task, definition)
        self._sending = LogSending(context.logs, task.id, self._role.may_log)
        self._volumes = TaskVolumes(context.cloud, task, definition)
        self._wanted = wanted_containers(definition, task.document["overrides"])
        self._health = HealthWatch(task, self._wanted, self, context.changes, context.clock)
        if not task.wanted:
            self.stop_wanted.set()

    def cap_stop_timeout(self, seconds: float) -> None:
        """Limits the time between SIGTERM and SIGKILL, and waits for no answers before."""
        self._patience = seconds
        self._hurry.set()

    def kill(self, name: str = "") -> int:
        """SIGKILL to the running containers, or to the named one; returns how many there were."""
        hit = [found for found in self._running if name in {"", found} and self._is_alive(found)]
        for found in hit:
            self._running[found].signal(signal.SIGKILL)
        return len(hit)

    async def run(self) -> None:
        """The whole life. Whatever happens, the ECS task ends STOPPED and nothing of it goes on."""
        try:
            await self._start()
            await self._until_over()
        except _Over:
            pass
        except (CannotPull, NoResources, DependencyFailed) as error:
            self._ending(StopCode.FAILED_TO_START, str(error))
        except _Lost as error:
            self._ending(StopCode.INFRASTRUCTURE, str(error))
        except CannotStart:
            self._ending(StopCode.FAILED_TO_START, "Task failed to start")
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - our bug: its owner sees a stopped ECS task, the log has the rest
            _log.exception("ECS task %s", self.task.id)
            self._ending(StopCode.INFRASTRUCTURE, "The local cloud failed: see its log.")
        try:
            await self._end()
        finally:
            self._context.slots.give_back(self.task.id)

    async def _start(self) -> None:
        if self._again:
            await self._find_again()
        if self.task.state is TaskState.PROVISIONING:
            if self._running and not self.task.deployment:  # the record is older than the container: it has its slot
                self._context.slots.hold(self.task.id)
            elif not self.task.deployment:
                await self._unless_over(self._context.slots.take(self.task.id))
            self._context.changes.move(self.task, TaskState.PENDING, **self._connected())
        missing = [wanted for wanted in self._wanted if wanted.name not in self._running]
        if missing:
            self._role.check(missing)
            images = await self._pull(missing)
            fetched = {wanted.name: await self._unless_over(fetch(self._context.secrets, wanted)) for wanted in missing}
            await self._start_in_order(missing, images, fetched)
        if self.task.state is TaskState.PENDING:
            self._context.changes.move(self.task, TaskState.RUNNING, startedAt=self._context.clock())
        if self.task.wanted:
            await self._context.balancing.enter(self.task)

    async def _find_again(self) -> None:
        """After a restart of the server: adopts what runs, reports what ended, starts what never began."""
        for wanted in self._wanted:
            found = await self._context.runner.find(container_folder(self._context.cloud, self.task, wanted.name))
            if found is not None:
                self._took(wanted, found)
        if len(self._running) < len(self._wanted) and self.task.state not in STARTING:
            raise _Lost("A container was lost while the local cloud was not running.")

    async def _pull(self, missing: Sequence[Wanted]) -> dict[str, Image]:
        self.task.document["pullStartedAt"] = self._context.clock()
        references = {wanted.definition["image"] for wanted in missing}
        images = {name: await self._unless_over(self._context.pulls.get(name)) for name in sorted(references)}
        self.task.document["pullStoppedAt"] = self._context.clock()
        return images

    async def _start_in_order(
        self, left: list[Wanted], images: Mapping[str, Image], fetched: Mapping[str, Fetched]
    ) -> None:
        """Starts each container when its dependencies are met."""
        everyone = {wanted.name: wanted for wanted in self._wanted}
        while left:
            stages = {name: self._stage(name) for name in self._running}
            ready = next((wanted for wanted in left if may_start(wanted, everyone, stages)), None)
            if ready is None:
                await self._unless_over(self._news(min(map(patience, everyone.values()))))
                continue
            left.remove(ready)
            await self._start_container(ready, images[ready.definition["image"]], fetched[ready.name])

    def _stage(self, name: str) -> ContainerProgress:
        ended = self._running[name].ended
        code = ended.result().code if ended.done() else None
        health = self.task.container(name)["healthStatus"]
        return ContainerProgress(self._context.clock() - self._begun[name], ended.done(), code, health)

    async def _news(self, most: float) -> None:
        """Waits until a container ends, its health changes, or a time limit passes."""
        self._health.bell.clear()
        bell = asyncio.create_task(self._health.bell.wait())
        alive = [container.ended for container in self._running.values() if not container.ended.done()]
        news: list[asyncio.Future[Any]] = [bell, *alive]
        try:
            await asyncio.wait(news, timeout=most, return_when=asyncio.FIRST_COMPLETED)
        finally:
            bell.cancel()

    async def _start_container(self, wanted: Wanted, image: Image, fetched: Fetched) -> None:
        document = self.task.container(wanted.name)
        try:
            launch = self._launch(wanted, image, fetched)
            await self._role.open_log(self._context.logs, wanted)
            for name in launching.FOLDERS:
                os.makedirs(launch.folder / name, mode=0o700, exist_ok=True)
            if launch.cwd.is_relative_to(launch.folder):
                os.makedirs(launch.cwd, exist_ok=True)
            make_sources(launch)
            self._launches[wanted.name] = launch
            self._took(wanted, await self._context.runner.start(launch))
        except CannotStart as error:
            document |= {"lastStatus": TaskState.STOPPED, "reason": str(error)}
            raise

    def _launch(self, wanted: Wanted, image: Image, fetched: Fetched) -> Launch:
        mounts = self._volumes.mounts(wanted.name)
        return launching.launch(self._context.cloud, self.task, wanted, image, fetched, mounts)

    def _took(self, wanted: Wanted, container: RunningContainer) -> None:
        name = wanted.name
        self._running[name] = container
        self._begun[name] = self._context.clock()
        self._health.add(wanted, container)
        self.task.container(name)["lastStatus"] = TaskState.RUNNING
        target = log_target(self.task, wanted)
        if target is not None:
            path = container_folder(self._context.cloud, self.task, name) / "log"
            sink = partial(self._send_log, name, target.group, target.stream)
            self._tails[name] = self._context.tails.follow(path, sink, self.task.offsets.get(name, 0))
        if container.pid is not None:
            self._look_after(wanted, container, container.pid)
        if not wanted.essential:
            container.ended.add_done_callback(lambda ended: self._tell_exit(name, ended.result()))

    async def check_program(self, name: str, words: Sequence[str]) -> Program | None:
        """For the health checks (``CheckedContainers``)."""
        try:
            return await self.enter(name, words, False)
        except CannotStart:
            return None

    async def inside(self, name: str, words: Sequence[str], *, terminal: bool = False) -> Program:
        """How to run a program in one of its containers. Raises ``CannotStart``, or why its environment cannot be made
        again."""
        if name not in self._launches:  # it was adopted after a restart
            wanted = next(wanted for wanted in self._wanted if wanted.name == name)
            image = await self._context.pulls.get(wanted.definition["image"])
            fetched = await fetch(self._context.secrets, wanted)
            self._launches[name] = self._launch(wanted, image, fetched)
        return self._context.runner.inside(self._launches[name], words, terminal=terminal)

    async def enter(self, name: str, words: Sequence[str], terminal: bool) -> Program:
        """Like ``inside``, for somebody who waits for it. Raises ``CannotStart`` whatever the cause."""
        try:
            return await self.inside(name, words, terminal=terminal)
        except (CannotPull, NoResources) as error:
            raise CannotStart(str(error)) from error

    def ended(self, name: str) -> asyncio.Future[Ended] | None:
        """Resolves when a container ends; ``None`` if it has ended, or never began."""
        return self._running[name].ended if self._is_alive(name) else None

    def _look_after(self, wanted: Wanted, container: RunningContainer, pid: int) -> None:
        """Sets its CPU share and its memory limit."""
        give_share(pid, int(self.task.document["cpu"]) or int(wanted.definition.get("cpu", 0)))
        kill = partial(self._out_of_memory, wanted.name, container)
        self._context.memory.add(Watched(pid, wanted.memory, self.task.id, task_memory(self.task), kill))
        container.ended.add_done_callback(lambda _: self._context.memory.remove(pid))

    def _out_of_memory(self, name: str, container: RunningContainer) -> None:
        """Records the reason first: if the server dies between the two steps, it must know the reason afterwards."""
        if not container.ended.done():
            self.task.container(name)["reason"] = REASON
            self._context.store.keep(self.task)
            container.signal(signal.SIGKILL)

    async def _send_log(
        self, name: str, group: str, stream: str, events: Sequence[dict[str, Any]], offset: int
    ) -> None:
        await self._sending.send(group, stream, events)
        self.task.offsets[name] = offset
        self._context.store.keep(self.task)

    def _tell_exit(self, name: str, ended: Ended) -> None:
        self._note_exit(name, ended)
        if not self.task.stopped:
            self._context.changes.changed(self.task)

    def _note_exit(self, name: str, ended: Ended) -> None:
        document = self.task.container(name)
        document["lastStatus"] = TaskState.STOPPED
        if ended.out_of_memory:
            document["reason"] = REASON
        if ended.code is not None:
            document["exitCode"] = ended.code
        else:
            lost = "ContainerRuntimeError: the container's process was lost"
            document["reason"] = f"CannotStartContainerError: {ended.problem}" if ended.problem else lost

    async def _until_over(self) -> None:
        """Waits until someone stops it, an essential container ends, or all have ended."""
        await self._unless_over(asyncio.wait([container.ended for container in self._running.values()]))

    async def _unless_over(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, or ``_Over`` if the ECS task must end first."""
        job = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stop_wanted.wait())
        try:
            await asyncio.wait({job, stop, *self._essential()}, return_when=asyncio.FIRST_COMPLETED)
            if job.done() and not self.stop_wanted.is_set():
                return job.result()
            raise _Over
        finally:
            stop.cancel()
            job.cancel()

    def _essential(self) -> Iterable[asyncio.Future[Ended]]:
        return [
            self._running[wanted.name].ended
            for wanted in self._wanted
            if wanted.essential and wanted.name in self._running
        ]

    def _ending(self, code: StopCode, reason: str) -> None:
        """Records why it ends, unless that is already recorded."""
        if self.task.wanted:
            self.task.document |= {
                "desiredStatus": TaskState.STOPPED,
                "stopCode": code,
                "stoppedReason": reason,
                "stoppingAt": self._context.clock(),
            }

    async def _end(self) -> None:
        self._ending(StopCode.ESSENTIAL_EXITED, "Essential container in task exited")
        self._health.end()
        if self.task.registered:
            self._context.changes.move(self.task, TaskState.DEACTIVATING)
            await self._context.balancing.leave(self.task)
            await self._drained()
        alive = [wanted for wanted in self._wanted if self._is_alive(wanted.name)]
        if alive and self.task.state in {TaskState.PENDING, TaskState.RUNNING, TaskState.DEACTIVATING}:
            self._context.changes.move(self.task, TaskState.STOPPING)
        await asyncio.gather(*(self._stop_container(wanted) for wanted in alive))
        now = self._context.clock()
        if self.task.state is not TaskState.DEPROVISIONING:
            self._context.changes.move(self.task, TaskState.DEPROVISIONING, executionStoppedAt=now)
        for name, container in self._running.items():
            self._note_exit(name, container.ended.result())
        sent = await self._flush_logs()
        for document in self.task.document["containers"]:
            document["lastStatus"] = TaskState.STOPPED
        for attachment in self.task.document["attachments"]:
            attachment["status"] = "DELETED"
        await asyncio.to_thread(self._volumes.remove, self._folders(one.name for one in self._wanted))
        self._context.changes.move(self.task, TaskState.STOPPED, stoppedAt=self._context.clock())
        self._context.leftovers.add(self.task, self._folders(sent))

    async def _drained(self) -> None:
        """Lets its containers answer what they were asked; not when everything is being ended, or they have ended."""
        work: asyncio.Future[Any] = asyncio.ensure_future(self._context.balancing.drained(self.task))
        hurry: asyncio.Future[Any] = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait([work, hurry, *self._essential()], return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        hurry.cancel()

    async def _flush_logs(self) -> list[str]:
        """Sends what is left; returns the containers whose whole output was sent."""
        self._sending.end_soon()
        sent = []
        for name, tail in self._tails.items():
            try:
                await self._context.tails.finish(tail)
                sent += [name] if self._sending.whole else []
            # Our bug, or the CloudWatch emulator's: whoever waits for the end must still see it
            except Exception:  # noqa: BLE001
                _log.exception("the last lines of ECS task %s stay in %s", self.task.id, tail.path)
        return sent

    def _is_alive(self, name: str) -> bool:
        return name in self._running and not self._running[name].ended.done()

    async def _stop_container(self, wanted: Wanted) -> None:
        container = self._running[wanted.name]
        container.signal(signal.SIGTERM)
        await asyncio.wait([container.ended], timeout=min(wanted.stop_seconds, self._patience))
        if not container.ended.done():
            container.signal(signal.SIGKILL)
            await container.ended

    def _folders(self, names: Iterable[str]) -> list[Path]:
        return [container_folder(self._context.cloud, self.task, name) for name in names]

    def _connected(self) -> dict[str, object]:
        for attachment in self.task.document["attachments"]:
            attachment["status"] = "ATTACHED"
        return {"connectivity": "CONNECTED", "connectivityAt": self._context.clock()}
