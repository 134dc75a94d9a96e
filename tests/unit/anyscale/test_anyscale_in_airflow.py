"""What Airflow sees of Anyscale: the connection's form, and what the parsing of a DAG imports."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow
from skylift.airflow_provider import get_provider_info
from skylift.anyscale.triggers import AnyscaleJobTrigger, AnyscaleServiceTrigger

pytestmark = pytest.mark.unit

IMPORTED = """
import sys, airflow.sdk, airflow.sdk.bases.operator, airflow.sdk.bases.sensor, airflow.sdk.bases.hook
import airflow.sdk.bases.operatorlink
before = set(sys.modules)
from skylift.anyscale import SubmitAnyscaleJob
print(sorted({name for name in set(sys.modules) - before if not name.startswith("skylift")}))
"""


LISTENERS = """
from airflow.listeners.listener import get_listener_manager
print([type(one).__name__ for one in get_listener_manager().pm.get_plugins()])
"""


def there(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_all_that_is_named_is_there_and_in_airflows_form() -> None:
    info = get_provider_info()
    schema = json.loads((Path(next(iter(airflow.__path__))) / "provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)
    assert [there(path)().name for path in info["extra-links"]] == ["Anyscale job", "Anyscale service"]
    (connection,) = info["connection-types"]
    hook = there(connection["hook-class-name"])
    assert (hook.conn_type, hook.hook_name) == (connection["connection-type"], connection["hook-name"])
    assert connection["ui-field-behaviour"]["relabeling"]["password"] == "API Key"
    assert info["executors"]


def test_to_tell_airflow_about_it_imports_nothing_of_it() -> None:
    code = "import sys; from skylift.airflow_provider import get_provider_info as g; g(); print('skylift.anyscale' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_parsing_a_dag_imports_no_http_client_and_no_trigger() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    found = done.stdout.splitlines()[-1]
    for heavy in ("httpx", "airflow.triggers", "aiohttp", "boto3", "anyscale'", "ssl'"):
        assert heavy not in found


def test_airflow_tells_our_listener_of_marks_as_it_is_configured_by_default(tmp_path: Path) -> None:
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run([sys.executable, "-c", LISTENERS], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['MarkListener']"


@pytest.mark.parametrize(
    "trigger",
    [
        AnyscaleJobTrigger("c", "j", 2.0, 5.0, 600.0, False),
        AnyscaleServiceTrigger("c", "s", "v", True, True, 2.0, 5.0, 600.0),
    ],
    ids=["job", "service"],
)
def test_another_triggerer_gets_all_of_a_trigger(trigger: Any) -> None:
    path, members = trigger.serialize()
    again = there(path)(**json.loads(json.dumps(members)))
    assert again.serialize() == (path, members)
    assert len(members) == len(inspect.signature(type(trigger).__init__).parameters) - 1
