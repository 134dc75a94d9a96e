"""The state of ministack's services: loads it, with damaged parts set apart; copies it for saving; restores it when
saving fails.

Like ``ministack.py``, this file depends on ministack's internals.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.localcloud.damage import Damage, Damaged, copy_of
from skylift.localcloud.emulators.journal import Journal
from skylift.localcloud.emulators.queue_ledger import QueueLedger
from skylift.localcloud.emulators.s3.loading import load_objects
from skylift.localcloud.emulators.table import TABLE
from skylift.localcloud.emulators.whole_file import journal_number, read_whole, whole

S3, SQS, LOGS, SESSIONS = "s3", "sqs", "cloudwatch_logs", "sts_sessions"
FOLD_BYTES = 1_000_000
"""SQS's journal is compacted into the whole file once it is longer than this, and than the whole."""

TRIMMED = frozenset({"documentdb", "dsql", "ec2", "ecs", "eks", "elasticache", "lambda", "mwaa", "rds"})
"""Services whose ``get_state`` removes something from its copy: they must get a real copy."""

_KEEPS_FILES = {"cognito": "_POOL_KEYS_DIR"}
"""Services whose ``reset`` deletes files, with the folder's name in the module."""

_TRIES = 5
_log = logging.getLogger("skylift.localcloud.emulators.others")


@dataclass(frozen=True)
class _Taken:
    """A state to write: JSON already, or a copy still to encode; and the number of the journal that continues it."""

    state: Any
    journal: int | None = None


class ServiceStates:
    """What the saver saves (``saver.States``).

    Attributes:
        damage: from a state's name to the damage of its file. Such a state is neither served nor written.
        objects: from an S3 object's sidecar to its damage.
        ledger: of SQS.
        folder: of all state.
        folding: whether to write SQS whole, at the end.
    """

    def __init__(self, folder: Path, server: Any, persistence: Any) -> None:
        self.damage: dict[str, Damage] = {}
        self.objects: dict[str, Damage] = {}
        self.folder = folder
        self.folding = False
        self._server = server
        self._persistence = persistence
        number = journal_number(self._path(SQS))
        self._queue_lines = Journal(folder, SQS, number, persistence._json_default, "the queues and messages of SQS")
        sqs = self._module(SQS)

        def reindex() -> None:
            sqs._queue_name_to_url.clear()
            sqs._rebuild_queue_name_index()

        self.ledger = QueueLedger(sqs._queues._data, reindex, self._queue_lines)

    def load(self) -> None:
        """Reads everything but logs, which are ours; what cannot be read goes to ``damage``."""
        self.objects.update(load_objects(self._module(S3), str(self.folder / S3)))
        for key, module in self._server._state_map.items():
            if key != LOGS and self._path(key).exists():
                self._load(key, module)
        if self._path(SESSIONS).exists():
            self._load(SESSIONS, "sts")
        if SQS not in self.damage:
            self._play_queues()

    def broken(self, key: str, damage: Damage) -> None:
        """Stops serving a state whose file or journal cannot be read."""
        self.damage[key] = damage
        _log.error("%s", damage)

    # Called by the saver.

    def keys(self) -> Iterable[str]:
        """Services in memory."""
        return [*(key for key in self._server._build_persistence_save_dict() if key != LOGS), SESSIONS]

    def snapshot(self, key: str) -> Any:
        """A service's state."""
        if key in self.damage:
            return None
        if key == SESSIONS:
            return _Taken(dict(self._module("sts")._sessions))
        take = self._server._build_persistence_save_dict().get(key)
        if take is None:
            return None
        if key == SQS and not self._queues_fold():
            return None
        taken = self._taken(key, take)
        if key == SQS and taken is not None:
            self.ledger.whole_is_written()
            return _Taken(taken.state, self._queue_lines.next())
        return taken

    def encode(self, key: str, snapshot: Any) -> bytes:
        """The file's content."""
        state = snapshot.state
        payload = state if isinstance(state, bytes) else self._json(state)
        return whole(self._version(key), payload, snapshot.journal)

    def written(self, key: str) -> None:
        """Removes the journal before a whole file."""
        if key == SQS:
            self._queue_lines.forget_before(journal_number(self._path(SQS)))

    def roll_back(self, key: str) -> None:
        """Restores the state as after a restart of this service alone."""
        try:
            if key != SQS:  # it writes before it answers, and undoes its own changes
                self._take_back(key)
        except Exception:  # noqa: BLE001 - whoever asked is told of the full disk, not of this
            _log.exception("the state of %s cannot be taken back", key)

    def close(self) -> None:
        """Closes the journal."""
        self._queue_lines.close()

    def _take_back(self, key: str) -> None:
        saved = self._read(key) if self._path(key).exists() else {}
        if key == SESSIONS:
            sessions = self._module("sts")._sessions
            sessions.clear()
            sessions.update(saved)
        elif key == S3:
            _take_back_buckets(self._module(S3), saved)
        else:
            module = self._module(self._server._state_map[key])
            self._reset(key, module)
            if saved:
                module.load_persisted_state(saved)

    def _reset(self, key: str, module: Any) -> None:
        folder = _KEEPS_FILES.get(key)
        kept = getattr(module, folder) if folder else ""
        if folder:
            setattr(module, folder, f"{kept}/there-is-none")
        try:
            module.reset()
        finally:
            if folder:
                setattr(module, folder, kept)

    def _load(self, key: str, module: str) -> None:
        try:
            saved = self._read(key)
            if key == SESSIONS:
                self._module(module)._sessions.update(saved)
                return
            loaded = self._module(module)
            # Lambda's own reset deletes the code of functions that it does not know yet.
            known = {"functions"} if key == "lambda" else set(loaded.get_state() or ())
            if saved and known and not known & set(saved):
                raise ValueError("it holds nothing that it should")
            if saved:
                loaded.load_persisted_state(saved)
        except Damaged as error:
            self.broken(key, error.damage)
        except Exception as error:  # noqa: BLE001 - whatever ministack makes of what is not its own state
            path = self._path(key)
            copy_before = copy_of(path) if copy_of(path).exists() else None
            why = f"its content is not what is kept there: {type(error).__name__}: {error}"
            self.broken(key, Damage(path, why, *_words(key), copy_before))

    def _play_queues(self) -> None:
        try:
            self.ledger.load(self._queue_lines.entries(self._persistence._json_object_hook))
        except Damaged as error:
            self.broken(SQS, error.damage)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            path = self.folder / f"{SQS}-{self._queue_lines.number:08d}.journal"
            self.broken(SQS, Damage(path, f"a line is not what is written there: {error!r}", *_words(SQS)))

    def _read(self, key: str) -> Any:
        hook = self._persistence._json_object_hook
        return read_whole(self._path(key), self._version(key), hook, *_words(key))

    def _queues_fold(self) -> bool:
        """Writes the changes to the journal; returns whether the whole file must be written."""
        path = self._path(SQS)
        self.ledger.write()
        size = path.stat().st_size if path.exists() else 0
        return self.folding or self._queue_lines.size > max(FOLD_BYTES, size)

    def _taken(self, key: str, take: Any) -> _Taken | None:
        """Encodes at once, without ``get_state``'s deep copy, which takes ten times as long; a service that needs a
        real copy gets one."""
        if key in TRIMMED:
            state = take()
            return _Taken(state) if state is not None else None
        module = self._module(self._server._state_map[key])
        for left in reversed(range(_TRIES)):
            try:
                state = _live(module, take)
                return _Taken(self._json(state)) if state is not None else None
            except RuntimeError:  # one of ministack's threads changed it meanwhile
                if not left:
                    raise
        return None

    def _json(self, state: Any) -> bytes:
        return json.dumps(state, default=self._persistence._json_default).encode()

    def _version(self, key: str) -> int:
        return int(self._persistence._state_format_version(key))

    def _module(self, name: str) -> Any:
        return self._server._get_module(name)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


