"""S3's requests that change objects: on the disk before the answer; or refused, with files and memory unchanged.

Ministack writes objects to files, and continues with a warning when that fails. Here its writes become a transaction
(``transaction.py``), its warnings become failures, and events are sent after the transaction.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from skylift.localcloud.damage import Damage
from skylift.localcloud.emulators.s3.memory import Memory
from skylift.localcloud.emulators.s3.pieces import piece_of, wants_piece
from skylift.localcloud.emulators.s3.rules import refusal_of_key, refusal_of_part
from skylift.localcloud.emulators.s3.transaction import Transaction
from skylift.localcloud.emulators.unavailable import Answer, cannot_write, is_damaged

_CHANGES = frozenset({"PUT", "POST", "DELETE"})
_COPY_SOURCE = "x-amz-copy-source"
_log = logging.getLogger("skylift.localcloud.emulators.others")


class S3Writes:
    """Sits between ministack's S3 and its files.

    Args:
        s3: ministack's module ``services.s3``, whose functions are replaced here.
        folder: of all state.
        damage: from sidecar file to its damage.

    Attributes:
        bucket_state_changed: whether the last request changed what is stored with the buckets (``s3.json``).
    """

    def __init__(self, s3: Any, folder: Path, damage: dict[str, Damage]) -> None:
        self.bucket_state_changed = False
        self._s3 = s3
        self._folder = folder
        self._damage = damage
        self._thread = threading.get_ident()
        self._transaction: Transaction | None = None
        self._trouble: list[Exception] = []
        self._events: list[Callable[[], None]] = []
        self._dispatch, self._fire = s3._dispatch, s3._fire_s3_event_async
        self._write_now, self._remove_now = s3._atomic_write, s3._remove_key_files
        s3.logger = _Listening(s3.logger, self._heard)
        s3._dispatch = self.dispatch
        s3._atomic_write = self._atomic_write
        s3._remove_key_files = self._remove_key_files
        s3._delete_version_file = self._delete_version_file
        s3._fire_s3_event_async = self._fire_later
        self._post, s3._post_object = s3._post_object, self._post_object
        self._form, s3._parse_multipart_form = s3._parse_multipart_form, self._fields_and_file
        # As on AWS since April 2023; ministack does so only where it checks permissions itself.
        s3._new_bucket_public_access_block = lambda: {"_public_access_block": s3._NEW_BUCKET_PUBLIC_ACCESS_BLOCK}
        self._snapshot, s3._object_meta_from_record = s3._object_meta_from_record, self._with_parts
        # Stored with the buckets, because nothing else stores them.
        s3._PERSISTED_BUCKET_DICTS |= {
            "object_retention": s3._object_retention,
            "object_legal_hold": s3._object_legal_hold,
        }

    def dispatch(
        self, method: str, bucket: str, key: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        """Replaces ministack's ``_dispatch``. On the event loop: nothing runs in between."""
        self.bucket_state_changed = False
        places = list(self._places(method, bucket, key, headers, body))
        if refused := self._refusal(places, method, headers, body, query):
            return refused
        for place in [*places, *_source(headers)] if self._damage else ():
            if found := self._damage.get(f"{self._s3._object_disk_path(*place)}.meta.json"):
                return is_damaged("s3", str(found))
        if wants_piece(self._s3, method, key, headers, query):
            plain = {name: value for name, value in headers.items() if name != "range"}
            more = {name: value for name, value in query.items() if name != "partNumber"}
            whole = self._reading(method, bucket, key, plain, body, more)
            return piece_of(self._s3, bucket, key, headers, query, whole)
        if method not in _CHANGES or not places:
            return self._reading(method, bucket, key, headers, body, query)
        locks = self._locks(places)
        memory = Memory(self._s3, [*places, *self._replicas(places)], self._s3._qp(query, "uploadId"))
        self._transaction, self._trouble, self._events = Transaction(self._folder), [], []
        try:
            answer: Answer = self._dispatch(method, bucket, key, headers, body, query)
            if answer[0] < 400 and not self._trouble:
                self._commit()
            else:
                self._transaction.abort()
        except BaseException:
            self._transaction.abort()
            memory.put_back()
            raise
        finally:
            self._transaction = None
        if self._trouble or answer[0] >= 400:  # a refused request may have changed something, too
            memory.put_back()
        if self._trouble:
            _log.warning("S3 cannot write %s/%s: %s", bucket, key, self._trouble[0])
            return cannot_write("s3", self._trouble[0])
        self.bucket_state_changed = locks != self._locks(places)
        for event in self._events:
            event()
        return answer

    def _refusal(
        self,
        places: list[tuple[str, str]],
        method: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
    ) -> Answer | None:
        if "delete" not in query:  # a list of keys to delete is answered key by key
            for _, key in places:
                if refused := refusal_of_key(self._s3, key):
                    return refused
        return refusal_of_part(self._s3, method, headers, body, query)

    def _commit(self) -> None:
        assert self._transaction is not None
        try:
            self._transaction.commit()
        except OSError as error:
            self._transaction.abort()
            self._trouble.append(error)

    def _reading(self, *request: Any) -> Answer:
        """A file that cannot be read is an error, not an empty object."""
        self._trouble = []
        answer: Answer = self._dispatch(*request)
        if self._trouble:
            return is_damaged("s3", f"An object's file cannot be read: {self._trouble[0]}")
        return answer

    def _places(
        self, method: str, bucket: str, key: str, headers: dict[str, str], body: bytes
    ) -> Iterator[tuple[str, str]]:
        """The keys that a request names."""
        form = headers.get("content-type", "")
        if key:
            yield bucket, key
        elif method == "POST" and form.startswith("multipart/form-data"):  # a browser's upload
            fields = {name: (file or "", value) for name, file, _, value in self._s3._parse_multipart_form(form, body)}
            wanted, uploaded = fields.get("key", ("", b""))[1], fields.get("file", ("", b""))[0]
            yield bucket, wanted.decode(errors="replace").replace("${filename}", uploaded)
        elif method == "POST" and bucket:
            yield from ((bucket, name) for name in _named(body))

    def _post_object(self, bucket: str, body: bytes, headers: dict[str, str]) -> Answer:
        """A form's upload. Ministack's answer places the object on AWS."""
        status, told, content = self._post(bucket, body, headers)
        there, here = f"http://{bucket}.s3.amazonaws.com/", f"http://{headers.get('host', '')}/{bucket}/"
        if told.get("Location", "").startswith(there):
            told = {**told, "Location": told["Location"].replace(there, here, 1)}
        return status, told, content.replace(f">{there}".encode(), f">{here}".encode())

    def _fields_and_file(self, content_type: str, body: bytes) -> list[tuple[Any, ...]]:
        """The fields of a form. Those after the file are ignored, and no policy that is signed covers them."""
        parts: list[tuple[Any, ...]] = self._form(content_type, body)
        end = next((number for number, part in enumerate(parts, 1) if part[0] == "file"), len(parts))
        return parts[:end]

    def _with_parts(self, record: dict[str, Any]) -> dict[str, Any]:
        """What is stored of an object, and of what parts it was made."""
        return {**self._snapshot(record), **({"parts": record["parts"]} if record.get("parts") else {})}

    def _replicas(self, places: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for bucket, key in places:
            for rule in (self._s3._bucket_replication.get(bucket) or {}).get("Rules", ()):
                arn = str((rule.get("Destination") or {}).get("Bucket", ""))
                yield arn.rpartition(":")[2], key

    def _locks(self, places: list[tuple[str, str]]) -> list[Any]:
        """The retention and legal holds of the keys, by version."""
        stores = self._s3._object_retention, self._s3._object_legal_hold
        if not any(store._data for store in stores):
            return []
        wanted = set(places)
        return [{name: str(one) for name, one in store.items() if name[:2] in wanted} for store in stores]

    def _mine(self) -> bool:
        """Whether a transaction is open, and this is not one of ministack's own threads."""
        return self._transaction is not None and threading.get_ident() == self._thread

    def _atomic_write(self, path: str, data: Any, *, text: bool = False) -> None:
        if not self._mine():
            return self._write_now(path, data, text=text)  # type: ignore[no-any-return]
        assert self._transaction is not None
        self._transaction.write(path, data.encode() if text else data)
        return None

    def _remove_key_files(self, path: str | None) -> None:
        if not self._mine():
            return self._remove_now(path)  # type: ignore[no-any-return]
        for one in (path, f"{path}.meta.json") if path else ():
            self._remove(one)
        return None

    def _delete_version_file(self, bucket: str, key: str, version: str) -> None:
        path = self._s3._version_disk_path(bucket, key, version)
        if path is not None:
            self._remove(path)

    def _remove(self, path: str) -> None:
        if not os.path.isfile(path):
            return
        if self._mine():
            assert self._transaction is not None
            self._transaction.remove(path)
        else:
            os.unlink(path)

    def _fire_later(self, *args: Any, **kwargs: Any) -> None:
        if self._mine():
            self._events.append(lambda: self._fire(*args, **kwargs))
        else:
            self._fire(*args, **kwargs)

    def _heard(self, message: str, args: tuple[Any, ...]) -> None:
        """Ministack warns of a failed file, and continues."""
        if message.startswith("Failed to ") and threading.get_ident() == self._thread:
            self._trouble.append(args[-1] if args and isinstance(args[-1], Exception) else OSError(message))


class _Listening:
    """Ministack's logger, but with a listener for its warnings."""

    def __init__(self, logger: Any, heard: Callable[[str, tuple[Any, ...]], None]) -> None:
        self._logger = logger
        self._heard = heard

    def warning(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Calls the listener, and logs warnings that the caller does not get anyway."""
        self._heard(message, args)
        self._logger.debug(message, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)


def _source(headers: dict[str, str]) -> Iterator[tuple[str, str]]:
    bucket, _, key = unquote(headers.get(_COPY_SOURCE, "").partition("?")[0].lstrip("/")).partition("/")
    if key:
        yield bucket, key


def _named(body: bytes) -> list[str]:
    """The keys of a DeleteObjects request."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - as ministack reads it after us
    except ElementTree.ParseError:
        return []
    return [one.text for one in root.iter() if one.tag.rpartition("}")[2] == "Key" and one.text]
