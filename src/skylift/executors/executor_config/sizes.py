"""Sizes of containers as people write them, and which of them AWS accepts. Pure; DAG files import it, so it imports
nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from skylift.core.errors import Refused

UNITS_PER_VCPU = 1024
MIB_PER_GIB = 1024


def _gib(first: int, last: int, step: int = 1) -> tuple[int, ...]:
    return tuple(gib * MIB_PER_GIB for gib in range(first, last + 1, step))


FARGATE: Mapping[int, tuple[int, ...]] = {
    256: (512, *_gib(1, 2)),
    512: _gib(1, 4),
    1024: _gib(2, 8),
    2048: _gib(4, 16),
    4096: _gib(8, 30),
    8192: _gib(16, 60, 4),
    16384: _gib(32, 120, 8),
}
"""MiB of memory by CPU units: Fargate's task sizes (API reference, RegisterTaskDefinition.memory)."""

BATCH_FARGATE: Mapping[int, tuple[int, ...]] = {**FARGATE, 32768: (60 * 1024, 120 * 1024, 244 * 1024)}
"""The same for Batch jobs, which have one row more (API reference, Batch's ResourceRequirement.value)."""

LEAST_UNITS, MOST_UNITS = 128, 196608
"""CPU units of an ECS task on EC2 (API reference, RegisterTaskDefinition.cpu)."""

LEAST_MEMORY = 6
"""MiB: the least that a container may have (API reference, ContainerDefinition.memory)."""


def cpu_units(where: str, vcpus: float) -> int:
    """CPU units for a number of vCPUs. Raises ``Refused``."""
    if isinstance(vcpus, bool) or not isinstance(vcpus, int | float):
        raise Refused(f"{where}: cpu={vcpus!r}: expected a number of vCPUs, e.g. 0.5 or 2")
    units = round(vcpus * UNITS_PER_VCPU)
    if not LEAST_UNITS <= units <= MOST_UNITS:
        more = " (it is in vCPUs, not in CPU units)" if vcpus >= LEAST_UNITS else ""
        raise Refused(f"{where}: cpu={vcpus!r}: allowed are 0.125 to 192 vCPUs{more}")
    return units


def mib(where: str, field: str, size: str | int, *, least: int = LEAST_MEMORY) -> int:
    """MiB of a size: ``"512MiB"``, ``"4GiB"``, or a number of MiB. Raises ``Refused``."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(MiB|GiB)\s*", size) if isinstance(size, str) else None
    if match:
        number = float(match[1]) * (MIB_PER_GIB if match[2] == "GiB" else 1)
    elif isinstance(size, int) and not isinstance(size, bool):
        number = size
    else:
        raise Refused(f'{where}: {field}={size!r}: write "512MiB", "4GiB", or a whole number of MiB')
    if number != int(number) or number < least:
        raise Refused(f"{where}: {field}={size!r}: expected whole MiB, at least {least}")
    return int(number)


def check_fargate(
    where: str,
    units: int | None,
    memory: int | None,
    *,
    field: str = "cpu",
    table: Mapping[int, tuple[int, ...]] = FARGATE,
) -> None:
    """Refuses a pair that Fargate does not have, and lists those that it has. ``None``: the definition's own, unknown
    here."""
    if units is not None and units not in table:
        allowed = ", ".join(map(_vcpus, table))
        raise Refused(f"{where}: {field}={_vcpus(units)}: Fargate has {allowed} vCPUs")
    fitting = table[units] if units is not None else sorted({one for row in table.values() for one in row})
    if memory is not None and memory not in fitting:
        beside = f"with {field}={_vcpus(units)}, " if units is not None else ""
        raise Refused(f'{where}: memory="{_size(memory)}": {beside}Fargate has {_listed(fitting)}')


def gpus(where: str, number: int | None) -> list[dict[str, str]]:
    """The requirement, as both services expect it; none without a number. Raises ``Refused``."""
    if number is None:
        return []
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise Refused(f"{where}: gpu={number!r}: expected a whole number of GPUs, at least 1")
    return [{"type": "GPU", "value": str(number)}]


def _vcpus(units: int) -> str:
    return f"{units / UNITS_PER_VCPU:g}"


def _size(memory: int) -> str:
    return f"{memory // MIB_PER_GIB}GiB" if memory % MIB_PER_GIB == 0 else f"{memory}MiB"


def _listed(sizes: Sequence[int]) -> str:
    """``512MiB, 1GiB, 2GiB``; long lists shortened: ``16GiB to 60GiB in steps of 4GiB``."""
    steps = {later - earlier for earlier, later in pairwise(sizes)}
    if len(sizes) > 4 and len(steps) == 1:
        return f"{_size(sizes[0])} to {_size(sizes[-1])} in steps of {_size(steps.pop())}"
    return ", ".join(map(_size, sizes))
