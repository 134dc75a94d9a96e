"""``[skylift] payload_url`` and ``warm_seconds``: wrong values stop the start with one line that names them."""

from __future__ import annotations

import pytest
from tests.unit.executor_airflow import ecs_conf

from skylift.core.errors import Refused
from skylift.executors.in_container.payload import payloads_of
from skylift.executors.options.settings import OWN_SECTION, PAYLOAD_URL, WARM_SECONDS, Only, Options

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


def test_what_only_set_values_say_is_said_also_where_it_is_the_default() -> None:
    given = Options(Only({WARM_SECONDS.name: str(WARM_SECONDS.default)}), OWN_SECTION, exact=True)
    for one in (given, *given.layers()):
        assert one.said(WARM_SECONDS)
        assert not one.said(PAYLOAD_URL)
        assert not one.set(WARM_SECONDS), "it changes nothing"
    assert not Options(ecs_conf(skylift_warm_seconds=str(WARM_SECONDS.default)), OWN_SECTION).said(WARM_SECONDS)
