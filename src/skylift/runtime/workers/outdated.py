"""Whether there are newer workers than this one: then it takes no more messages, and ends when its Airflow tasks have.

The control plane writes the task definition of the newest workers to S3. A busy worker reads it once a minute; an idle
one need not, because ECS may end it at any time.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from skylift.aws.errors import calling
from skylift.core.errors import SkyliftError

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0


class Outdated:
    """Asks, at most once a minute.

    Args:
        s3: boto3's client.
        own: ``family:revision`` of this worker's task definition; empty: it is never outdated.
    """

    def __init__(self, s3: Any, bucket: str, key: str, own: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._key = key
        self._own = own
        self._next: float | None = None

    def look(self, now: float) -> bool:
        """Whether newer workers are announced. Never raises."""
        if not self._own or (self._next is not None and now < self._next):
            return False
        self._next = now + LOOK_SECONDS
        try:
            with calling(f"s3 GetObject {self._bucket}/{self._key}"):
                told = json.load(self._s3.get_object(Bucket=self._bucket, Key=self._key)["Body"])
            newest = str(told["definition"]).rpartition("/")[2]
        except (SkyliftError, ValueError, KeyError):
            return False  # nothing is announced: it is deleted a day later
        return newest != self._own
