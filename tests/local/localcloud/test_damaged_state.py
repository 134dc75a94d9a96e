"""Damaged state: every file that the local cloud reads at its start, damaged in every way.

The message names it and says what to do; what it contained is refused, everything else works, and the file is not
changed. After it is restored or moved away, everything works again.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.kept_recipes import RECIPES
from tests.local.rest_server import rest_of_aws

from skylift.localcloud.database import examine, keep_copy
from skylift.localcloud.emulators.table import NOTHING, TABLE, Emulator

pytestmark = pytest.mark.local


def emptied(content: bytes) -> bytes:
    """As after a power failure, or a full disk."""
    return b""


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def other(content: bytes) -> bytes:
    """Good JSON, and not what it was."""
    return b"[]"


def flipped(content: bytes) -> bytes:
    """One letter is another: still JSON, most likely."""
    place = content.index(b'"payload"') + (len(content) - content.index(b'"payload"')) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def foreign(content: bytes) -> bytes:
    """Of a form that skylift never writes there."""
    return json.dumps({"__ministack_format__": 1, "payload": {"no such thing": 7}}).encode()


def newer(content: bytes) -> bytes:
    return json.dumps({"__ministack_format__": 999, "payload": {"x": {}}}).encode()


WAYS = (emptied, cut, other, flipped, foreign, newer)


@dataclass(frozen=True)
class Home:
    """A home with something of each service in it."""

    folder: Path
    files: dict[str, Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("whole") / "rest"
    with rest_of_aws(folder) as rest:
        for one in RECIPES:
            one.make(rest.client(one.service), "before")
        rest.end()
    with rest_of_aws(folder) as rest:  # every file is written a second time: there is a copy before it
        for one in RECIPES:
            if one.service != "resourcegroupstaggingapi":
                one.make(rest.client(one.service), "second")
        rest.end()
    return Home(folder, {path.stem: path for path in sorted(folder.glob("*.json"))})


def state_names() -> list[str]:
    """Of all files of whole state, by the table of services."""
    modules = {row.module for row in TABLE if row.server is Emulator.MINISTACK and row.keeps != NOTHING}
    renamed = {"lambda_svc": "lambda", "sts": "sts_sessions"}
    return sorted({renamed.get(module, module) for module in modules})


OF_STATE = {
    "eventbridge": "events",
    "cognito": "cognito-idp",
    "resource_groups": "resource-groups",
    "ses_v2": "sesv2",
    "apigateway": "apigatewayv2",
}
"""Boto3's name of the service of a state, where it is another."""
KEPT_ELSEWHERE = {"tagging", "dynamodb_streams", "cloudcontrol", "cloudformation", "sts_sessions"}
"""Without a thing of their own in this home."""


def refused(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**request)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    return str(error.value.response["Error"]["Message"])


def test_the_home_has_a_file_for_every_service_that_keeps_anything(whole: Home) -> None:
    assert not set(state_names()) - set(whole.files) - KEPT_ELSEWHERE


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_all_states_damaged_at_once(whole: Home, tmp_path: Path, way: Callable[[bytes], bytes]) -> None:
    """One server for all files: each is refused by itself, and named."""
    folder = tmp_path / "rest"
    shutil.copytree(whole.folder, folder)
    damaged = {}
    for name in whole.files:
        path = folder / f"{name}.json"
        if name in KEPT_ELSEWHERE or b'"payload": {}' in path.read_bytes():
            continue
        damaged[name] = way(path.read_bytes())
        path.write_bytes(damaged[name])
    left = {name: one for name, one in damaged.items() if name not in KEPT_ELSEWHERE}
    with rest_of_aws(folder) as rest:
        for one in RECIPES:
            states = [name for name in left if OF_STATE.get(name, name) == one.service]
            if not states:
                continue
            said = refused(lambda one=one: one.make(rest.client(one.service), "new"))
            assert f"{folder}/" in said, "the file is named"
            assert ".before" in said, "the copy before it is named"
            assert "mv " in said, "what to do is said"
        rest.end()
    for name, content in damaged.items():
        assert (folder / f"{name}.json").read_bytes() == content, f"{name}: nothing is overwritten"


