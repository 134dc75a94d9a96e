"""The command and environment of a container: how the workload gets there, inline or by reference.

By reference (``[skylift] payload_url``): the container's program and the workload's JSON, with its token, are one
object in S3, and the container gets only the object's URL. So DescribeTasks does not show the token, and
length does not matter. The container deletes the object after it has read it. If it stays (the container never began,
or may not delete), a lifecycle rule of the bucket deletes it. Inline: workload and program are in the command, as in
the amazon provider's executor, with as much of the program as fits.

Array jobs: all children have one command and one environment. A list in S3, with one line of fixed length per child,
says whose workload it takes, by the child's index. The list contains no token, and outlives the children: with it, a
restarted scheduler finds the child of an attempt.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from skylift.aws.clients import client
from skylift.aws.s3_objects import S3Objects
from skylift.core.attempt import Attempt
from skylift.core.errors import Refused
from skylift.core.names import s3_url, split_s3_url
from skylift.executors.in_container import programs
from skylift.executors.in_container.mailboxes import Mailboxes, S3Mailboxes
from skylift.executors.in_container.main import ARRAYS, LINE, WORKLOAD_URL, WORKLOADS_URL
from skylift.executors.in_container.stay import STAY_SECONDS
from skylift.executors.options.settings import OWN_SECTION, PAYLOAD_URL, WARM_SECONDS, Options

FRESH = 60.0
"""Seconds for which a workload in S3 is good as it is: a tenth of the least time that Airflow gives its token."""

MOST_REMEMBERED = 20_000
"""Workloads of which it is known when they were put."""

AT_ONCE = 16
"""Objects that are put at the same time; the client's pool holds 32 connections."""


