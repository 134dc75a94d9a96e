"""Translates botocore's errors, once, into our three: who can act?

Throttling has many error codes, and ECS wraps EC2's throttling in other errors, with ``Rate exceeded`` only in the
text. So ``Unavailable`` checks both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from skylift.core.errors import Refused, SkyliftError, Unavailable


class Throttled(Unavailable):
    """AWS asks us to slow down."""

    throttled = True


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

CREDENTIALS = frozenset(
    {
        "400",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
"""Codes for credentials that a service does not accept (IAM's "common errors", S3's error list); S3's HEAD says only
400 for an expired token.

Credentials come and go: roles expire, metadata endpoints fail briefly, a new key takes seconds to be known everywhere.
The call is not wrong, so work waits for them and nothing fails; the log says why. A missing permission (AccessDenied)
is ``Refused``.
"""


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
    """Our error for one of botocore's; raise it ``from error``.

    Args:
        error: what botocore raised.
        doing: the call in words, e.g. ``ecs RunTask``.
    """
    text = f"{doing}: {error}"
    if isinstance(error, ParamValidationError):
        return Refused(text)
    if is_throttle(error):
        return Throttled(text)
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        passes = status >= 500 or code_of(error) in CREDENTIALS
        return Unavailable(text) if passes else Refused(text)
    return Unavailable(text)


@contextmanager
def calling(doing: str, how: Callable[[Exception, str], SkyliftError] = translate) -> Iterator[None]:
    """Around one AWS call: errors of botocore leave as ``Refused`` or ``Unavailable``, with the cause kept.

    Args:
        how: for a service whose errors say more: as ``translate``.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise how(error, doing) from error
