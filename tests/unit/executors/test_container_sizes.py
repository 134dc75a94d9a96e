"""Sizes as authors write them: vCPUs and memory, at the limits of ECS and Fargate, and the errors beyond them."""

from __future__ import annotations

import pytest

from skylift.core.errors import Refused
from skylift.executors.executor_config.sizes import cpu_units, mib

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("vcpus", "units"), [(0.125, 128), (0.25, 256), (1, 1024), (1.5, 1536), (192, 196608)])
def test_vcpus_are_1024_units_each(vcpus: float, units: int) -> None:
    assert cpu_units("here", vcpus) == units


@pytest.mark.parametrize(
    ("vcpus", "more"),
    [(0.124, ""), (0, ""), (-1, ""), (256, " (it is in vCPUs, not in CPU units)"), (193, " (it is in vCPUs, not in CPU units)")],
)  # fmt: skip
def test_what_no_container_has_is_refused(vcpus: float, more: str) -> None:
    with pytest.raises(Refused) as refused:
        cpu_units("here", vcpus)
    assert str(refused.value) == f"here: cpu={vcpus!r}: allowed are 0.125 to 192 vCPUs{more}"


@pytest.mark.parametrize("vcpus", [True, "1", None])
def test_what_is_no_number_is_refused(vcpus: object) -> None:
    with pytest.raises(Refused, match=r"expected a number of vCPUs, e\.g\. 0\.5 or 2"):
        cpu_units("here", vcpus)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "found"), [("512MiB", 512), ("4GiB", 4096), (" 1.5 GiB ", 1536), (6, 6), ("6MiB", 6), (2048, 2048)]
)
def test_memory_in_mib(size: str | int, found: int) -> None:
    assert mib("here", "memory", size) == found


@pytest.mark.parametrize("size", ["512", "4GB", "", True, 1.5, "GiB"])
def test_memory_in_other_words_is_refused(size: object) -> None:
    with pytest.raises(Refused, match='write "512MiB", "4GiB", or a whole number of MiB'):
        mib("here", "memory", size)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [5, "5MiB", 0, -1, "0.001GiB"])
def test_less_memory_than_a_container_may_have_is_refused(size: str | int) -> None:
    with pytest.raises(Refused, match="memory"):
        mib("here", "memory", size)
    assert mib("here", "disk", 5, least=5) == 5
