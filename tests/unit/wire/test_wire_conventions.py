"""Requests that a service refuses although its model allows them are refused before the provider is called."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest

from skylift.wire.asgi import Answer, Head
from skylift.wire.provider import Caller
from skylift.wire.service import ServiceEntry

pytestmark = pytest.mark.unit
CALLER = Caller("AKIA", "arn:aws:iam::000000000000:user/me", "000000000000", "us-east-1")


class Nobody:
    """A provider that must not be asked."""

    blocking = False

    def __init__(self, service: str) -> None:
        self.service = service

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name) if name.startswith("__") else AttributeError(name)


class Deaf(Nobody):
    """Has the operations, and breaks when one is called."""

    def tag_resource(self, _: Caller, __: object) -> None:
        raise AssertionError

    modify_target_group_attributes = modify_load_balancer_attributes = modify_listener_attributes = tag_resource


def ask(service: str, head: Head, body: bytes) -> Answer:
    return asyncio.run(ServiceEntry(Deaf(service)).answer(head, body, CALLER, "request"))


@pytest.mark.parametrize("tags", [[{}], [{"value": "x"}], [{"key": None}], [{"key": "a"}, {}]])
def test_a_tag_of_ecs_has_a_key(tags: list[object]) -> None:
    head = Head("POST", "/", "", {"x-amz-target": "AmazonEC2ContainerServiceV20141113.TagResource"})
    answer = ask("ecs", head, json.dumps({"resourceArn": "arn", "tags": tags}).encode())
    assert (answer.status, json.loads(answer.body)["__type"]) == (400, "InvalidParameterException")
    assert "'tags." in json.loads(answer.body)["message"]


@pytest.mark.parametrize("kind", ["TargetGroup", "LoadBalancer", "Listener"])
def test_an_attribute_of_a_load_balancer_has_a_key(kind: str) -> None:
    fields = {"Action": f"Modify{kind}Attributes", f"{kind}Arn": "arn", "Attributes.member.1.Value": "1"}
    answer = ask("elbv2", Head("POST", "/", "", {}), urlencode(fields).encode())
    assert (answer.status, b"<Code>ValidationError</Code>" in answer.body) == (400, True)
    assert b"attributes.1.member.key" in answer.body
