"""The parsers of options' texts, at the edges of what they take; and what Batch's overrides must say of containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from skylift.core.errors import Refused
from skylift.executors.executor_config.batch_request import check_executor_config
from skylift.executors.options.settings import json_list, json_object, one_of, seconds, some_seconds, words

pytestmark = pytest.mark.unit
FIRST_OR_LAST = one_of("first", "last")


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (words, "", []),
        (words, " a, b ,,c", ["a", "b", "c"]),
        (json_object, '{"a": [1]}', {"a": [1]}),
        (json_object, "{}", {}),
        (json_list, '["a"]', ["a"]),
        (json_list, "[{'a': 'b'}]", [{"a": "b"}]),
        (json_list, "[]", []),
        (some_seconds, "0", 0.0),
        (some_seconds, "1.5", 1.5),
        (seconds, "0.001", 0.001),
        (seconds, "86400", 86400.0),
        (FIRST_OR_LAST, "first", "first"),
        (FIRST_OR_LAST, "last", "last"),
    ],
)
def test_what_is_taken(parse: Callable[[str], Any], text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "advice"),
    [
        (json_object, "[]", "expected a JSON object"),
        (json_object, '"a"', "expected a JSON object"),
        (json_object, "null", "expected a JSON object"),
        (json_object, "{", "."),
        (json_list, "{}", "expected a JSON list"),
        (json_list, "null", "expected a JSON list"),
        (json_list, "['a'", "."),
        (some_seconds, "-0.1", "expected seconds, zero or more"),
        (some_seconds, "inf", "expected seconds, zero or more"),
        (some_seconds, "nan", "expected seconds, zero or more"),
        (some_seconds, "soon", "."),
        (seconds, "0", "expected seconds, above zero"),
        (seconds, "-1", "expected seconds, above zero"),
        (seconds, "inf", "expected seconds, above zero"),
        (seconds, "nan", "expected seconds, above zero"),
        (FIRST_OR_LAST, "First", "expected one of first, last"),
        (FIRST_OR_LAST, "", "expected one of first, last"),
    ],
)
def test_what_is_not_taken(parse: Callable[[str], Any], text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse(text)


def overrides(*containers: Any) -> dict[str, Any]:
    return {"ecsPropertiesOverride": {"taskProperties": [{"containers": list(containers)}]}}


@pytest.mark.parametrize(
    ("executor_config", "container", "advice"),
    [
        ({"ecsPropertiesOverride": {"taskProperties": []}}, "main", "taskProperties must have exactly one element"),
        (overrides({"environment": []}), "main", "every container of ecsPropertiesOverride needs its 'name'"),
        (overrides({"name": "main", "command": ["x"]}), "main", "must not set 'command' of container 'main'"),
        (overrides(), "", "names no container"),
        ({**overrides({"name": "a"}), "containerOverrides": {"memory": 4}}, "a", "exclude each other"),
        ({"containerOverrides": {"command": ["x"]}}, "", "must not set containerOverrides.command"),
    ],
)
def test_what_batchs_overrides_must_say(executor_config: dict[str, Any], container: str, advice: str) -> None:
    with pytest.raises(Refused, match=advice):
        check_executor_config(executor_config, container)


@pytest.mark.parametrize(
    ("executor_config", "container"),
    [
        (overrides({"name": "side", "command": ["x"]}), "main"),
        (overrides({"name": "main", "command": []}), ""),
        (overrides(), "main"),
        ({"containerOverrides": {"memory": 4}}, ""),
        ({}, ""),
    ],
)
def test_what_batchs_overrides_may_say(executor_config: dict[str, Any], container: str) -> None:
    before = repr(executor_config)
    check_executor_config(executor_config, container)
    assert repr(executor_config) == before
