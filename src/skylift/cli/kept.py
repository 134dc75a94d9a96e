"""What a running server says of its state: files that are damaged, and services that keep nothing over a restart."""

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
    forgetful: services that keep nothing over a restart.
    """

    damaged: tuple[str, ...] = ()
    forgetful: tuple[str, ...] = ()


def kept() -> Kept:
    """As the server that this process is turned to says; nothing when it is of a version that does not say."""
    try:
        found = signed.call("GET", ROUTE, region=REGION)
    except SkyliftError:
        return Kept()
    return Kept(tuple(found["damaged"]), tuple(found["forgetful"]))
