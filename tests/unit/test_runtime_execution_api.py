"""The execution API is built once, early, in the API server only."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from skylift.runtime import execution_api

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Python's search for cycles as it was before."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


class Api:
    """What Cadwyn's app shows of itself."""

    def __init__(self, built: bool = False) -> None:
        self._cadwyn_initialized = built
        self.builds = 0

    def _cadwyn_initialize(self) -> None:
        self.builds += 1
        self._cadwyn_initialized = True


def airflow_with(api: Any) -> SimpleNamespace:
    return SimpleNamespace(routes=[SimpleNamespace(path="/ui"), SimpleNamespace(path="/execution", app=api)])


def test_only_what_is_not_built_is_built() -> None:
    api = Api()
    build = execution_api.pending_build(airflow_with(api))
    assert build is not None
    build()
    assert api.builds == 1
    assert execution_api.pending_build(airflow_with(api)) is None


@pytest.mark.parametrize(
    "app", [None, SimpleNamespace(routes=[]), airflow_with(object()), airflow_with(Api(built=True))]
)
def test_another_airflow_is_left_alone(app: Any) -> None:
    assert execution_api.pending_build(app) is None


def test_the_real_app_has_what_we_look_for() -> None:
    """Cadwyn's private names may change with Airflow: then the first Airflow task would wait again, and this test tells."""
    cadwyn = pytest.importorskip("cadwyn")
    assert callable(cadwyn.Cadwyn._cadwyn_initialize)
    assert "_cadwyn_initialized" in cadwyn.Cadwyn.__init__.__code__.co_names


def test_the_thread_waits_for_the_server() -> None:
    assert execution_api.build_soon(["scheduler"]) is None
    assert execution_api.build_soon([]) is None
    assert execution_api.SERVER not in sys.modules
    api, module = Api(), ModuleType(execution_api.SERVER)
    thread = execution_api.build_soon(["api-server", "--port", "8080"], after=0)
    assert thread is not None
    vars(module)["app"] = airflow_with(api)
    sys.modules[execution_api.SERVER] = module
    try:
        thread.join(20)
        assert api.builds == 1
    finally:
        del sys.modules[execution_api.SERVER]


def test_what_the_server_is_made_of_is_never_searched_again() -> None:
    thread = execution_api.build_soon(["api-server"], after=0)
    assert thread is not None
    assert gc.get_threshold()[2] > 1000
    module = ModuleType(execution_api.SERVER)
    kept = [[one] for one in range(10_000)]
    sys.modules[execution_api.SERVER] = module
    try:
        vars(module)["app"] = airflow_with(Api())
        thread.join(20)
    finally:
        del sys.modules[execution_api.SERVER]
    assert gc.get_freeze_count() >= len(kept)
    assert gc.get_threshold()[0] == execution_api.YOUNG
    assert gc.get_threshold()[2] < 100


def test_nothing_changes_in_other_components() -> None:
    before = gc.get_threshold()
    assert execution_api.build_soon(["scheduler"]) is None
    assert gc.get_threshold() == before
