"""The models of the services that we serve: botocore's, without documentation."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader, Loader
from botocore.model import ServiceModel

from skylift.core.slim import slim

_FORMS: tuple[tuple[str, Callable[..., Any]], ...] = ((".json", open), (".json.gz", gzip.open))
_HEAD = 1 << 14
"""Bytes; of all models that botocore has, metadata end within the first 700."""


@cache
def model_of(service: str) -> ServiceModel:
    """A service's model, read once.

    Args:
        service: boto3's name, e.g. ``ecs``.
    """
    return ServiceModel(Loader(file_loader=SlimFiles()).load_service_model(service, "service-2"), service)


def metadata_of(service: str) -> dict[str, Any] | None:
    """The metadata of a service's newest model, read without the rest; ``None`` if they are not at its beginning.

    Args:
        service: boto3's name.
    """
    try:
        place = os.path.join(Loader.BUILTIN_DATA_PATH, service)
        newest = os.path.join(place, max(os.listdir(place)), "service-2")
    except (OSError, ValueError):
        return None
    for path, opened in ((newest + form, opened) for form, opened in _FORMS if os.path.isfile(newest + form)):
        with opened(path, "rb") as file:
            head = file.read(_HEAD).decode(errors="replace")
        if begin := re.search(r'"metadata"\s*:\s*', head):
            try:
                found: dict[str, Any] = json.JSONDecoder().raw_decode(head, begin.end())[0]
            except ValueError:
                return None
            return found
    return None


class SlimFiles(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Reads models without documentation."""

    def load_file(self, file_path: str) -> Any:
        """Like botocore's, without documentation."""
        for form, opened in _FORMS:
            if os.path.isfile(file_path + form):
                with opened(file_path + form, "rb") as file:
                    return json.loads(file.read(), object_pairs_hook=slim)
        return None
