"""Capacity provider strategies: which are valid, and which provider each new ECS task gets. Pure.

Source: API reference, ``CapacityProviderStrategyItem`` and ``CreateService``: at most 20 items, one of them with a
base; weight 0 to 1,000 and base 0 to 100,000; if there are several, at least one has a weight; Fargate's and the user's
own providers do not mix. The base is filled first, then the weights divide the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from skylift.localcloud.ecs.model.shapes import client_error, invalid

FARGATE_PROVIDERS = ("FARGATE", "FARGATE_SPOT")
"""The two that always exist."""
MOST_ITEMS = 20
Item = Mapping[str, Any]


def check_strategy(items: Sequence[Item], associated: Collection[str], known: Collection[str]) -> None:
    """Refuses a strategy that ECS would refuse (``InvalidParameterException`` or ``ClientException``).

    Args:
        items: the strategy.
        associated: names of the cluster's capacity providers.
        known: names of all capacity providers.
    """
    names = [item["capacityProvider"] for item in items]
    if len(items) > MOST_ITEMS:
        raise invalid(f"A capacity provider strategy cannot contain more than {MOST_ITEMS} capacity providers.")
    if len(set(names)) < len(names):
        raise invalid("A capacity provider strategy cannot contain duplicate capacity providers.")
    for name in names:
        if name not in known:
            raise invalid(f"The specified capacity provider {name} was not found.")
        if name not in associated:
            raise invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated "
                "with "
                "the cluster. Associate the capacity provider with the cluster and try again."
            )
    if len({name in FARGATE_PROVIDERS for name in names}) > 1:
        raise invalid("A capacity provider strategy cannot mix Fargate and Auto Scaling group capacity providers.")
    _check_numbers(items)


def _check_numbers(items: Sequence[Item]) -> None:
    if any(not 0 <= item.get("weight", 0) <= 1000 for item in items):
        raise invalid("The weight of a capacity provider must be between 0 and 1000.")
    if any(not 0 <= item.get("base", 0) <= 100_000 for item in items):
        raise invalid("The base of a capacity provider must be between 0 and 100000.")
    if sum(item.get("base", 0) > 0 for item in items) > 1:
        raise invalid("Only one capacity provider in a capacity provider strategy can have a base defined.")
    if len(items) > 1 and not any(item.get("weight", 0) for item in items):
        raise client_error("At least one capacity provider of a strategy must have a weight greater than zero.")


def choose(items: Sequence[Item], running: Mapping[str, int], count: int) -> list[str]:
    """The providers for ``count`` new ECS tasks, given how many run on each already."""
    counts = {item["capacityProvider"]: running.get(item["capacityProvider"], 0) for item in items}
    chosen: list[str] = []
    for _ in range(count):
        name = _next(items, counts)
        counts[name] += 1
        chosen.append(name)
    return chosen


def _next(items: Sequence[Item], counts: Mapping[str, int]) -> str:
    for item in items:
        if counts[item["capacityProvider"]] < item.get("base", 0):
            return str(item["capacityProvider"])
    weighty = [item for item in items if item.get("weight", 0)] or list(items[:1])
    return str(min(weighty, key=lambda item: _load(item, counts))["capacityProvider"])


def _load(item: Item, counts: Mapping[str, int]) -> float:
    """How full a provider is relative to its weight, beyond its base."""
    beyond = counts[item["capacityProvider"]] - item.get("base", 0)
    return float((beyond + 1) / max(1, item.get("weight", 0)))