@dataclass(frozen=True)
class Payload:
    """What the container is started with. ``command`` may contain the token: never print it.

    Attributes:
        shorter: other commands that do less, for when ``command`` does not fit.
    """

    command: tuple[str, ...] = field(repr=False)
    environment: dict[str, str]
    shorter: tuple[tuple[str, ...], ...] = field(default=(), repr=False)

    def fitting(self, fits: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
        """The first command that fits; the shortest if none does."""
        return next(filter(fits, (self.command, *self.shorter)), (self.command, *self.shorter)[-1])


class Payloads:
    """Prepares payloads.

    Args:
        url: ``s3://bucket/prefix`` for workloads; "" for inline.
        session: a boto3 session whose credentials write them; ``None`` for the usual ones.
        region: AWS region; "" to use AWS's own settings.
        stay_seconds: how long a container waits for another workload; 0: not at all. Needs ``url``.
        executors: value of ``[core] executor`` in the container; "" to leave it.

    Raises:
        ValueError: ``url`` is not an S3 URL.
    """

    def __init__(
        self,
        url: str = "",
        *,
        session: Any = None,
        region: str = "",
        stay_seconds: float = 0.0,
        executors: str = "",
    ) -> None:
        self._stay = {STAY_SECONDS: f"{stay_seconds:g}"} if stay_seconds else {}
        self._bucket, self._prefix = split_s3_url(url) if url else ("", "")
        self._clock = time.monotonic
        self._put: OrderedDict[str, float] = OrderedDict()
        self._executors = executors
        # Now, while nothing else happens in this process: see ``programs._ONE_PARSES``.
        self._programs = {stays: programs.program(executors, stay=stays) for stays in {False, bool(stay_seconds)}}
        if self._bucket:
            # Here, in one thread: boto3 sessions must not make clients in several threads at once.
            s3 = client("s3", region=region or None, attempts=3, read_timeout=20, session=session)
            self._objects = S3Objects(s3)

    @property
    def by_reference(self) -> bool:
        """Whether workloads go through S3."""
        return bool(self._bucket)

    def prepare(self, attempt: Attempt) -> Payload:
        """The payload of an attempt. Writes the object if there is one, and again if it was written ``FRESH`` seconds
        ago.

        Raises:
            Refused, Unavailable: S3 refused.
        """
        if not self._bucket:
            command, *shorter = programs.inline(self._executors, attempt.document())
            return Payload(command, _environment(), tuple(shorter))
        key = self._key(f"{attempt.token}.json")
        # A throttled launch is requested again and again.
        if self._clock() - self._put.get(attempt.token, float("-inf")) >= FRESH:
            self.renew(attempt)
        named = {WORKLOAD_URL: s3_url(self._bucket, key)}
        stay = self._stay if self._stays(attempt) else {}
        command = programs.fetching(len(self._programs[bool(stay)]), stay=bool(stay))
        return Payload(command, _environment() | named | stay)

    def renew(self, attempt: Attempt) -> None:
        """Writes the workload's object with a token that is valid from now on. Raises like ``prepare``."""
        document = self._programs[self._stays(attempt)] + attempt.document().encode()
        self._objects.put(self._bucket, self._key(f"{attempt.token}.json"), document)
        self._put[attempt.token] = self._clock()
        while len(self._put) > MOST_REMEMBERED:
            self._put.popitem(last=False)

    def _stays(self, attempt: Attempt) -> bool:
        # A workload without a queue (a callback) may already have a container when it is launched, so it is never
        # handed over.
        return bool(self._stay) and bool(attempt.queue)

    def prepare_array(self, name: str, attempts: Sequence[Attempt]) -> Payload:
        """The payload for all children of an array job; writes an object for each attempt, and then the list.

        Args:
            name: of the array; must be new.
            attempts: by index.

        Raises:
            Refused, Unavailable: S3 refused; some objects may have been written.
        """
        with ThreadPoolExecutor(min(AT_ONCE, len(attempts)), "skylift-put") as pool:
            for done in [pool.submit(self.prepare, attempt) for attempt in attempts]:
                done.result()
        lines = "".join(f"{attempt.token}.json".ljust(LINE - 1) + "\n" for attempt in attempts)
        key = self._key(ARRAYS, name)
        self._objects.put(self._bucket, key, lines.encode())
        command = programs.fetching(len(self._programs[False]), array=True)
        return Payload(command, _environment() | {WORKLOADS_URL: s3_url(self._bucket, key)})

    def arrays(self) -> Iterator[str]:
        """Names of all arrays whose list still exists. Raises ``Refused``, ``Unavailable``."""
        folder = self._key(ARRAYS, "")
        return (listed.key.removeprefix(folder) for listed in self._objects.below(self._bucket, folder))

    def array(self, name: str) -> tuple[str, ...]:
        """Tokens of an array's attempts by index; empty if the list is gone. Raises ``Refused``, ``Unavailable``."""
        text = self._objects.read(self._bucket, self._key(ARRAYS, name)) or b""
        return tuple(line.strip().removesuffix(".json") for line in text.decode().splitlines())

    def mailboxes(self) -> Mailboxes:
        """Where warm containers get their next workload. Only with a URL."""
        return S3Mailboxes(self._objects, s3_url(self._bucket, self._prefix))

    def _key(self, *words: str) -> str:
        return "/".join([*filter(None, [self._prefix.strip("/")]), *words])


def _environment() -> dict[str, str]:
    # Airflow's own switch for containerised executors: do not capture the output of the process twice.
    return {"AIRFLOW_IS_EXECUTOR_CONTAINER": "true"}


def payloads_of(own: Options, session: Any, region: str, executors: str = "") -> Payloads:
    """Made from ``[skylift]``. Raises ``Refused`` with one line that names a wrong option."""
    url, stay = own[PAYLOAD_URL], own[WARM_SECONDS]
    if stay and not url:
        raise Refused(f"[{OWN_SECTION}] warm_seconds needs payload_url: the next workload comes through S3")
    try:
        return Payloads(url, session=session, region=region, stay_seconds=stay, executors=executors)
    except ValueError as error:
        raise Refused(f"[{OWN_SECTION}] payload_url: {error}") from error
