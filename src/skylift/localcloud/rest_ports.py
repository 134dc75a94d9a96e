"""CloudWatch Logs, Secrets Manager and SSM as ECS needs them (``ecs.ports``): in this process, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skylift.core.errors import Refused
from skylift.localcloud.rest import RestOfAws
from skylift.wire.errors import AwsError


class AwsLogs:
    """The ``awslogs`` driver's other end. Every call answers at once: the journal's write is its only I/O."""

    def __init__(self, rest: RestOfAws) -> None:
        self._rest = rest

    async def prepare(self, group: str, stream: str, create_group: bool) -> None:
        """Makes the stream (and the group, if asked). Harmless when it is there. Raises ``AwsError``."""
        try:
            self._rest.create_log_stream(group, stream, create_group=create_group)
        except Refused as error:
            raise _aws_error(error) from error

    async def put(self, group: str, stream: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Appends events (``timestamp`` in ms, ``message``), in order. Raises ``AwsError``."""
        try:
            self._rest.put_log_events(group, stream, events)
        except Refused as error:
            raise _aws_error(error) from error


class AwsSecrets:
    """Where ``secrets`` of a container definition come from."""

    def __init__(self, rest: RestOfAws) -> None:
        self._rest = rest

    async def value(self, value_from: str) -> str:
        """The value behind a ``valueFrom``. Raises ``AwsError``; its text never holds a value.

        Forms (ECS developer guide, "Specifying sensitive data"): a secret's ARN, then ``:json-key:version-stage:version-id``, each of
        which may be empty; an SSM parameter's ARN, or its name when it is in our region.
        """
        try:
            if ":secretsmanager:" not in value_from:
                return self._rest.parameter_value(value_from)
            parts = value_from.split(":")
            key, stage, version = (*parts[7:10], "", "", "")[:3]
            return self._rest.secret_value(":".join(parts[:7]), key, stage, version)
        except Refused as error:
            raise _aws_error(error) from error


def _aws_error(error: Refused) -> AwsError:
    code, colon, message = str(error).partition(": ")
    return AwsError(code, message) if colon and code.isalnum() else AwsError("InvalidParameterException", str(error))
