"""Reads S3's objects from their files and reports the damaged ones; ministack alone would silently skip what it cannot
read.

Next to each object is a sidecar ``*.meta.json`` with everything but its bytes: key, versions, tags. A key is refused
when its sidecar is damaged, or when its bytes are missing or differ in number from the sidecar, until somebody repairs
it. All other keys are served.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from skylift.localcloud.damage import Damage

SIDECAR = ".meta.json"
_WITHOUT = (
    "Its bytes are then served without what stood there: metadata, tags; old versions stay on the disk, unlisted."
)
_LISTS, _OBJECTS = ("versions",), ("tags", "acl", "annotations", "metadata", "preserved_headers", "checksums")


def load_objects(s3: Any, folder: str) -> dict[str, Damage]:
    """Makes ministack read the objects below a folder, and keep them there from now on.

    Args:
        s3: ministack's module ``services.s3``, imported without its files.

    Returns:
        From sidecar file to damage.
    """
    s3.DATA_DIR, s3.S3_PERSIST = folder, True
    reader, before = _Sidecars(s3), s3.json
    s3.json = reader
    try:
        s3._load_persisted_data()
    finally:
        s3.json = before
    reader.look_for_versions()
    reader.give_parts()
    return reader.damage


class _Sidecars:
    """Replaces the module ``json`` while ministack reads sidecars. A damaged one reads as empty."""

    def __init__(self, s3: Any) -> None:
        self.damage: dict[str, Damage] = {}
        self._s3 = s3
        self._versions: dict[str, tuple[str, list[str]]] = {}
        self._parts: dict[str, tuple[str, list[Any]]] = {}

    def load(self, file: Any) -> dict[str, Any]:
        """The sidecar. Records damage and raises ``ValueError``, after which ministack continues."""
        path = str(file.name)
        try:
            text = file.read()
            if not text.strip():
                raise ValueError("it is empty")
            found = json.loads(text)
            self._check(path, found)
        except json.JSONDecodeError as error:
            self._note(path, f"it is not JSON: {error}")
            raise
        except UnicodeDecodeError:
            self._note(path, "it is not text")
            raise
        except ValueError as error:
            self._note(path, str(error))
            raise
        if path in self.damage:  # only its bytes are damaged: it can still be listed
            return dict(found)
        self._versions[path] = found.get("key") or "", [one["version_id"] for one in found.get("versions", ())]
        if found.get("parts"):
            self._parts[path] = found.get("key") or "", found["parts"]
        return dict(found)

    def look_for_versions(self) -> None:
        """After reading everything: finds versions whose bytes are missing."""
        known = {}
        for (account, (bucket, key)), versions in self._s3._object_versions._data.items():
            known[account, bucket, key] = {one["version_id"] for one in versions}
        for path, (key, names) in self._versions.items():
            account, bucket, key = self._place(path, key)
            missing = [name for name in names if name not in known.get((account, bucket, key), ())]
            if missing:
                folder = Path(self._s3.DATA_DIR, ".versions", account, bucket)
                self._note(
                    path,
                    f"the bytes of {len(missing)} of its versions are missing below {folder}: {', '.join(missing)}",
                )

    def give_parts(self) -> None:
        """After reading everything: tells ministack of what parts an object was made, which it does not read."""
        for path, (key, parts) in self._parts.items():
            account, bucket, key = self._place(path, key)
            record = self._s3._buckets._data.get((account, bucket), {}).get("objects", {}).get(key)
            if record is not None:
                record["parts"] = parts

    def _place(self, path: str, key: str) -> tuple[str, str, str]:
        """Account, bucket and key of a sidecar, which seldom lacks its key."""
        account, bucket, *rest = os.path.relpath(path, self._s3.DATA_DIR).split(os.sep)
        return account, bucket, key or "/".join(rest).removesuffix(SIDECAR)

    def _check(self, path: str, found: Any) -> None:
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        for name in _OBJECTS:
            if not isinstance(found.get(name) or {}, dict):
                raise ValueError(f"its {name} are no object")
        versions = found.get("versions", [])
        if not isinstance(versions, list) or not all(isinstance(one, dict) and "version_id" in one for one in versions):
            raise ValueError("its versions are no list of versions")
        parts = found.get("parts", [])
        if not isinstance(parts, list) or not all(isinstance(one, dict) and "Size" in one for one in parts):
            raise ValueError("its parts are no list of parts")
        if not isinstance(found.get("size", 0), int):
            raise ValueError("its size is no number")
        if found.get("is_delete_marker"):
            return
        data = path.removesuffix(SIDECAR)
        try:
            size = os.stat(data).st_size
        except FileNotFoundError:
            self._note(path, f"the object's bytes are missing: there is no {data}", bytes_too=True)
            return
        if size != found.get("size", size):
            self._note(path, f"{data} has {size} bytes, and should have {found['size']}", bytes_too=True)

    def _note(self, path: str, why: str, *, bytes_too: bool = False) -> None:
        aside = "Put the object again after that." if bytes_too else _WITHOUT
        holds = f"what S3 knows of the object {os.path.relpath(path, self._s3.DATA_DIR).removesuffix(SIDECAR)}"
        self.damage[path] = Damage(Path(path), why, holds, aside)

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)
