"""No input may trigger a bug of ours: every operation of every service, with valid requests and many kinds of damaged
ones. Bounded and repeatable: seed and counts are below. A failure shows its request."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest
from tests.control_scenes import request as environment_request
from tests.local.ecs_cloud import IMAGE
from tests.local.fuzz_requests import everywhere, operations, requests
from tests.local.fuzz_sender import send_all, wrong
from tests.local.fuzz_server import Fuzzed, fuzzed
from tests.local.fuzz_things import Lawful, made

from skylift.localcloud.emulators.inputs import protocol_of
from skylift.localcloud.emulators.table import TABLE, Emulator

pytestmark = [pytest.mark.local, pytest.mark.long]
SEED = 20261130
SPOILT, OURS_SPOILT = 5, 20
"""Spoilt requests of each operation: of the emulators', and of ours."""
OURS = ("ecs", "batch", "elbv2", "mwaa", "logs")
EMULATED = [name for row in TABLE if row.server is not Emulator.SKYLIFT for name in row.names if protocol_of(name)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with fuzzed(tmp_path_factory.mktemp("fuzz")) as started:
        yield started


@pytest.fixture(scope="module")
def lawful(server: Fuzzed) -> Lawful:
    taken = made(server.client, IMAGE)
    taken.call("mwaa", "CreateEnvironment", **environment_request(Name="fuzz", Tags={"team": "blue"}))
    arn = taken.call("mwaa", "GetEnvironment", Name="fuzz")["Environment"]["Arn"]
    taken.call("mwaa", "TagResource", ResourceArn=arn, Tags={"team": "red"})
    place = {"logGroupName": "fuzz", "logStreamName": "s"}
    taken.call("logs", "CreateLogGroup", logGroupName="fuzz")
    taken.call("logs", "CreateLogStream", **place)
    taken.call("logs", "PutLogEvents", **place, logEvents=[{"timestamp": 1, "message": "x"}])
    taken.call("logs", "FilterLogEvents", logGroupName="fuzz", filterPattern='{ $.a = "b" }')
    taken.call("logs", "GetLogEvents", **place, limit=5)
    taken.known["logs"] = {"loggroupname": "fuzz", "logstreamname": "s"}
    taken.known["mwaa"] = {"name": "fuzz", "resourcearn": arn}
    return taken


def proven(server: Fuzzed, told: int) -> str:
    """What the log says since ``told`` bytes of a mistake of ours."""
    text = server.log.read_text(errors="replace")[told:]
    return text[text.find("Traceback") - 500 :][:5000] if "Traceback" in text else ""


def test_every_service_is_here() -> None:
    assert len(EMULATED) > 55
    assert {"s3", "sqs", "sns", "secretsmanager", "ssm", "cloudwatch", "events", "sts", "iam", "ec2"} < {*EMULATED}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("service", OURS)
def test_ours_refuse_what_is_spoilt(server: Fuzzed, lawful: Lawful, service: str) -> None:
    told, known = server.log.stat().st_size, lawful.known[service]
    random = (requests(service, name, SEED, OURS_SPOILT, known) for name in operations(service))
    placed = (everywhere(*call) for call in lawful.calls if call[0] == service)
    sent = send_all(server.url, chain(chain.from_iterable(random), chain.from_iterable(placed)))
    assert not [str(one) for one in wrong(sent)]
    assert not proven(server, told)
    assert len(sent) > OURS_SPOILT * len(operations(service))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("service", EMULATED)
def test_the_emulators_refuse_what_is_spoilt(server: Fuzzed, service: str) -> None:
    told = server.log.stat().st_size
    sent = send_all(
        server.url, chain.from_iterable(requests(service, name, SEED, SPOILT, {}) for name in operations(service))
    )
    assert not [str(one) for one in wrong(sent)]
    assert not proven(server, told)
    assert len(sent) == (SPOILT + 1) * len(operations(service))
    assert server.client("sts").get_caller_identity()["Account"]
