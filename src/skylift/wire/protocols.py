"""The three protocols of our services, each with the same four verbs: which operation, read, write, refuse.

``json`` (ECS): one path, the operation in ``X-Amz-Target``. ``rest-json`` (MWAA, Batch): method and path say the
operation. ``query`` (ELBv2): form fields in, XML out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl
from xml.sax.saxutils import quoteattr

from botocore.model import OperationModel, ServiceModel, StructureShape

from skylift.core.errors import Broken
from skylift.wire.asgi import Answer, Head
from skylift.wire.errors import AwsError
from skylift.wire.json_shapes import Readers, Writers, wire_name
from skylift.wire.long_bodies import LongBodies
from skylift.wire.query_shapes import XmlWriters, read_structure, tree_of, xml_text
from skylift.wire.rest import MemberPlacement, Route

_MOST_FIELDS = 20_000
"""Of a form: beyond what any operation takes, and read in a hundredth of a second."""


class Codec(Protocol):
    """One service in its protocol."""

    def operation(self, head: Head, body: bytes) -> tuple[OperationModel, Mapping[str, str]]:
        """The operation that a request wants, with the path's labels. Raises ``AwsError`` when there is none."""
        ...

    def read(self, operation: OperationModel, labels: Mapping[str, str], head: Head, body: bytes) -> dict[str, Any]:
        """The operation's input. Raises ``AwsError`` when it cannot be read."""
        ...

    def write(self, operation: OperationModel, output: Mapping[str, Any], request_id: str) -> Answer:
        """The answer to a call that succeeded."""
        ...

    def refuse(self, error: AwsError, request_id: str) -> Answer:
        """The answer that is an error."""
        ...


class JsonCodec(Codec):
    """``json``: AWS JSON 1.0 and 1.1."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._prefix = model.metadata["targetPrefix"] + "."
        self._type = f"application/x-amz-json-{model.metadata['jsonVersion']}"
        self._names = frozenset(model.operation_names)
        self._readers, self._writers = Readers(), Writers()
        self._long_bodies = LongBodies()

    def operation(self, head: Head, body: bytes) -> tuple[OperationModel, Mapping[str, str]]:  # noqa: ARG002 -- Codec
        """By ``X-Amz-Target``."""
        target = head.headers.get("x-amz-target", "")
        name = target.removeprefix(self._prefix)
        if name == target or name not in self._names:
            raise AwsError("UnknownOperationException", f"The operation {target!r} is not known.")
        return self._model.operation_model(name), {}

    def read(
        self,
        operation: OperationModel,
        labels: Mapping[str, str],  # noqa: ARG002 -- Codec's
        head: Head,  # noqa: ARG002 -- Codec's
        body: bytes,
    ) -> dict[str, Any]:
        """The body by the input shape."""
        shape = operation.input_shape
        if shape is None:
            return {}
        found = self._long_bodies.read(shape, body)
        return found if found is not None else cast("dict[str, Any]", self._readers.of(shape)(load_object(body)))

    def write(self, operation: OperationModel, output: Mapping[str, Any], request_id: str) -> Answer:
        """The body by the output shape."""
        shape = operation.output_shape
        written = self._writers.of(shape)(output) if shape is not None else {}
        return Answer(200, _headers(self._type, request_id), dump(written))

    def refuse(self, error: AwsError, request_id: str) -> Answer:
        """``__type`` and the message."""
        return _refuse_json(self._model, self._writers, error, self._type, request_id)


class RestJsonCodec(Codec):
    """``rest-json``."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._routes = [Route(model.operation_model(name)) for name in model.operation_names]
        self._routes.sort(key=lambda route: route.specificity, reverse=True)
        self._places: dict[str, MemberPlacement] = {}
        self._readers, self._writers = Readers(), Writers()

    def operation(self, head: Head, body: bytes) -> tuple[OperationModel, Mapping[str, str]]:  # noqa: ARG002 -- Codec
        """By method and path."""
        for route in self._routes:
            labels = route.match(head)
            if labels is not None:
                return route.operation, labels
        raise AwsError("UnknownOperationException", f"There is no operation for {head.method} {head.path}.", 404)

    def read(self, operation: OperationModel, labels: Mapping[str, str], head: Head, body: bytes) -> dict[str, Any]:
        """The input's members from path, query, headers and body."""
        shape = operation.input_shape
        if shape is None:
            return {}
        places = self._places_of(shape)
        in_body = {} if places.body_is_empty else self._readers.of(shape)(load_object(body))
        for name in places.outside:
            in_body.pop(name, None)
        return {**in_body, **places.read(labels, head)}

    def write(self, operation: OperationModel, output: Mapping[str, Any], request_id: str) -> Answer:
        """The output's members into status, headers and body."""
        shape, status = operation.output_shape, int(operation.http.get("responseCode", 200))
        headers = _headers("application/json", request_id)
        if shape is None:
            return Answer(status, headers, b"{}")
        places = self._places_of(shape)
        status, more = places.write(output, status)
        inside = {name: value for name, value in output.items() if name not in places.outside}
        return Answer(status, headers | more, dump(self._writers.of(shape)(inside)))

    def refuse(self, error: AwsError, request_id: str) -> Answer:
        """The code in ``x-amzn-ErrorType``, the error shape's members in the body."""
        return _refuse_json(self._model, self._writers, error, "application/json", request_id)

    def _places_of(self, shape: StructureShape) -> MemberPlacement:
        if shape.name not in self._places:
            self._places[shape.name] = MemberPlacement(shape)
        return self._places[shape.name]


