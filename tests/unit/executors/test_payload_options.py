"""``[skylift] payload_url`` and ``warm_seconds``: wrong ones stop the start with one line that names them."""

from __future__ import annotations

import pytest
from tests.unit.executor_airflow import ecs_conf

from skylift.core.errors import Refused
from skylift.executors.in_container.payload import payloads_of
from skylift.executors.options.settings import OWN_SECTION, Options

pytestmark = pytest.mark.unit


def made(**options: str) -> object:
    return payloads_of(Options(ecs_conf(**options), OWN_SECTION), None, "us-east-1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"skylift_warm_seconds": "60"},
            "[skylift] warm_seconds needs payload_url: the next workload comes through S3",
        ),
        ({"skylift_payload_url": "https://b/p"}, "[skylift] payload_url: "),
        ({"skylift_payload_url": "s3://"}, "[skylift] payload_url: "),
    ],
)
def test_a_wrong_one_is_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(Refused) as refused:
        made(**options)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [{}, {"skylift_payload_url": "s3://b/p"}, {"skylift_payload_url": "s3://b", "skylift_warm_seconds": "60"}],
)
def test_what_fits_is_taken(options: dict[str, str]) -> None:
    assert made(**options).by_reference is ("skylift_payload_url" in options)  # type: ignore[attr-defined]
