"""An API server keeps the database connections of a busy time, and gives them back after it. A real pool, of SQLite's connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from skylift.control import airflow_config
from skylift.core.containers import Command
from skylift.runtime.database_pool import FEW, Quiet, tend_soon

pytestmark = pytest.mark.unit

SIZE = int(airflow_config.opinions_of(Command.API_SERVER)["AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE"])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}", pool_size=SIZE, max_overflow=0)
    yield made
    made.dispose()


def be_busy(engine: Engine, connections: int) -> None:
    for one in [engine.connect() for _ in range(connections)]:
        one.execute(text("SELECT 1"))
        one.close()


def test_what_a_busy_time_has_left_goes_after_two_quiet_looks(engine: Engine) -> None:
    be_busy(engine, SIZE)
    quiet = Quiet()
    assert not quiet.look(engine)
    assert engine.pool.checkedin() == SIZE  # type: ignore[attr-defined]  # QueuePool's
    assert quiet.look(engine)
    assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]
    be_busy(engine, 1)


def test_somebody_at_work_puts_it_off(engine: Engine) -> None:
    be_busy(engine, SIZE)
    quiet = Quiet()
    quiet.look(engine)
    with engine.connect() as at_work:
        assert not quiet.look(engine)
        at_work.execute(text("SELECT 1"))
    assert not quiet.look(engine)
    assert quiet.look(engine)


def test_a_few_stay(engine: Engine) -> None:
    be_busy(engine, FEW)
    quiet = Quiet()
    assert not any(quiet.look(engine) for _ in range(3))
    assert engine.pool.checkedin() == FEW  # type: ignore[attr-defined]


def test_one_that_is_taken_out_at_that_moment_goes_on(engine: Engine) -> None:
    be_busy(engine, SIZE)
    at_work = engine.connect()
    engine.dispose()
    assert at_work.execute(text("SELECT 1")).scalar() == 1
    at_work.close()


def test_a_pool_that_is_not_there_yet_or_keeps_nothing() -> None:
    assert not Quiet().look(None)
    assert not Quiet().look(object())


def test_only_an_api_server_has_it() -> None:
    assert tend_soon(["scheduler"]) is None
    assert tend_soon([]) is None
    assert airflow_config.opinions_of(Command.SCHEDULER) == {}
