"""Warm reuse: a container that has done its Airflow task stays for a while and takes the next of its kind.

A Fargate task takes 30 to 90 seconds to start; an Airflow task that takes 5 seconds pays for that every time. With
``[skylift] warm_seconds`` a container waits that long for another workload before it ends. ``WarmCompute`` stands in front of any
compute: it hands a workload to an idle container when there is one of the same kind, and starts a container otherwise; everybody
else sees attempts as ever. The ref of a workload that a container did not begin with is ``{container's ref}#{n}``.

What this process knows of its containers is in memory only. A scheduler that dies forgets them: its successor hands them nothing
more and they end by themselves; attempts that were handed over are found by their promise (``berths.py``).
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Condition

from skylift.core.attempt import Attempt, Census, Compute, Exit, Observation, Phase, Submission
from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError
from skylift.executors.aboard.berths import Berth, Berths
from skylift.executors.aboard.in_container_stay import CLOSED
from skylift.executors.aboard.payload import Payloads
from skylift.executors.events.source import Source
from skylift.executors.options.settings import WARM_SECONDS, WARM_SHARING, Options

SHARING = {
    "any": (),
    "dag": ("dag_id",),
    "run": ("dag_id", "run_id"),
}
"""``[skylift] warm_sharing``: the labels that Airflow tasks in one container have in common."""

LISTEN = 1.0
"""Seconds between two looks for ends while a container is at work: one ListObjectsV2."""

FORGET = 1800.0
"""Seconds after which a container that nobody asked about any more is forgotten."""


def staying(compute: Compute, payloads: Payloads, own: Options) -> Compute:
    """``compute`` with warm reuse in front of it, when ``[skylift] warm_seconds`` says so."""
    seconds = own[WARM_SECONDS]
    return WarmCompute(compute, payloads.berths(), seconds, own[WARM_SHARING]) if seconds else compute


@dataclass(eq=False)
class Container:
    """A container that takes workload after workload.

    Attributes:
        name: the token of the attempt that started it.
        number: of the workload that it was given last.
        idle: whether that one is over.
        touched: when it was started, given a workload, observed or found idle last.
    """

    ref: str
    name: str
    kind: Hashable
    touched: float
    number: int = 1
    idle: bool = False

    @property
    def berth(self) -> Berth:
        """Where its last workload was put."""
        return Berth(self.name, self.number)


class WarmCompute:
    """See the file's text; its contract is that of ``Compute``. Thread-safe.

    Args:
        inner: starts containers that stay (``in_container.py`` with ``SKYLIFT_WARM``).
        berths: where workloads are handed over.
        seconds: for which a container stays.
        sharing: a key of ``SHARING``.
        clock: seconds; must not run back.
    """

    def __init__(
        self, inner: Compute, berths: Berths, seconds: float, sharing: str = "any", clock: Clock = time.monotonic
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self.most_per_submit = inner.most_per_submit
        self.most_per_observe = inner.most_per_observe
        self.witness = getattr(inner, "witness", None)
        self._inner = inner
        self._berths = berths
        self._labels = SHARING[sharing]
        self._containers: dict[str, Container] = {}
        self._doubtful: dict[str, Container] = {}
        self._left: deque[str] = deque()
        self._news = Condition()

    def kin(self, attempt: Attempt) -> Hashable | None:
        return self._inner.kin(attempt)

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        return [self._submit(attempt) for attempt in attempts]

    def observe(self, refs: Sequence[str]) -> list[Observation]:
        seen = {one.ref: one for one in self._inner.observe(sorted({container_of(ref) for ref in refs}))}
        ended = self._berths.ended() if self._known(refs) else {}
        found = (self._read(ref, seen.get(container_of(ref)), ended) for ref in refs)
        return [one for one in found if one is not None]

    def stop(self, ref: str, why: str) -> None:
        container = self._containers.get(container_of(ref))
        if container is not None and (container.number != number_of(ref) or container.idle):
            # The container is with another workload by now.
            return
        self._inner.stop(container_of(ref), why)

    def find(self, attempt: Attempt) -> list[str]:
        promised = self._berths.promised(attempt.external_id)
        handed = [promised[1]] if promised and self._berths.standing(promised[0]) != CLOSED else []
        return [*handed, *self._inner.find(attempt)]

    def census(self) -> dict[str, list[str]]:
        """The containers, by the workload that each began with; who was handed over is found one by one."""
        return self._inner.census() if isinstance(self._inner, Census) else {}

    def renew(self, attempt: Attempt, ref: str) -> bool:
        # One that was handed over is taken within a second.
        return number_of(ref) > 1 or self._inner.renew(attempt, ref)

    def explain(self, ref: str) -> str:
        return self._inner.explain(container_of(ref))

    # Ends, as they come.

    def listen(self, seconds: float) -> list[Observation]:
        """Waits until a container is at work, at most so long, and then a moment; the workloads that ended."""
        with self._news:
            if not self._news.wait_for(lambda: self._at_work() or self._left, seconds):
                return []
            self._news.wait(LISTEN)
            self._forget_outdated()
            refs = [named(one.ref, one.number) for one in self._at_work()]
        while self._left:
            self._berths.clear(self._left[0])
            self._left.popleft()
        ended = self._berths.ended()
        found = (self._ended(ref, ended) for ref in refs)
        return [one for one in found if one is not None]

    def reread(self, seen: Observation) -> Observation | None:
        """What an observation of a container says of the workload that it has now; ``None`` when of none. May raise."""
        container = self._containers.get(seen.ref)
        if container is None:
            return seen
        if container.idle:
            self._over(seen)
            return None
        return self._read(named(seen.ref, container.number), seen, {})

    # Submit.

    def _submit(self, attempt: Attempt) -> Submission:
        try:
            return self._settled(attempt) or self._again(attempt) or self._hand_over(attempt) or self._start(attempt)
        except SkyliftError as error:
            return Submission(later=str(error))

    def _again(self, attempt: Attempt) -> Submission | None:
        """For one that a scheduler before us may have handed over already."""
        promised = self._berths.promised(attempt.external_id) if attempt.adopted and attempt.number == 1 else None
        if promised is None:
            return None
        berth, ref = promised
        if self._berths.standing(berth) == CLOSED or not self._alive(ref):
            return None
        # Taken, or put there and not taken yet, or put there now: in all three cases it is there, once.
        self._berths.offer(berth, attempt.document())
        return None if self._berths.standing(berth) == CLOSED else Submission(ref=ref)

    def _alive(self, ref: str) -> bool:
        seen = self._inner.observe([container_of(ref)])
        return any(one.phase in {Phase.WAITING, Phase.RUNNING} for one in seen)

    def _settled(self, attempt: Attempt) -> Submission | None:
        """For one that was offered in a call of which the answer was lost: it may stand there, or be at work."""
        container = self._doubtful.pop(attempt.token, None)
        if container is None:
            return None
        try:
            offered = self._berths.offer(container.berth, attempt.document())
            if offered or self._berths.standing(container.berth) != CLOSED:
                return Submission(ref=named(container.ref, container.number))
        except SkyliftError:
            self._doubtful[attempt.token] = container
            raise
        self._forget(container)
        return None

    def _hand_over(self, attempt: Attempt) -> Submission | None:
        while container := self._claim(self._kind(attempt)):
            berth, ref = container.berth, named(container.ref, container.number)
            try:
                self._berths.promise(attempt.external_id, berth, ref)
                if self._berths.offer(berth, attempt.document()):
                    return Submission(ref=ref)
            except SkyliftError:
                self._doubtful[attempt.token] = container
                raise
            self._forget(container)
        return None

    def _claim(self, kind: Hashable) -> Container | None:
        with self._news:
            idle = (one for one in self._containers.values() if one.idle and one.kind == kind)
            # The one that fell idle last stays longest; the others may end.
            container = max(idle, key=lambda one: one.touched, default=None)
            if container is not None:
                container.idle = False
                container.number += 1
                container.touched = self._clock()
                self._news.notify_all()
            return container

    def _start(self, attempt: Attempt) -> Submission:
        (answer,) = self._inner.submit([attempt])
        if answer.ref:
            with self._news:
                fresh = Container(answer.ref, attempt.token, self._kind(attempt), self._clock())
                self._containers.setdefault(answer.ref, fresh)
                self._news.notify_all()
        return answer

    def _kind(self, attempt: Attempt) -> Hashable:
        """What workloads of one container must have in common, beside the installation: what was wished for, and the sharing."""
        wishes = json.dumps(attempt.wishes, sort_keys=True, default=repr)
        return wishes, attempt.queue, tuple(attempt.labels.get(name, "") for name in self._labels)

    # Read.

    def _known(self, refs: Sequence[str]) -> bool:
        return any(number_of(ref) > 1 or ref in self._containers for ref in refs)

    def _read(self, ref: str, seen: Observation | None, ended: Mapping[Berth, int]) -> Observation | None:
        over = self._ended(ref, ended)
        if over is not None or seen is None:
            return over
        if number_of(ref) > 1:
            # The container's own external id is that of the workload which it began with.
            seen = replace(seen, ref=ref, external_id="")
            seen = self._died(ref, seen) if seen.phase is Phase.STOPPED else seen
        self._over(seen)
        return seen

    def _ended(self, ref: str, ended: Mapping[Berth, int]) -> Observation | None:
        """That its workload is over: the container said so, or has another by now."""
        container = self._containers.get(container_of(ref))
        if container is None:
            return None
        code = ended.get(Berth(container.name, number_of(ref)))
        with self._news:
            if code is not None and container.number == number_of(ref) and not container.idle:
                container.idle, container.touched = True, self._clock()
        if code is None and container.number > number_of(ref):
            code = Exit.DONE
        if code is None:
            return None
        return Observation(ref, Phase.STOPPED, True, code, reason=f"exit code {code}; its container stays; {ref}")

    def _died(self, ref: str, seen: Observation) -> Observation:
        """The container is over and has not said that this workload is: did it take it?"""
        container = self._containers.get(container_of(ref))
        berth = Berth(container.name, number_of(ref)) if container else None
        if berth is not None and self._berths.standing(berth):
            return replace(seen, began=False, exit_code=None)
        return replace(seen, began=True)

    def _over(self, seen: Observation) -> None:
        """Forgets a container that is over: nothing is handed to it any more."""
        container = self._containers.get(container_of(seen.ref))
        if container is None:
            return
        if seen.phase is Phase.STOPPED:
            self._forget(container)
        elif not container.idle:
            container.touched = self._clock()

    def _forget(self, container: Container) -> None:
        with self._news:
            if self._containers.pop(container.ref, None):
                self._left.append(container.name)
                self._news.notify_all()

    def _forget_outdated(self) -> None:
        """Those that must have ended by themselves, unseen."""
        now = self._clock()
        for one in list(self._containers.values()):
            if now - one.touched > self._seconds * one.idle + FORGET:
                self._forget(one)

    def _at_work(self) -> list[Container]:
        return [one for one in self._containers.values() if not one.idle]


class WarmSource:
    """Ends of workloads in warm containers, as a ``Source``."""

    def __init__(self, compute: WarmCompute) -> None:
        self._compute = compute

    def receive(self) -> list[Observation]:
        return self._compute.listen(10.0)

    def settle(self, strangers: Collection[str]) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""


class Rereading:
    """A source whose observations are of containers; gives those of the workloads that are in them."""

    def __init__(self, source: Source, compute: WarmCompute) -> None:
        self._source = source
        self._compute = compute

    def receive(self) -> list[Observation]:
        return [one for seen in self._source.receive() if (one := self._compute.reread(seen))]

    def settle(self, strangers: Collection[str]) -> None:
        self._source.settle([container_of(ref) for ref in strangers])

    def close(self) -> None:
        self._source.close()


def container_of(ref: str) -> str:
    """The container's own ref."""
    return ref.partition("#")[0]


def number_of(ref: str) -> int:
    """Which of the container's workloads a ref means."""
    return int(ref.partition("#")[2] or 1)


def named(container: str, number: int) -> str:
    """The ref of a container's ``number``-th workload."""
    return container if number == 1 else f"{container}#{number}"
