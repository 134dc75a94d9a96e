"""CloudWatch metrics in SQLite, in place of ministack's lists: on the disk at once, and not in memory.

ministack keeps two weeks of values, each as a dict, searches all of them at every request, and writes all of them after
every PutMetricData. One environment alone sends hundreds of values a minute. Here a value is one row. After
``FINE_SECONDS`` the values of five minutes become one row (count, sum, minimum, maximum), and after two weeks they are
deleted. Metrics of single ECS tasks (dimension ``TaskId``) are deleted after ``FINE_SECONDS``: there may be thousands a
day. Like ``ministack.py``, this file depends on ministack's internals.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.emulators.unavailable import cannot_write
from skylift.localcloud.ports import MEMORY

FINE_SECONDS = 3 * 3600
"""How long single values are kept, as in CloudWatch for periods below a minute. Percentiles need them."""

COARSE_SECONDS = 300
KEPT_SECONDS = 14 * 24 * 3600
"""ListMetrics shows metrics for two weeks."""

TIDY_SECONDS = 600

Key = tuple[str, str, str]
"""Namespace, name, and dimensions in the form of ministack's ``_dims_key``."""
_Scoped = tuple[str, str, Key]

_TABLES = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -256;
CREATE TABLE IF NOT EXISTS metric (
    id INTEGER PRIMARY KEY, account TEXT, region TEXT, namespace TEXT, name TEXT, key TEXT, dimensions TEXT,
    UNIQUE (account, region, namespace, name, key)
);
CREATE TABLE IF NOT EXISTS point (
    metric INTEGER, at REAL, unit TEXT, count REAL, sum REAL, least REAL, most REAL
);
CREATE INDEX IF NOT EXISTS point_of ON point (metric, at);
"""
_COARSER = """
INSERT INTO point
SELECT metric, CAST(at / :grain AS INTEGER) * :grain + 0.5, unit, SUM(count), SUM(sum), MIN(least), MAX(most)
FROM point WHERE at < :before GROUP BY metric, CAST(at / :grain AS INTEGER), unit HAVING COUNT(*) > 1
"""


class MetricStore:
    """Replaces ministack's ``cloudwatch._metrics``: a dict from each account's and region's metrics to their points.

    Args:
        path: of the file; with ``MEMORY`` nothing is kept.
        scope: the account and region of the current request.
    """

    def __init__(self, path: Path, scope: Callable[[], tuple[str, str]], clock: Clock = time.time) -> None:
        """Raises ``sqlite3.DatabaseError`` when the file is not such a database."""
        self._scope = scope
        self._clock = clock
        self._lock = threading.RLock()
        self._tidied = clock()
        self._disk = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._disk.executescript(_TABLES)

    # The dict methods that ministack calls.

    def get(self, key: Key) -> Points:
        """The points of a metric, which need not exist yet."""
        return Points(self, (*self._scope(), key))

    def items(self) -> list[tuple[Key, Points]]:
        """All metrics of the request's account and region."""
        account, region = self._scope()
        with self._lock:
            found = self._disk.execute(
                "SELECT namespace, name, key FROM metric WHERE account = ? AND region = ?", (account, region)
            ).fetchall()
        keys: list[Key] = [(namespace, name, key) for namespace, name, key in found]
        return [(key, Points(self, (account, region, key))) for key in keys]

    def update(self, saved: Any) -> None:
        """Imports, once, what an older skylift stored in ministack's file; that file may remain for a while."""
        with self.written():
            if self._disk.execute("SELECT 1 FROM metric").fetchone() is not None:
                return
            for place, points in getattr(saved, "_data", {}).items():
                for point in points:
                    self.add(place, point)

    def clear(self) -> None:
        """Does nothing: ministack clears its state only to reload that of alarms; metrics are on the disk already."""

    def __deepcopy__(self, _memo: Any) -> dict[str, Any]:
        """The metrics in the state that ministack saves: none."""
        return {}

    # Methods for ``Points``.

    def add(self, place: _Scoped, point: Mapping[str, Any]) -> None:
        """Adds one value with its count, or a statistic set."""
        whole = point.get("_stat")
        if whole is not None:
            stats = [float(whole.get(name, 0)) for name in ("SampleCount", "Sum", "Minimum", "Maximum")]
        else:
            value, count = float(point["Value"]), float(point.get("Count", 1))
            stats = [count, value * count, value, value]
        if not all(map(math.isfinite, stats)):  # AWS refuses them
            return
        with self.written():
            row = (self._id(place, point["Dimensions"]), float(point["Timestamp"]), point.get("Unit") or "None", *stats)
            self._disk.execute("INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._tidy()

    def points(self, place: _Scoped) -> list[dict[str, Any]]:
        """In ministack's shape, oldest first."""
        with self._lock:
            metric = self._metric(place)
            found = self._disk.execute(
                "SELECT at, unit, count, sum, least, most FROM point WHERE metric = ? AND at >= ? ORDER BY at",
                (metric[0] if metric else None, self._clock() - KEPT_SECONDS),
            ).fetchall()
        return [_point(row, metric[1]) for row in found] if metric else []

    def dimensions(self, place: _Scoped) -> dict[str, str]:
        """A metric's dimensions; empty when it does not exist."""
        with self._lock:
            metric = self._metric(place)
        return metric[1] if metric else {}

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._disk.close()

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """One transaction, shared by nested calls. Raises ``OSError`` when the disk is full."""
        with self._lock:
            if self._disk.in_transaction:
                yield
                return
            self._disk.execute("BEGIN")
            try:
                yield
                self._disk.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    self._disk.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise OSError(f"metrics cannot be written: {error}") from error
                raise

    def _metric(self, place: _Scoped) -> tuple[int, dict[str, str]] | None:
        """Number and dimensions. Read from SQLite each time, so that metrics sent once (each ECS task has some) use no
        memory."""
        account, region, key = place
        found = self._disk.execute(
            "SELECT id, dimensions FROM metric "
            "WHERE account = ? AND region = ? AND namespace = ? AND name = ? AND key = ?",
            (account, region, *key),
        ).fetchone()
        return (int(found[0]), json.loads(found[1])) if found else None

    def _id(self, place: _Scoped, dimensions: Mapping[str, str]) -> int:
        metric = self._metric(place)
        if metric is not None:
            return metric[0]
        account, region, key = place
        row = (account, region, *key, json.dumps(dict(dimensions)))
        made = self._disk.execute(
            "INSERT INTO metric (account, region, namespace, name, key, dimensions) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
        return int(made.lastrowid or 0)

    def _tidy(self) -> None:
        now = self._clock()
        if now < self._tidied + TIDY_SECONDS:
            return
        self._tidied = now
        before = (now - FINE_SECONDS) // COARSE_SECONDS * COARSE_SECONDS
        with self.written():
            newest = self._disk.execute("SELECT MAX(rowid) FROM point").fetchone()[0] or 0
            self._disk.execute(_COARSER, {"grain": COARSE_SECONDS, "before": before})
            self._disk.execute(
                "DELETE FROM point WHERE rowid <= :newest AND at < :before AND EXISTS (SELECT 1 FROM point AS one "
                "WHERE one.rowid > :newest AND one.metric = point.metric AND one.unit = point.unit "
                "AND one.at = CAST(point.at / :grain AS INTEGER) * :grain + 0.5)",
                {"newest": newest, "before": before, "grain": COARSE_SECONDS},
            )
            self._disk.execute("DELETE FROM point WHERE at < ?", (now - KEPT_SECONDS,))
            self._disk.execute(
                "DELETE FROM point WHERE at < ? AND metric IN (SELECT id FROM metric WHERE key LIKE '%TaskId=%')",
                (before,),
            )
            self._disk.execute("DELETE FROM metric WHERE id NOT IN (SELECT metric FROM point)")


class Points:
    """Replaces the list of one metric's points."""

    def __init__(self, store: MetricStore, place: _Scoped) -> None:
        self._store = store
        self._place = place

    def append(self, point: Mapping[str, Any]) -> None:
        """Adds one point; it is on the disk when this returns. Raises ``OSError``."""
        self._store.add(self._place, point)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._store.points(self._place))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """ListMetrics reads the dimensions of the first point; all points have the same."""
        return {"Dimensions": self._store.dimensions(self._place)} if index == 0 else list(self)[index]

    def __bool__(self) -> bool:
        return True


def keep_metrics(cloudwatch: Any, responses: Any, path: Path) -> MetricStore:
    """Makes ministack's module ``services.cloudwatch`` keep its metrics here.

    Raises:
        sqlite3.DatabaseError: the file is not such a database.
    """
    store = MetricStore(path, lambda: (responses.get_account_id(), responses.get_region()))
    _take_over(cloudwatch, store)
    return store


def keep_none(cloudwatch: Any, responses: Any) -> MetricStore:
    """Like ``keep_metrics``, but in memory: for a damaged file, whose service is refused."""
    return keep_metrics(cloudwatch, responses, MEMORY)


def _take_over(cloudwatch: Any, store: MetricStore) -> None:
    state, put = cloudwatch.get_state, cloudwatch._put_metric_data

    def without_metrics() -> dict[str, Any]:
        return {name: value for name, value in state().items() if name != "metrics"}

    def put_metric_data(*arguments: Any) -> Any:
        try:
            with store.written():
                return put(*arguments)
        except OSError as error:
            return cannot_write("cloudwatch", error)

    cloudwatch._metrics, cloudwatch._evict_old_metrics = store, _nothing
    cloudwatch.get_state, cloudwatch._put_metric_data = without_metrics, put_metric_data


def _nothing() -> None:
    """Does nothing: old points are deleted elsewhere."""


def _point(row: tuple[float, str, float, float, float, float], dimensions: dict[str, str]) -> dict[str, Any]:
    at, unit, count, total, least, most = row
    point = {"Timestamp": at, "Unit": unit, "Dimensions": dimensions, "Value": least, "Count": count}
    if least != most or total != least * count:
        names = ("SampleCount", "Sum", "Minimum", "Maximum")
        point["_stat"] = dict(zip(names, (count, total, least, most), strict=True))
    return point
