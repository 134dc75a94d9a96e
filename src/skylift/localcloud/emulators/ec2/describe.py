"""DescribeNetworkInterfaces: ids, filters, pages, and the answer in EC2's XML."""

from __future__ import annotations

import fnmatch
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from xml.sax.saxutils import escape

from skylift.localcloud.emulators.ec2.network import InterfaceSeen

Fields = Mapping[str, str]
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
NOT_FOUND = "InvalidNetworkInterfaceID.NotFound"
_VALUE = re.compile(r"Filter\.(\d+)\.Value\.\d+")

FILTERS: Mapping[str, Callable[[InterfaceSeen], Iterable[str]]] = {
    "addresses.private-ip-address": lambda one: [one.address],
    "association.public-ip": lambda one: [one.public],
    "attachment.attachment-id": lambda one: [one.attachment],
    "attachment.instance-id": lambda one: [one.instance],
    "availability-zone": lambda one: [one.zone],
    "description": lambda one: [one.description],
    "group-id": lambda one: one.named(),
    "group-name": lambda one: [name for _, name in one.groups],
    "interface-type": lambda one: [one.kind],
    "mac-address": lambda one: [one.mac],
    "network-interface-id": lambda one: [one.id],
    "owner-id": lambda one: [one.owner],
    "private-ip-address": lambda one: [one.address],
    "requester-id": lambda one: [one.requester],
    "requester-managed": lambda one: ["true" if one.managed else "false"],
    "status": lambda one: [one.status],
    "subnet-id": lambda one: [one.subnet],
    "tag-key": lambda one: one.tags.keys(),
    "vpc-id": lambda one: [one.vpc],
}


class NoInterface(Exception):
    """An id that there is not; the text is AWS's."""


class NoFilter(Exception):
    """A filter that is not served; the text says which."""


def chosen(found: Iterable[InterfaceSeen], fields: Fields) -> list[InterfaceSeen]:
    """Those that a request asks for, by id. Raises ``NoInterface`` or ``NoFilter``."""
    by_id = {one.id: one for one in sorted(found, key=lambda one: one.id)}
    wanted = [value for name, value in fields.items() if name.startswith("NetworkInterfaceId.")]
    if missing := [one for one in wanted if one not in by_id]:
        raise NoInterface(f"The networkInterface ID '{missing[0]}' does not exist")
    left = [one for one in by_id.values() if not wanted or one.id in wanted]
    for name, values in _filters(fields).items():
        left = [one for one in left if _matches(one, name, values)]
    return left


def _filters(fields: Fields) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields.items():
        if match := _VALUE.fullmatch(name):
            found.setdefault(fields.get(f"Filter.{match[1]}.Name", ""), []).append(value)
    return found


def _matches(one: InterfaceSeen, name: str, values: list[str]) -> bool:
    if name.startswith("tag:"):
        there: Iterable[str] = [one.tags[name[4:]]] if name[4:] in one.tags else []
    elif name in FILTERS:
        there = FILTERS[name](one)
    else:
        raise NoFilter(f"The filter '{name}' is invalid")
    return any(fnmatch.fnmatchcase(text, value) for text in there for value in values)


def answer(found: list[InterfaceSeen], fields: Fields) -> bytes:
    """The answer: a page of them."""
    begin = int(fields["NextToken"]) if fields.get("NextToken", "").isdigit() else 0
    most = int(fields["MaxResults"]) if fields.get("MaxResults", "").isdigit() else 1000
    page = found[begin : begin + most]
    more = f"<nextToken>{begin + most}</nextToken>" if begin + most < len(found) else ""
    items = "".join(map(_item, page))
    return (
        f'<DescribeNetworkInterfacesResponse xmlns="{NAMESPACE}"><requestId>{uuid.uuid4()}</requestId>'
        f"<networkInterfaceSet>{items}</networkInterfaceSet>{more}</DescribeNetworkInterfacesResponse>"
    ).encode()


def error(code: str, text: str) -> bytes:
    """A refusal in EC2's XML."""
    return (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{escape(text)}</Message></Error></Errors>"
        f"<RequestID>{uuid.uuid4()}</RequestID></Response>"
    ).encode()


def _item(one: InterfaceSeen) -> str:
    groups = "".join(_element("item", _text("groupId", ident) + _text("groupName", name)) for ident, name in one.groups)
    tags = "".join(_element("item", _text("key", key) + _text("value", value)) for key, value in one.tags.items())
    association = _text("publicIp", one.public) + _text("ipOwnerId", "amazon") if one.public else ""
    attached = (
        _text("attachmentId", one.attachment)
        + (_text("instanceId", one.instance) if one.instance else "")
        + _text("instanceOwnerId", one.requester or one.owner)
        + _text("deviceIndex", "0" if one.instance else "1")
        + _text("status", "attached")
        + _text("deleteOnTermination", "true" if one.instance else "false")
        if one.attachment
        else ""
    )
    shown_association = _element("association", association) if association else ""
    address = _text("privateIpAddress", one.address) + _text("primary", "true") + shown_association
    return _element(
        "item",
        _text("networkInterfaceId", one.id)
        + _text("subnetId", one.subnet)
        + (_text("vpcId", one.vpc) if one.vpc else "")
        + (_text("availabilityZone", one.zone) if one.zone else "")
        + _text("description", one.description)
        + _text("ownerId", one.owner)
        + (_text("requesterId", one.requester) if one.requester else "")
        + _text("requesterManaged", "true" if one.managed else "false")
        + _text("status", one.status)
        + _text("macAddress", one.mac)
        + _text("privateIpAddress", one.address)
        + _text("sourceDestCheck", "true")
        + _text("interfaceType", one.kind)
        + _element("groupSet", groups)
        + (_element("attachment", attached) if attached else "")
        + shown_association
        + _element("tagSet", tags)
        + _element("privateIpAddressesSet", _element("item", address)),
    )


def _element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"


def _text(name: str, value: str) -> str:
    return f"<{name}>{escape(value)}</{name}>"
