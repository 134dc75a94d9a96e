"""Saves memory: ministack reads the whole model of a service for the content type of each answer, and keeps it.

It only needs the protocol, which is at the model's beginning. EC2's model takes 14 MB of memory, those of the services
that an environment uses 25 MB. Step Functions does read shapes; for it ministack's own function is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from skylift.wire.models import metadata_of


class Beginning:
    """A service's model with only ``metadata`` in memory; everything else is read from the whole model.

    Attributes:
        metadata: protocol, signing name ..., as in botocore's ``ServiceModel``.
    """

    def __init__(self, metadata: dict[str, Any], whole: Callable[[], Any]) -> None:
        self.metadata = metadata
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole(), name)


def spare(responses: Any) -> None:
    """Replaces whole models with ``Beginning``.

    Args:
        responses: the module ``ministack.core.responses``, before services are loaded (they import its function).
    """
    read_whole, names = responses._service_model, responses._BOTOCORE_NAME

    @cache
    def beginning(service: str) -> Any:
        metadata = metadata_of(names.get(service, service))
        return Beginning(metadata, lambda: read_whole(service)) if metadata else read_whole(service)

    responses._service_model = beginning
