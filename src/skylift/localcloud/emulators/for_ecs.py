"""CloudWatch, Secrets Manager and SSM for ECS (``ecs.ports``): in this process, without HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skylift.core.errors import Refused, Unavailable
from skylift.localcloud.emulators.others import RestOfAws
from skylift.localcloud.ports import Measured
from skylift.wire.errors import AwsError


class AwsLogs:
    """Receives the ``awslogs`` driver's events. Every call returns at once: writing one row is its only I/O."""

    def __init__(self, rest: RestOfAws) -> None:
        self._rest = rest

    async def prepare(self, group: str, stream: str, create_group: bool) -> None:
        """Creates the stream (and the group, if asked) unless it exists. Raises ``AwsError``."""
        with _as_aws():
            self._rest.container_logs.prepare(group, stream, create_group=create_group)

    async def put(self, group: str, stream: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Appends events (``timestamp`` in ms, ``message``), in order. Raises ``AwsError``."""
        with _as_aws():
            self._rest.container_logs.put(group, stream, events)
        # Containers that log a lot must not block the event loop.
        await asyncio.sleep(0)


class AwsMetrics:
    """Stores the metrics of ECS."""

    def __init__(self, rest: RestOfAws) -> None:
        self._rest = rest

    def put(self, measured: Sequence[Measured]) -> None:
        """Stores values with the current time. Raises ``OSError`` when they cannot be written."""
        self._rest.put_metrics(measured)


class AwsSecrets:
    """Resolves the ``secrets`` and reads the ``environmentFiles`` of a container definition."""

    def __init__(self, rest: RestOfAws) -> None:
        self._rest = rest

    async def value(self, value_from: str) -> str:
        """The value that a ``valueFrom`` names. Raises ``AwsError``, whose text never contains a value.

        Forms (ECS developer guide, "Specifying sensitive data"): a secret's ARN, then
        ``:json-key:version-stage:version-id``, each of which may be empty; an SSM parameter's ARN, or its name when it
        is in our region.
        """
        with _as_aws():
            if ":secretsmanager:" not in value_from:
                return self._rest.parameter_value(value_from)
            parts = value_from.split(":")
            key, stage, version = (*parts[7:10], "", "", "")[:3]
            return self._rest.secret_value(":".join(parts[:7]), key, stage, version)

    async def file(self, bucket: str, key: str) -> bytes:
        """An object of S3. Raises ``AwsError``."""
        with _as_aws():
            return self._rest.object_content(bucket, key)


@contextlib.contextmanager
def _as_aws() -> Iterator[None]:
    """Turns a refusal into the error text that ECS shows."""
    try:
        yield
    except Refused as error:
        code, colon, message = str(error).partition(": ")
        named = bool(colon) and code.isalnum()
        raise AwsError(code if named else "InvalidParameterException", message if named else str(error)) from error
    except (OSError, Unavailable) as error:
        raise AwsError("ServerException", f"The local cloud cannot write: {error}", 500) from error
