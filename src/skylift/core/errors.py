"""Errors that say who can act.

Every error that leaves a layer is one of these three, and its text is the advice: what happened, then what to do.
A foreign error (botocore's, psycopg's, the operating system's) is translated once, at the edge, with the cause kept
(``raise Refused(...) from error``).
"""

from __future__ import annotations


class SkyliftError(Exception):
    """Base of all errors of skylift. Never raised itself."""


class Refused(SkyliftError):
    """The caller must change something: the same call will fail again."""


class Unavailable(SkyliftError):
    """Nothing is wrong with the call: the same will work later (throttled, starting, network)."""

    throttled: bool = False
    """We are asked to slow down."""

    for_callers: bool = False
    """Its text was written for whoever called, and holds nothing of what is inside."""


class DiskFull(Unavailable):
    """What was asked for cannot be written, and was not done."""

    for_callers = True


class Broken(SkyliftError):
    """Our own mistake, or a world that breaks its contract: a bug to report."""
