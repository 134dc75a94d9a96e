"""botocore's service models, read once in a process instead of once in each session.

Reading them is most of what a boto3 client costs (S3 or Logs: 40 ms of CPU). Airflow's AWS provider makes a session for
each hook, and its CloudWatch handler one for each Airflow task. What is read here before a fork is there after it.
"""

from __future__ import annotations

import gzip
import json
import os
from typing import Any

import boto3
import botocore.session
from botocore.loaders import JSONFileLoader, Loader

from skylift.core.slim import slim

_documents: dict[str, Any] = {}
_services: dict[tuple[str, ...], list[str]] = {}


def session(region: str | None = None) -> Any:
    """A boto3 session like any other, with credentials and configuration of its own, that shares what it reads of
    models.

    Args:
        region: AWS region; ``None`` for the usual places.
    """
    return boto3.session.Session(botocore_session=core(), region_name=region)


def core() -> Any:
    """A session of botocore's that shares what it reads of models."""
    made = botocore.session.get_session()
    made.register_component("data_loader", _loader(made))
    return made


class _Documents(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    def load_file(self, file_path: str) -> Any:
        """Like botocore's, without documentation (``core.slim``); a document that is there is kept."""
        found = _documents.get(file_path)
        if found is None and (found := _read(file_path)) is not None:
            _documents[file_path] = found
        return found


def _read(place: str) -> Any:
    for path, opened in ((f"{place}.json", open), (f"{place}.json.gz", gzip.open)):
        if os.path.isfile(path):
            with opened(path, "rb") as file:
                return json.loads(file.read(), object_pairs_hook=slim)
    return None


class _Models(Loader):  # type: ignore[misc]  # as above
    def list_available_services(self, type_name: str) -> list[str]:
        """Like botocore's, which looks into 400 folders; they do not change while a program runs."""
        # Only those that are there: one of them is below HOME, which differs from fork to fork.
        key = (type_name, *(path for path in self.search_paths if os.path.isdir(path)))
        if key not in _services:
            _services[key] = super().list_available_services(type_name)
        return _services[key]


def _loader(core: Any) -> Loader:
    """Like botocore's own (``botocore.loaders.create_loader``)."""
    own = core.get_config_variable("data_path")
    return _Models(own.split(":") if own else None, _Documents())
