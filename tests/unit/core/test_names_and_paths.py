"""Names, paths and numbers at their edges; a Spec that is stored and read again; the moves of a lifecycle."""

from __future__ import annotations

import dataclasses
import sys
from enum import StrEnum

import pytest

from skylift.core.clock import ManualClock
from skylift.core.environment import ENVIRONMENT_LIFE, LogModule, S3Object, Spec, Status
from skylift.core.errors import Broken, DiskFull, Unavailable
from skylift.core.file_paths import DEEPEST, LONGEST_PART, LONGEST_PATH, unfit
from skylift.core.lifecycle import Lifecycle
from skylift.core.names import ENVIRONMENT_NAME, arn, log_group, s3_url, split_s3_url, tag_value
from skylift.core.numbers import natural
from skylift.core.slim import slim
from skylift.core.templates import base_of, hints_of, wants_template

pytestmark = pytest.mark.unit


# Names.


def test_log_groups_are_named_as_mwaa_names_them() -> None:
    """MWAA user guide, "Viewing Airflow logs in Amazon CloudWatch"."""
    groups = {
        "DagProcessingLogs": "airflow-e-DAGProcessing",
        "SchedulerLogs": "airflow-e-Scheduler",
        "WebserverLogs": "airflow-e-WebServer",
        "WorkerLogs": "airflow-e-Worker",
        "TaskLogs": "airflow-e-Task",
    }
    assert {module: log_group("e", module) for module in groups} == groups


@pytest.mark.parametrize(
    ("service", "region", "expected"),
    [
        ("ecs", "eu-north-1", "arn:aws:ecs:eu-north-1:1:x/y"),
        ("iam", "eu-north-1", "arn:aws:iam::1:x/y"),
        ("sts", "cn-north-1", "arn:aws-cn:sts::1:x/y"),
        ("s3", "us-gov-west-1", "arn:aws-us-gov:s3:::x/y"),
        ("ecs", "", "arn:aws:ecs::1:x/y"),
    ],
)
def test_an_arn(service: str, region: str, expected: str) -> None:
    assert arn(service, region, "1", "x/y") == expected


@pytest.mark.parametrize(
    ("url", "parts"),
    [("s3://b/k", ("b", "k")), ("s3://b/a/b", ("b", "a/b")), ("s3://b", ("b", "")), ("s3://b/", ("b", ""))],
)
def test_the_parts_of_an_s3_url(url: str, parts: tuple[str, str]) -> None:
    assert split_s3_url(url) == parts
    assert split_s3_url(s3_url(*parts)) == parts


@pytest.mark.parametrize("url", ["", "b/k", "s3:///k", "S3://b/k", "http://b/k", " s3://b/k"])
def test_what_is_no_s3_url_is_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"not an S3 URL: .* \(expected s3://bucket/key\)"):
        split_s3_url(url)


def test_a_tag_s_value_has_awss_alphabet_and_length() -> None:
    kept = "Ünï +-=._:/@ 09"
    assert tag_value(kept) == kept
    assert tag_value("a,b#c\nd'e\"[f]{g}") == "a_b_c_d_e__f__g_"
    assert len(tag_value("x" * 300)) == 256


@pytest.mark.parametrize("name", ["a", "A-b_9", "a" * 80])
def test_a_name_of_an_environment(name: str) -> None:
    assert ENVIRONMENT_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "9a", "-a", "_a", "a" * 81, "a.b", "a b", "ä"])
def test_no_name_of_an_environment(name: str) -> None:
    assert not ENVIRONMENT_NAME.fullmatch(name)


# Paths and numbers.

DEEP = "/".join("d" * DEEPEST)
LONG = "/".join(["p" * 127] * 8)


@pytest.mark.parametrize("path", ["a", "a/b.py", ".a", "..a/b..", "a b", "ä", "x" * 255, "ä" * 127, DEEP, LONG + "p"])
def test_what_can_be_a_file(path: str) -> None:
    assert unfit(path) == ""


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "is empty"),
        ("/", "begins with a slash"),
        ("/a", "begins with a slash"),
        ("a/", "ends with a slash"),
        ("a//b", "an empty part"),
        ("./a", "a part '.',"),
        ("a/..", "a part '..',"),
        ("./../a", "a part '..',"),
        ("a\nb", "a control character"),
        ("a\x00", "a control character"),
        ("a\x7f", "a control character"),
        ("a\x85b", "a control character"),
        ("a\udcff", "not UTF-8"),
        ("a/" + "x" * 256, "has a part of 256 bytes; a file system takes 255"),
        ("ä" * 128, "has a part of 256 bytes"),
        (LONG + "pp", "has 1025 bytes; at most 1024"),
        (DEEP + "/d", f"lies {DEEPEST} folders deep; at most {DEEPEST - 1} can be used"),
    ],
)
def test_what_cannot_be_a_file_is_told(path: str, why: str) -> None:
    assert why in unfit(path)


