"""Calls to one AWS account for whoever makes and removes things there: by name, with "there is none" as an answer."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from skylift.aws.clients import client, is_aws
from skylift.aws.errors import CREDENTIALS, calling, code_of, translate
from skylift.core.errors import Refused, SkyliftError, Unavailable

_MISSING = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")
_ACTIONS = {"s3 head_bucket": "s3:ListBucket"}
"""HEAD has no body, and so no words."""
DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AccessDeniedFault",
        "AuthorizationError",
        "Client.UnauthorizedOperation",
        "UnauthorizedOperation",
        "403",
    }
)
"""Codes with which services say that the caller may not."""


class NotAllowed(Refused):
    """IAM does not allow a call. ``action`` is what is missing."""

    def __init__(self, text: str, action: str) -> None:
        super().__init__(text)
        self.action = action


class AccountCalls:
    """The account and region of the usual AWS settings.

    Args:
        region: default from the environment or the profile.

    Attributes:
        region: where it calls.
        account: twelve digits.
        real: whether this is AWS itself, and not an endpoint like the local cloud's.

    Raises:
        Refused: there are no credentials, or no region.
    """

    def __init__(self, region: str | None = None) -> None:
        self._clients: dict[str, Any] = {}
        self._chosen = region
        sts = self.client("sts")
        self.region = str(sts.meta.region_name)
        self.real = is_aws(sts)
        self.endpoint = str(sts.meta.endpoint_url)
        identity = self.call("sts", "get_caller_identity")
        self.account, self.caller = str(identity["Account"]), str(identity["Arn"])

    def client(self, service: str) -> Any:
        """A boto3 client, the same each time."""
        if service not in self._clients:
            self._clients[service] = client(service, region=self._chosen)
        return self._clients[service]

    def call(self, service: str, operation: str, /, *, absent: Collection[str] = (), **request: Any) -> dict[str, Any]:
        """One call; {} if AWS's error code is one of ``absent``.

        Raises:
            NotAllowed: IAM does not allow it.
            Refused, Unavailable: with AWS's own text.
        """
        doing = f"{service} {operation}"
        with calling(doing, self._translate):
            try:
                answer: dict[str, Any] = getattr(self.client(service), operation)(**request)
            except ClientError as error:
                if code_of(error) in absent:
                    return {}
                raise
        return answer

    def pages(self, service: str, operation: str, member: str, /, **request: Any) -> list[Any]:
        """All items of a list that comes in pages. Raises like ``call``."""
        with calling(f"{service} {operation}", self._translate):
            found = self.client(service).get_paginator(operation).paginate(**request)
            return [one for page in found for one in page.get(member, ())]

    def _translate(self, error: Exception, doing: str) -> SkyliftError:
        code = code_of(error)
        service, _, operation = doing.partition(" ")
        if code in DENIED:
            # AWS's words say which action is missing: a call may need others than its own.
            missing = _MISSING.search(str(error))
            own = _ACTIONS.get(doing) or f"{service}:{''.join(word.capitalize() for word in operation.split('_'))}"
            return NotAllowed(f"{doing}: {error}", missing[1] if missing else own)
        if code in {"NoCredentialsError", "PartialCredentialsError"} or code in CREDENTIALS:
            return Refused(f"AWS accepts no credentials of yours ({error}). Sign in (aws configure, aws sso login).")
        if isinstance(error, BotoCoreError) and not isinstance(error, ClientError):
            return Unavailable(f"{doing}: {error}")
        return translate(error, doing)
