"""Translates botocore's errors, once, into the house's three: who can act?

Throttling hides in many codes, and ECS wraps EC2's throttles in other errors, with ``Rate exceeded`` only in the text;
``Unavailable`` therefore looks at both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from skylift.core.errors import Refused, SkyliftError, Unavailable

THROTTLES = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
    }
)
"""Codes that botocore's retry handler also treats as throttling (``botocore/retries/standard.py``)."""


def code_of(error: BaseException) -> str:
    """AWS's error code, e.g. ``ClusterNotFoundException``; the class name for errors that never reached AWS."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def is_throttle(error: BaseException) -> bool:
    """Whether AWS asked us to slow down, also when another code wraps it."""
    text = str(error)
    return code_of(error) in THROTTLES or "Rate exceeded" in text or "ErrorCode: Throttling" in text


def translate(error: Exception, doing: str) -> SkyliftError:
    """The house's error for one of botocore's; raise it ``from error``.

    Args:
        error: what botocore raised.
        doing: the call in words, e.g. ``ecs RunTask``.
    """
    text = f"{doing}: {error}"
    if isinstance(error, (ParamValidationError, NoCredentialsError)):
        return Refused(text)
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return Unavailable(text) if is_throttle(error) or status >= 500 else Refused(text)
    return Unavailable(text)


@contextmanager
def calling(doing: str) -> Iterator[None]:
    """Around one AWS call: errors of botocore leave as ``Refused`` or ``Unavailable``, with the cause kept."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise translate(error, doing) from error
