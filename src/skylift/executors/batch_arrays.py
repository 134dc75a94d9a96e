"""Finds which child of which array job an attempt is, from lists in S3 that are written before SubmitJob.

SubmitJob has no idempotency token, and the children of an array have their parent's name. The order makes it safe:
first the workloads, then the list under the array's (unique) name, then SubmitJob. Wherever we die in between, the list
says under which names an attempt may be, and Batch says which of these jobs exist.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from skylift.aws.batch.jobs import BatchJobs
from skylift.core.clock import Clock
from skylift.executors.in_container.payload import AT_ONCE, Payloads

MOST_REMEMBERED = 50_000
"""Attempts of this process whose place is kept in memory; others are read from S3."""

STALE = 5.0
"""Seconds after which the lists are listed anew: another scheduler may have written more before it died."""

ABSENT = 1.0
"""Seconds for which a job that Batch did not know is not asked for again: a thousand children ask for the same
parent."""

FORGET = 300.0
"""Seconds after which the lists that were read are dropped: restarts ask many times within a short while."""


class Arrays:
    """Arrays that were submitted, by us or before us. Thread-safe; methods raise ``Refused`` and ``Unavailable``.

    Args:
        payloads: where the lists are.
        jobs: finds an array by its name.
        clock: seconds.
    """

    def __init__(self, payloads: Payloads, jobs: BatchJobs, clock: Clock = time.monotonic) -> None:
        self._payloads = payloads
        self._batch = jobs
        self._clock = clock
        # Several threads call, and the two dicts must agree. One thread reads the lists for all of them (it takes
        # seconds).
        self._lock = Lock()
        self._places: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._jobs: OrderedDict[str, str] = OrderedDict()
        self._read: dict[str, tuple[str, ...]] = {}
        self._index: dict[str, list[tuple[str, int, str]]] = {}
        self._absent: dict[str, float] = {}
        self._listed = self._asked = float("-inf")

    def note(self, name: str, tokens: Sequence[str]) -> None:
        """These attempts are about to be submitted as an array, in this order."""
        with self._lock:
            for index, token in enumerate(tokens):
                self._places[token] = (name, index)
                self._places.move_to_end(token)
            while len(self._places) > MOST_REMEMBERED:
                self._places.popitem(last=False)

    def submitted(self, name: str, job_id: str) -> None:
        """The array has this job id."""
        with self._lock:
            self._jobs[name] = job_id
            while len(self._jobs) > MOST_REMEMBERED:
                self._jobs.popitem(last=False)

    def find(self, queues: Sequence[str], token: str) -> str:
        """``jobid:index`` of an attempt of this process; "" if it is in no array that Batch knows."""
        with self._lock:
            place = self._places.get(token)
        return self._ref(queues, *place) if place else ""

    def search(self, queues: Sequence[str], external_id: str) -> list[tuple[str, str]]:
        """(token, ``jobid:index``) of all attempts of an external id in arrays, whoever submitted them."""
        self._refresh()
        with self._lock:
            places = list(self._index.get(external_id, ()))
        found = [(token, self._ref(queues, name, index)) for name, index, token in places]
        return [one for one in found if one[1]]

    def _ref(self, queues: Sequence[str], name: str, index: int) -> str:
        with self._lock:
            job_id = self._jobs.get(name, "")
            absent = self._clock() - self._absent.get(name, float("-inf")) < ABSENT
        if not job_id and not absent:
            job_id = next(filter(None, (self._batch.newest(queue, name) for queue in queues)), "")
            if job_id:
                self.submitted(name, job_id)
            else:
                self._absent = {name: self._clock(), **dict(list(self._absent.items())[-100:])}
        return f"{job_id}:{index}" if job_id else ""

    def _refresh(self) -> None:
        """Reads the lists that were not read yet, several at once; one thread at a time."""
        with self._lock:
            now = self._clock()
            if now - self._asked > FORGET:
                self._read, self._index, self._listed = {}, {}, float("-inf")
            self._asked = now
            if now - self._listed < STALE:
                return
            fresh = [name for name in self._payloads.arrays() if name not in self._read]
            with ThreadPoolExecutor(AT_ONCE, "skylift-list") as pool:
                lists = list(pool.map(self._payloads.array, fresh))
            for name, tokens in zip(fresh, lists, strict=True):
                self._read[name] = tokens
                for index, token in enumerate(tokens):
                    self._index.setdefault(token.rpartition(".")[0], []).append((name, index, token))
            self._listed = now
