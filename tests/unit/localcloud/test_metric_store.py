"""Metrics in SQLite: what ministack calls on its dict, what is aggregated, what is deleted."""

from __future__ import annotations

import copy
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from skylift.localcloud.emulators.metric_store import (
    COARSE_SECONDS,
    FINE_SECONDS,
    KEPT_SECONDS,
    TIDY_SECONDS,
    MetricStore,
)

pytestmark = pytest.mark.unit

KEY = ("mine", "M", "Environment=e")
DIMENSIONS = {"Environment": "e"}
START = 1_000_000 * COARSE_SECONDS


class Store(MetricStore):
    """With a clock and a scope that a test sets."""

    def __init__(self, path: Path) -> None:
        self.now = float(START)
        self.where = ("1", "here")
        super().__init__(path, lambda: self.where, lambda: self.now)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "metrics.db")


def value(store: Store, number: float, count: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"Timestamp": store.now, "Value": number, "Unit": "Count", "Dimensions": DIMENSIONS, "Count": count, **more}


def test_points_come_back_as_they_went_in(store: Store) -> None:
    store.get(KEY).append(value(store, 2.0, 3.0))
    whole = {"SampleCount": 4.0, "Sum": 10.0, "Minimum": 1.0, "Maximum": 5.0}
    store.now += 1
    store.get(KEY).append(value(store, 2.5, _stat=whole))
    ((key, points),) = store.items()
    first, second = points
    assert key == KEY
    assert (first["Value"], first["Count"], first["Unit"], first["Dimensions"]) == (2.0, 3.0, "Count", DIMENSIONS)
    assert "_stat" not in first
    assert second["_stat"] == whole
    assert points[0]["Dimensions"] == DIMENSIONS


def test_accounts_and_regions_do_not_see_each_other(store: Store) -> None:
    store.get(KEY).append(value(store, 1.0))
    store.where = ("1", "elsewhere")
    assert store.items() == []
    assert list(store.get(KEY)) == []


def test_a_restart_finds_what_was_there(store: Store, tmp_path: Path) -> None:
    store.get(KEY).append(value(store, 1.0))
    again = Store(tmp_path / "metrics.db")
    assert [point["Value"] for point in again.get(KEY)] == [1.0]


def test_what_is_no_number_is_not_kept(store: Store) -> None:
    store.get(KEY).append(value(store, float("nan")))
    assert list(store.get(KEY)) == []


def test_old_points_become_statistics_of_five_minutes(store: Store) -> None:
    other = ("mine", "Other", "Environment=e")
    for number in (1.0, 4.0):
        store.get(KEY).append(value(store, number))
        store.now += 60
    store.get(other).append(value(store, 7.0))
    store.now += COARSE_SECONDS
    store.get(KEY).append(value(store, 9.0))
    store.now = START + FINE_SECONDS + COARSE_SECONDS
    store.get(KEY).append(value(store, 5.0))  # the first write after a while tidies
    old, later, new = store.get(KEY)
    assert old["_stat"] == {"SampleCount": 2.0, "Sum": 5.0, "Minimum": 1.0, "Maximum": 4.0}
    assert START <= old["Timestamp"] < START + 60
    assert (later["Value"], new["Value"]) == (9.0, 5.0)
    assert [point["Value"] for point in store.get(other)] == [7.0]


def test_a_late_value_joins_what_is_coarse_already(store: Store) -> None:
    for number in (1.0, 4.0):
        store.get(KEY).append(value(store, number))
    for turn in range(3):
        store.now = START + FINE_SECONDS + COARSE_SECONDS + turn * (TIDY_SECONDS + 1)
        late = value(store, 10.0) | {"Timestamp": float(START + 100)}
        store.get(KEY).append(late)
    (only,) = store.get(KEY)
    assert only["_stat"] == {"SampleCount": 5.0, "Sum": 35.0, "Minimum": 1.0, "Maximum": 10.0}


def test_after_two_weeks_they_are_gone(store: Store) -> None:
    store.get(KEY).append(value(store, 1.0))
    store.now += KEPT_SECONDS + 1
    assert list(store.get(KEY)) == []
    store.get(("mine", "Other", "")).append(value(store, 1.0))
    assert [key[1] for key, _ in store.items()] == ["Other"]


def test_a_full_disk_is_an_error_and_leaves_what_was_there(store: Store) -> None:
    store.get(KEY).append(value(store, 1.0))
    (pages,) = store._disk.execute("PRAGMA page_count").fetchone()
    store._disk.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with store.written():
            for number in range(10_000):
                store.get(("mine", f"M{number}", "")).append(value(store, 1.0))

    with pytest.raises(OSError, match="metrics cannot be written: database or disk is full"):
        fill()
    assert [key for key, _ in store.items()] == [KEY]
    store._disk.execute("PRAGMA max_page_count = 100000")
    store.get(KEY).append(value(store, 2.0))
    assert [point["Value"] for point in store.get(KEY)] == [1.0, 2.0]


def test_metrics_of_single_ecs_tasks_go_soon(store: Store) -> None:
    store.get(("mine", "M", "TaskId=1")).append(value(store, 1.0) | {"Dimensions": {"TaskId": "1"}})
    store.get(KEY).append(value(store, 1.0))
    store.now += FINE_SECONDS + 2 * COARSE_SECONDS
    store.get(KEY).append(value(store, 2.0))
    assert [key for key, _ in store.items()] == [KEY]


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def half() -> None:
        with store.written():
            store.get(KEY).append(value(store, 1.0))
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert store.items() == []
    store.get(KEY).append(value(store, 2.0))
    assert [point["Value"] for point in store.get(KEY)] == [2.0]


def test_ministacks_own_file_is_taken_over_once(store: Store) -> None:
    class Saved:
        """What ministack reads from its file."""

        def __init__(self) -> None:
            self._data = {("1", "here", KEY): [value(store, 3.0)]}

    store.update(Saved())
    store.update(Saved())
    assert [point["Value"] for point in store.get(KEY)] == [3.0]
    assert copy.deepcopy(store) == {}
    store.clear()
    assert len(store.items()) == 1


def test_a_file_of_something_else_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.db"
    path.write_text("this is no database, and longer than a header " * 10)
    with pytest.raises(sqlite3.DatabaseError):
        Store(path)
    assert path.read_text().startswith("this is no database")
