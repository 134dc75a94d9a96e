"""Errors that say who can act.

Every error that leaves a layer is one of these three. Its text is the advice: what happened, then what to do.
A foreign error (botocore's, psycopg's, the operating system's) is translated once, at the edge, and the cause is kept
(``raise Refused(...) from error``).
"""

from __future__ import annotations


class SkyliftError(Exception):
    """Base of all errors of skylift. Never raised itself."""


class Refused(SkyliftError):
    """The caller must change something: the same call will fail again."""


class Unavailable(SkyliftError):
    """The call is fine: the same call will work later (throttled, starting, network)."""

    throttled: bool = False
    """We are asked to slow down."""

    for_callers: bool = False
    """Its text was written for whoever called, and holds nothing of what is inside."""


class DiskFull(Unavailable):
    """The disk cannot take what was requested, so it was not done."""

    for_callers = True


class Broken(SkyliftError):
    """Our own bug, or something that breaks its contract: report it."""
