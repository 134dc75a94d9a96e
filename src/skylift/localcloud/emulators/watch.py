"""Wraps every operation of ministack: refuses damaged state, and answers only once the changes are on the disk.

Like ``ministack.py`` and ``states.py``, this file depends on ministack's internals. Requests have been decoded already
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from skylift.localcloud.emulators.changes import action_of, is_read, promised, touched
from skylift.localcloud.emulators.crashes import caught
from skylift.localcloud.emulators.s3.writes import S3Writes
from skylift.localcloud.emulators.saver import Saver
from skylift.localcloud.emulators.states import LOGS, S3, SESSIONS, SQS, ServiceStates
from skylift.localcloud.emulators.unavailable import Answer, cannot_write, is_damaged

Operation = Callable[..., Awaitable[Answer]]
"""Gets method, path, headers, body and query."""


class ChangeWatch:
    """Wraps all operations."""

    def __init__(
        self,
        server: Any,
        states: ServiceStates,
        saver: Saver,
    ) -> None:
        self._server = server
        self._states = states
        self._saver = saver
        self._s3 = S3Writes(server._get_module(S3), states.folder, states.objects)
        self._loop = asyncio.get_running_loop()
        self._keys: dict[str, tuple[str, ...]] = {}
        for row in server.SERVICE_REGISTRY.values():
            module, more = row["module"], tuple(row.get("sub_modules", ()))
            self._keys |= {module: (row.get("state_key", module), *more), **{name: (name,) for name in more}}
        self._watched: set[str] = set()
        self._get: Callable[[str], Any] = server._get_module
        server._get_module = self._module

    def _module(self, name: str) -> Any:
        """Replaces ministack's ``_get_module``, through which all requests go to their module."""
        module = self._get(name)
        if name != LOGS and name in self._keys and name not in self._watched and hasattr(module, "handle_request"):
            self._watched.add(name)
            operation = caught(module.handle_request, files=name == S3)
            module.handle_request = self._unless_damaged(self._keys[name], operation)
        return module

    def _unless_damaged(self, keys: tuple[str, ...], operation: Operation) -> Operation:
        perform = self._saved(keys, operation)
        names = (SESSIONS,) if keys == ("sts",) else keys

        async def answered(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]], **more: Any
        ) -> Answer:
            for name in names:
                if name in self._states.damage:
                    return is_damaged(keys[0], str(self._states.damage[name]))
            if asyncio.get_running_loop() is not self._loop:  # one of ministack's threads, with its own loop
                self._loop.call_soon_threadsafe(self._saver.touch, *names)
                return await operation(method, path, headers, body, query, **more)
            return await perform(method, path, headers, body, query, **more)

        return answered

    def _saved(self, keys: tuple[str, ...], operation: Operation) -> Operation:
        key = keys[0]

        async def perform(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]], **more: Any
        ) -> Answer:
            action = action_of(path, headers, body, query)
            if not is_read(action, method):
                self._states.ledger.note()
            self._s3.bucket_state_changed = False
            answer = await operation(method, path, headers, body, query, **more)
            if answer[0] >= 400:
                return answer
            changed = self._files_of(touched(key, method, path, action, _length(answer)), keys)
            if key == S3 and self._s3.bucket_state_changed:
                changed.append(S3)
            try:
                await self._keep(promised(key, action, changed), changed)
            except OSError as error:
                return cannot_write(key, error)
            return answer

        return perform

    async def _keep(self, promised: list[str], changed: list[str]) -> None:
        """Returns once what must be on the disk is there; the rest follows soon. Raises ``OSError``: then the change is
        neither on the disk nor in memory."""
        self._saver.touch(*(name for name in changed if name not in promised))
        others = [name for name in promised if name != SQS]
        if SQS not in promised:
            return await self._saver.keep(*others)
        take_back = self._states.ledger.keep()
        try:
            await self._saver.keep(*others)
        except OSError:
            take_back()
            raise
        self._saver.touch(SQS)  # its journal may be long enough to be compacted
        return None

    def _files_of(self, modules: tuple[str, ...], own: tuple[str, ...]) -> list[str]:
        if "*" in modules:
            return [name for name in self._states.keys() if name != LOGS]  # noqa: SIM118  # not a dict
        names = [own if module == own[0] else (SESSIONS if module == "sts" else module,) for module in modules]
        return [SESSIONS if name == "sts" else name for group in names for name in group]


def _length(answer: Answer) -> int:
    return len(answer[2]) if isinstance(answer[2], bytes | str) else 0
