"""Where a warm container and its executor meet: a few small objects in S3, below the URL of the workloads.

``warm/{container}/{n}`` is the n-th mailbox of a container: the executor writes a workload there, or the container
closes it. S3's conditional write (``If-None-Match: *``) lets exactly one of the two win, so a workload is never handed
to a container that has gone. After the workload is taken, the object is emptied (a workload contains a token) and
stays, so that nothing else can be written there. ``warm/{container}/{n}-{code}`` reports that the n-th workload has
ended, with the exit code that it would have had in its own container. ``warm-of/{external id}`` says, before the
workload is written, which mailbox it goes to, so that a restarted scheduler finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from skylift.aws.s3_objects import S3Objects
from skylift.core.names import split_s3_url
from skylift.executors.in_container.stay import CLOSED, WARM

ENDED = re.compile(r"(?P<container>[^/]+)/(?P<number>[0-9]+)-(?P<code>[0-9]+)")


@dataclass(frozen=True)
class Mailbox:
    """The mailbox for the ``number``-th workload (from 1) of a container, named by the token of the container's first
    attempt."""

    container: str
    number: int


class Mailboxes(Protocol):
    """Every verb may be repeated harmlessly and raises ``Unavailable`` or ``Refused``.

    * ``offer`` writes a workload; ``False`` if the mailbox is not empty (it is closed, or was written before).
    * ``standing`` is the content: the workload, ``""`` if it was taken, ``CLOSED``; ``None`` for nothing.
    * ``ended`` returns the codes of all workloads that have ended, as far as they are still known.
    * ``promise`` records where a workload goes before it is offered; ``promised`` reads that.
    * ``clear`` removes what an ended container left, when nobody needs it.
    """

    def offer(self, mailbox: Mailbox, document: str) -> bool: ...

    def standing(self, mailbox: Mailbox) -> str | None: ...

    def ended(self) -> Mapping[Mailbox, int]: ...

    def promise(self, external_id: str, mailbox: Mailbox, ref: str) -> None: ...

    def promised(self, external_id: str) -> tuple[Mailbox, str] | None: ...

    def clear(self, container: str) -> None: ...


class S3Mailboxes(Mailboxes):
    """Mailboxes in S3.

    Args:
        objects: the calls.
        url: ``[skylift] payload_url``. Raises ``ValueError`` if it is not an S3 URL.
    """

    def __init__(self, objects: S3Objects, url: str) -> None:
        self._objects = objects
        self._bucket, prefix = split_s3_url(url)
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")

    def offer(self, mailbox: Mailbox, document: str) -> bool:
        return self._objects.put_new(self._bucket, self._key(mailbox), document.encode())

    def standing(self, mailbox: Mailbox) -> str | None:
        found = self._objects.read(self._bucket, self._key(mailbox))
        return None if found is None else found.decode()

    def ended(self) -> Mapping[Mailbox, int]:
        folder = f"{self._prefix}{WARM}/"
        names = (listed.key.removeprefix(folder) for listed in self._objects.below(self._bucket, folder))
        found = filter(None, map(ENDED.fullmatch, names))
        return {Mailbox(one["container"], int(one["number"])): int(one["code"]) for one in found}

    def promise(self, external_id: str, mailbox: Mailbox, ref: str) -> None:
        text = f"{mailbox.container}\n{mailbox.number}\n{ref}"
        self._objects.put(self._bucket, self._promise(external_id), text.encode())

    def promised(self, external_id: str) -> tuple[Mailbox, str] | None:
        text = self._objects.read(self._bucket, self._promise(external_id))
        if text is None:
            return None
        container, number, ref = text.decode().split("\n")
        return Mailbox(container, int(number)), ref

    def clear(self, container: str) -> None:
        for listed in list(self._objects.below(self._bucket, f"{self._prefix}{WARM}/{container}/")):
            self._objects.remove(self._bucket, listed.key)

    def _key(self, mailbox: Mailbox) -> str:
        return f"{self._prefix}{WARM}/{mailbox.container}/{mailbox.number}"

    def _promise(self, external_id: str) -> str:
        return f"{self._prefix}{WARM}-of/{external_id}"


class FakeMailboxes(Mailboxes):
    """Mailboxes in memory, with what a container does to them. Thread-safe."""

    def __init__(self) -> None:
        self._standing: dict[Mailbox, str] = {}
        self._ended: dict[Mailbox, int] = {}
        self._promised: dict[str, tuple[Mailbox, str]] = {}
        self._lock = Lock()

    def offer(self, mailbox: Mailbox, document: str) -> bool:
        with self._lock:
            if mailbox in self._standing:
                return False
            self._standing[mailbox] = document
            return True

    def standing(self, mailbox: Mailbox) -> str | None:
        return self._standing.get(mailbox)

    def ended(self) -> Mapping[Mailbox, int]:
        with self._lock:
            return dict(self._ended)

    def promise(self, external_id: str, mailbox: Mailbox, ref: str) -> None:
        self._promised[external_id] = mailbox, ref

    def promised(self, external_id: str) -> tuple[Mailbox, str] | None:
        return self._promised.get(external_id)

    def clear(self, container: str) -> None:
        with self._lock:
            for kept in (self._standing, self._ended):
                for mailbox in [one for one in kept if one.container == container]:
                    del kept[mailbox]

    # What a container does.

    def take(self, mailbox: Mailbox) -> str:
        """The workload in it, "" if there is none."""
        with self._lock:
            found = self._standing.get(mailbox, "")
            if found and found != CLOSED:
                self._standing[mailbox] = ""
                return found
            return ""

    def close(self, mailbox: Mailbox) -> bool:
        """Closes it; ``False`` if something was written just now."""
        with self._lock:
            return self._standing.setdefault(mailbox, CLOSED) == CLOSED

    def end(self, mailbox: Mailbox, code: int) -> None:
        """The workload has ended."""
        with self._lock:
            self._ended[mailbox] = code