class QueryCodec(Codec):
    """``query``."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model
        self._names = frozenset(model.operation_names)
        self._namespace = quoteattr(model.metadata["xmlNamespace"])
        self._writers = XmlWriters()

    def operation(self, head: Head, body: bytes) -> tuple[OperationModel, Mapping[str, str]]:
        """By the field ``Action``; the fields are the labels."""
        fields = form_fields(head, body)
        name = fields.get("Action", "")
        if not name:
            raise AwsError("MissingAction", "The request has no Action.")
        if name not in self._names:
            raise AwsError("InvalidAction", f"Could not find operation {name} for version {self._model.api_version}")
        return self._model.operation_model(name), fields

    def read(
        self,
        operation: OperationModel,
        labels: Mapping[str, str],
        head: Head,  # noqa: ARG002 -- Codec's
        body: bytes,  # noqa: ARG002 -- Codec's
    ) -> dict[str, Any]:
        """The fields by the input shape."""
        shape = operation.input_shape
        return read_structure(shape, tree_of(list(labels.items()))) if shape is not None else {}

    def write(self, operation: OperationModel, output: Mapping[str, Any], request_id: str) -> Answer:
        """``<XResponse><XResult>...</XResult><ResponseMetadata>``."""
        out: list[str] = []
        shape, name = operation.output_shape, operation.name
        if shape is not None:
            wrapper = shape.serialization.get("resultWrapper", f"{name}Result")
            out.append(f"<{wrapper}>")
            self._writers.of(shape)(output, out)
            out.append(f"</{wrapper}>")
        inner = "".join(out)
        metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        xml = f"<{name}Response xmlns={self._namespace}>{inner}{metadata}</{name}Response>"
        return Answer(200, _headers("text/xml", request_id), xml.encode())

    def refuse(self, error: AwsError, request_id: str) -> Answer:
        """``<ErrorResponse>``."""
        shape = error_shape(self._model, error.code)
        code = shape.metadata.get("error", {}).get("code", error.code) if shape is not None else error.code
        return refuse_query(code, error.message, status_of(shape, error), self._namespace, request_id)


SPEECHES: dict[str, Callable[[ServiceModel], Codec]] = {
    "json": JsonCodec,
    "rest-json": RestJsonCodec,
    "query": QueryCodec,
}


def codec_of(model: ServiceModel) -> Codec:
    """The codec of a service. Raises ``Broken`` for an unknown protocol."""
    if model.protocol not in SPEECHES:
        raise Broken(f"{model.service_name}: the wire does not speak {model.protocol}")
    return SPEECHES[model.protocol](model)


def form_fields(head: Head, body: bytes) -> dict[str, str]:
    """Fields of a Query request, from its query string and its body."""
    try:
        text = body.decode()
        pairs = parse_qsl(head.query, keep_blank_values=True)
        pairs += parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except UnicodeDecodeError:
        raise AwsError("MalformedQueryString", "The form is not UTF-8.") from None
    except ValueError:
        raise AwsError("MalformedQueryString", f"The form has more than {_MOST_FIELDS} fields.") from None
    return dict(pairs)


def load_object(body: bytes) -> Any:
    """A JSON body; an empty one is an empty object. Raises ``AwsError``, also for text that is no Unicode (half a
    surrogate pair)."""
    try:
        value = json.loads(body, parse_constant=_no_constant) if body else {}
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "The body is not valid JSON.") from None
    return value


def _no_constant(word: str) -> float:
    """``NaN`` and the infinities are JavaScript's, not JSON's."""
    raise ValueError(word)


def dump(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def error_shape(model: ServiceModel, code: str) -> StructureShape | None:
    """The model's error of that name or code."""
    return next((shape for shape in model.error_shapes if code in (shape.name, shape.error_code)), None)


