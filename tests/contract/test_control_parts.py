"""The contract of ``Parts`` (control/parts/seam.py), on the shipped fake and on the local cloud."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from tests.control_scenes import aim, context, spec
from tests.stack import Stack

from skylift.aws.clients import client
from skylift.aws.secrets import SecretsManager
from skylift.control.blueprint import Part, PartKind, blueprint
from skylift.control.part_context import PartContext
from skylift.control.parts.aws_parts import AwsParts
from skylift.control.parts.fake import FakeParts
from skylift.control.parts.seam import Parts
from skylift.control.plan import PartPhase, Seen
from skylift.control.postgres import PostgresAdmin
from skylift.control.settings import ControlSettings

pytestmark = pytest.mark.contract

KINDS = (
    PartKind.LOGS,
    PartKind.SECRETS,
    PartKind.DATABASE,
    PartKind.BALANCER,
    PartKind.EVENTS,
    PartKind.BROKER,
    PartKind.BATCH,
    PartKind.DEFINITION,
)
"""Kinds whose parts need nothing but facts. The others (layer, migration, services) start containers; see
``tests/local/control/test_control_environments.py``."""


@pytest.fixture(params=["fake", "local cloud"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    if request.param == "fake":
        yield FakeParts()
        return
    stack: Stack = request.getfixturevalue("stack")
    aim(stack, monkeypatch)
    parts = AwsParts(ControlSettings(), PostgresAdmin(SecretsManager("us-east-1"), "skylift/postgres"))
    parts.prepare()
    parts.prepare()
    yield parts


@pytest.fixture
def stage(world: Parts) -> PartContext:
    name = f"contract-{uuid.uuid4().hex[:8]}"
    executor = "skylift.executors.ecs.AwsEcsExecutor,skylift.executors.batch.AwsBatchExecutor,CeleryExecutor"
    options = {"core.default_timezone": "Europe/Berlin", "core.executor": executor}
    wanted = spec(Name=name, AirflowConfigurationOptions=options)
    if isinstance(world, AwsParts):
        ec2 = client("ec2", region="us-east-1")
        vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
        subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.8.{n}.0/24")["Subnet"]["SubnetId"] for n in (1, 2)]
        network = {"SubnetIds": subnets, "SecurityGroupIds": ["sg-12345678"]}
        wanted = spec(Name=name, NetworkConfiguration=network, AirflowConfigurationOptions=dict(wanted.options))
    return context(wanted)


def part_of(kind: PartKind, stage: PartContext) -> Part:
    return next(part for part in blueprint(stage.spec) if part.kind is kind)


def seen(world: Parts, stage: PartContext, part: Part) -> Seen:
    found = world.observe(stage, [part])
    assert set(found) == {part.name}
    return found[part.name]


def until(world: Parts, stage: PartContext, part: Part, wanted: PartPhase) -> Seen:
    deadline = time.monotonic() + 20
    while (found := seen(world, stage, part)).phase is not wanted:
        assert time.monotonic() < deadline, f"{part.name} is {found}, wanted {wanted}"
        if stage.leaving:  # what goes in several steps is asked again by each pass
            world.remove(stage, part)
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_comes_and_goes(world: Parts, stage: PartContext, kind: PartKind) -> None:
    part = part_of(kind, stage)
    leaving = PartContext(stage.spec, stage.settings, stage.incarnation, stage.facts, leaving=True)
    assert seen(world, stage, part).phase is PartPhase.ABSENT
    assert seen(world, stage, part).phase is PartPhase.ABSENT, "observe changes nothing"
    world.put(stage, part)
    world.put(stage, part)  # a crash between the deed and its record
    first = until(world, stage, part, PartPhase.READY)
    world.put(stage, part)
    again = until(world, stage, part, PartPhase.READY)
    if kind is not PartKind.SECRETS:  # the options' version is new, and rolls what reads them
        assert again.facts == first.facts, "what is as wanted stays as it is"
    world.remove(leaving, part)
    world.remove(leaving, part)
    until(world, leaving, part, PartPhase.ABSENT)


def test_workloads_that_nobody_fetched_expire_and_the_buckets_other_rules_stay(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(stack, monkeypatch)
    bucket = f"contract-{uuid.uuid4().hex[:8]}"
    parts = AwsParts(
        ControlSettings(control_bucket=bucket), PostgresAdmin(SecretsManager("us-east-1"), "skylift/postgres")
    )
    parts.prepare()
    s3 = stack.client("s3")

    def rules() -> dict[str, int]:
        found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        return {one["Filter"]["Prefix"]: one["Expiration"]["Days"] for one in found if one["Status"] == "Enabled"}

    assert rules() == {"workloads/": 1}
    theirs = {"ID": "theirs", "Filter": {"Prefix": "x/"}, "Status": "Enabled", "Expiration": {"Days": 7}}
    ours = {**theirs, "ID": "skylift workloads/", "Status": "Disabled"}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs, ours]})
    parts.prepare()
    assert rules() == {"x/": 7, "workloads/": 1}
