"""Requests for every operation of a service, lawful ones and spoilt ones, as bytes on the wire; the same ones for the
same seed."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from botocore.model import OperationModel, ServiceModel, StructureShape
from botocore.serialize import create_serializer
from tests.local.fuzz_values import BODIES, DROPPED, FEW, TEXTS, TYPES, cbor, changed, lawful, places, spoilt

from skylift.wire.models import model_of

SMITHY = "smithy-rpc-v2-cbor"
NO_END = frozenset({"StartLiveTail", "SubscribeToShard", "StartTranscription", "InvokeWithResponseStream"})
"""Operations whose answers are streams that end when the caller goes."""


@dataclass(frozen=True)
class Wanted:
    """One request, before it is signed."""

    service: str
    operation: str
    signing_name: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def target(self) -> str:
        """Path and query."""
        return self.path + ("?" + urlencode(self.query, quote_via=quote, safe="-_.~") if self.query else "")


def operations(service: str) -> list[str]:
    """Names of a service's operations whose answers end."""
    return [name for name in model_of(service).operation_names if name not in NO_END]


def requests(service: str, operation: str, seed: int, count: int, hints: Mapping[str, Any]) -> Iterator[Wanted]:
    """A lawful request of an operation, then spoilt ones.

    Args:
        service: boto3's name.
        operation: its name.
        seed: of all that is random.
        count: how many spoilt ones.
        hints: values by member's name in lower case.
    """
    model = model_of(service)
    random = Random(f"{seed} {service} {operation}")
    for number in range(count + 1):
        shape = model.operation_model(operation).input_shape
        request = lawful(shape, hints, optional=number % 3 != 1) if shape is not None else {}
        if number % 3 == 2 and shape is not None:
            request = _thinned(shape, request, random)
        maker = _Maker(model, model.operation_model(operation), request)
        yield maker.spoilt(random, number) if number else maker.right()


def everywhere(service: str, operation: str, request: Any) -> Iterator[Wanted]:
    """A request that was taken, spoilt in each of its places in each of a few ways.

    Args:
        service: boto3's name.
        operation: its name.
        request: as boto3 took it.
    """
    model = model_of(service)
    maker = _Maker(model, model.operation_model(operation), request)
    right = maker.right()
    if model.protocol == "query":
        bodies: Iterator[bytes] = _forms(right.body)
    else:
        value = json.loads(right.body or b"{}")
        spoilt_ones = (changed(value, path, by) for path in places(value) for by in (DROPPED, *FEW))
        bodies = (json.dumps(one).encode() for one in spoilt_ones)
    for body in bodies:
        yield replace(right, body=body)


def _forms(body: bytes) -> Iterator[bytes]:
    pairs = body.split(b"&")
    for place, pair in enumerate(pairs):
        name = pair.partition(b"=")[0]
        for other in (None, b"", b"svc", b"-1", b"9" * 5000, b"%00", b"%FF", b"x" * 70_000):
            instead = [] if other is None else [name + b"=" + other]
            yield b"&".join([*pairs[:place], *instead, *pairs[place + 1 :]])
        yield b"&".join([*pairs[:place], name + b".1=x", *pairs[place + 1 :]])


def _thinned(shape: StructureShape, request: dict[str, Any], random: Random) -> dict[str, Any]:
    """Half of the members; all of those without which there is no path."""
    path = {
        name
        for name, member in shape.members.items()
        if member.serialization.get("location") == "uri" or member.serialization.get("hostLabel")
    }
    return {name: value for name, value in request.items() if name in path or random.random() < 0.5}