@dataclass
class Round:
    """What became of one service while half of them were damaged.

    Attributes:
        said: how it was refused, when it was among the damaged; empty: it was served.
        kept: whether the damaged file was left alone.
        back: what was there with the copy before put back.
        fresh: what was there with the file moved aside.
    """

    said: str = ""
    kept: bool = True
    back: frozenset[str] = frozenset()
    fresh: frozenset[str] = frozenset()


NAMES = [name for name in state_names() if name not in KEPT_ELSEWHERE]


def recipe_of(name: str) -> Any:
    service = OF_STATE.get(name, name)
    return next(one for one in RECIPES if one.service.replace("-", "_") == service.replace("-", "_"))


@pytest.fixture(scope="module")
def rounds(whole: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Round]:
    """Every second service is damaged, then the others: three starts each."""
    found = {name: Round() for name in NAMES}
    for half in (NAMES[::2], NAMES[1::2]):
        folder = tmp_path_factory.mktemp("half") / "rest"
        shutil.copytree(whole.folder, folder)
        contents = {name: cut((folder / f"{name}.json").read_bytes()) for name in half}
        for name, content in contents.items():
            (folder / f"{name}.json").write_bytes(content)
        with rest_of_aws(folder) as rest:
            for name in NAMES:
                one = recipe_of(name)
                if name in half:
                    found[name].said = refused(lambda one=one, rest=rest: list(one.names(rest.client(one.service))))
                else:
                    assert "before" in one.names(rest.client(one.service)), name
                    one.make(rest.client(one.service), "new")
            rest.end()
        for name in half:
            path = folder / f"{name}.json"
            found[name].kept = path.read_bytes() == contents[name]
            path.replace(folder / f"{name}.json.damaged")
            shutil.copy(folder / f"{name}.json.before", path)
        with rest_of_aws(folder) as rest:
            for name in NAMES:
                one = recipe_of(name)
                names = frozenset(one.names(rest.client(one.service)))
                if name in half:
                    found[name].back = names
                else:
                    assert "new" in names, name
            rest.kill()
        for name in half:
            (folder / f"{name}.json").unlink()
        with rest_of_aws(folder) as rest:
            for name in half:
                one = recipe_of(name)
                one.make(rest.client(one.service), "fresh")
                found[name].fresh = frozenset(one.names(rest.client(one.service)))
            rest.kill()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_state_leaves_the_others_and_its_copy_brings_it_back(rounds: dict[str, Round], name: str) -> None:
    one = rounds[name]
    assert f"{name}.json is damaged" in one.said
    assert f"{name}.json.before" in one.said, "the copy before it is named"
    assert "mv " in one.said, "what to do is said"
    assert one.kept, "nothing is overwritten"
    assert "before" in one.back
    assert "fresh" in one.fresh
    assert "second" not in one.fresh, "moved aside: it begins with nothing"


def test_without_its_digest_a_file_of_an_earlier_version_is_read(whole: Home, tmp_path: Path) -> None:
    folder = tmp_path / "rest"
    shutil.copytree(whole.folder, folder)
    for path in folder.glob("*.json"):
        found = json.loads(path.read_bytes())
        found.pop("digest")
        path.write_text(json.dumps(found))
    with rest_of_aws(folder) as rest:
        for one in RECIPES:
            assert "before" in one.names(rest.client(one.service)), one.service
        rest.end()


@pytest.fixture
def objects(tmp_path: Path) -> tuple[Path, str]:
    """Two buckets with two keys each, one of them with versions; the id of an old version."""
    with rest_of_aws(tmp_path / "rest") as rest:
        s3 = rest.client("s3")
        for bucket in ("plain", "versioned"):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        for bucket in ("plain", "versioned"):
            for key in ("a/hurt", "b/whole"):
                s3.put_object(Bucket=bucket, Key=key, Body=b"first", Metadata={"m": "1"})
                s3.put_object(Bucket=bucket, Key=key, Body=b"second, longer", Metadata={"m": "2"})
        old = s3.list_object_versions(Bucket="versioned", Prefix="a/hurt")["Versions"][-1]["VersionId"]
        rest.end()
    return tmp_path / "rest", old


