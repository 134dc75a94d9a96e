"""The contract behind the wire: one Python class serves one AWS service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Caller:
    """The caller, as proven by the request's signature.

    Attributes:
        access_key: access key id that signed.
        principal: ARN of the user or role behind the key.
        account: twelve digits.
        region: the region in the signature's scope.
    """

    access_key: str
    principal: str
    account: str
    region: str


class Provider(Protocol):
    """Serves one AWS service, one method per operation.

    The method's name is the operation's in snake case (``RunTask`` is ``run_task``)::

        def run_task(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]

    ``request`` and the answer are the dicts that boto3's users know: member names of the model, ``datetime`` for
    timestamps (aware, UTC), ``bytes`` for blobs. The request has been checked against the model (required members,
    types, lengths, ranges, patterns, enums); members that the caller left out are absent. Members of the answer that
    the model does not know are dropped, and so are those that are ``None``.

    A method refuses by raising ``AwsError``. ``Refused`` becomes the service's validation error with its text,
    ``Unavailable`` a 503 that SDKs retry. Any other exception is our bug and becomes the service's internal error,
    without its text. An operation without a method is refused with ``NotImplemented``
    (501).

    Attributes:
        service: botocore's name of the service: ``ecs``, ``elbv2``, ``mwaa``, ``batch``.
        blocking: true: methods run in a worker thread, several at once. False: they run on the event loop, may be
            ``async def``, and never block.
    """

    @property
    def service(self) -> str: ...

    @property
    def blocking(self) -> bool: ...
