"""Every rule of botocore's model for CreateEnvironment and UpdateEnvironment: a request that breaks just this rule is
refused with MWAA's ValidationException that names the member; a value at the bound passes.

The requests are written by botocore's own serializer, and go through the wire to the provider.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from botocore.serialize import create_serializer
from tests.control_scenes import EVERYTHING, ROLE, SETTINGS
from tests.unit.model_cases import ModelCase, ModelCases

from skylift.control.api.provider import MwaaProvider, check_update
from skylift.wire.asgi import Head
from skylift.wire.checks import Checks
from skylift.wire.errors import AwsError
from skylift.wire.models import model_of
from skylift.wire.provider import Caller
from skylift.wire.service import ServiceEntry

pytestmark = pytest.mark.unit
MODEL = model_of("mwaa")
CALLER = Caller("AKIA", "arn:aws:iam::000000000000:root", "000000000000", "us-east-1")


def begun(start: str, fill: str = "x") -> Any:
    """Texts that begin in one way; as long as is wanted, if that is longer."""
    return lambda length: start.ljust(length, fill)


TEXTS = {
    "IamRoleArn": begun(ROLE),
    "S3BucketArn": begun("arn:aws:s3:::bucket"),
    "SubnetId": begun("subnet-1"),
    "SecurityGroupId": begun("sg-1"),
    "RelativePath": begun("dags"),
    "KmsKey": begun("alias/mine"),
    "AirflowVersion": begun("3.3.2", "0"),
    "WeeklyMaintenanceWindowStart": begun("SUN:02:00"),
    "ConfigKey": begun("core.a"),
    "TagKey": begun("team"),
    "ConfigValue": begun("v", "~"),
    "EnvironmentName": begun("f", "-"),
}
WRONG = {
    "EnvironmentName": ("1flight", "_flight", "flight.one", "flügel"),
    "IamRoleArn": ("arn:aws:iam::00000000000:role/a", "arn:aws:iam::000000000000:user/a", "flight"),
    "S3BucketArn": ("arn:aws:s3:::Bucket", "arn:aws:s3:::bucket/key", "bucket"),
    "SubnetId": ("sg-1", "subnet-"),
    "SecurityGroupId": ("subnet-1", "sg-"),
    "KmsKey": ("alias/", "12345678-1234-1234-1234-12345678901", "arn:aws:kms:us-east-1:x:alias/a"),
    "AirflowVersion": ("3-3", "3.3.2RC1"),
    "WeeklyMaintenanceWindowStart": ("SUN:24:00", "SUN:02:15", "SUN:2:00", "Sun:02:00", "SO:02:00"),
    "ConfigKey": ("Core.a", "core.a.", "core-a", "1core"),
    "ConfigValue": ("ü", "a\tb"),
    "TagKey": ("a,b", "a*"),
    "TagValue": ("a;b",),
}
OPERATIONS = {
    name: ModelCases(MODEL.operation_model(name), TEXTS, WRONG) for name in ("CreateEnvironment", "UpdateEnvironment")
}
BROKEN = [case for cases in OPERATIONS.values() for case in cases.broken()]
BOUNDS = [case for cases in OPERATIONS.values() for case in cases.bounds()]


class NoStore:
    """Stands where the rows are: a request that breaks a rule must not come this far."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the request was not refused: it came to {name}")


ENTRY = ServiceEntry(MwaaProvider(NoStore(), SETTINGS, lambda: None, EVERYTHING))  # type: ignore[arg-type]


def said(case: ModelCase) -> tuple[str, str]:
    """The error's code and text for a request as it comes over the wire."""
    operation = MODEL.operation_model(case.operation)
    sent = create_serializer(MODEL.protocol, include_validation=False).serialize_to_request(case.request, operation)
    head = Head(sent["method"], sent["url_path"], "", {name.lower(): value for name, value in sent["headers"].items()})
    answer = asyncio.run(ENTRY.answer(head, sent["body"], CALLER, "r"))
    return dict(answer.headers)["x-amzn-errortype"], json.loads(answer.body)["message"]


def failures(case: ModelCase) -> list[str]:
    shape = MODEL.operation_model(case.operation).input_shape
    return list(Checks().of(shape)(case.request, ""))


def test_no_rule_of_the_model_is_left_out() -> None:
    """Numbers of a newer botocore may differ: then look whether the new rules are covered, and correct them."""
    create = {"min": 20, "max": 24, "enum": 21, "pattern": 65, "required": 15}
    update = {"min": 14, "max": 18, "enum": 21, "pattern": 49, "required": 12}
    assert (counted(BROKEN, "CreateEnvironment"), counted(BROKEN, "UpdateEnvironment")) == (create, update)
    create = {"min": 18, "max": 24, "enum": 30}
    update = {"min": 15, "max": 18, "enum": 30}
    assert (counted(BOUNDS, "CreateEnvironment"), counted(BOUNDS, "UpdateEnvironment")) == (create, update)


def counted(cases: list[ModelCase], operation: str) -> dict[str, int]:
    return Counter(case.rule for case in cases if case.operation == operation)


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_request_that_breaks_one_rule_is_refused_in_mwaas_words(case: ModelCase) -> None:
    before, _, after = case.path.partition("*")
    if case.request.get("Name"):  # the name is part of the path: without one there is no such address
        code, text = said(case)
        assert code == "ValidationException"
        assert text.startswith("1 validation error detected: "), text
    else:
        (text,) = failures(case)
    assert f" at '{before}" in text
    assert f"{after}' failed to satisfy constraint: Member must" in text
    assert case.words in text
    if case.operation == "UpdateEnvironment":  # what a plan is asked with, does not come over the wire
        with pytest.raises(AwsError, match="ValidationException"):
            check_update(case.request)


@pytest.mark.parametrize("case", BOUNDS, ids=str)
def test_a_value_at_the_bound_passes(case: ModelCase) -> None:
    assert failures(case) == []
    if case.operation == "UpdateEnvironment":
        check_update(case.request)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_the_cases_are_made_from_is_valid(name: str) -> None:
    assert failures(ModelCase(name, "", "", OPERATIONS[name].valid)) == []
