"""Ministack inside our process: prepared, loaded, watched, saved. The only file that knows its insides (pinned: 1.5.33).

ministack is a program with global state that reads its settings from environment variables while it is imported. So: one at a time in
a process, settings in one place (``_settings``), and the modules are forgotten at the end, so that a next one begins afresh.
What it must never do here: listen on ports, start Docker, run scripts from ``/docker-entrypoint-initaws.d``, write outside our folder,
print. It does those in ``main()`` and in its ASGI lifespan, which are never run; what of them is needed is done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skylift.core.errors import Refused
from skylift.localcloud.emulators.changes import action_of, promised, touched
from skylift.localcloud.emulators.crashes import caught
from skylift.localcloud.emulators.log_journal import Change, JournalTime, LogJournal, replay
from skylift.localcloud.emulators.log_keeping import LogKeeping, copied, journal_number
from skylift.localcloud.emulators.log_sizes import count_once
from skylift.localcloud.emulators.long_polls import LongPolls
from skylift.localcloud.emulators.ministack_models import spare
from skylift.localcloud.emulators.saver import Saver
from skylift.wire.keys import Key

LOGS = "cloudwatch_logs"
SESSIONS = "sts_sessions"
EAGER = ("s3", "sqs", "secretsmanager", LOGS, "eventbridge", "scheduler", "sts", "iam")
WORKER_THREADS = 32
STORED_PORT = "4566"
MOST_LOG_RECORDS = 2_000
NOT_JOURNALLED = frozenset({"StartLiveTail", "StartQuery", "StopQuery"})
"""Operations on logs that change no logs; a live tail goes on while others are served."""

Answer = tuple[int, dict[str, str], Any]
Operation = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Answer]]

_running = False


class Ministack:
    """The embedded emulator.

    Attributes:
        app: its ASGI application; there after ``start``.
    """

    app: Any

    def __init__(self, folder: Path, account: str, region: str, endpoint: str) -> None:
        self._folder = folder
        self._account = account
        self._region = region
        self._endpoint = endpoint
        self._journal = LogJournal(folder, 0)
        self._log_time = JournalTime()
        self._saving: asyncio.Future[Any] | None = None
        self._environment_before: dict[str, str | None] = {}

    async def start(self) -> None:
        """Imports ministack, loads what was saved, and begins to watch and save.

        Raises:
            Refused: one runs in this process already, or a file of state cannot be read.
        """
        global _running  # noqa: PLW0603  # ministack's state is the module's: so is whether it is in use
        if _running:
            raise Refused(
                "ministack runs in this process already: it keeps its state in globals. Stop the other one first."
            )
        _running = True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._import()
            await self._load()
        except BaseException:
            self._forget()
            raise
        self._saver = Saver(self._folder, self, unswept=frozenset({LOGS}))
        self._keeping = LogKeeping(
            self._folder / f"{LOGS}.json",
            self._journal,
            self.service(LOGS)._log_groups._data.values,
            lambda: self.saved(LOGS),
            time.time,
        )
        self._polls = LongPolls(self.service("sqs"), importlib.import_module("ministack.core.concurrency").esm_wake)
        self._watch()
        self.service("eventbridge").start_scheduler()
        self.service("scheduler").start_scheduler()
        self._saving = asyncio.gather(self._saver.run(), self._keeping.run())

    async def stop(self) -> None:
        """Saves everything and forgets the modules. Raises ``OSError`` when something cannot be written."""
        if self._saving is None:
            return
        self._polls.close()
        self._saving.cancel()
        await asyncio.gather(self._saving, return_exceptions=True)
        self._saving = None
        try:
            await self._saver.save_all()
            self._journal.forget_before(self._journal.number)
        finally:
            self._journal.close()
            # Their daemon threads live on; with nothing scheduled they do nothing.
            self.service("eventbridge").reset()
            self.service("scheduler").reset()
            self._forget()

    def service(self, module: str) -> Any:
        """A service's module, imported when it is first asked for."""
        return self._server._get_module(module)

    def scope(self, region: str = "") -> contextlib.AbstractContextManager[None]:
        """The account and region in which in-process calls act."""
        scope: contextlib.AbstractContextManager[None] = self._responses.request_scope(
            self._account, region or self._region
        )
        return scope

    def log(self, action: str, request: Mapping[str, Any], region: str = "") -> None:
        """Performs an operation that changes CloudWatch Logs, journalled, without HTTP.

        Raises:
            Refused: the operation was refused; the text is AWS's code and message.
            OSError: the journal cannot be written.
        """
        logs = self.service(LOGS)
        operation = {
            "CreateLogGroup": logs._create_log_group,
            "CreateLogStream": logs._create_log_stream,
            "PutLogEvents": logs._put_log_events,
        }[action]
        now = time.time()
        with self.scope(region), self._log_time.pinned(now):
            expect_success(operation(request))
        self._trim_log_records()
        self._journal.append(Change(now, self._account, region or self._region, action, request))
        self._keeping.grown()

    def has_event_rules(self) -> bool:
        """Whether an enabled rule with a pattern is on the default bus."""
        rules = self.service("eventbridge")._rules
        if not rules._data:
            return False
        with self.scope():
            return any(
                rule.get("State") == "ENABLED" and rule.get("EventPattern") and rule.get("EventBusName") == "default"
                for rule in rules.values()
            )

    def put_event(self, event: Mapping[str, Any]) -> None:
        """Delivers an event of an AWS service; PutEvents would refuse its source."""
        bridge = self.service("eventbridge")
        record = {
            "EventId": event["id"],
            "Source": event["source"],
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
            "EventBusName": "default",
            "Time": int(event["time"]),
            "Resources": event["resources"],
            "Account": event["account"],
            "Region": event["region"],
        }
        with self.scope(event["region"]):
            view = bridge._pattern_event_view(record)
            bridge._dispatch_event(record, view)
            bridge._archive_event(record, view)

    async def saved(self, key: str) -> None:
        """Returns once a service's state as it is now is on the disk."""
        await self._saver.saved(key)

    def find(self, access_key: str, session_token: str) -> Key | None:
        """A key that IAM or STS issued; never one of ministack's "root" keys (``test``, account numbers), which anybody knows."""
        if self._credentials.is_root_access_key(access_key):
            return None
        found = self._credentials.resolve_credential(access_key, self._account, session_token)
        if isinstance(found, self._credentials.ResolvedCredential):
            token = found.session_token or ""
            return Key(access_key, found.secret_access_key, found.principal_arn, token, found.expiration)
        session = self.service("sts")._sessions.get(access_key)
        if session is None or found.code != "ExpiredTokenException" or session["SessionToken"] != session_token:
            return None
        return Key(access_key, session["SecretAccessKey"], session["Arn"], session_token, session["Expiration"])

    def issued(self, access_key: str) -> bool:
        """Whether IAM or STS issued this key here, good or not."""
        keys = self.service("iam")._access_keys
        return (
            access_key in self.service("sts")._sessions or keys.get_scoped(self._account, None, access_key) is not None
        )

    # What the saver asks.

    def keys(self) -> Iterable[str]:
        """Services in memory."""
        return [*self._server._build_persistence_save_dict(), SESSIONS]

    def snapshot(self, key: str) -> Any:
        """A service's state; for logs also the number of the journal that goes on from it."""
        if key == SESSIONS:
            return dict(self.service("sts")._sessions)
        take = self._server._build_persistence_save_dict().get(key)
        if key == LOGS and take is not None:
            state = copied(self.service(LOGS)._log_groups._data, take)
            return {"journal": self._journal.next(), "state": {**state, "log_records": {}}}
        return take() if take is not None else None

    def encode(self, key: str, snapshot: Any) -> bytes:
        """As ministack's own ``save_state`` writes it (``json.dumps`` of the whole is the fast way)."""
        whole: dict[str, Any] = {"__ministack_format__": self._persistence._state_format_version(key)}
        if key == LOGS:
            whole["journal"] = snapshot["journal"]
            snapshot = snapshot["state"]
        return json.dumps({**whole, "payload": snapshot}, default=self._persistence._json_default).encode()

    def _import(self) -> None:
        self._environment_before = _set_environment(self._settings())
        with _quiet_root_logger():
            self._responses = importlib.import_module("ministack.core.responses")
            spare(self._responses)
            self._server: Any = importlib.import_module("ministack.app")
            for module in EAGER:
                self._server._get_module(module)
        self._persistence = importlib.import_module("ministack.core.persistence")
        self._credentials = importlib.import_module("ministack.core.iam_evaluator")
        self.app = self._server.app
        # Queues are stored under URLs: with the real port in them they would be lost to a server on another port.
        queues = self.service("sqs")
        queues.DEFAULT_PORT, queues._CANONICAL_NETLOC = STORED_PORT, f"{queues.DEFAULT_HOST}:{STORED_PORT}"

    def _settings(self) -> dict[str, str | None]:
        """Environment variables while ministack runs (some modules are imported, and some variables read, late); ``None`` = unset."""
        address = urlsplit(self._endpoint)
        return {
            "MINISTACK_ACCOUNT_ID": self._account,
            "MINISTACK_REGION": self._region,
            # Unset: then the URLs of queues have the host and port that the caller used.
            "MINISTACK_HOST": None,
            "GATEWAY_PORT": str(address.port or 80),
            "STATE_DIR": str(self._folder),
            "PERSIST_STATE": "1",
            "S3_DATA_DIR": str(self._folder / "s3"),
            "S3_PERSIST": "1",
            "DOCKER_HOST": f"unix://{self._folder}/there-is-no-docker.sock",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "BIND_HOST": "127.0.0.1",
            "LOG_LEVEL": "WARNING",
            "AUTH": "false",
            "SERVICES": None,
            "LOCALSTACK_PERSISTENCE": None,
        }

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()
        self._server._MAIN_LOOP = loop
        loop.set_default_executor(ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="rest"))
        self._server.load_state = self._load_state
        self._server._load_persisted_state()
        if (self._folder / f"{SESSIONS}.json").exists():
            self.service("sts")._sessions.update(self._load_state(SESSIONS))
        await self._replay_logs()

    def _load_state(self, key: str) -> Any:
        """What was saved. ministack itself would go on without what it cannot read, and the next save would destroy it."""
        state, path = self._persistence.load_state(key), self._folder / f"{key}.json"
        if state is None and path.exists():
            raise Refused(
                f"{path} cannot be read (damaged, or of a newer ministack). Move it away to begin without it."
            )
        return state

    async def _replay_logs(self) -> None:
        whole = self._folder / f"{LOGS}.json"
        if whole.exists():
            self._journal = LogJournal(self._folder, journal_number(whole))
        logs = self.service(LOGS)
        delivered = logs._fanout_to_subscription_filters
        logs.time, logs._fanout_to_subscription_filters = self._log_time, lambda *_: None
        try:
            if await replay(self._journal.changes(), self._log_time, self._play):
                self._journal.next()
        finally:
            logs._fanout_to_subscription_filters = delivered

    async def _play(self, change: Change) -> None:
        headers = {"x-amz-target": f"Logs_20140328.{change.action}"}
        with self._responses.request_scope(change.account, change.region):
            await self.service(LOGS).handle_request("POST", "/", headers, json.dumps(change.request).encode(), {})

    def _forget(self) -> None:
        """Makes room for the next one: its modules and environment variables go."""
        global _running  # noqa: PLW0603  # see start
        for name in [name for name in sys.modules if name == "ministack" or name.startswith("ministack.")]:
            del sys.modules[name]
        _set_environment(self._environment_before)
        _running = False

    def _watch(self) -> None:
        """Puts an observer around every service's operations, where requests have been decoded already."""
        count_once(self.service(LOGS))
        operations: MutableMapping[str, Operation] = self._server.SERVICE_HANDLERS
        for name, row in self._server.SERVICE_REGISTRY.items():
            watched = self._journalled if (module := row["module"]) == LOGS else self._saved
            operations[name] = watched(row.get("state_key", module), caught(operations[name], files=module == "s3"))

    def _saved(self, key: str, operation: Operation) -> Operation:
        async def perform(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
        ) -> Answer:
            answer = await operation(method, path, headers, body, query)
            if answer[0] < 400:
                action = action_of(path, headers, body, query)
                changed = self._files_of(touched(key, method, path, action, _length(answer)))
                self._saver.touch(*changed)
                await self._saver.keep(*promised(key, action, changed))
            return answer

        return perform

    def _files_of(self, modules: tuple[str, ...]) -> list[str]:
        if "*" in modules:
            return [key for key in self.keys() if key != LOGS]
        return [SESSIONS if module == "sts" else module for module in modules]

    def _journalled(self, key: str, operation: Operation) -> Operation:
        async def perform(
            method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]
        ) -> Answer:
            action, now = action_of(path, headers, body, query), time.time()
            if action in NOT_JOURNALLED:
                return await operation(method, path, headers, body, query)
            with self._log_time.pinned(now):
                answer = await operation(method, path, headers, body, query)
            if answer[0] < 400 and touched(key, method, path, action, _length(answer)):
                account, region = self._responses.get_account_id(), self._responses.get_region()
                self._journal.append(Change(now, account, region, action, json.loads(body or b"{}")))
                self._trim_log_records()
                self._keeping.grown()
            return answer

        return perform

    def _trim_log_records(self) -> None:
        """ministack keeps every log line twice; the second copy only serves GetLogRecord, and queries make it anew."""
        records = self.service(LOGS)._log_records._data
        if len(records) > MOST_LOG_RECORDS:
            records.clear()


def expect_success(answer: Answer) -> dict[str, Any]:
    """The members of a JSON answer. Raises ``Refused`` with AWS's code and message when it is an error."""
    members: dict[str, Any] = json.loads(answer[2] or b"{}")
    if answer[0] >= 400:
        raise Refused(f"{members.get('__type', 'error')}: {members.get('message', members)}")
    return members


def _length(answer: Answer) -> int:
    return len(answer[2]) if isinstance(answer[2], bytes | str) else 0


def _set_environment(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """Sets (or, with ``None``, unsets) variables; returns what they were."""
    before = {name: os.environ.get(name) for name in variables}
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Takes back what ``logging.basicConfig`` does to everybody else's log when ministack is imported."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for added in [one for one in root.handlers if one not in handlers]:
            root.removeHandler(added)
        root.setLevel(level)
        logging.getLogger("ministack").setLevel(logging.WARNING)
        logging.getLogger("persistence").setLevel(logging.WARNING)
