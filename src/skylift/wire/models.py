"""The models of the services that we serve: botocore's, without their documentation."""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader, Loader
from botocore.model import ServiceModel

from skylift.core.slim import slim


@cache
def model_of(service: str) -> ServiceModel:
    """A service's model, read once.

    Args:
        service: boto3's name, e.g. ``ecs``.
    """
    return ServiceModel(Loader(file_loader=_Files()).load_service_model(service, "service-2"), service)


class _Files(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    def load_file(self, file_path: str) -> Any:
        """As botocore's, without documentation."""
        for path, opened in ((f"{file_path}.json", open), (f"{file_path}.json.gz", gzip.open)):
            if os.path.isfile(path):
                with opened(path, "rb") as file:
                    return json.loads(file.read(), object_pairs_hook=slim)
        return None
