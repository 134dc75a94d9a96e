"""Spares ministack the models of AWS's services: for the content type of each answer it reads one whole, and keeps it.

All that it wants there is the protocol, which stands at a model's beginning. EC2's model is 14 MB in memory, those of
the services that an environment uses 25 MB. Step Functions does read shapes: then ministack's own function is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from skylift.wire.models import metadata_of


class Beginning:
    """A service's model of which only ``metadata`` is in memory; everything else is asked of the whole.

    Attributes:
        metadata: protocol, signing name ..., as botocore's ``ServiceModel`` has them.
    """

    def __init__(self, metadata: dict[str, Any], whole: Callable[[], Any]) -> None:
        self.metadata = metadata
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole(), name)


def spare(responses: Any) -> None:
    """Puts beginnings in the place of whole models.

    Args:
        responses: the module ``ministack.core.responses``, before services are loaded (they take its function along).
    """
    read_whole, names = responses._service_model, responses._BOTOCORE_NAME

    @cache
    def beginning(service: str) -> Any:
        metadata = metadata_of(names.get(service, service))
        return Beginning(metadata, lambda: read_whole(service)) if metadata else read_whole(service)

    responses._service_model = beginning
