"""Answers the requests to EC2 and RDS that ministack would answer without looking at what is in use."""

from __future__ import annotations

import uuid
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from skylift.localcloud.damage import Damaged
from skylift.localcloud.emulators.ec2 import describe, guards
from skylift.localcloud.emulators.ec2.network import Ec2Network
from skylift.localcloud.emulators.ministack import Ministack
from skylift.localcloud.interfaces import Interfaces
from skylift.wire.asgi import Answer

ASKED = frozenset({"ec2", "rds"})
"""Services whose requests are looked at."""
DESCRIBE = "DescribeNetworkInterfaces"
XML = {"content-type": "text/xml;charset=UTF-8"}


class InUse:
    """For one ministack.

    Args:
        interfaces: of the services that run things.
    """

    def __init__(self, ministack: Ministack, account: str, interfaces: Interfaces) -> None:
        self._ministack = ministack
        self._account = account
        self._interfaces = interfaces

    def answer(self, service: str, region: str, body: bytes) -> Answer | None:
        """The answer; ``None``: ministack's."""
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if fields.get("Action") not in {DESCRIBE, *guards.GUARDED}:
            return None
        try:
            self._ministack.check(service)
        except Damaged:
            return None
        with self._ministack.scope(region):
            if service == "rds":
                found = guards.subnet_group_refusal(self._ministack.service("rds"), fields)
                return Answer(400, XML, _query_error(*found)) if found else None
            ec2 = self._ministack.service("ec2")
            ec2._ensure_defaults_initialized()
            network = Ec2Network(ec2, self._account, self._interfaces.all())
            if fields.get("Action") == DESCRIBE:
                return _described(network, fields)
            found = guards.refusal(network, fields)
        return Answer(400, XML, describe.error(*found)) if found else None


def _described(network: Ec2Network, fields: describe.Fields) -> Answer:
    try:
        return Answer(200, XML, describe.answer(describe.chosen(network.interfaces(), fields), fields))
    except describe.NoInterface as error:
        return Answer(400, XML, describe.error(describe.NOT_FOUND, str(error)))
    except describe.NoFilter as error:
        return Answer(400, XML, describe.error("InvalidParameterValue", str(error)))


def _query_error(code: str, text: str) -> bytes:
    return (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
        f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    ).encode()
