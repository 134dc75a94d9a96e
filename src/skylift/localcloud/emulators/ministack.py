"""Runs ministack inside our process: prepares, loads, watches and saves it. This file, ``states.py``, ``watch.py``,
``metric_store.py`` and ``s3/`` depend on its internals (version pinned: 1.5.33).

ministack is a program with global state that reads its settings from environment variables at import. So there is one
at a time in a process, all settings are in ``_settings``, and its modules are removed at the end, so that the next one
starts fresh.
Here it must never listen on ports, start Docker, run scripts from ``/docker-entrypoint-initaws.d``, write outside our
folder, or print. It does these things in ``main()`` and in its ASGI lifespan, which we never run; the parts of them
that are needed are done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skylift.core.errors import Refused
from skylift.localcloud.damage import Damage, Damaged
from skylift.localcloud.emulators.long_polls import LongPolls
from skylift.localcloud.emulators.metric_store import MetricStore, keep_metrics, keep_none
from skylift.localcloud.emulators.ministack_models import spare
from skylift.localcloud.emulators.s3.transaction import finish
from skylift.localcloud.emulators.saver import Saver
from skylift.localcloud.emulators.states import LOGS, SQS, ServiceStates
from skylift.localcloud.emulators.unavailable import Answer
from skylift.localcloud.emulators.watch import ChangeWatch
from skylift.localcloud.ports import Measured
from skylift.wire.signing.keys import Key

CLOUDWATCH, EVENTS = "cloudwatch", "eventbridge"
EAGER = ("s3", SQS, "secretsmanager", LOGS, CLOUDWATCH, EVENTS, "scheduler", "sts", "iam")
WORKER_THREADS = 32
STORED_PORT = "4566"

_running = False


class Ministack:
    """The embedded emulator.

    Attributes:
        app: its ASGI application, set by ``start``.
    """

    app: Any

    def __init__(self, folder: Path, account: str, region: str, endpoint: str) -> None:
        self._folder = folder
        self._account = account
        self._region = region
        self._endpoint = endpoint
        self._saving: asyncio.Future[Any] | None = None
        self._environment_before: dict[str, str | None] = {}

    async def start(self) -> None:
        """Imports ministack, loads the saved state, and starts to watch and save.

        Raises:
            Refused: one runs in this process already, or a state file cannot be read.
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
        self._saver = Saver(self._folder, self._states)
        self._polls = LongPolls(self.service("sqs"), importlib.import_module("ministack.core.concurrency").esm_wake)
        self._watch = ChangeWatch(self._server, self._states, self._saver)
        self.service("eventbridge").start_scheduler()
        self.service("scheduler").start_scheduler()
        self._saving = asyncio.ensure_future(self._saver.run())

    async def stop(self) -> None:
        """Saves everything and removes the modules. Raises ``OSError`` when something cannot be written."""
        if self._saving is None:
            return
        self._polls.close()
        self._saving.cancel()
        await asyncio.gather(self._saving, return_exceptions=True)
        self._saving = None
        try:
            self._states.folding = True
            await self._saver.save_all()
        finally:
            self._states.close()
            self._metrics.close()
            # Their daemon threads live on, but do nothing because nothing is scheduled.
            self.service("eventbridge").reset()
            self.service("scheduler").reset()
            self._forget()

    def service(self, module: str) -> Any:
        """A service's module, imported at the first call."""
        return self._server._get_module(module)

    def scope(self, region: str = "") -> contextlib.AbstractContextManager[None]:
        """The account and region for in-process calls."""
        scope: contextlib.AbstractContextManager[None] = self._responses.request_scope(
            self._account, region or self._region
        )
        return scope

    def changed(self, *keys: str) -> None:
        """Marks services as changed by something that no request did; they are saved a second later. From any
        thread."""
        self._server._MAIN_LOOP.call_soon_threadsafe(self._saver.touch, *keys)

    def put_metrics(self, measured: Iterable[Measured], times: int = 1) -> None:
        """Stores metric values with the current time, each so many times, without HTTP. Raises ``OSError`` when they
        cannot be written."""
        cloudwatch = self.service(CLOUDWATCH)
        if CLOUDWATCH in self._states.damage:
            return
        with self.scope(), self._metrics.written():
            for one in measured:
                key = one.namespace, one.name, cloudwatch._dims_key(dict(one.dimensions))
                point = {"Timestamp": time.time(), "Value": one.value, "Count": times, "Unit": one.unit}
                cloudwatch._metric_bucket(key).append({**point, "Dimensions": dict(one.dimensions)})
            cloudwatch._evaluate_all_alarms()

    def has_event_rules(self) -> bool:
        """Whether the default bus has an enabled rule with a pattern; true when unknown."""
        if EVENTS in self._states.damage:
            return True
        rules = self.service("eventbridge")._rules
        if not rules._data:
            return False
        with self.scope():
            return any(
                rule.get("State") == "ENABLED" and rule.get("EventPattern") and rule.get("EventBusName") == "default"
                for rule in rules.values()
            )

    def put_event(self, event: Mapping[str, Any]) -> None:
        """Delivers an event of an AWS service (PutEvents would refuse its source). Raises ``Damaged``: the caller must
        put it again."""
        self.check(EVENTS, SQS)
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
        """Returns once a service's current state is on the disk.

        Raises:
            OSError: queues cannot be written (a full disk).
            Damaged: the file on the disk cannot be read, and is not overwritten.
        """
        self.check(key)
        if key == SQS:
            self._states.ledger.write()
        else:
            await self._saver.saved(key)

    def check(self, *keys: str) -> None:
        """Raises ``Damaged`` when the saved state of one of these cannot be read."""
        for key in keys:
            if key in self._states.damage:
                raise Damaged(self._states.damage[key])

    def damage(self) -> list[Damage]:
        """The saved state that cannot be read: whole services, and single objects of S3."""
        return [*self._states.damage.values(), *self._states.objects.values()]

    def find(self, access_key: str, session_token: str) -> Key | None:
        """A key that IAM or STS issued; never one of ministack's "root" keys (``test``, account numbers), which are
        public."""
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
        """Whether IAM or STS issued this key here, valid or not."""
        keys = self.service("iam")._access_keys
        return (
            access_key in self.service("sts")._sessions or keys.get_scoped(self._account, None, access_key) is not None
        )

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
        # Queues are stored under their URLs: with the real port in it, a queue would be lost when the port changes.
        queues = self.service("sqs")
        queues.DEFAULT_PORT, queues._CANONICAL_NETLOC = STORED_PORT, f"{queues.DEFAULT_HOST}:{STORED_PORT}"

    def _settings(self) -> dict[str, str | None]:
        """Environment variables while ministack runs (it imports some modules and reads some variables late); ``None``
        means unset."""
        address = urlsplit(self._endpoint)
        return {
            "MINISTACK_ACCOUNT_ID": self._account,
            "MINISTACK_REGION": self._region,
            # Unset: the URLs of queues then have the host and port that the caller used.
            "MINISTACK_HOST": None,
            "GATEWAY_PORT": str(address.port or 80),
            "STATE_DIR": str(self._folder),
            "PERSIST_STATE": "1",
            "S3_DATA_DIR": str(self._folder / "s3"),
            "S3_PERSIST": "0",  # until its files have been read by ``s3_loading``
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
        finish(self._folder)
        self._states = ServiceStates(self._folder, self._server, self._persistence)
        self._metrics = self._open_metrics()
        self._states.load()

    def _open_metrics(self) -> MetricStore:
        cloudwatch, path = self.service(CLOUDWATCH), self._folder / "metrics.db"
        try:
            return keep_metrics(cloudwatch, self._responses, path)
        except sqlite3.DatabaseError as error:
            without = "CloudWatch then begins without metrics; alarms and dashboards are kept elsewhere."
            self._states.broken(CLOUDWATCH, Damage(path, str(error), "the metrics of CloudWatch", without))
            return keep_none(cloudwatch, self._responses)

    def _forget(self) -> None:
        """Removes its modules and environment variables, for the next one."""
        global _running  # noqa: PLW0603  # see start
        for name in [name for name in sys.modules if name == "ministack" or name.startswith("ministack.")]:
            del sys.modules[name]
        _set_environment(self._environment_before)
        _running = False


def expect_success(answer: Answer) -> dict[str, Any]:
    """The members of a JSON answer. Raises ``Refused`` with AWS's code and message when it is an error."""
    members: dict[str, Any] = json.loads(answer[2] or b"{}")
    if answer[0] >= 400:
        raise Refused(f"{members.get('__type', 'error')}: {members.get('message', members)}")
    return members


def _set_environment(variables: Mapping[str, str | None]) -> dict[str, str | None]:
    """Sets variables (``None`` unsets them); returns their old values."""
    before = {name: os.environ.get(name) for name in variables}
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return before


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Undoes what ``logging.basicConfig`` changes in other logs when ministack is imported."""
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
