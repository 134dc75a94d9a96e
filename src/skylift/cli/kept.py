"""What a running server reports about its state: damaged files, and services whose state is lost at a restart."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.aws import signed
from skylift.cli.home import REGION
from skylift.core.errors import SkyliftError

ROUTE = "/_skylift/state"


@dataclass(frozen=True)
class Kept:
    """Attributes:
    damaged: one text for each damaged file: what is wrong, and what to do.
    forgetful: services whose state is lost at a restart.
    """

    damaged: tuple[str, ...] = ()
    forgetful: tuple[str, ...] = ()


def kept() -> Kept:
    """Asks the server that this process talks to; empty when its version does not report this."""
    try:
        found = signed.call("GET", ROUTE, region=REGION)
    except SkyliftError:
        return Kept()
    return Kept(tuple(found["damaged"]), tuple(found["forgetful"]))
