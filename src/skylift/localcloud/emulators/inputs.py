"""The inputs of the emulated services' operations, from botocore's models; finds the operation that a request asks for.

A whole model is large (EC2's takes 14 MB of memory) and its outputs are not needed here. A model is read when its
service is first called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, StructureShape

from skylift.localcloud.emulators.table import TABLE
from skylift.wire.asgi import Head
from skylift.wire.checks import Checks
from skylift.wire.json_shapes import NativeReaders, Readers
from skylift.wire.models import SlimFiles, metadata_of
from skylift.wire.rest import Route

_INVALID = (
    "ValidationException",
    "InvalidParameterException",
    "InvalidParameterValueException",
    "InvalidInputException",
    "InvalidRequestException",
    "InvalidArgumentException",
    "BadRequestException",
    "BadRequest",
    "InvalidInput",
    "InvalidParameterValue",
    "InvalidParameter",
)
"""Error codes for a request that breaks the rules: the first one that the operation lists is used."""
_USUAL = {"query": "ValidationError", "ec2": "InvalidParameterValue", "rest-xml": "InvalidInput"}
_RPC_V2_PARTS = 5
"""Of a path ``/service/{prefix}/operation/{operation}`` (smithy-rpc-v2)."""


@dataclass(frozen=True)
class Inputs:
    """A service's operations and their inputs.

    Attributes:
        model: botocore's, without outputs.
        errors: codes that an operation can answer with.
        readers: check types in JSON.
        cbor_readers: check types in CBOR.
        rules: check all rules of the model but patterns.
        required: check only that no required member is missing.
    """

    model: ServiceModel
    errors: Mapping[str, tuple[str, ...]]
    readers: Readers = field(default_factory=Readers)
    cbor_readers: Readers = field(default_factory=NativeReaders)
    rules: Checks = field(default_factory=lambda: Checks(patterns=False))
    required: Checks = field(default_factory=lambda: Checks(rules=False))

    _asked: dict[str, Asked] = field(default_factory=dict)

    def asked(self, operation: str) -> Asked | None:
        """An operation by its name; always the same object, because it caches what it has computed."""
        if operation not in self._asked and operation in self.model.operation_names:
            self._asked[operation] = Asked(self, self.model.operation_model(operation))
        return self._asked.get(operation)

    @cached_property
    def routes(self) -> list[Route]:
        """The routes of a REST service, the most specific first."""
        routes = [Route(self.model.operation_model(name)) for name in self.model.operation_names]
        return sorted(routes, key=lambda route: route.specificity, reverse=True)


@dataclass(frozen=True)
class Asked:
    """The operation that a request asks for."""

    inputs: Inputs
    operation: OperationModel

    @cached_property
    def protocol(self) -> str:
        """The service's protocol: ``json``, ``rest-json``, ``query`` ..."""
        return str(self.inputs.model.protocol)

    @cached_property
    def body_shape(self) -> StructureShape | None:
        """The body's shape, if it is a structure."""
        shape = self.operation.input_shape
        payload = shape.serialization.get("payload") if shape is not None else None
        if payload is None:
            return shape
        inside = shape.members[payload]
        return inside if isinstance(inside, StructureShape) and not inside.serialization.get("eventstream") else None

    @cached_property
    def outside(self) -> frozenset[str]:
        """Members that are in the path, the query or the headers."""
        members = self.body_shape.members if self.body_shape is not None else {}
        return frozenset(name for name, member in members.items() if "location" in member.serialization)

    @property
    def invalid(self) -> str:
        """The error code for a request that breaks the rules; Query's front ends have one code for all services."""
        if self.protocol == "query":
            return _USUAL["query"]
        known = self.inputs.errors.get(self.operation.name, ())
        return next((code for code in _INVALID if code in known), _USUAL.get(self.protocol, "ValidationException"))


class RestModels:
    """Finds operations. ``read`` may run in a thread; everything else is fast."""

    def __init__(self) -> None:
        self._read: dict[str, Inputs] = {}

    def candidates(self, names: Iterable[str], head: Head) -> list[str]:
        """botocore's names of the services that the request may be for; empty when no model knows the request.

        Args:
            names: the service's names in our table.
            head: the request's head.
        """
        prefix, _ = _named(head)
        if prefix:
            return [_prefixes()[prefix]] if prefix in _prefixes() else []
        return [name for name in names if _metadata(name)]

    def unread(self, names: Iterable[str]) -> list[str]:
        """The models that are not in memory yet."""
        return [name for name in names if name not in self._read]

    def read(self, name: str) -> None:
        """Reads one model: about 10 ms, the largest 300 ms."""
        self._read[name] = _inputs(name)

    def asked(self, names: Iterable[str], head: Head, fields: Mapping[str, str]) -> Asked | None:
        """The operation, from the models in memory; ``None`` when no model knows it (the emulator will say so).

        Args:
            names: from ``candidates``.
            head: the request's head.
            fields: the fields of its form.
        """
        operation = _named(head)[1] or fields.get("Action", "")
        for inputs in (self._read[name] for name in names if name in self._read):
            if (asked := inputs.asked(operation)) is not None:
                return asked
            if str(inputs.model.protocol).startswith("rest"):
                route = next((one for one in inputs.routes if one.match(head) is not None), None)
                if route is not None:
                    return inputs.asked(route.operation.name)
        return None


@cache
def protocol_of(name: str) -> str:
    """A service's protocol, by boto3's name."""
    return str(_metadata(name).get("protocol", ""))


def _named(head: Head) -> tuple[str, str]:
    """Prefix and name of the operation, where the request contains them."""
    if target := head.headers.get("x-amz-target"):
        prefix, _, operation = target.rpartition(".")
        return prefix, operation
    path = head.path.split("/")
    if len(path) == _RPC_V2_PARTS and (path[1], path[3]) == ("service", "operation"):
        return path[2], path[4]
    return "", ""


@cache
def _metadata(name: str) -> Mapping[str, Any]:
    return metadata_of(name) or {}


@cache
def _prefixes() -> Mapping[str, str]:
    """Services by the prefix of the operation in ``X-Amz-Target``."""
    names = [name for row in TABLE for name in row.names if "targetPrefix" in _metadata(name)]
    return {str(_metadata(name)["targetPrefix"]): name for name in names}


def _inputs(name: str) -> Inputs:
    whole: dict[str, Any] = Loader(file_loader=SlimFiles()).load_service_model(name, "service-2")
    shapes: Mapping[str, Any] = whole["shapes"]
    operations, errors = {}, {}
    for operation, says in whole["operations"].items():
        operations[operation] = {key: says[key] for key in ("name", "http", "input") if key in says}
        named = [one["shape"] for one in says.get("errors", ())]
        errors[operation] = tuple(str(shapes[one].get("error", {}).get("code", one)) for one in named)
    reached = _reachable(shapes, [one["input"]["shape"] for one in operations.values() if "input" in one])
    model = {"metadata": whole["metadata"], "operations": operations, "shapes": reached}
    return Inputs(ServiceModel(model, name), errors)


def _reachable(shapes: Mapping[str, Any], waiting: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = shapes[name]
            waiting += _inside(shapes[name])
    return found


def _inside(shape: Mapping[str, Any]) -> Iterator[str]:
    members = [
        *shape.get("members", {}).values(),
        *(shape[word] for word in ("member", "key", "value") if word in shape),
    ]
    return (member["shape"] for member in members)
