"""The policy that ``skylift iam-policy fargate`` prints is enough for every command, and every statement of it is
needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.deploy.fargate_cloud import IMAGE, Shell, everything, small_image

from skylift.aws.iam_policies import PolicyScope
from skylift.deploy.fargate.deployer_policy import deployer_policy
from skylift.testing.cloud import ACCOUNT, REGION, Cloud, running_cloud

pytestmark = [pytest.mark.local, pytest.mark.timeout(900)]
NOT_NEEDED_HERE = {"FirstServiceOfTheAccount", "StopTasks"}
"""ECS here needs no service-linked role; and a task of ours that is not its service's is left only by a crash."""
POLICY = deployer_policy(PolicyScope(ACCOUNT, REGION), "demo")["Statement"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("iam"), images={IMAGE: small_image()}, iam="enforce") as running:
        yield running


@pytest.fixture(scope="module")
def deployer(cloud: Cloud) -> dict[str, str]:
    """The keys of a user who has only what ``allow`` gives."""
    iam = cloud.client("iam")
    iam.create_user(UserName="deployer")
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def allow(cloud: Cloud, statements: list[Any]) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    cloud.client("iam").put_user_policy(UserName="deployer", PolicyName="p", PolicyDocument=document)


def statements(cloud: Cloud) -> list[Any]:
    return list(deployer_policy(PolicyScope(cloud.account, cloud.region), "demo")["Statement"])


@pytest.mark.long
def test_the_policy_is_enough(cloud: Cloud, deployer: dict[str, str], tmp_path: Path) -> None:
    shell = Shell(cloud, tmp_path, deployer)
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "one.py").write_text("one = 1\n")
    before = everything(cloud)
    allow(cloud, statements(cloud))
    for words in (
        ["up", "demo", *shell.small(), "--dags", str(dags)],
        ["up", "demo", *shell.small(), "--dags", str(dags), "--allow", "127.0.0.2"],
        ["ps", "demo"],
        ["logs", "demo"],
        ["open", "demo", "--password"],
        ["list"],
        ["down", "demo", "--yes"],
    ):
        done = shell.type(*words)
        assert done.code == 0, f"{words}: {done.err}"
    assert everything(cloud) == before


@pytest.mark.soak
@pytest.mark.parametrize("sid", [one["Sid"] for one in POLICY if one["Sid"] not in NOT_NEEDED_HERE])
def test_without_one_statement_the_missing_action_is_named(
    cloud: Cloud, deployer: dict[str, str], tmp_path: Path, sid: str
) -> None:
    shell, before, whole = Shell(cloud, tmp_path, deployer), everything(cloud), statements(cloud)
    missing = next(one for one in whole if one["Sid"] == sid)
    allow(cloud, [one for one in whole if one is not missing])
    said = ""
    for words in (
        ["up", "demo", *shell.small()],
        ["list"],
        ["ps", "demo"],
        ["logs", "demo"],
        ["open", "demo", "--password"],
        ["down", "demo", "--yes", "--wait", "5"],
    ):
        said += shell.type(*words).err
        if "You may not" in said:
            break
    assert any(f"You may not {action}." in said for action in missing["Action"]), said
    allow(cloud, whole)
    # The next command repairs or removes.
    last = shell.type("down", "demo", "--yes")
    assert last.code == 0, last.err
    assert everything(cloud) == before
