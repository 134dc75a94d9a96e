"""What our distribution tells Airflow about itself: everything that it names exists."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow
from skylift.executors.options.settings import OWN_SECTION, OWN_SETTINGS
from skylift.executors.provider import get_provider_info

pytestmark = pytest.mark.unit


def there(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_all_that_is_named_can_be_imported_and_asked() -> None:
    info = get_provider_info()
    assert [there(path).__name__ for path in info["executors"]] == ["AwsEcsExecutor", "AwsBatchExecutor"]
    assert [there(path)() for path in info["cli"]] == [[]], "no commands in Airflow's command line"


def test_airflow_is_told_of_every_option_as_it_wants_it() -> None:
    (section,) = get_provider_info()["config"].values()
    assert {*get_provider_info()["config"]} == {OWN_SECTION} == {"skylift"}
    assert {*section["options"]} == {setting.name for setting in OWN_SETTINGS}
    for setting in OWN_SETTINGS:
        told = section["options"][setting.name]
        assert {"description", "version_added", "type", "example", "default"} == {*told}, setting.name
        assert told["description"] == setting.meaning
        read = {"boolean": bool, "integer": int, "float": float, "string": str}[told["type"]]
        assert read is str or type(setting.default) is read, setting.name
        assert told["default"] == ("" if setting.default in ({}, []) else str(setting.default)), setting.name
    kinds = {section["options"][setting.name]["type"] for setting in OWN_SETTINGS}
    assert kinds == {"boolean", "integer", "float", "string"}


def test_it_has_the_form_that_airflow_checks() -> None:
    schema = json.loads((Path(next(iter(airflow.__path__))) / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)
    info = get_provider_info()
    assert (info["package-name"], info["name"]) == ("skylift", "Skylift")
