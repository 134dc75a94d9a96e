"""Decides whether a job may begin: its dependencies, and where there is capacity for it. Pure.

Sources: "Job dependencies" and "Array jobs" in the AWS Batch user guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto

from skylift.localcloud.batch.lifecycle import JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.ports import Document

Find = Callable[[str], BatchJob | None]


class DependencyState(Enum):
    """What the dependencies of a job say."""

    OPEN = auto()
    CLOSED = auto()
    SHUT = auto()


def gate_of(job: BatchJob, find: Find) -> DependencyState:
    """The state of a whole job's dependencies: all must have succeeded; one failure fails it."""
    return _together(_state(find, need["jobId"]) for need in job.submission.needs if not _by_index(need))


def gate_of_child(array: ArrayJob, index: int, find: Find) -> DependencyState:
    """The state of the dependencies of one child of a stepwise array, beyond those of the whole array."""
    return _together(_state_by_index(array, index, need, find) for need in array.submission.needs if _by_index(need))


class Room(Enum):
    """There is no compute environment with room: for now, or for ever."""

    LATER = auto()
    NEVER = auto()


def room_for(
    queue: Document, vcpus: float, environments: Mapping[str, Document], used: Callable[[str], float]
) -> str | Room:
    """Name of the queue's first compute environment that has room."""
    fits = False
    for item in sorted(queue["computeEnvironmentOrder"], key=lambda one: int(one["order"])):
        environment = environments.get(item["computeEnvironment"].rsplit("/", 1)[-1])
        if environment is None:
            continue
        most = environment["computeResources"]["maxvCpus"]
        fits = fits or vcpus <= most
        name = str(environment["computeEnvironmentName"])
        if environment["state"] == "ENABLED" and used(name) + vcpus <= most:
            return name
    return Room.LATER if fits else Room.NEVER


def _by_index(need: Document) -> bool:
    return need.get("type") == "N_TO_N" or "jobId" not in need


def _state_by_index(array: ArrayJob, index: int, need: Document, find: Find) -> JobState | None:
    if "jobId" not in need:  # SEQUENTIAL on itself
        return array.child(index - 1).status if index else JobState.SUCCEEDED
    return _state(find, f"{need['jobId']}:{index}")


def _state(find: Find, name: str) -> JobState | None:
    found = find(name)
    return found.status if found else None


def _together(states: Iterable[JobState | None]) -> DependencyState:
    dependency = DependencyState.OPEN
    for state in states:
        if state is None or state is JobState.FAILED:
            return DependencyState.SHUT
        if state is not JobState.SUCCEEDED:
            dependency = DependencyState.CLOSED
    return dependency
