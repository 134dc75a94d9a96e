"""The rows of docs/refusals.md, from the tables that the tests of refusals run through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.unit.localcloud import (
    test_batch_rules,
    test_ecs_api_clusters,
    test_ecs_api_services,
    test_ecs_api_tasks,
    test_ecs_discovery,
    test_ecs_rules,
    test_emulator_forms,
    test_what_is_not_served,
)
from tests.unit.refusals import OURS as OURS

_INVALID, _CLIENT = "InvalidParameterException", "ClientException"
_LONGEST = 100


@dataclass(frozen=True)
class Refusal:
    """One row.

    Attributes:
        service: boto3's name.
        operation: AWS's name.
        asked: what the request has, in words or as JSON.
        code: the error's.
        text: words of its message.
    """

    service: str
    operation: str
    asked: str
    code: str
    text: str

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """As the page shows them."""
        return self.service, self.operation, self.asked, f"`{self.code}`", self.text


def refusals_of_tests() -> list[Refusal]:
    """All rows; of those with the same operation and words, the first."""
    rows = [*_ecs(), *_batch(), *_forms()]
    return list({(row.service, row.operation, row.code, row.text): row for row in reversed(rows)}.values())[::-1]


def _ecs() -> Iterator[Refusal]:
    for cases in (test_ecs_api_clusters.CASES, test_ecs_api_services.CASES, test_ecs_api_tasks.CASES):
        for case in cases:
            if case.code:
                operation = "".join(word.capitalize() for word in case.operation.split("_"))
                yield Refusal("ecs", operation, case.name, case.code, case.text)
    for name, (_, text) in test_ecs_rules.REFUSED.items():
        yield Refusal("ecs", "RegisterTaskDefinition", name, _CLIENT, text)
    for request, text in test_what_is_not_served.UNSERVED_OF_SERVICES:
        yield Refusal("ecs", "CreateService", _json(request), _INVALID, text)
    for definition, members, records, text in test_ecs_discovery.REFUSED:
        registry = {"networkMode": definition["networkMode"], "registry": members, "records": sorted(records)}
        yield Refusal("ecs", "CreateService", _json(registry), _INVALID, text)


def _batch() -> Iterator[Refusal]:
    usual = test_batch_rules.definition()
    for request, text in test_batch_rules.WRONG_DEFINITIONS:
        yield Refusal("batch", "RegisterJobDefinition", _json(_changed(request, usual)), _CLIENT, text)
    for members, text in test_batch_rules.WRONG_SUBMISSIONS:
        yield Refusal("batch", "SubmitJob", _json(members), _CLIENT, text)


def _forms() -> Iterator[Refusal]:
    for service, fields, code, text in test_emulator_forms.REFUSED:
        asked = {name: value for name, value in fields.items() if name != "Action"}
        yield Refusal(service, fields["Action"], _json(asked), code, text)


def _changed(request: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The members in which a request is not as usual; of structures, only theirs."""
    found = {}
    for name, value in request.items():
        before = usual.get(name)
        if value != before:
            both = isinstance(value, Mapping) and isinstance(before, Mapping)
            found[name] = _changed(value, before) if both and before else value
    return found


def _json(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}`"