def status_of(shape: StructureShape | None, error: AwsError) -> int:
    """The status that the model names for an error, else the error's own."""
    named = shape.metadata.get("error", {}).get("httpStatusCode") if shape is not None else None
    return error.status if named is None else int(named)


def refuse_query(code: str, message: str, status: int, namespace: str, request_id: str) -> Answer:
    """An error in Query's XML. ``namespace`` is a quoted attribute, or empty."""
    xmlns = f" xmlns={namespace}" if namespace else ""
    kind = "Receiver" if status >= 500 else "Sender"
    error = f"<Type>{kind}</Type><Code>{xml_text(code)}</Code><Message>{xml_text(message)}</Message>"
    xml = f"<ErrorResponse{xmlns}><Error>{error}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    return Answer(status, _headers("text/xml", request_id), xml.encode())


def is_cbor(head: Head) -> bool:
    """Whether a request speaks smithy-rpc-v2 with CBOR."""
    return "cbor" in head.headers.get("content-type", "") or "cbor" in head.headers.get("smithy-protocol", "")


def refuse_cbor(error: AwsError, request_id: str) -> Answer:
    """An error in CBOR."""
    texts = ("__type", error.code, "message", error.message)
    encoded = (text.encode("utf-8", "replace") for text in texts)
    body = b"\xa2" + b"".join(b"\x7a" + len(text).to_bytes(4, "big") + text for text in encoded)
    return Answer(error.status, _headers("application/cbor", request_id) | {"smithy-protocol": "rpc-v2-cbor"}, body)


def refuse_json(error: AwsError, content_type: str, request_id: str) -> Answer:
    """An error in JSON of which no model knows more."""
    body = {"__type": error.code, "message": error.message, **error.members}
    return _json_error(error.code, error.status, body, content_type, request_id)


def _refuse_json(model: ServiceModel, writers: Writers, error: AwsError, content_type: str, request_id: str) -> Answer:
    shape = error_shape(model, error.code)
    if shape is None:
        return refuse_json(error, content_type, request_id)
    members = writers.of(shape)(error.members)
    word = next((name for name in shape.members if name.lower() == "message"), "message")
    body = {
        "__type": error.code,
        wire_name(word, shape.members[word]) if word in shape.members else word: error.message,
    }
    return _json_error(error.code, status_of(shape, error), {**body, **members}, content_type, request_id)


def _json_error(code: str, status: int, body: Mapping[str, Any], content_type: str, request_id: str) -> Answer:
    return Answer(status, _headers(content_type, request_id) | {"x-amzn-errortype": code}, dump(body))


def _headers(content_type: str, request_id: str) -> dict[str, str]:
    return {"content-type": content_type, "x-amzn-requestid": request_id}