class _Maker:
    def __init__(self, model: ServiceModel, operation: OperationModel, request: Any) -> None:
        self._model, self._operation = model, operation
        self._input = request
        self._protocol = "cbor" if model.protocol == SMITHY else model.protocol

    def right(self) -> Wanted:
        if self._protocol == "cbor":
            return self._cbor(cbor(self._input))
        made = create_serializer(self._model.protocol, include_validation=False).serialize_to_request(
            self._input, self._operation
        )
        body = made["body"]
        if isinstance(body, dict):
            body = urlencode(body, quote_via=quote).encode()
        if hasattr(body, "read"):
            body = body.read()
        query = made["query_string"]
        pairs = (
            query.items() if isinstance(query, dict) else [tuple(part.partition("=")[::2]) for part in query.split("&")]
        )
        flat = [(key, one) for key, value in pairs for one in (value if isinstance(value, list) else [value]) if key]
        return self._wanted(
            method=made["method"],
            path=made["url_path"],
            query=tuple((str(key), str(value)) for key, value in flat),
            headers={name: str(value) for name, value in made["headers"].items() if name != "Content-Length"},
            body=body.encode() if isinstance(body, str) else bytes(body or b""),
        )

    def spoilt(self, random: Random, number: int) -> Wanted:
        right = self.right()
        if number % 6 == 0:
            return replace(right, body=random.choice(BODIES))
        if number % 6 == 5:
            return replace(right, headers={**right.headers, "Content-Type": random.choice(TYPES)})
        ways = []
        if right.body:
            ways += [self._spoil_body] * 3
        if right.query:
            ways.append(self._spoil_query)
        if self._protocol.startswith("rest"):
            ways.append(self._spoil_path)
        if right.headers.keys() - {"X-Amz-Target", "Content-Type"}:
            ways.append(self._spoil_header)
        return random.choice(ways)(right, random) if ways else replace(right, body=random.choice(BODIES))

    def _spoil_body(self, right: Wanted, random: Random) -> Wanted:
        if self._protocol == "cbor":
            return self._cbor(cbor(spoilt(self._input, random)))
        if self._protocol in {"query", "ec2"}:
            return replace(right, body=_spoilt_form(right.body, random))
        try:
            value = json.loads(right.body)
        except ValueError:
            return replace(right, body=_spoilt_bytes(right.body, random))
        return replace(right, body=json.dumps(spoilt(value, random), default=_plain).encode())

    def _spoil_query(self, right: Wanted, random: Random) -> Wanted:
        pairs = list(right.query)
        place = random.randrange(len(pairs))
        pairs[place] = (pairs[place][0], random.choice(TEXTS)[:2000])
        return replace(right, query=tuple(pairs))

    def _spoil_path(self, right: Wanted, random: Random) -> Wanted:
        parts = right.path.split("/")
        place = random.randrange(len(parts))
        parts[place] = quote(random.choice(TEXTS)[:2000], safe="")
        path = "/".join(parts)
        return replace(right, path=path if path.startswith("/") else f"/{path}")

    def _spoil_header(self, right: Wanted, random: Random) -> Wanted:
        name = random.choice(sorted(right.headers.keys() - {"X-Amz-Target", "Content-Type"}))
        text = random.choice(TEXTS)[:2000].encode("ascii", "ignore").decode().replace("\x00", "")
        return replace(right, headers={**right.headers, name: text})

    def _cbor(self, body: bytes) -> Wanted:
        headers = {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor", "Accept": "application/cbor"}
        path = f"/service/{self._model.metadata.get('targetPrefix')}/operation/{self._operation.name}"
        return self._wanted(method="POST", path=path, headers=headers, body=body)

    def _wanted(self, **words: Any) -> Wanted:
        signing = self._model.signing_name
        return Wanted(self._model.service_name, self._operation.name, signing, **words)


def _spoilt_form(body: bytes, random: Random) -> bytes:
    pairs = [part.partition(b"=")[::2] for part in body.split(b"&")]
    places = [place for place, pair in enumerate(pairs) if pair[0] not in {b"Action", b"Version"}]
    if not places:
        return body + b"&Marker=svc&MaxRecords=x&NextToken=%FF"
    place = random.choice(places)
    name, value = pairs[place]
    other = quote(random.choice(TEXTS)).encode()
    ways = (
        (name, other),
        (name, b"%FF%FE"),
        (name + b".1", value),
        (name + b".member.1.x", value),
        (name.replace(b".1", b".0"), value),
        (name.replace(b".1", b".-1"), value),
        (name.replace(b".1", b"." + b"9" * 30), value),
        (name.rpartition(b".")[0] or name, value),
        None,
    )
    way = random.choice(ways)
    pairs[place : place + 1] = [way] if way is not None else []
    return b"&".join(key + b"=" + text for key, text in pairs)


def _spoilt_bytes(body: bytes, random: Random) -> bytes:
    place = random.randrange(len(body))
    ways = (
        body[:place],
        body[:place] + b"\xff\xfe" + body[place:],
        body[:place] + b"<a>" + body[place:],
        body[:place] + body[place + 1 + random.randrange(30) :],
        body.replace(b">1<", b">x<").replace(b">true<", b">x<").replace(b"2026-", b"9999999-"),
        body.replace(b">name<", b"><"),
        body[:place] + b"&unknown;" + body[place:],
    )
    return random.choice(ways)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    return base64.b64encode(value).decode()
