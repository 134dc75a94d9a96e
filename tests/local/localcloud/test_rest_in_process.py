"""ECS's calls to the emulated services without HTTP: log lines in, secrets out; and one home after another in a
process."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skylift.core.errors import Refused
from skylift.localcloud.emulators.for_ecs import AwsLogs, AwsSecrets
from skylift.localcloud.emulators.others import RestOfAws
from skylift.wire.asgi import ClientGone
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

pytestmark = pytest.mark.local
ACCOUNT, REGION = "000000000000", "us-east-1"
Work = Callable[[RestOfAws], Awaitable[Any]]


def within(home: Path, work: Work) -> Any:
    """Runs work on a started one, which is then ended kindly."""

    async def whole() -> Any:
        rest = RestOfAws(home, ACCOUNT, REGION)
        await rest.start()
        try:
            return await work(rest)
        finally:
            await rest.stop()

    return asyncio.run(whole())


async def lines(rest: RestOfAws, group: str, stream: str) -> list[str]:
    """All messages of a stream, page by page."""
    caller, found, token = Caller("A", f"arn:aws:iam::{ACCOUNT}:user/me", ACCOUNT, REGION), [], None
    request: dict[str, Any] = {"logGroupName": group, "logStreamName": stream, "startFromHead": True}
    while True:
        page = await rest._logs.get_log_events(caller, request | ({"nextToken": token} if token else {}))
        found += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == token:
            return found
        token = page["nextForwardToken"]


def create_secret(rest: RestOfAws, name: str, **value: Any) -> str:
    with rest._ministack.scope():
        answer = rest._ministack.service("secretsmanager")._create_secret({"Name": name, **value})
    return str(json.loads(answer[2])["ARN"])


def test_half_a_body_is_no_request(tmp_path: Path) -> None:
    """The client goes before its body ends: nothing is answered, and no emulator sees what it began to say."""

    async def ask(rest: RestOfAws) -> list[Any]:
        header = b"AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/%s/aws4_request, SignedHeaders=host, Signature=0"
        caller = Caller("A", f"arn:aws:iam::{ACCOUNT}:user/me", ACCOUNT, REGION)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        for service in (b"sts", b"redshift"):
            messages = iter([{"type": "http.request", "body": b"Act", "more_body": True}, {"type": "http.disconnect"}])

            async def receive(messages: Any = messages) -> Any:
                return next(messages)

            headers = [(b"authorization", header % service)]
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/",
                "raw_path": b"/",
                "query_string": b"",
                "headers": headers,
            }
            with pytest.raises(ClientGone):
                await rest.app({**scope, "skylift.caller": caller}, receive, send)
        return sent

    assert within(tmp_path, ask) == []


def test_log_lines_are_cheap_and_there_after_a_restart(tmp_path: Path) -> None:
    async def write(rest: RestOfAws) -> float:
        logs, began = AwsLogs(rest), time.monotonic()
        await logs.prepare("g", "task/airflow/1", create_group=True)
        for batch in range(100):
            events = [
                {"timestamp": 1_700_000_000_000 + batch, "message": f"{batch}-{line} " + "x" * 80} for line in range(20)
            ]
            await logs.put("g", "task/airflow/1", events)
        return time.monotonic() - began

    assert within(tmp_path, write) < 2.0, "2,000 lines; 1,000 a second are wanted"

    again = within(tmp_path, lambda rest: lines(rest, "g", "task/airflow/1"))
    assert len(again) == 2000
    assert again[0].startswith("0-0 ")
    assert again[-1].startswith("99-19 ")


def test_what_a_log_group_holds_is_counted_as_aws_counts(tmp_path: Path) -> None:
    def told(rest: RestOfAws, group: str) -> int:
        caller = Caller("A", f"arn:aws:iam::{ACCOUNT}:user/me", ACCOUNT, REGION)
        (one,) = rest._logs.describe_log_groups(caller, {"logGroupNamePrefix": group})["logGroups"]
        return int(one["storedBytes"])

    async def ask(rest: RestOfAws) -> None:
        logs, now = AwsLogs(rest), round(time.time() * 1000)
        for stream in ("one", "two"):
            await logs.prepare("g", stream, create_group=True)
        await logs.prepare("other", "one", create_group=True)
        assert told(rest, "g") == 0
        for _ in range(20):
            await logs.put("g", "one", [{"timestamp": now, "message": "x" * 10} for _ in range(5_000)])
        assert told(rest, "g") == 100_000 * (10 + 26)
        await logs.put("g", "two", [{"timestamp": now, "message": "and more"}])
        assert told(rest, "g") == 100_000 * 36 + 8 + 26
        assert told(rest, "other") == 0
        assert await lines(rest, "g", "two") == ["and more"]

    within(tmp_path, ask)


def test_a_group_that_is_not_there_is_refused_unless_it_may_be_made(tmp_path: Path) -> None:
    async def ask(rest: RestOfAws) -> None:
        with pytest.raises(AwsError) as caught:
            await AwsLogs(rest).prepare("missing", "s", create_group=False)
        assert caught.value.code == "ResourceNotFoundException"
        with pytest.raises(AwsError):
            await AwsLogs(rest).put("missing", "s", [])

    within(tmp_path, ask)


def test_secrets_as_a_container_definition_names_them(tmp_path: Path) -> None:
    async def ask(rest: RestOfAws) -> None:
        whole = create_secret(rest, "plain", SecretString="p4ss")
        members = create_secret(rest, "members", SecretString='{"user": "ann", "port": 5432}')
        secrets = AwsSecrets(rest)
        assert await secrets.value(whole) == "p4ss"
        assert await secrets.value(f"{members}:user::") == "ann"
        assert await secrets.value(f"{members}:port::") == "5432"
        assert await secrets.value(f"{members}::AWSCURRENT:") == '{"user": "ann", "port": 5432}'
        for wrong in (f"{members}:nope::", f"{whole}:user::", f"{whole}::OTHER:", whole.replace("plain", "other")):
            with pytest.raises(AwsError) as caught:
                await secrets.value(wrong)
            assert "p4ss" not in str(caught.value)
            assert "ann" not in str(caught.value)
        with rest._ministack.scope():
            rest._ministack.service("ssm")._put_parameter({"Name": "/a/b", "Value": "v", "Type": "SecureString"})
        assert await secrets.value("/a/b") == "v"
        assert await secrets.value(f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/a/b") == "v"
        with pytest.raises(AwsError) as caught:
            await secrets.value("/a/c")
        assert caught.value.code == "ParameterNotFound"

    within(tmp_path, ask)


def test_one_home_after_another_but_not_two_at_once(tmp_path: Path) -> None:
    before = dict(os.environ)

    async def first(rest: RestOfAws) -> None:
        create_secret(rest, "mine", SecretString="1")
        with pytest.raises(Refused, match="already"):
            await RestOfAws(tmp_path / "second", ACCOUNT, REGION).start()

    async def second(rest: RestOfAws) -> None:
        with pytest.raises(Refused, match="ResourceNotFoundException"):
            rest.secret_value("mine")

    async def third(rest: RestOfAws) -> str:
        return rest.secret_value("mine")

    within(tmp_path / "first", first)
    within(tmp_path / "second", second)
    assert within(tmp_path / "first", third) == "1"
    assert dict(os.environ) == before


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    async def nothing(rest: RestOfAws) -> None:
        create_secret(rest, "kept", SecretString="1")

    within(tmp_path, nothing)
    whole = (tmp_path / "secretsmanager.json").read_text()
    (tmp_path / "secretsmanager.json").write_text(whole[:-5])

    async def look_at_damaged(rest: RestOfAws) -> None:
        with pytest.raises(Refused, match=r"secretsmanager\.json is damaged .*To go on without it"):
            rest.secret_value("kept")
        rest.container_logs.prepare("g", "s", create_group=True)  # the rest is served

    within(tmp_path, look_at_damaged)
    assert (tmp_path / "secretsmanager.json").read_text() == whole[:-5]
    (tmp_path / "secretsmanager.json").write_text(whole)

    async def look(rest: RestOfAws) -> str:
        return rest.secret_value("kept")

    assert within(tmp_path, look) == "1"


def test_keys_that_anybody_knows_are_no_keys(tmp_path: Path) -> None:
    async def ask(rest: RestOfAws) -> None:
        assert [rest.find(key, "") for key in ("test", "", ACCOUNT, "AKIAUNKNOWN")] == [None] * 4
        sessions = rest._ministack.service("sts")._sessions
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"
        sessions["ASIAOLD"] = {"SecretAccessKey": "s", "SessionToken": "t", "Arn": arn, "Expiration": time.time() - 5}
        found = rest.find("ASIAOLD", "t")
        assert found is not None
        assert found.expires is not None
        assert found.expires < time.time()
        assert rest.find("ASIAOLD", "wrong") is None

    within(tmp_path, ask)


def test_who_serves_what(tmp_path: Path) -> None:
    rest = RestOfAws(tmp_path, ACCOUNT, REGION)
    served = {
        name: rest.served_by(name) for name in ("s3", "cloudwatch", "monitoring", "emr-serverless", "ecs", "braket")
    }
    assert served == {
        "s3": "ministack",
        "cloudwatch": "ministack",
        "monitoring": "ministack",
        "emr-serverless": "moto",
        "ecs": None,
        "braket": None,
    }
