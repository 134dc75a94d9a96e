"""Takes over the logs of an older skylift's state folder, once: its whole file and the journals that continue it.

They were one JSON file, in the emulator's format, and lines of requests. All of it goes into one transaction; then the
old files are renamed to ``*.taken-over``, so that nothing is lost and nothing is read twice.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from skylift.localcloud.damage import damaged
from skylift.localcloud.emulators.journal import Journal
from skylift.localcloud.emulators.whole_file import journal_number, read_whole
from skylift.localcloud.logs.batches import pack
from skylift.localcloud.logs.groups import METRIC_FILTER
from skylift.localcloud.logs.records import DESTINATION, POLICY
from skylift.localcloud.logs.store import LogStore
from skylift.localcloud.logs.subscriptions import SUBSCRIPTION

HOLDS = "log groups and log lines of CloudWatch Logs"
TAKEN = "taken-over"
WITHOUT = "Log lines of before are lost then."
_FORMAT = 3
_AT_ONCE = 5_000
"""Events of one batch."""
_MOST_TEXT = 1_000_000
Replay = Callable[[float, str, Mapping[str, Any]], None]
"""Performs an operation as at a time (seconds since the epoch), by its name and its request; a refusal is no error."""


def take_over(folder: Path, store: LogStore, account: str, region: str, replay: Replay) -> None:
    """Does it, if there is something to take over. Raises ``Damaged``; nothing is changed then.

    Args:
        folder: of the older skylift's files.
        account: only its logs, of this region: clients can ask for no others.
    """
    whole = folder / "cloudwatch_logs.json"
    journal = Journal(folder, "logs", journal_number(whole), holds=HOLDS)
    old = [*folder.glob("logs-*.journal"), *(path for path in (whole,) if path.exists())]
    if not old:
        return
    if not store.noted(TAKEN):
        with store.writing():
            if whole.exists():
                _load(read_whole(whole, _FORMAT, _hook, HOLDS, WITHOUT), store, (account, region), whole)
            _play(journal, folder, replay, (account, region))
            store.note(TAKEN)
    journal.close()
    for path in old:
        path.replace(path.with_name(f"{path.name}.{TAKEN}"))


class _Scoped(dict[tuple[str, ...], Any]):
    """One of the emulator's dicts: account, region (not in the oldest files) and key, to a value."""


def _hook(found: dict[str, Any]) -> Any:
    if not found.get("__account_region_scoped__") and not found.get("__scoped__"):
        return found
    splits = 2 if found.get("__account_region_scoped__") else 1
    scoped = _Scoped()
    for key, value in found["data"].items():
        *scope, name = key.split("\0", splits)
        scoped[(*scope, name)] = value
    return scoped


def _of(saved: Mapping[str, Any], name: str, scope: tuple[str, str]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The things of one kind, in our account and region, with their keys."""
    for key, value in saved.get(name, {}).items():
        parts = key if isinstance(key, tuple) else (key,)
        if parts[:-1] in {scope, scope[:1], ()}:
            yield _literal(parts[-1]), value


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _load(saved: Mapping[str, Any], store: LogStore, scope: tuple[str, str], path: Path) -> None:
    try:
        for name, one in _of(saved, "log_groups", scope):
            _load_group(store, name, one)
        for kind, stored in ((METRIC_FILTER, "metric_filters"), (DESTINATION, "destinations")):
            for _, one in _of(saved, stored, scope):
                in_group = kind == METRIC_FILTER
                store.put_document(
                    kind,
                    one["filterName" if in_group else "destinationName"],
                    one,
                    one["logGroupName"] if in_group else "",
                )
        for name, one in [*_of(saved, "resource_policies", scope), *_of(saved, "log_group_policies", scope)]:
            key = one.get("resourceArn") or one.get("policyName") or name
            store.put_document(POLICY, key, {"policyScope": "ACCOUNT", "revisionId": "1", **one, "key": key})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"its content is not what is kept there: {type(error).__name__}: {error}"
        raise damaged(path, why, HOLDS, WITHOUT) from error


def _load_group(store: LogStore, name: str, one: Mapping[str, Any]) -> None:
    more = {key: one[key] for key in ("tags", "kmsKeyId", "logGroupClass") if one.get(key) is not None}
    group = store.add_group(name, more, int(one["creationTime"]))
    if one.get("retentionInDays"):
        store.change_group(group, retention=int(one["retentionInDays"]))
    for filter_name, body in one.get("subscriptionFilters", {}).items():
        store.put_document(SUBSCRIPTION, filter_name, body, name)
    for stream_name, stream in one["streams"].items():
        made = store.add_stream(group, stream_name, int(stream["creationTime"]))
        for events in _pieces(sorted(stream["events"], key=lambda event: int(event["timestamp"]))):
            times = [int(event["timestamp"]) for event in events]
            store.append(group, made, times, pack(times, [str(event["message"]) for event in events]))


def _pieces(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    piece, length = list[dict[str, Any]](), 0
    for event in events:
        if piece and (len(piece) >= _AT_ONCE or length > _MOST_TEXT):
            yield piece
            piece, length = [], 0
        piece.append(event)
        length += len(event["message"])
    if piece:
        yield piece


def _play(journal: Journal, folder: Path, replay: Replay, scope: tuple[str, str]) -> None:
    for entry in journal.entries():
        try:
            at, account, region, action, request = entry
            if (account, region) == scope:
                replay(float(at), str(action), dict(request))
        except (TypeError, ValueError) as error:
            path = folder / f"logs-{journal.number:08d}.journal"
            raise damaged(path, f"a line is not what is written there: {json.dumps(entry)[:100]}", HOLDS) from error
