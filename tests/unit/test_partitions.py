"""A region's partition, in every ARN, address and link that is made; the table is held to botocore's."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from click.testing import CliRunner

from skylift.aws.clients import is_aws
from skylift.aws.iam_policies import PolicyScope
from skylift.aws.messages import region_of
from skylift.cli.commands.iam_policy import iam_policy
from skylift.cli.execution_role import EnvironmentScope as EnvironmentPlace
from skylift.cli.execution_role import policy, task_execution_policy
from skylift.control.part_context import environment_arn
from skylift.control.settings import ControlSettings
from skylift.core.errors import Refused
from skylift.core.names import arn
from skylift.core.partitions import PARTITIONS, find, partition_of
from skylift.executors.last_words import words

pytestmark = pytest.mark.unit
LOADER = botocore.session.get_session().get_component("data_loader")
DATA = LOADER.load_data("partitions")["partitions"]
REGIONS = [(one["id"], region) for one in DATA for region in one["regions"] if find(region) or "global" not in region]
OTHERS = [
    ("aws", "eu-central-1"),
    ("aws-cn", "cn-north-1"),
    ("aws-us-gov", "us-gov-west-1"),
    ("aws-eusc", "eusc-de-east-1"),
    ("aws-iso", "us-iso-east-1"),
    ("aws-iso-b", "us-isob-east-1"),
    ("aws-iso-e", "eu-isoe-west-1"),
    ("aws-iso-f", "us-isof-south-1"),
]


def test_the_table_is_botocores() -> None:
    ours = {one.name: (one.regions, one.suffix, one.dual) for one in PARTITIONS}
    theirs = {
        one["id"]: (one["regionRegex"], one["outputs"]["dnsSuffix"], one["outputs"]["dualStackDnsSuffix"])
        for one in DATA
    }
    assert ours == theirs
    assert {name for name, _ in OTHERS} == {*ours}


@pytest.mark.parametrize(("partition", "region"), REGIONS)
def test_every_region_that_botocore_knows_is_in_its_partition(partition: str, region: str) -> None:
    assert partition_of(region) == partition
    assert arn("ecs", region, "1", "x").split(":")[1] == partition


def test_a_region_that_nobody_knows_is_in_awss_own() -> None:
    assert partition_of("") == partition_of("mars-north-1") == "aws"


def arns_of(document: Any) -> set[str]:
    if isinstance(document, dict):
        return set().union(*map(arns_of, document.values()))
    if isinstance(document, list):
        return set().union(*map(arns_of, document))
    return {document} if isinstance(document, str) and document.startswith("arn:") else set()


ROLES = {
    "scheduler": "--cluster c --task-definition t --pass-role r --job-queue q --job-definition d "
    "--payload-url s3://b/p "
    "--events-queue e --container-log-group g --remote-log-url s3://b/l --remote-log-group m --warm",
    "task-role": "--payload-url s3://b/p --remote-log-url s3://b/l --remote-log-group m --warm",
    "execution-role": "--repository i --container-log-group g",
    "secrets-backend": "",
}


@pytest.mark.parametrize(("partition", "region"), OTHERS)
@pytest.mark.parametrize("role", ROLES)
def test_a_policy_names_things_of_the_regions_partition_only(role: str, partition: str, region: str) -> None:
    where = ["--account", "123456789012", "--region", region]
    result = CliRunner().invoke(iam_policy, [role, *where, *ROLES[role].split()], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    arns = arns_of(json.loads(result.output))
    assert arns
    assert {one.split(":")[1] for one in arns} == {partition}
    assert {one.split(":")[3] for one in arns} <= {region, ""}
    named = CliRunner().invoke(iam_policy, [role, *where, "--partition", partition, *ROLES[role].split()])
    assert named.output == result.output


def test_a_partition_that_the_region_is_not_in_is_refused_and_a_new_region_needs_one() -> None:
    with pytest.raises(Refused, match="'cn-north-1' is in partition aws-cn, not in aws"):
        PolicyScope("123456789012", "cn-north-1", "aws")
    with pytest.raises(Refused, match="--partition"):
        PolicyScope("123456789012", "mars-north-1")
    assert (
        PolicyScope("123456789012", "mars-north-1", "aws-mars")
        .arn("ecs", "x")
        .startswith("arn:aws-mars:ecs:mars-north-1:")
    )
    for wrong in ("EU", "x", "cn_north_1", "eu-central"):
        with pytest.raises(Refused, match="looks like"):
            PolicyScope("123456789012", wrong)


@pytest.mark.parametrize(("partition", "region"), OTHERS)
def test_an_environments_policies_and_arns_are_of_the_partition(partition: str, region: str) -> None:
    place = EnvironmentPlace("e", "b", "c", "skylift", "123456789012", region)
    arns = arns_of(policy(place)) | arns_of(task_execution_policy("123456789012", region))
    settings = ControlSettings(account="123456789012", region=region)
    arns |= {environment_arn("e", settings), settings.starting_role}
    assert {one.split(":")[1] for one in arns} == {partition}
    assert settings.starting_role == f"arn:{partition}:iam::123456789012:role/skylift_task_execution"


LINKS = {
    "aws": "https://console.aws.amazon.com/",
    "aws-cn": "https://console.amazonaws.cn/",
    "aws-us-gov": "https://console.amazonaws-us-gov.com/",
    "aws-eusc": "https://eusc-de-east-1.console.amazonaws-eusc.eu/",
}


@pytest.mark.parametrize(("partition", "region"), OTHERS)
def test_links_go_to_the_partitions_own_console_where_there_is_a_public_one(partition: str, region: str) -> None:
    task, job = arn("ecs", region, "1", "task/c/t"), arn("batch", region, "1", "job/j")
    links = [words.ecs_link(task, "c"), words.batch_link(job), words.log_link(task, "", "g", "s")]
    for link in links:
        assert link.startswith(LINKS[partition]) if partition in LINKS else link == ""
        assert not link or f"region={region}" in link


@pytest.mark.parametrize(("partition", "region"), OTHERS)
def test_awss_own_hosts_are_known_in_every_partition(partition: str, region: str) -> None:
    session = botocore.session.get_session()
    session.set_credentials("none", "none")
    for service in ("ecs", "batch", "logs"):
        assert is_aws(session.create_client(service, region_name=region)), "as botocore itself makes the address"
    local = SimpleNamespace(meta=SimpleNamespace(endpoint_url="http://127.0.0.1:4747"))
    assert not is_aws(local)
    host = session.create_client("sqs", region_name=region).meta.endpoint_url
    assert region_of(f"{host}/123456789012/q") == region
    assert region_of(arn("sqs", region, "123456789012", "q")) == region


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://vpce-0a1b-xyz.sqs.eu-west-1.vpce.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://sqs.eu-west-1.amazonaws.com.evil.example/123456789012/q", ""),
        ("http://127.0.0.1:4747/000000000000/q", ""),
    ],
)
def test_a_queues_region_is_read_from_its_url(url: str, region: str) -> None:
    assert region_of(url) == region
