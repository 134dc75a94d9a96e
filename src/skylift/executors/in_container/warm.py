"""Warm reuse: a container that has finished its Airflow task stays for a while and takes the next one of its kind.

A Fargate task takes 30 to 90 seconds to start; an Airflow task of 5 seconds pays for that every time. With
``[skylift] warm_seconds`` a container waits that long for another workload before it ends. ``WarmCompute`` wraps any
compute: it gives a workload to an idle container of the same kind if there is one, and starts a container otherwise.
To its caller, attempts look as usual. The ref of a workload that was handed over to a container is
``{container's ref}#{n}``.

What this process knows of its containers is only in memory. A scheduler that dies forgets them. Its successor gives
them nothing more and they end by themselves; it finds attempts that were handed over by their promise
(``mailboxes.py``).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Condition

from skylift.core.attempt import Attempt, Census, Compute, Explained, Observation, Phase, Submission
from skylift.core.clock import Clock
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.executors import exit_words
from skylift.executors.in_container.mailboxes import Mailbox, Mailboxes
from skylift.executors.in_container.payload import Payloads
from skylift.executors.in_container.stay import CLOSED
from skylift.executors.options.settings import OWN_SECTION, WARM_SECONDS, WARM_SHARING, Options

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

MOST_SAID = 20_000
"""Ends of workloads that are remembered, and containers of which something is to be removed."""


def staying(compute: Compute, payloads: Payloads, own: Options) -> Compute:
    """``compute`` with warm reuse around it, if ``[skylift] warm_seconds`` says so."""
    seconds = own[WARM_SECONDS]
    return WarmCompute(compute, payloads.mailboxes(), seconds, own[WARM_SHARING]) if seconds else compute


@dataclass(eq=False)
class WarmContainer:
    """A container that takes workload after workload.

    Attributes:
        name: the token of the attempt that started it.
        number: of the last workload that it was given.
        idle: whether that one has ended.
        touched: when it was last started, given a workload, observed or found idle.
    """

    ref: str
    name: str
    kind: Hashable
    touched: float
    number: int = 1
    idle: bool = False

    @property
    def mailbox(self) -> Mailbox:
        """Where its last workload was written."""
        return Mailbox(self.name, self.number)


class WarmCompute(Compute):
    """Gives workloads to idle containers, and starts others. Thread-safe.

    Args:
        inner: starts containers that stay (``main.py`` with ``SKYLIFT_WARM``).
        mailboxes: where workloads are handed over.
        seconds: how long a container stays.
        sharing: a key of ``SHARING``.
        clock: seconds; must not run back.
    """

    def __init__(
        self, inner: Compute, mailboxes: Mailboxes, seconds: float, sharing: str = "any", clock: Clock = time.monotonic
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self.most_per_submit = inner.most_per_submit
        self.most_per_observe = inner.most_per_observe
        self.explainer = inner.explainer if isinstance(inner, Explained) else None
        self._inner = inner
        self._mailboxes = mailboxes
        self._labels = SHARING[sharing]
        self._containers: dict[str, WarmContainer] = {}
        # To which container an attempt was being handed when the answer was lost, by token.
        self._doubtful: dict[str, tuple[WarmContainer, Mailbox]] = {}
        # Ends, by ref: an end is reported again in the same way, whatever the container does by then.
        self._said: OrderedDict[str, Observation] = OrderedDict()
        self._left: deque[str] = deque(maxlen=MOST_SAID)
        # Only one of several simultaneous callers gets an idle container, and an end is reported once; ``listen``
        # waits for news.
        self._news = Condition()

    def group_key(self, attempt: Attempt) -> Hashable | None:
        return self._inner.group_key(attempt)

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        return [self._submit(attempt) for attempt in attempts]

    def observe(self, refs: Sequence[str]) -> list[Observation]:
        seen = {one.ref: one for one in self._inner.observe(sorted({container_of(ref) for ref in refs}))}
        ended = self._mailboxes.ended() if self._known(refs) else {}
        found = (self._read(ref, seen.get(container_of(ref)), ended) for ref in refs)
        return [one for one in found if one is not None]

    def stop(self, ref: str, why: str) -> None:
        with self._news:
            if ref in self._said:
                # The container already runs another workload.
                return
            container = self._containers.get(container_of(ref))
            if container is not None:
                # Before the call: nothing may be handed to it while the stop is in progress.
                self._forget(container)
        self._inner.stop(container_of(ref), why)

    def find(self, attempt: Attempt) -> list[str]:
        promised = self._mailboxes.promised(attempt.external_id)
        # Nothing is there if nothing was written, or if the container has gone on to its next workload.
        handed = promised is not None and self._mailboxes.standing(promised[0]) not in {None, CLOSED}
        doubt = self._doubtful.pop(attempt.token, None)
        if doubt and not handed:
            self._forget(doubt[0])
        if promised is not None and handed:
            self._know(*promised)
        # Only a first attempt is ever handed over, so whatever was started for it is newer.
        return [*([promised[1]] if promised and handed else ()), *self._inner.find(attempt)]

    def census(self) -> dict[str, list[str]]:
        """The containers, by the workload that each began with; handed-over workloads are found one by one."""
        return self._inner.census() if isinstance(self._inner, Census) else {}

    def renew(self, attempt: Attempt, ref: str) -> bool:
        # A workload that was handed over is taken within a second.
        return number_of(ref) > 1 or self._inner.renew(attempt, ref)

    def explain(self, ref: str) -> str:
        return self._inner.explain(container_of(ref))

    # Ends, as they happen.

    def listen(self, seconds: float) -> list[Observation]:
        """Waits at most this long until a container works, and then a moment; returns the workloads that ended."""
        with self._news:
            if not self._news.wait_for(lambda: self._at_work() or self._left, seconds):
                return []
            # The whole time, even if containers start or end meanwhile.
            self._news.wait_for(lambda: False, LISTEN)
            self._forget_outdated()
            refs = [named(one.ref, one.number) for one in self._at_work()]
        ended = self._mailboxes.ended() if refs else {}
        found = [one for ref in refs if (one := self._ended(ref, ended))]
        while self._left:
            # The bucket's lifecycle rule deletes what we cannot; the ends must be reported.
            with contextlib.suppress(SkyliftError):
                self._mailboxes.clear(self._left.popleft())
        return found

    def reread(self, seen: Observation) -> Observation | None:
        """What an observation of a container means for its present workload; ``None`` if it has none. May raise."""
        container = self._containers.get(seen.ref)
        if container is None:
            return seen
        if container.idle:
            self._over(seen)
            return None
        ended = self._mailboxes.ended() if seen.phase is Phase.STOPPED else {}
        return self._read(named(seen.ref, container.number), seen, ended)

    # Submit.

    def _submit(self, attempt: Attempt) -> Submission:
        try:
            return self._again(attempt) or self._hand_over(attempt) or self._start(attempt)
        except Unavailable as error:
            return Submission(later=str(error), throttled=error.throttled)
        except Refused as error:
            return Submission(refused=f"[{OWN_SECTION}] warm_seconds: {error}")

    def _again(self, attempt: Attempt) -> Submission | None:
        """For an attempt that a scheduler before us may have handed over already."""
        promised = self._mailboxes.promised(attempt.external_id) if attempt.adopted and attempt.number == 1 else None
        if promised is None:
            return None
        mailbox, ref = promised
        if self._mailboxes.standing(mailbox) == CLOSED or not self._alive(ref):
            return None
        # Taken, or written and not taken yet, or written now: in all three cases it is there exactly once.
        self._mailboxes.offer(mailbox, attempt.document())
        if self._mailboxes.standing(mailbox) == CLOSED:
            return None
        self._know(mailbox, ref)
        return Submission(ref=ref)

    def _know(self, mailbox: Mailbox, ref: str) -> None:
        """Another scheduler's container: we report its ends, but hand it nothing more."""
        with self._news:
            theirs = WarmContainer(container_of(ref), mailbox.container, None, self._clock(), mailbox.number)
            self._containers.setdefault(theirs.ref, theirs)
            self._news.notify_all()
            # Needed here too: an API server that looks for a log knows containers, but listens to none.
            self._forget_outdated()

    def _alive(self, ref: str) -> bool:
        seen = self._inner.observe([container_of(ref)])
        return any(one.phase in {Phase.WAITING, Phase.RUNNING} for one in seen)

    def _hand_over(self, attempt: Attempt) -> Submission | None:
        """Hands it to an idle container; only if it is launched for the first time.

        ``_start`` finds a container of another launch if there is one. And what failed once in a container that
        may have died unseen gets its own container.
        """
        if attempt.number > 1 or attempt.adopted:
            return None
        place = self._doubtful.get(attempt.token) or self._claim(self._kind(attempt))
        while place:
            answer = self._put(attempt, *place)
            if answer:
                return answer
            place = self._claim(self._kind(attempt))
        return None

    def _put(self, attempt: Attempt, container: WarmContainer, mailbox: Mailbox) -> Submission | None:
        """Writes it into its own mailbox, unless that is closed. If an answer is lost, the next call uses
        the same mailbox."""
        ref = named(container.ref, mailbox.number)
        self._doubtful[attempt.token] = container, mailbox
        there = ref in self._said
        if not there:
            self._mailboxes.promise(attempt.external_id, mailbox, ref)
            # A call whose answer was lost wrote what is there, ours or one of boto3's own
            # retries.
            there = self._mailboxes.offer(mailbox, attempt.document()) or self._mailboxes.standing(mailbox) != CLOSED
        self._doubtful.pop(attempt.token, None)
        if there:
            return Submission(ref=ref)
        self._forget(container)
        return None

    def _claim(self, kind: Hashable) -> tuple[WarmContainer, Mailbox] | None:
        with self._news:
            # If it has been idle for longer than that since we heard of it, it has closed; trying each would cost
            # three calls.
            since = self._clock() - self._seconds
            idle = (one for one in self._containers.values() if one.idle and one.kind == kind and one.touched > since)
            # The one that became idle last stays longest; the others may end.
            container = max(idle, key=lambda one: one.touched, default=None)
            if container is None:
                return None
            container.idle = False
            container.number += 1
            container.touched = self._clock()
            self._news.notify_all()
            return container, container.mailbox

    def _start(self, attempt: Attempt) -> Submission:
        (answer,) = self._inner.submit([attempt])
        if answer.ref:
            with self._news:
                fresh = WarmContainer(answer.ref, attempt.token, self._kind(attempt), self._clock())
                self._containers.setdefault(answer.ref, fresh)
                self._news.notify_all()
        return answer

    def _kind(self, attempt: Attempt) -> Hashable:
        """What workloads of one container must have in common: what the author asked for, and what ``warm_sharing``
        says."""
        try:
            executor_config = json.dumps(attempt.executor_config, sort_keys=True, default=repr)
        except (TypeError, ValueError):
            # These are not arguments of AWS's: it will be refused.
            executor_config = repr(attempt.executor_config)
        return executor_config, attempt.queue, tuple(attempt.labels.get(name, "") for name in self._labels)

    # Read.

    def _known(self, refs: Sequence[str]) -> bool:
        return any(number_of(ref) > 1 or ref in self._containers for ref in refs)

    def _read(self, ref: str, seen: Observation | None, ended: Mapping[Mailbox, int]) -> Observation | None:
        over = self._ended(ref, ended)
        if over is not None or seen is None:
            return over
        if number_of(ref) > 1:
            # The container's own external id is that of its first workload; and that the container began
            # does not mean that it took this workload.
            seen = replace(seen, ref=ref, external_id="", began=False)
            seen = self._died(ref, seen) if seen.phase in {Phase.STOPPED, Phase.MISSING} else seen
        self._over(seen)
        return seen

    def _ended(self, ref: str, ended: Mapping[Mailbox, int]) -> Observation | None:
        """The observation that its workload has ended, as the container reported."""
        with self._news:
            container = self._containers.get(container_of(ref))
            if container is None or ref in self._said:
                return self._said.get(ref)
            code = ended.get(Mailbox(container.name, number_of(ref)))
            if code is None:
                return None
            if container.number == number_of(ref):
                container.idle, container.touched = True, self._clock()
            reason = "; ".join(
                filter(None, (f"exit code {code}", exit_words.words(code), f"its container stays; {ref}"))
            )
            return self._say(Observation(ref, Phase.STOPPED, True, code, reason=reason))

    def _died(self, ref: str, seen: Observation) -> Observation:
        """The container has ended or is unknown, and did not report this workload's end: did it take the workload?"""
        container = self._containers.get(container_of(ref))
        mailbox = Mailbox(container.name, number_of(ref)) if container else None
        waits = mailbox is not None and bool(self._mailboxes.standing(mailbox))
        seen = replace(seen, began=False, exit_code=None) if waits else replace(seen, began=True)
        return self._say(seen) if seen.phase is Phase.STOPPED else seen

    def _say(self, end: Observation) -> Observation:
        with self._news:
            first = self._said.setdefault(end.ref, end)
            while len(self._said) > MOST_SAID:
                self._said.popitem(last=False)
            return first

    def _over(self, seen: Observation) -> None:
        """Forgets a container that has ended: nothing more is handed to it."""
        container = self._containers.get(container_of(seen.ref))
        if container is None:
            return
        if seen.phase is Phase.STOPPED:
            self._forget(container)
        elif not container.idle:
            container.touched = self._clock()

    def _forget(self, container: WarmContainer) -> None:
        with self._news:
            if self._containers.pop(container.ref, None):
                self._left.append(container.name)
                self._news.notify_all()

    def _forget_outdated(self) -> None:
        """Forgets those that must have ended by themselves, unseen."""
        now = self._clock()
        for one in list(self._containers.values()):
            if now - one.touched > self._seconds * one.idle + FORGET:
                self._forget(one)

    def _at_work(self) -> list[WarmContainer]:
        return [one for one in self._containers.values() if not one.idle]


def container_of(ref: str) -> str:
    """The container's own ref."""
    return ref.partition("#")[0]


def number_of(ref: str) -> int:
    """Which of the container's workloads a ref means."""
    return int(ref.partition("#")[2] or 1)


def named(container: str, number: int) -> str:
    """The ref of a container's ``number``-th workload."""
    return container if number == 1 else f"{container}#{number}"