SIDECARS: dict[str, Callable[[bytes], bytes]] = {
    "empty": emptied,
    "cut": cut,
    "no object": other,
    "no text": lambda _: b"\xff\xfe\x00",
    "versions": lambda content: json.dumps({**json.loads(content), "versions": 5}).encode(),
    "tags": lambda content: json.dumps({**json.loads(content), "tags": [1]}).encode(),
    "size": lambda content: json.dumps({**json.loads(content), "size": "x"}).encode(),
}


@pytest.mark.parametrize("way", SIDECARS)
def test_a_damaged_sidecar_costs_its_key_and_nothing_else(objects: tuple[Path, str], way: str) -> None:
    folder, old = objects
    hurt = [one for one in folder.rglob("hurt.meta.json") if ".versions" not in one.parts]
    assert len(hurt) == 2
    contents = {path: SIDECARS[way](path.read_bytes()) for path in hurt}
    for path, content in contents.items():
        path.write_bytes(content)
    with rest_of_aws(folder) as rest:
        s3 = rest.client("s3")
        for bucket in ("plain", "versioned"):
            for call, more in (
                (s3.get_object, {}),
                (s3.put_object, {"Body": b"new"}),
                (s3.delete_object, {}),
                (s3.get_object_tagging, {}),
            ):
                said = refused(call, Bucket=bucket, Key="a/hurt", **more)
                assert "hurt.meta.json is damaged" in said
                assert "mv " in said
            refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a/hurt"})
            refused(s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "b/whole"}, {"Key": "a/hurt"}]})
            assert s3.get_object(Bucket=bucket, Key="b/whole")["Body"].read() == b"second, longer"
            s3.put_object(Bucket=bucket, Key="c/new", Body=b"x")
            listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
            assert listed == ["a/hurt", "b/whole", "c/new"], "it is still seen"
        refused(s3.get_object, Bucket="versioned", Key="a/hurt", VersionId=old)
        assert len(s3.list_object_versions(Bucket="versioned", Prefix="b/")["Versions"]) == 2
        rest.end()
    for path, content in contents.items():
        assert path.read_bytes() == content
        path.replace(path.with_name("hurt.meta.json.damaged"))
    with rest_of_aws(folder) as rest:
        got = rest.client("s3").get_object(Bucket="plain", Key="a/hurt")
        assert got["Body"].read() == b"second, longer", "moved aside: the bytes are served"
        rest.end()


@pytest.mark.parametrize("what", ["bytes cut", "bytes gone", "version gone"])
def test_bytes_that_are_not_there_are_named(objects: tuple[Path, str], what: str) -> None:
    folder, old = objects
    if what == "version gone":
        victim = next((folder / "s3" / ".versions").rglob(f"{old}/a/hurt"))
        victim.unlink()
    else:
        victim = next(one for one in (folder / "s3").glob("*/versioned/a/hurt"))
        victim.unlink() if what == "bytes gone" else victim.write_bytes(b"sec")
    with rest_of_aws(folder) as rest:
        said = refused(rest.client("s3").get_object, Bucket="versioned", Key="a/hurt")
        assert "hurt" in said
        assert rest.client("s3").get_object(Bucket="plain", Key="a/hurt")["Body"].read() == b"second, longer"
        rest.end()


