"""Copies ministack's memory of a few S3 keys, to restore it when the request that changed them could not be written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

_PER_VERSION = ("_object_tags", "_object_acl", "_object_annotations", "_object_retention", "_object_legal_hold")
"""Ministack's stores of the data of one version: by bucket, key and version."""


class Memory:
    """The state of keys, and of a multipart upload, at the time of construction.

    Args:
        s3: ministack's module ``services.s3``.
        places: buckets and keys.
        upload: id of a multipart upload, or empty.
    """

    def __init__(self, s3: Any, places: Iterable[tuple[str, str]], upload: str = "") -> None:
        self._s3 = s3
        self._undo: list[Callable[[], None]] = [self._key(bucket, key) for bucket, key in places]
        if upload:
            self._undo.append(self._upload(upload))

    def put_back(self) -> None:
        """Restores that state."""
        for undo in self._undo:
            undo()

    def _key(self, bucket: str, key: str) -> Callable[[], None]:
        s3, record = self._s3, self._s3._buckets.get(bucket)
        if record is None:
            return lambda: None
        objects = record["objects"]
        held = _copied(objects[key]) if key in objects else None
        versions = [_copied(one) for one in s3._object_versions.get((bucket, key), ())]
        known = self._per_version(bucket, key)

        def undo() -> None:
            _put(objects, key, held)
            later = self._per_version(bucket, key)  # before the versions are removed that they are named by
            _put(s3._object_versions, (bucket, key), versions or None)
            for store, name in later.keys() | known.keys():
                _put(getattr(s3, store), name, known.get((store, name)))

        return undo

    def _per_version(self, bucket: str, key: str) -> dict[tuple[str, tuple[str, str, str | None]], Any]:
        s3 = self._s3
        names: list[str | None] = [None, *(one["version_id"] for one in s3._object_versions.get((bucket, key), ()))]
        places = [(store, (bucket, key, version)) for store in _PER_VERSION for version in names]
        return {(store, name): copy.deepcopy(one) for store, name in places if (one := getattr(s3, store).get(name))}

    def _upload(self, upload: str) -> Callable[[], None]:
        running, completed = self._s3._multipart_uploads, self._s3._completed_multipart_uploads
        held, answer = running.get(upload), completed.get(upload)
        held = {**held, "parts": dict(held["parts"])} if held is not None else None

        def undo() -> None:
            _put(running, upload, held)
            _put(completed, upload, answer)

        return undo


def _copied(record: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in record.items()}


def _put(store: Any, name: Any, value: Any) -> None:
    if value is None:
        store.pop(name, None)
    else:
        store[name] = value
