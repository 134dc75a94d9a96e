"""Follows an environment's bucket: a new version of its requirements, plugins or startup script becomes an update,
whoever put it there.

Only for environments with the option ``skylift.follow_bucket``. A version is taken once two looks in a row have seen
it, so that files which come together are applied together. One that was tried is not tried again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from skylift.aws.s3 import Found
from skylift.control.api.provider import UPDATABLE, update_of
from skylift.control.api.updates import OBJECTS
from skylift.control.part_context import digest
from skylift.control.settings import FOLLOW_BUCKET, ControlSettings, option_of
from skylift.control.store import Row
from skylift.core.errors import SkyliftError
from skylift.wire.errors import AwsError

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Two looks are less than 30 s. Each costs one HeadObject for each file that the environment names."""

SOURCE = "FollowBucket"
"""Of the update: ``LastUpdate.Source``."""

TRIED = "bucket.tried"
"""The fact that names the versions of the last such update, whatever became of it."""


class WatchedRows(Protocol):
    """The store's part in it (``control.store``)."""

    def all(self) -> Sequence[Row]: ...

    def request_update(self, row: Row, source: str, told: str, replacement: str = "") -> bool: ...


class FollowedBuckets(Protocol):
    """S3's part in it (``aws.s3``)."""

    def find(self, bucket: str, key: str, version: str = "") -> Found | None: ...


class BucketWatch:
    """Looks at the buckets of all environments that want it.

    Args:
        ring: wakes the reconciler.
    """

    def __init__(
        self, store: WatchedRows, s3: FollowedBuckets, settings: ControlSettings, ring: Callable[[], None]
    ) -> None:
        self._store = store
        self._s3 = s3
        self._settings = settings
        self._ring = ring
        self._last: dict[str, str] = {}
        self._failing: set[str] = set()

    def run(self, stopping: threading.Event, seconds: float = LOOK_SECONDS) -> None:
        """Until it is told to stop."""
        while not stopping.wait(seconds):
            try:
                self.look()
            except Exception:  # our bug: without this thread no bucket would be followed
                log.exception("a look at the buckets broke; the next one comes in %.0f s", seconds)

    def look(self) -> None:
        """One look at each."""
        try:
            rows = [row for row in self._store.all() if follows(row)]
        except SkyliftError as error:
            log.warning("buckets are not followed now: %s", error)
            return
        self._last = {row.name: self._last[row.name] for row in rows if row.name in self._last}
        for row in rows:
            try:
                self._look_at(row)
                self._failing.discard(row.name)
            except (SkyliftError, AwsError) as error:
                if row.name not in self._failing:
                    log.warning("the bucket of environment %s is not followed now: %s", row.name, error)
                self._failing.add(row.name)

    def _look_at(self, row: Row) -> None:
        if row.status not in UPDATABLE:
            return
        newest = {name: found for name in named(row) if (found := self._find(row, name)) is not None}
        changed = news(row, newest)
        told = _fingerprint(newest)
        if changed and told == self._last.get(row.name):
            self._update(row, changed, told)
        self._last[row.name] = told

    def _find(self, row: Row, name: str) -> Found | None:
        return self._s3.find(row.spec.bucket, getattr(row.spec, name).key)

    def _update(self, row: Row, changed: Mapping[str, Found], told: str) -> None:
        marked = replace(row, facts={**row.facts, TRIED: told})
        wanted = update_of(marked, request_of(row, changed), self._settings)
        names = ", ".join(
            f"{getattr(row.spec, name).key} (version {found.version or found.etag})" for name, found in changed.items()
        )
        if self._store.request_update(wanted, SOURCE, f"{SOURCE}: the bucket has something new: {names}"):
            self._ring()


def follows(row: Row) -> bool:
    """Whether an environment has the option."""
    return option_of(FOLLOW_BUCKET, row.spec.options)


def named(row: Row) -> tuple[str, ...]:
    """Attributes of the Spec that name an object; others in the bucket are not looked at."""
    return tuple(name for name in OBJECTS.values() if getattr(row.spec, name) is not None)


def news(row: Row, newest: Mapping[str, Found]) -> dict[str, Found]:
    """Objects whose newest version is another than the environment's; none if these versions were tried already."""
    if _fingerprint(newest) == row.facts.get(TRIED):
        return {}
    return {name: found for name, found in newest.items() if _version(found) != _used(row, name)}


def request_of(row: Row, changed: Mapping[str, Found]) -> dict[str, Any]:
    """The UpdateEnvironment request that applies them. With their versions: what is proven is what was seen."""
    request: dict[str, Any] = {}
    for member, name in OBJECTS.items():
        if name in changed:
            request[f"{member}S3Path"] = getattr(row.spec, name).key
            if changed[name].version:
                request[f"{member}S3ObjectVersion"] = changed[name].version
    return request


def _used(row: Row, name: str) -> str:
    pinned = getattr(row.spec, name).version or row.facts.get(f"source.{name}.version", "")
    return str(pinned or row.facts.get(f"source.{name}.etag", ""))


def _version(found: Found) -> str:
    return found.version or found.etag


def _fingerprint(newest: Mapping[str, Found]) -> str:
    return digest(*(f"{name}={_version(found)}" for name, found in sorted(newest.items())))
