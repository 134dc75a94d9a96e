"""One provider behind its service's model: turns a request into a call of one method, and its result into an answer."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore import xform_name
from botocore.model import OperationModel

from skylift.core.errors import Refused, Unavailable
from skylift.wire.asgi import Answer, Head
from skylift.wire.checks import Checks
from skylift.wire.conventions import CONVENTIONS, USUAL
from skylift.wire.errors import AwsError
from skylift.wire.event_stream import EventStream, StreamedAnswer, streamed
from skylift.wire.intercept import Call, ConnectionCut, Interceptor
from skylift.wire.models import model_of
from skylift.wire.protocols import codec_of, form_fields
from skylift.wire.provider import Caller, Provider

log = logging.getLogger(__name__)

MOST_THREADS = 16
"""Calls of one blocking provider that run at once; more wait."""


class ServiceEntry:
    """A provider and everything that is known of its service beforehand."""

    def __init__(self, provider: Provider, interceptor: Interceptor | None = None) -> None:
        self._provider = provider
        self._interceptor = interceptor
        self.name = provider.service
        self._model = model_of(self.name)
        self._codec = codec_of(self._model)
        self._convention = CONVENTIONS.get(self.name, USUAL)
        self._checks = Checks(self._convention.unchecked, required=self._convention.required)
        threads = f"wire-{self.name}"
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix=threads) if provider.blocking else None

    @property
    def signing_name(self) -> str:
        """The service in a signature's scope: ``airflow`` for MWAA."""
        return str(self._model.signing_name)

    @property
    def longest_body(self) -> int:
        """Bytes of the longest body that it takes."""
        return self._convention.longest

    @property
    def protocol(self) -> str:
        """``json``, ``rest-json`` or ``query``."""
        return str(self._model.protocol)

    def wants(self, head: Head, body: bytes) -> bool:
        """Whether a request with our signing name is ours: Query services share names and differ in ``Version``."""
        if self.protocol == "query":
            return bool(form_fields(head, body).get("Version", self._model.api_version) == self._model.api_version)
        target = head.headers.get("x-amz-target")
        prefix = str(self._model.metadata.get("targetPrefix")) + "."
        return self.protocol != "json" or target is None or target.startswith(prefix)

    def has_route(self, head: Head) -> bool:
        """Whether method and path are one of our operations; only rest-json can tell."""
        try:
            return self.protocol == "rest-json" and bool(self._codec.operation(head, b""))
        except AwsError:
            return False

    async def answer(self, head: Head, body: bytes, caller: Caller, request_id: str) -> Answer | StreamedAnswer:
        """Reads, checks, calls and writes. Never raises for a bad request; ``ConnectionCut`` when nobody is to be
        answered."""
        try:
            operation, labels = self._codec.operation(head, body)
            method = self._method(operation)
            request = self._read(operation, labels, head, body)
            output = await self._interception(operation.name, method, caller, request)
            if isinstance(output, EventStream):
                return streamed(output, request_id)
            return self._codec.write(operation, output, request_id)
        except AwsError as error:
            return self._codec.refuse(error, request_id)
        except ConnectionCut:
            raise
        except Refused as error:
            return self._codec.refuse(AwsError(self._convention.invalid, str(error)), request_id)
        except Unavailable as error:
            log.warning("%s: %s (request %s)", self.name, error, request_id)
            refusal = self._internal(503)
            if error.for_callers:
                refusal.message = str(error)
            return self._codec.refuse(refusal, request_id)
        except Exception:  # whatever a provider lets out is our bug: the caller is told so, the log says what
            log.exception("%s: request %s failed by a mistake of ours", self.name, request_id)
            return self._codec.refuse(self._internal(500), request_id)

    def refuse(self, error: AwsError, request_id: str) -> Answer:
        """An error in this service's form."""
        return self._codec.refuse(error, request_id)

    def close(self) -> None:
        """Lets running calls end, takes no more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _method(self, operation: OperationModel) -> Callable[..., Any]:
        method = getattr(self._provider, xform_name(operation.name), None)
        if method is None:
            raise AwsError("NotImplemented", f"{operation.name} of {self.name} is not supported here.", 501)
        return method  # type: ignore[no-any-return]  # getattr knows no type

    def _read(self, operation: OperationModel, labels: Mapping[str, str], head: Head, body: bytes) -> dict[str, Any]:
        try:
            request = self._codec.read(operation, labels, head, body)
            self._refuse_unserved(body)
            self._check(operation, request)
        except RecursionError:
            raise AwsError("SerializationException", "The request is nested too deeply.") from None
        return request

    def _refuse_unserved(self, body: bytes) -> None:
        for member, advice in self._convention.unserved.items():
            if member.encode() in body and member in json.loads(body):
                raise AwsError(self._convention.invalid, f"{member} is not supported: {advice}")

    def _check(self, operation: OperationModel, request: Mapping[str, Any]) -> None:
        shape = operation.input_shape
        failures = list(self._checks.of(shape)(request, "")) if shape is not None else []
        if failures:
            noun = "error" if len(failures) == 1 else "errors"
            raise AwsError(
                self._convention.invalid, f"{len(failures)} validation {noun} detected: {'; '.join(failures)}"
            )

    async def _interception(
        self, operation: str, method: Callable[..., Any], caller: Caller, request: dict[str, Any]
    ) -> Mapping[str, Any] | EventStream:
        if self._interceptor is None:
            return await self._call(method, caller, request)
        interception = await self._interceptor.interception(Call(self.signing_name, operation, caller, request))
        output = interception.answer if interception.answer is not None else await self._call(method, caller, request)
        if interception.cut:
            raise ConnectionCut
        if interception.rewrite is None or isinstance(output, EventStream):
            return output
        return interception.rewrite(output)

    async def _call(
        self, method: Callable[..., Any], caller: Caller, request: dict[str, Any]
    ) -> Mapping[str, Any] | EventStream:
        if self._pool is not None:
            output = await asyncio.get_running_loop().run_in_executor(self._pool, method, caller, request)
        else:
            output = method(caller, request)
            if inspect.isawaitable(output):
                output = await output
        return output or {}

    def _internal(self, status: int) -> AwsError:
        text = "The request processing has failed because of an unknown error, exception or failure."
        return AwsError(self._convention.internal, text, status)
