"""How often snapshots of an environment are taken, and how many are kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SnapshotRule:
    """``snapshots`` of skylift.toml.

    Attributes:
        hours: between two.
        keep: so many of the newest stay, those that were taken by hand included.
    """

    hours: int
    keep: int
