"""Connects ministack with the CloudWatch Logs of skylift: its services write there (Lambda, DynamoDB's imports, state
machines), and subscription filters deliver to its Lambda, Kinesis and Firehose.

Like ``ministack.py``, this file depends on ministack's internals.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from skylift.core.errors import Refused, SkyliftError
from skylift.localcloud.emulators.ministack import Ministack, expect_success
from skylift.localcloud.emulators.states import LOGS
from skylift.localcloud.emulators.unavailable import Answer
from skylift.localcloud.logs.provider import ContainerLogs
from skylift.wire.asgi import Answer as HttpAnswer
from skylift.wire.asgi import Head
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller, Provider
from skylift.wire.service import ServiceEntry


class LogDestinations:
    """Where subscription filters deliver to."""

    def __init__(self, ministack: Ministack) -> None:
        self._ministack = ministack

    def deliver(self, arn: str, data: bytes, key: str) -> None:
        """Delivers a compressed message. Raises ``Refused``: there is no such destination."""
        _, _, service, region, _, name = arn.split(":", 5)
        with self._ministack.scope(region):
            if service == "lambda":
                self._invoke(name.removeprefix("function:").partition(":")[0], data)
            elif service == "kinesis":
                stream, encoded = name.removeprefix("stream/"), base64.b64encode(data).decode()
                record = {"StreamName": stream, "Data": encoded, "PartitionKey": key[:256]}
                expect_success(self._ministack.service("kinesis")._put_record(record))
            else:
                stream, encoded = name.removeprefix("deliverystream/"), base64.b64encode(data).decode()
                request = {"DeliveryStreamName": stream, "Record": {"Data": encoded}}
                expect_success(self._ministack.service("firehose")._put_record(request))

    def _invoke(self, name: str, data: bytes) -> None:
        module = self._ministack.service("lambda_svc")
        function = module._functions.get(name)
        if function is None:
            raise Refused(f"there is no function {name}")
        event = {"awslogs": {"data": base64.b64encode(data).decode()}}
        call = module._execute_function_with_config_scope
        threading.Thread(target=call, args=(function, event), daemon=True).start()


def write_to_ours(ministack: Ministack, logs: ContainerLogs, provider: Provider, caller: Caller) -> None:
    """Installs ours in ministack's module ``cloudwatch_logs``."""
    module, loop = ministack.service(LOGS), asyncio.get_running_loop()
    module._log_groups = _Groups(logs, loop)
    module._append_log_events = lambda stream, events: stream.append(events)
    module._fanout_to_subscription_filters = lambda *_: None
    entry = ServiceEntry(provider)

    async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, _query: Any) -> Answer:
        head = Head(method, path, "", {name.lower(): value for name, value in headers.items()})
        asked = entry.answer(head, body, caller, str(uuid.uuid4()))
        if asyncio.get_running_loop() is loop:
            answer = await asked
        else:  # one of ministack's threads, with its own loop
            answer = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asked, loop))
        if not isinstance(answer, HttpAnswer):
            text = {"__type": "InvalidOperationException", "message": "A state machine cannot follow logs."}
            return 400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(text).encode()
        return answer.status, dict(answer.headers), answer.body

    module.handle_request = handle


class _Groups:
    """In place of ministack's dict of log groups."""

    def __init__(self, logs: ContainerLogs, loop: asyncio.AbstractEventLoop) -> None:
        self._logs = logs
        self._loop = loop
        self._data: dict[Any, Any] = {}

    def __contains__(self, name: str) -> bool:
        try:
            return self._logs.has_group(name)
        except SkyliftError:
            return False

    def __setitem__(self, name: str, _group: Mapping[str, Any]) -> None:
        """Nothing: the group is created with its first stream."""

    def __getitem__(self, name: str) -> dict[str, Any]:
        return {"streams": _Streams(self._logs, self._loop, name)}

    def all_items(self) -> Iterable[Any]:
        """None."""
        return ()


class _Streams:
    def __init__(self, logs: ContainerLogs, loop: asyncio.AbstractEventLoop, group: str) -> None:
        self._logs = logs
        self._loop = loop
        self._group = group

    def __contains__(self, _name: str) -> bool:
        return True

    def __getitem__(self, name: str) -> _Stream:
        return _Stream(self._logs, self._loop, self._group, name)


class _Stream:
    def __init__(self, logs: ContainerLogs, loop: asyncio.AbstractEventLoop, group: str, name: str) -> None:
        self._logs = logs
        self._loop = loop
        self._place = group, name

    def append(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Writes events, on the event loop that the logs belong to."""
        self._loop.call_soon_threadsafe(_written(self._logs, self._place, list(events)))


def _written(logs: ContainerLogs, place: tuple[str, str], events: list[Mapping[str, Any]]) -> Callable[[], None]:
    def write() -> None:
        with contextlib.suppress(SkyliftError, AwsError):  # whoever logs does not wait for an answer
            logs.prepare(*place, create_group=True)
            logs.put(*place, events)

    return write
