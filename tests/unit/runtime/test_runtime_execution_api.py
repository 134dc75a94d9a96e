"""The execution API is built once, early, in the API server only."""

from __future__ import annotations

import gc
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from skylift.runtime import execution_api

pytestmark = pytest.mark.unit


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
    """Cadwyn's private names may change with Airflow: then the first Airflow task would wait again, and this test
    tells."""
    cadwyn = pytest.importorskip("cadwyn")
    assert callable(cadwyn.Cadwyn._cadwyn_initialize)
    assert "_cadwyn_initialized" in cadwyn.Cadwyn.__init__.__code__.co_names


def test_the_thread_waits_for_the_server() -> None:
    assert execution_api.build_soon(["scheduler"]) is None
    assert execution_api.build_soon([]) is None
    assert execution_api.SERVER not in sys.modules
    api, module = Api(), ModuleType(execution_api.SERVER)
    threshold = gc.get_threshold()
    thread = execution_api.build_soon(["api-server", "--port", "8080"], after=0)
    assert thread is not None
    vars(module)["app"] = airflow_with(api)
    sys.modules[execution_api.SERVER] = module
    try:
        thread.join(20)
        assert api.builds == 1
        assert gc.get_freeze_count() > 0
    finally:
        del sys.modules[execution_api.SERVER]
        gc.unfreeze()
        gc.set_threshold(*threshold)
