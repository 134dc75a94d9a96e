"""Values on their way in and out, type by type: JSON, forms, XML, and what stands in path, query and headers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.model import ServiceModel

from skylift.core.errors import Broken
from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.json_shapes import NativeReaders, Readers, Writers
from skylift.wire.models import model_of
from skylift.wire.query_shapes import XmlWriters, read_structure, tree_of, xml_text
from skylift.wire.rest import MemberPlacement, Route

pytestmark = pytest.mark.unit
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def structure(members: Mapping[str, Any], **more: Any) -> Any:
    """A shape with these members, out of botocore: a type's name, or a shape's whole definition."""
    shapes: dict[str, Any] = {"S": {"type": "structure", "members": {}, **more}}
    for name, definition in members.items():
        place = definition.pop("in", {}) if isinstance(definition, dict) else {}
        shapes[f"Of{name}"] = definition if isinstance(definition, dict) else {"type": definition}
        shapes["S"]["members"][name] = {"shape": f"Of{name}", **place}
    for kind in ("string", "integer", "boolean", "timestamp"):
        shapes[kind] = {"type": kind}
    return ServiceModel({"metadata": {}, "operations": {}, "shapes": shapes}).shape_for("S")


def head(method: str = "POST", path: str = "/", query: str = "", **headers: str) -> Head:
    return Head(method, path, query, {name.replace("_", "-"): value for name, value in headers.items()})


SCALARS: list[tuple[str, Any, Any]] = [
    ("string", "x", "x"),
    ("boolean", True, True),
    ("integer", 5, 5),
    ("integer", 5.0, 5),
    ("integer", 2**31 - 1, 2**31 - 1),
    ("integer", -(2**31), -(2**31)),
    ("long", 2**63 - 1, 2**63 - 1),
    ("float", 1, 1.0),
    ("double", 1.5, 1.5),
    ("double", "Infinity", float("inf")),
    ("double", "-Infinity", float("-inf")),
    ("blob", "aGk=", b"hi"),
    ("timestamp", 1_796_040_000, datetime(2026, 11, 30, 12, tzinfo=UTC)),
    ("timestamp", 0.5, datetime(1970, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    ("timestamp", "2026-11-30T12:00:00", NOON),
    ("timestamp", "2026-11-30T14:00:00+02:00", NOON),
    ("timestamp", "2026-11-30T12:00:00Z", NOON),
]


@pytest.mark.parametrize(("kind", "value", "read"), SCALARS)
def test_scalars_of_json(kind: str, value: Any, read: Any) -> None:
    found = Readers().of(structure({"m": kind}))({"m": value, "unknown": 1})
    assert found == {"m": read}
    assert type(found["m"]) is type(read)


WRONG: list[tuple[str, Any, str]] = [
    ("string", 1, "NUMBER_VALUE cannot be converted to string"),
    ("string", {}, "START_OBJECT cannot be converted to string"),
    ("boolean", 1, "NUMBER_VALUE cannot be converted to boolean"),
    ("boolean", "true", "STRING_VALUE cannot be converted to boolean"),
    ("integer", True, "BOOLEAN_VALUE cannot be converted to integer"),
    ("integer", 1.5, "NUMBER_VALUE cannot be converted to integer"),
    ("integer", "1", "STRING_VALUE cannot be converted to integer"),
    ("integer", 2**31, "NUMBER_VALUE cannot be converted to integer"),
    ("integer", -(2**31) - 1, "NUMBER_VALUE cannot be converted to integer"),
    ("long", 2**63, "NUMBER_VALUE cannot be converted to long"),
    ("float", True, "BOOLEAN_VALUE cannot be converted to float"),
    ("double", "1", "STRING_VALUE cannot be converted to double"),
    ("double", 10**400, "NUMBER_VALUE cannot be converted to double"),
    ("blob", 1, "NUMBER_VALUE cannot be converted to blob"),
    ("blob", "no base64", "a blob must be base64"),
    ("blob", "ä", "a blob must be base64"),
    ("timestamp", True, "BOOLEAN_VALUE cannot be converted to timestamp"),
    ("timestamp", [], "START_ARRAY cannot be converted to timestamp"),
    ("timestamp", "noon", "the value is no time that can be read"),
    ("timestamp", 1e300, "the value is no time that can be read"),
]


@pytest.mark.parametrize(("kind", "value", "said"), WRONG)
def test_a_scalar_of_another_type_is_refused_without_showing_it(kind: str, value: Any, said: str) -> None:
    with pytest.raises(AwsError) as caught:
        Readers().of(structure({"m": kind}))({"m": value})
    assert (caught.value.code, caught.value.message) == ("SerializationException", said)


LIST, MAP = {"type": "list", "member": {"shape": "integer"}}, {
    "type": "map", "key": {"shape": "string"}, "value": {"shape": "integer"}
}  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "word"), [(LIST, "list"), (MAP, "map"), ({"type": "structure", "members": {}}, "structure")]
)
@pytest.mark.parametrize("value", ["x", 1, True])
def test_what_holds_others_is_refused_too(shape: dict[str, Any], word: str, value: Any) -> None:
    with pytest.raises(AwsError, match=f"_VALUE cannot be converted to {word}$"):
        Readers().of(structure({"m": dict(shape)}))({"m": value})
    with pytest.raises(AwsError, match="cannot be converted to structure"):
        Readers().of(structure({"m": dict(shape)}))([])


def test_null_is_absent_and_the_inside_is_read_too() -> None:
    shape = structure({"l": dict(LIST), "m": dict(MAP), "s": "string"})
    assert Readers().of(shape)({"l": [1], "m": {"a": 2}, "s": None}) == {"l": [1], "m": {"a": 2}}
    for inside in ({"l": ["x"]}, {"m": {"a": "x"}}):
        with pytest.raises(AwsError, match="converted to integer"):
            Readers().of(shape)(inside)


def test_documents_with_types_of_their_own() -> None:
    native = NativeReaders().of(structure({"b": "blob", "t": "timestamp", "s": "string"}))
    assert native({"b": b"x", "t": NOON, "s": "x"}) == {"b": b"x", "t": NOON, "s": "x"}
    assert native({"t": NOON.timestamp()}) == {"t": NOON}
    with pytest.raises(AwsError, match="STRING_VALUE cannot be converted to blob"):
        native({"b": "eA=="})


def test_writing_json() -> None:
    document = {"type": "structure", "document": True, "members": {}}
    shape = structure(
        {"t": "timestamp", "b": "blob", "l": dict(LIST), "m": dict(MAP), "d": document, "n": {"type": "string", "in": {"locationName": "wire"}},
         "ts": {"type": "list", "member": {"shape": "timestamp"}}}
    )  # fmt: skip
    value = {
        "t": NOON, "b": b"hi", "l": (1, 2), "m": {"a": 1, "gone": None}, "d": {"x": [None]}, "n": "v", "ts": [NOON + timedelta(milliseconds=500)],
        "unknown": 1,
    }  # fmt: skip
    assert Writers().of(shape)(value) == {
        "t": 1_796_040_000,
        "b": "aGk=",
        "l": [1, 2],
        "m": {"a": 1},
        "d": {"x": [None]},
        "wire": "v",
        "ts": [1_796_040_000.5],
    }


@pytest.mark.parametrize(
    ("kind", "text", "read"),
    [
        ("integer", "7", 7),
        ("long", "-7", -7),
        ("double", "1.5", 1.5),
        ("boolean", "true", True),
        ("boolean", "False", False),
        ("timestamp", "2026-11-30T12:00:00Z", NOON),
        ("blob", "aGk=", b"hi"),
        ("string", "x", "x"),
    ],
)
def test_scalars_of_forms(kind: str, text: str, read: Any) -> None:
    assert read_structure(structure({"m": kind}), tree_of([("m", text)])) == {"m": read}


@pytest.mark.parametrize(
    ("kind", "text"),
    [("integer", "x"), ("long", "1.5"), ("double", "x"), ("boolean", "1"), ("timestamp", "noon"), ("blob", "?")],
)
def test_a_wrong_scalar_of_a_form_is_named(kind: str, text: str) -> None:
    with pytest.raises(AwsError) as caught:
        read_structure(structure({"m": kind}), tree_of([("m", text)]))
    assert (caught.value.code, caught.value.message) == ("MalformedInput", f"the value of 'm' is not of type {kind}")


def test_lists_and_maps_of_forms_come_by_number() -> None:
    shape = structure({"l": dict(LIST), "m": dict(MAP)})
    fields = [(f"l.member.{n}", str(n)) for n in (10, 2, 1)] + [("m.entry.1.key", "a"), ("m.entry.1.value", "5")]
    assert read_structure(shape, tree_of([*fields, ("l.member.x", "9")])) == {"l": [1, 2, 10], "m": {"a": 5}}


def test_writing_xml() -> None:
    flat = {"type": "list", "member": {"shape": "integer"}, "flattened": True}
    shape = structure(
        {"t": "timestamp", "b": "blob", "yes": "boolean", "l": dict(LIST), "f": flat, "m": dict(MAP), "none": "string"}
    )
    out: list[str] = []
    east = NOON.replace(microsecond=7000).astimezone(timezone(timedelta(hours=2)))
    XmlWriters().of(shape)(
        {"t": east, "b": b"hi", "yes": True, "l": [1, 2], "f": [3, 4], "m": {"k<": 5}, "none": None, "other": 1}, out
    )
    assert "".join(out) == (
        "<t>2026-11-30T12:00:00.007Z</t><b>aGk=</b><yes>true</yes><l><member>1</member><member>2</member></l>"
        "<f>3</f><f>4</f><m><entry><key>k&lt;</key><value>5</value></entry></m>"
    )
    assert xml_text("a\x00b\ud800<&>") == "a\ufffdb\ufffd&lt;&amp;&gt;"


def test_members_outside_the_body() -> None:
    shape = structure(
        {
            "label": {"type": "string", "in": {"location": "uri", "locationName": "label"}},
            "number": {"type": "integer", "in": {"location": "querystring", "locationName": "n"}},
            "yes": {"type": "boolean", "in": {"location": "querystring", "locationName": "yes"}},
            "several": {"type": "list", "member": {"shape": "string"}, "in": {"location": "querystring", "locationName": "s"}},
            "half": {"type": "double", "in": {"location": "header", "locationName": "X-Half"}},
            "at": {"type": "timestamp", "in": {"location": "header", "locationName": "X-At"}},
            "code": {"type": "integer", "in": {"location": "statusCode"}},
            "inside": "string",
        }
    )  # fmt: skip
    places = MemberPlacement(shape)
    assert places.outside == {"label", "number", "yes", "several", "half", "at", "code"}
    assert places.body_is_empty is False
    asked = head(query="n=7&n=8&yes=true&s=a&s=b&other=1", x_half="0.5", x_at="2026-11-30T12:00:00Z")
    assert places.read({"label": "l"}, asked) == {
        "label": "l", "number": 8, "yes": True, "several": ["a", "b"], "half": 0.5, "at": NOON
    }  # fmt: skip
    assert places.read({"label": "l"}, head()) == {"label": "l"}
    for query, said in (("n=x", "to integer"), ("yes=1", "to boolean"), ("yes=True", "to boolean")):
        with pytest.raises(AwsError, match=f"STRING_VALUE cannot be converted {said}") as caught:
            places.read({"label": "l"}, head(query=query))
        assert caught.value.code == "SerializationException"
    with pytest.raises(AwsError, match="to double"):
        places.read({"label": "l"}, head(x_half="x"))
    assert places.write({"code": 202, "half": 0.5, "at": None, "inside": "x"}, 200) == (202, {"X-Half": "0.5"})
    every = structure({"all": {"type": "map", "key": {"shape": "string"}, "value": {"shape": "string"},
                               "in": {"location": "querystring"}}})  # fmt: skip
    assert MemberPlacement(every).read({}, head(query="a=1&b=2&a=3")) == {"all": {"a": "3", "b": "2"}}
    assert MemberPlacement(every).body_is_empty


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (structure({"m": {"type": "string", "in": {"location": "headers", "locationName": "x-"}}}), "members in headers"),
        (structure({"m": "string"}, payload="m"), "payload members"),
    ],
)  # fmt: skip
def test_a_place_that_is_not_served_is_our_mistake(shape: Any, said: str) -> None:
    with pytest.raises(Broken, match=said):
        MemberPlacement(shape)


def test_a_route_is_its_method_and_its_path() -> None:
    route = Route(model_of("mwaa").operation_model("GetEnvironment"))
    assert route.match(head("GET", "/environments/a%20b")) == {"Name": "a b"}
    assert route.match(head("PUT", "/environments/a")) is None
    assert route.match(head("GET", "/environments/a/b")) is None