def test_a_damaged_line_of_a_journal_is_named_and_a_cut_last_one_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "rest"
    with rest_of_aws(folder) as rest:
        url = rest.client("sqs").create_queue(QueueName="q")["QueueUrl"]
        for number in range(3):
            rest.client("sqs").send_message(QueueUrl=url, MessageBody=f"{number}")
        rest.kill()
    (path,) = [one for one in folder.glob("sqs-*.journal") if one.stat().st_size]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[-1][:20]]))  # killed while it wrote
    with rest_of_aws(folder) as rest:
        url = rest.client("sqs").get_queue_url(QueueName="q")["QueueUrl"]
        rest.client("sqs").send_message(QueueUrl=url, MessageBody="behind the piece")
        rest.kill()
    path = max(folder.glob("sqs-*.journal"), key=lambda one: (one.stat().st_size > 0, one.name))
    lines = path.read_bytes().splitlines(keepends=True)
    broken = b"".join([b"{" + lines[0], *lines[1:]])
    path.write_bytes(broken)
    with rest_of_aws(folder) as rest:
        said = refused(rest.client("sqs").list_queues)
        assert str(path) in said
        assert "line 1" in said
        rest.client("logs").describe_log_groups()
        rest.end()
    assert path.read_bytes() == broken


def test_damaged_logs_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "rest"
    with rest_of_aws(folder) as rest:
        rest.client("logs").create_log_group(logGroupName="g")
        rest.end()
    path = folder / "logs.db"
    broken = b"no database" * 1_000
    path.write_bytes(broken)
    with rest_of_aws(folder) as rest:
        said = refused(rest.client("logs").describe_log_groups)
        assert str(path) in said
        assert "To go on without it: mv" in said
        rest.client("sqs").list_queues()
        rest.end()
    assert path.read_bytes() == broken


def test_a_killed_process_leaves_no_s3_object_half_written(objects: tuple[Path, str]) -> None:
    """A note of what was to be done, and the files beside: the next start does it to its end."""
    folder, _ = objects
    data = next((folder / "s3").glob("*/plain/a/hurt"))
    sidecar = data.with_name("hurt.meta.json")
    meta = {
        **json.loads(sidecar.read_bytes()),
        "checksums": {},
        "size": 5,
        "etag": '"e"',
        "metadata": {"x-amz-meta-m": "3"},
    }
    data.with_name("hurt.tmp").write_bytes(b"third")
    data.with_name("hurt.meta.json.tmp").write_text(json.dumps(meta))
    steps = [("replace", str(data)), ("replace", str(sidecar)), ("remove", str(data.with_name("nobody")))]
    (folder / "s3.commit").write_text(json.dumps(steps))
    data.with_name("hurt.tmp").replace(data)  # as far as it got
    with rest_of_aws(folder) as rest:
        got = rest.client("s3").get_object(Bucket="plain", Key="a/hurt")
        assert (got["Body"].read(), got["Metadata"]) == (b"third", {"m": "3"})
        rest.process.send_signal(signal.SIGTERM)
        assert rest.process.wait(60) == 0
    assert not (folder / "s3.commit").exists()


def database(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    disk = sqlite3.connect(path)
    disk.execute("PRAGMA journal_mode=WAL")
    disk.execute("CREATE TABLE elb (arn TEXT PRIMARY KEY, kind TEXT, body TEXT NOT NULL)")
    disk.executemany("INSERT INTO elb VALUES (?, 'x', ?)", [(f"{n}", json.dumps({"x": "y" * 500})) for n in range(200)])
    disk.commit()
    disk.close()


@pytest.mark.parametrize("way", ["empty", "cut", "text", "page", "row"])
def test_the_database_is_examined_and_not_touched(tmp_path: Path, way: str) -> None:
    path = tmp_path / "cloud" / "cloud.db"
    assert examine(path) is None, "none yet"
    database(path)
    assert examine(path) is None
    keep_copy(path)
    content = path.read_bytes()
    if way == "row":
        disk = sqlite3.connect(path)
        disk.execute("UPDATE elb SET body = '{' WHERE arn = '7'")
        disk.commit()
        disk.close()
    else:
        changed = {"empty": b"", "cut": content[: len(content) // 2], "text": b"hello" * 999}
        path.write_bytes(changed.get(way, content[:8192] + b"\xaa" * 4096 + content[12288:]))
    before = path.read_bytes()
    found = examine(path)
    assert found is not None
    assert str(found.copy) in str(found), "the copy before it is named"
    assert examine(found.copy or path) is None, "and whole"
    assert path.read_bytes() == before
