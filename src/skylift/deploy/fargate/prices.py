"""What it costs: a small table with a date, and sums from it. For a region that is not in the table there is no sum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HOURS = 730
"""A month."""


@dataclass(frozen=True)
class Price:
    """What one Airflow costs. ``lines`` say what for: name and dollars an hour."""

    region: str
    date: str
    lines: tuple[tuple[str, float], ...]
    spot: bool = False

    @property
    def hour(self) -> float:
        """Dollars an hour."""
        return sum(amount for _, amount in self.lines)

    def words(self) -> str:
        """For people, with the date of the table."""
        up_to = "at most " if self.spot else ""
        return (
            f"{up_to}${self.hour:.3f} an hour, {up_to}${self.hour * HOURS:.2f} a month if it stays "
            f"(prices of {self.date}, {self.region}, without tax, traffic, logs and free tier)"
        )


@cache
def table() -> Mapping[str, Any]:
    """The table as it ships."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("prices.json").read_text())
    return found


def price(region: str, cpu: int, memory: int, *, arm: bool = False, spot: bool = False) -> Price | None:
    """What a task of this size costs; ``None`` if nobody has put the region's prices into the table.

    Args:
        spot: AWS publishes no fixed price for it; the sum is that of an ordinary task, the most it can be.
    """
    known = table()["regions"].get(region)
    if known is None:
        return None
    prefix = "arm_" if arm else ""
    lines = (
        (f"{cpu / 1024:g} vCPU", cpu / 1024 * known[f"{prefix}vcpu_hour"]),
        (f"{memory / 1024:g} GB", memory / 1024 * known[f"{prefix}gb_hour"]),
        ("public IPv4 address", known["public_ipv4_hour"]),
        ("secret", known["secret_month"] / HOURS),
    )
    return Price(region, str(table()["date"]), lines, spot)


def so_far(found: Price | None, seconds: float) -> str:
    """The cost of a task that has run this long; Fargate counts seconds, at least a minute."""
    if found is None:
        return "unknown"
    return f"${found.hour * max(seconds, 60) / 3600:.4f}"


def kept(region: str, size: int) -> str:
    """What a bucket of ``size`` bytes costs a month."""
    known = table()["regions"].get(region)
    if known is None:
        return "price unknown for this region"
    return f"${size / 1024**3 * known['s3_gb_month']:.2f} a month"