class _NoCopy:
    """Replaces the module ``copy``: what is encoded at once needs no copy."""

    copy = staticmethod(copy.copy)

    @staticmethod
    def deepcopy(value: Any, _memo: Any = None) -> Any:
        """Returns the same object."""
        return value


def _live(module: Any, take: Any) -> Any:
    if not hasattr(module, "copy"):
        return take()
    module.copy, before = _NoCopy, module.copy
    try:
        return take()
    finally:
        module.copy = before


def _take_back_buckets(s3: Any, saved: Mapping[str, Any]) -> None:
    """Restores the buckets without their objects, which are files."""
    kept = saved["buckets_meta"]._data if "buckets_meta" in saved else {}
    buckets = s3._buckets._data
    for name in [name for name, record in buckets.items() if name not in kept and not record["objects"]]:
        del buckets[name]
    for name, record in kept.items():
        objects = buckets.get(name, {}).get("objects", {})
        buckets[name] = {**record, "objects": objects}
    for name, store in s3._PERSISTED_BUCKET_DICTS.items():
        store._data.clear()
        if name in saved:
            store._data.update(saved[name]._data)


def _words(key: str) -> tuple[str, str]:
    """What a state contains, and what is missing without it."""
    names = {SESSIONS: "sts", "lambda": "lambda", "lambda_durable": "lambda", "ses_v2": "ses"}
    name = names.get(key) or next((row.names[0] for row in TABLE if row.module == key), key)
    return f"the state of {name}", f"{name} then begins with nothing."
