"""How many Celery workers an environment should have. Pure.

Out at once: as many as what is queued and what runs needs. In only after fewer have been enough for a while, because a
start costs seconds and a worker that is busy cannot end anyway. Two counts say how much there is: Airflow's database,
which is exact but knows nothing of callbacks, and the queue, which knows all but late. The larger counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from skylift.control.api.validation import CLASSES, LEAST_WORKERS
from skylift.control.settings import is_stopped
from skylift.core.environment import Spec


@dataclass(frozen=True)
class Work:
    """Airflow tasks that need a worker, as one source counts them."""

    queued: int = 0
    running: int = 0

    @property
    def all(self) -> int:
        """Queued and running."""
        return self.queued + self.running


@dataclass(frozen=True)
class Calm:
    """Since when fewer workers would be enough.

    Attributes:
        since: seconds; ``None`` while all are needed.
        most: the most that were needed since then.
    """

    since: float | None = None
    most: int = 0


def slots(spec: Spec) -> int:
    """Airflow tasks that one worker runs at the same time: its class's, or as ``celery.worker_autoscale`` says
    (``max,min``; as on MWAA only the first number counts)."""
    said = {name.lower(): text for name, text in spec.options.items()}.get("celery.worker_autoscale", "")
    first = said.partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else CLASSES[spec.environment_class].tasks_per_worker


def bounds(spec: Spec) -> tuple[int, int]:
    """Least and most workers. The option ``skylift.min_workers`` goes before MinWorkers, and may be 0."""
    if is_stopped(spec.options):
        return 0, 0
    least = int(spec.options.get(LEAST_WORKERS, spec.min_workers))
    return min(least, spec.max_workers), spec.max_workers


def needed(spec: Spec, database: Work, queue: Work) -> int:
    """Workers for what there is, within the bounds."""
    least, most = bounds(spec)
    work = max(database.all, queue.all)
    return max(least, min(most, -(-work // slots(spec))))


def scaled(desired: int, enough: int, calm: Calm, now: float, idle_seconds: float) -> tuple[int, Calm]:
    """The number of workers to have now, and what to remember until the next look.

    Args:
        desired: the number that is wanted until now.
        enough: what ``needed`` says now.
        calm: as remembered.
    """
    if enough >= desired:
        return enough, Calm()
    since = now if calm.since is None else calm.since
    calm = Calm(since, max(calm.most, enough))
    return (desired, calm) if now - since < idle_seconds else (calm.most, Calm())