def test_the_limits_are_those_of_linux_s3_and_python() -> None:
    assert (LONGEST_PART, LONGEST_PATH) == (255, 1024)
    assert len(LONG) == LONGEST_PATH - 1
    assert sys.getrecursionlimit() > DEEPEST * 4


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 15, 10**15 - 1)])
def test_a_number(text: str, number: int) -> None:
    assert natural(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", " 1", "1e3", "٣", "²", "1_0", "9" * 16])
def test_no_number(text: str) -> None:
    assert natural(text) is None


# What is stored, and what moves.


def test_a_spec_is_read_as_it_was_stored() -> None:
    spec = Spec(
        "e", "3.3.2", "arn:role", "arn:aws:s3:::b", "/dags/", ("s1", "s2"), ("g",),
        {"TaskLogs": LogModule(True, "INFO")}, S3Object("r", "1"), None, S3Object("s"), {"a.b": "c"}, "mw1.large", 2, 3,
        4, 5, 6, "PUBLIC_ONLY", "CUSTOMER", "SUN:01:00", "key",
    )  # fmt: skip
    stored = spec.as_json()
    assert Spec.from_json(stored) == spec
    assert Spec.from_json({**stored, "of a newer skylift": 1}) == spec
    older = {name: value for name, value in stored.items() if name not in ("bucket_arn", "plugins")} | {"bucket": "b"}
    assert Spec.from_json(older) == spec
    assert (spec.bucket, spec.dag_prefix) == ("b", "dags")
    assert "a.b" not in repr(spec), "options may be secret"


def test_a_spec_s_members_not_given_are_mwaas_defaults() -> None:
    """CreateEnvironment in MWAA's API reference."""
    needed = {
        "name",
        "airflow_version",
        "execution_role",
        "bucket_arn",
        "dag_path",
        "subnets",
        "security_groups",
        "logging",
    }
    defaults = {one.name: one.default for one in dataclasses.fields(Spec) if one.name not in needed}
    assert defaults.pop("options") is dataclasses.MISSING
    defaults.pop("default_executors")  # ours, not MWAA's
    assert defaults == {
        "requirements": None, "plugins": None, "startup_script": None, "environment_class": "mw1.small",
        "min_workers": 1, "max_workers": 10, "min_webservers": 2, "max_webservers": 2, "schedulers": 2,
        "webserver_access_mode": "PRIVATE_ONLY", "endpoint_management": "SERVICE", "maintenance_window": "",
        "kms_key": "",
    }  # fmt: skip


class Light(StrEnum):
    RED = "red"
    GREEN = "green"
    OFF = "off"


LIFE = Lifecycle(
    "a light",
    {
        Light.RED: frozenset({Light.GREEN}),
        Light.GREEN: frozenset({Light.RED, Light.OFF}),
        Light.OFF: frozenset(),
    },
)


def test_a_lifecycle_s_moves() -> None:
    assert LIFE.move(Light.RED, Light.GREEN) is Light.GREEN
    assert LIFE.move(Light.RED, Light.RED) is Light.RED
    assert [LIFE.is_final(one) for one in Light] == [False, False, True]
    with pytest.raises(Broken, match=r"^a light: no move from red to off$"):
        LIFE.move(Light.RED, Light.OFF)


@pytest.mark.parametrize("before", Status)
def test_whatever_an_environment_does_it_can_be_deleted_after_it(before: Status) -> None:
    reached, left = {before}, [before]
    while left:
        for after in ENVIRONMENT_LIFE.moves[left.pop()] - reached:
            reached.add(after)
            left.append(after)
    assert Status.DELETED in reached


def test_a_clock_in_tests_does_not_run_back() -> None:
    clock = ManualClock(5.0)
    clock.advance(0)
    clock.advance(1.5)
    assert clock() == 6.5
    with pytest.raises(ValueError, match="does not run back"):
        clock.advance(-0.1)


def test_a_full_disk_is_told_to_whoever_called() -> None:
    assert (Unavailable().for_callers, Unavailable().throttled) == (False, False)
    assert DiskFull().for_callers is True


# Models and templates.


def test_documentation_is_emptied_and_short_words_are_one() -> None:
    short, long = "x" * 63, "x" * 64
    thin = slim([("documentation", "long text"), ("name", "".join(["x"] * 63)), ("other", long), ("n", 1)])
    assert thin == {"documentation": "", "name": short, "other": long, "n": 1}
    assert thin["name"] is slim([("a", "".join(["x"] * 63))])["a"]
    assert slim([("documentation", {"shape": "a"})]) == {"documentation": {"shape": "a"}}


def test_what_a_template_depends_on() -> None:
    given = {
        "AIRFLOW__CORE__EXECUTOR": "x", "PYTHONPATH": "p", "LD_PRELOAD": "l", "TZ": "UTC", "LANG": "C", "LC_ALL": "C",
        "MALLOC_ARENA_MAX": "2", "VIRTUAL_ENV": "/v", "SKYLIFT_LAYER": "s", "SKYLIFT_LAYER_CACHE": "c",
        "AIRFLOW_CONFIG": "f",
    }  # fmt: skip
    late = {"AIRFLOW__CORE__PARALLELISM": "1", "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"}
    hints = {
        "AWS_ENDPOINT_URL": "u", "AWS_ENDPOINT_URL_S3": "u", "AWS_REGION": "r", "AWS_DEFAULT_REGION": "r",
        "AWS_RETRY_MODE": "m", "AWS_EC2_METADATA_DISABLED": "true", "SSL_CERT_FILE": "f", "https_proxy": "p", "NO_PROXY": "n", "REQUESTS_CA_BUNDLE": "b",
    }  # fmt: skip
    own = {"HOME": "/", "SKYLIFT_ENVIRONMENT": "e", "AWS_SECRET_ACCESS_KEY": "s"}
    everything = own | hints | late | given
    assert list(base_of(everything).items()) == sorted(given.items())
    assert hints_of(everything) == hints
    assert wants_template(everything)
    assert not wants_template(own)
