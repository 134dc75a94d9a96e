"""What the quickstart computes: plain functions on plain values, tested without any scheduler."""

from __future__ import annotations

import csv
import io
from collections import Counter
from statistics import fmean
from typing import Any

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def years_in(table: str) -> list[int]:
    """The years that the table covers, in order. ``date`` is ``YYYY/MM/DD`` or ``YYYY-MM-DD``."""
    return sorted({int(row["date"][:4]) for row in csv.DictReader(io.StringIO(table))})


def summary_of(table: str, year: int) -> dict[str, Any]:
    """One year: mean daily maximum (°C) and rain (mm) of each month, the warmest day, and days by kind of weather.

    Raises:
        ValueError: the table has no day of that year.
    """
    days = [row for row in csv.DictReader(io.StringIO(table)) if row["date"].startswith(str(year))]
    if not days:
        raise ValueError(f"the table has no day of {year}")
    by_month = [[row for row in days if int(row["date"][5:7]) == month] for month in range(1, 13)]
    warmest = max(days, key=lambda row: float(row["temp_max"]))
    return {
        "year": year,
        "days": len(days),
        "mean_max": [round(fmean(float(row["temp_max"]) for row in rows), 1) if rows else None for rows in by_month],
        "rain_mm": [round(sum(float(row["precipitation"]) for row in rows), 1) for rows in by_month],
        "warmest_day": {"date": warmest["date"].replace("/", "-"), "celsius": float(warmest["temp_max"])},
        "weather": dict(sorted(Counter(row["weather"] for row in days).items())),
    }


def headline(summaries: list[dict[str, Any]]) -> str:
    """One sentence on all years."""
    rain = {one["year"]: sum(one["rain_mm"]) for one in summaries}
    wettest = max(rain, key=lambda year: rain[year])
    hottest = max((one["warmest_day"] for one in summaries), key=lambda day: day["celsius"])
    sun = sum(one["weather"].get("sun", 0) for one in summaries) / sum(one["days"] for one in summaries)
    return (
        f"Seattle {min(rain)} to {max(rain)}: {sun:.0%} of all days were sunny; {wettest} was the wettest year "
        f"({rain[wettest]:.0f} mm); the warmest day was {hottest['date']} ({hottest['celsius']:.1f} °C)."
    )


def chart_of(summaries: list[dict[str, Any]]) -> bytes:
    """An SVG picture: one line for each year's temperatures, month by month. It loads nothing from elsewhere."""
    import pygal  # from this example's requirements.txt
    from pygal.style import CleanStyle

    chart = pygal.Line(
        title="Mean daily maximum in Seattle, °C",
        x_labels=MONTHS,
        style=CleanStyle(font_family="sans-serif", title_font_size=20),
        js=[],
        width=900,
        height=480,
        legend_at_bottom=True,
        legend_at_bottom_columns=len(summaries),
    )
    for one in summaries:
        chart.add(str(one["year"]), one["mean_max"])
    return bytes(chart.render())
