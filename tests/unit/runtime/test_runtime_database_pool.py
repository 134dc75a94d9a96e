"""An API server keeps the database connections of a busy time, and gives them back after it. A real pool, of SQLite's
connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text
from tests.control_scenes import context

from skylift.control import airflow_config
from skylift.core.containers import Command
from skylift.runtime.database_pool import FEW, QUIET, PoolWatch, tend_soon

pytestmark = pytest.mark.unit

SIZE = int(airflow_config.opinions_of(context(), Command.API_SERVER)["AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE"])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}", pool_size=SIZE, max_overflow=0)
    yield made
    made.dispose()


def be_busy(engine: Engine, connections: int, times: int = 1) -> None:
    for _ in range(times):
        for one in [engine.connect() for _ in range(connections)]:
            one.execute(text("SELECT 1"))
            one.close()


def idle(engine: Engine) -> int:
    return int(engine.pool.checkedin())  # type: ignore[attr-defined]  # QueuePool's


def test_what_a_busy_time_has_left_goes_after_two_quiet_looks(engine: Engine) -> None:
    watch = PoolWatch(engine)
    be_busy(engine, SIZE, times=QUIET)
    assert not watch.look()
    assert not watch.look()
    assert idle(engine) == SIZE
    be_busy(engine, 1)
    assert watch.look()
    assert idle(engine) == 0
    be_busy(engine, 1)


def test_it_goes_on_counting_when_the_connections_are_gone(engine: Engine) -> None:
    watch = PoolWatch(engine)
    be_busy(engine, SIZE)
    assert not watch.look()
    assert watch.look()
    be_busy(engine, SIZE, times=QUIET)
    assert not watch.look()
    be_busy(engine, SIZE, times=QUIET)
    assert not watch.look()
    assert idle(engine) == SIZE


def test_a_few_stay(engine: Engine) -> None:
    watch = PoolWatch(engine)
    be_busy(engine, FEW)
    assert not any(watch.look() for _ in range(3))
    assert idle(engine) == FEW


def test_one_that_is_taken_out_at_that_moment_goes_on(engine: Engine) -> None:
    be_busy(engine, SIZE)
    at_work = engine.connect()
    engine.dispose()
    assert at_work.execute(text("SELECT 1")).scalar() == 1
    at_work.close()


def test_a_pool_that_keeps_nothing(tmp_path: Path) -> None:
    watch = PoolWatch(create_engine(f"sqlite:///{tmp_path / 'airflow.db'}", poolclass=NullPool))
    assert not any(watch.look() for _ in range(3))


def test_only_an_api_server_has_it() -> None:
    assert tend_soon(["scheduler"]) is None
    assert tend_soon([]) is None
    assert airflow_config.opinions_of(context(), Command.DAG_PROCESSOR) == {}
