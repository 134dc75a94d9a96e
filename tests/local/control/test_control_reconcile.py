"""The reconciler's rounds, with rows in a real PostgreSQL, parts in memory, and a clock that the test sets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from tests.control_scenes import spec
from tests.local.control_postgres import serving_postgres

from skylift.control.blueprint import Part, blueprint
from skylift.control.part_context import PartContext
from skylift.control.parts.fake import FakeParts
from skylift.control.plan import Seen
from skylift.control.postgres import PostgresAdmin
from skylift.control.reconcile import MOST_BROKEN, Reconciler
from skylift.control.settings import ControlSettings
from skylift.control.store import EnvironmentStore, Row
from skylift.core.clock import ManualClock
from skylift.core.environment import Status
from skylift.core.errors import Unavailable

pytestmark = pytest.mark.local
SETTINGS = ControlSettings()
MOVING = SETTINGS.moving_milliseconds / 1000


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresAdmin]:
    with serving_postgres(tmp_path_factory.mktemp("postgres")) as admin:
        yield admin


class Rounds:
    """A reconciler with its store, and time that passes only here."""

    def __init__(self, postgres: PostgresAdmin, world: FakeParts, database: str) -> None:
        self.clock, self.world = ManualClock(), world
        self.store = EnvironmentStore(postgres, database, self.clock)
        self.reconciler = Reconciler(self.store, world, SETTINGS, self.clock, threading.Event())
        self.reconciler.round()
        self.store.create(spec(), {})

    def row(self) -> Row:
        found = self.store.get("flight")
        assert found is not None
        return found

    def until(self, status: Status) -> float:
        """Rounds until the row has this status; the pause that the last round asks for, seconds."""
        for _ in range(60):
            pause = self.reconciler.round()
            if self.row().status is status:
                return pause
            self.clock.advance(pause)
        raise AssertionError(f"still {self.row()}")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    return f"rounds_{abs(hash(request.node.name))}"


def test_a_life_in_rounds(postgres: PostgresAdmin, database: str) -> None:
    rounds = Rounds(postgres, FakeParts(), database)
    assert rounds.until(Status.AVAILABLE) == SETTINGS.steady_seconds
    row = rounds.row()
    assert row.last_update.status == "SUCCESS"
    assert row.facts["database.ready"] == "yes"
    assert row.progress["doing"] == "available"
    assert rounds.store.request_delete(row)
    rounds.reconciler.round()  # a new request is attended before its time
    assert rounds.row().generation == 2
    assert rounds.row().progress["doing"].startswith("removing ")
    for _ in range(60):
        rounds.clock.advance(rounds.reconciler.round())
        if rounds.store.get("flight") is None:
            break
    assert rounds.store.get("flight") is None
    assert rounds.world.deeds[0] == "prepare"
    assert rounds.world.deeds[-1] == "forget payloads of flight"


def test_a_second_reconciler_takes_over_where_the_first_died(postgres: PostgresAdmin, database: str) -> None:
    rounds = Rounds(postgres, FakeParts(looks=2), database)
    for _ in range(4):
        rounds.clock.advance(rounds.reconciler.round())
    rounds.reconciler = Reconciler(rounds.store, rounds.world, SETTINGS, rounds.clock, threading.Event())
    rounds.until(Status.AVAILABLE)
    puts = [deed for deed in rounds.world.deeds if deed.startswith("put ")]
    assert sorted(puts) == sorted(f"put {part.name}" for part in blueprint(spec())), "nothing was done twice"


def test_an_available_environment_heals(postgres: PostgresAdmin, database: str) -> None:
    rounds = Rounds(postgres, FakeParts(), database)
    rounds.until(Status.AVAILABLE)
    del rounds.world.standing["flight", "service/scheduler"]
    rounds.clock.advance(SETTINGS.steady_seconds)
    rounds.world.deeds.clear()
    for _ in range(5):
        rounds.clock.advance(rounds.reconciler.round())
    assert rounds.world.deeds == ["put service/scheduler"]
    assert rounds.row().status is Status.AVAILABLE


def test_silence_backs_off_and_ends(postgres: PostgresAdmin, database: str) -> None:
    class Mute(FakeParts):
        mute = True

        def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
            if self.mute:
                raise Unavailable("no answer")
            return super().observe(context, parts)

    world = Mute()
    rounds = Rounds(postgres, world, database)
    pauses = []
    for _ in range(8):
        pauses.append(rounds.reconciler.round())
        rounds.clock.advance(pauses[-1])
    assert pauses[0] == pytest.approx(MOVING * 2)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30
    world.mute = False
    rounds.until(Status.AVAILABLE)


def test_a_bug_of_ours_ends_a_create(postgres: PostgresAdmin, database: str) -> None:
    class Buggy(FakeParts):
        def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
            raise KeyError("taskArn")

    rounds = Rounds(postgres, Buggy(), database)
    for _ in range(MOST_BROKEN):
        assert rounds.row().status is Status.CREATING
        rounds.clock.advance(rounds.reconciler.round())
    row = rounds.row()
    assert row.status is Status.CREATE_FAILED
    assert row.last_update.code == "INTERNAL_FAILURE"
    assert "KeyError" in row.last_update.message


def test_a_row_that_cannot_be_read_stops_no_other(postgres: PostgresAdmin, database: str) -> None:
    rounds = Rounds(postgres, FakeParts(), database)
    with postgres.connect(database) as connection:
        connection.execute(
            "INSERT INTO environments SELECT 'aaa', '{}', generation, status, created_at, wished_at, last_update, "
            "facts, tags,"
            " progress FROM environments"
        )
    rounds.until(Status.AVAILABLE)
    assert [row.name for row in rounds.store.all()] == ["flight"]


def test_one_that_hangs_does_not_hold_the_others(postgres: PostgresAdmin, database: str) -> None:
    free = threading.Event()

    class Hanging(FakeParts):
        def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
            if context.spec.name == "hangs":
                assert free.wait(60)
            return super().observe(context, parts)

    rounds = Rounds(postgres, Hanging(), database)
    rounds.store.create(replace(spec(), name="hangs"), {})
    try:
        rounds.until(Status.AVAILABLE)
        hanging = rounds.store.get("hangs")
        assert hanging is not None
        assert hanging.status is Status.CREATING
        free.set()
        for _ in range(60):
            rounds.clock.advance(rounds.reconciler.round())
            hanging = rounds.store.get("hangs")
            if hanging is not None and hanging.status is Status.AVAILABLE:
                return
        raise AssertionError("it never went on")
    finally:
        free.set()


def test_a_round_that_breaks_does_not_end_the_thread(postgres: PostgresAdmin, database: str) -> None:
    rounds = Rounds(postgres, FakeParts(), database)
    stopping, bell = threading.Event(), threading.Event()
    reconciler = Reconciler(rounds.store, rounds.world, SETTINGS, rounds.clock, bell)
    with postgres.connect(database) as connection:
        connection.execute(
            "ALTER TABLE environments RENAME COLUMN facts TO other"
        )  # every SELECT is a ProgrammingError
    thread = threading.Thread(target=reconciler.run, args=(stopping,), daemon=True)
    thread.start()
    try:
        thread.join(0.5)
        with postgres.connect(database) as connection:
            connection.execute("ALTER TABLE environments RENAME COLUMN other TO facts")
        deadline = time.monotonic() + 20
        while rounds.row().status is not Status.AVAILABLE:
            assert time.monotonic() < deadline, "the reconciler did not come back"
            rounds.clock.advance(1.0)
            bell.set()
            time.sleep(0.02)
    finally:
        stopping.set()
        bell.set()
        thread.join(10)
    assert not thread.is_alive()
