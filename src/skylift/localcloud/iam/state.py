"""What IAM, STS and the services with policies of their own know, as the judge asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from skylift.wire.asgi import Head
from skylift.wire.provider import Caller

Documents = Sequence[tuple[str, str]]
"""Policies: a name for people, and the JSON."""


@dataclass(frozen=True)
class Identity:
    """A user or role.

    Attributes:
        arn: with its path.
        unique_id: ``AIDA...`` or ``AROA...``.
        policies: inline and attached, also those of a user's groups.
        boundary: the permissions boundary; ``None``: there is none.
        trust: of a role: who may take it on.
    """

    arn: str
    unique_id: str = ""
    policies: Documents = ()
    boundary: tuple[str, str] | None = None
    trust: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionLimits:
    """What was said when a role's session was made.

    Attributes:
        policies: session policies; ``None``: there are none.
    """

    policies: Documents | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


class IamState(Protocol):
    """Every verb answers at once. What does not exist is ``None``."""

    def identity(self, kind: str, name: str) -> Identity | None:
        """A ``role`` or ``user`` by name."""
        ...

    def session(self, access_key: str) -> SessionLimits | None:
        """A session that STS made here, by its access key; ``None`` for every other key."""
        ...

    def resource_policy(self, arn: str) -> str:
        """The policy of a bucket (also by an object's ARN), queue or secret; empty if it has none."""
        ...

    def has_object(self, bucket: str, key: str) -> bool:
        """Whether an S3 object exists."""
        ...

    def secret(self, reference: str, region: str) -> str:
        """A secret's whole ARN, by name or ARN; empty if there is none."""
        ...

    def entity(self, kind: str, name: str) -> str:
        """ARN, with path, of a ``role``, ``user``, ``group`` or ``instance-profile``; empty if there is none."""
        ...


class RequestJudge(Protocol):
    """Is asked before an emulator gets a request."""

    def judges(self, caller: Caller) -> bool:
        """Whether the calls of this caller must be looked at."""
        ...

    def check(self, service: str, operation: str, members: Mapping[str, Any], caller: Caller) -> None:
        """A call of any service but S3. Raises ``AwsError``: it is denied."""
        ...

    def check_s3(self, head: Head, body: bytes, caller: Caller) -> None:
        """A call of S3; ``body`` only of DeleteObjects. Raises ``AwsError``: it is denied."""
        ...
