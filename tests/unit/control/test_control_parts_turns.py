"""The parts around an environment's Airflow, case by case: bucket and objects, load balancer, Batch, log groups, and
the requests of one-off ECS tasks. AWS is in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.control_scenes import ROLE, SETTINGS, context, spec

from skylift.aws.batch.resources import BatchResource
from skylift.aws.ecs.tasks import DescribedTask, EcsContainer
from skylift.aws.elb import DescribedLoadBalancer
from skylift.aws.s3 import Found
from skylift.control.blueprint import Part, PartKind, blueprint
from skylift.control.part_context import PartContext
from skylift.control.parts.balancer import BalancerParts
from skylift.control.parts.batch import BatchParts, resources
from skylift.control.parts.layer import LayerParts
from skylift.control.parts.logs import LogParts
from skylift.control.parts.migration import MigrationParts
from skylift.control.parts.one_off import Once, code_of_start, failure_text, interrupted
from skylift.control.parts.source import SourceParts
from skylift.control.plan import Failure, PartPhase, Seen

pytestmark = pytest.mark.unit
ARN = "arn:aws:ecs:us-east-1:000000000000:task/skylift/0123"
BATCH = spec(AirflowConfigurationOptions={"core.executor": "skylift.executors.batch.AwsBatchExecutor"})


def part_of(kind: PartKind, stage: PartContext) -> Part:
    return next(part for part in blueprint(stage.spec) if part.kind is kind)


def knowing(stage: PartContext, facts: Mapping[str, str]) -> PartContext:
    return replace(stage, facts={**stage.facts, **facts})


def seen_by(parts: Any, kind: PartKind, stage: PartContext) -> Seen:
    part = part_of(kind, stage)
    found: Mapping[str, Seen] = parts.observe(stage, [part])
    assert set(found) == {part.name}
    return found[part.name]


class Bucket:
    """S3 with objects by key, each in one version."""

    def __init__(self, **objects: Found) -> None:
        self.objects, self.there, self.looked = objects, True, 0

    def bucket_exists(self, bucket: str) -> bool:
        self.looked += 1
        return self.there and bucket == "flight-bucket"

    def find(self, bucket: str, key: str, version: str = "") -> Found | None:
        found = self.objects.get(key)
        return found if found and version in {"", found.version} else None


def source(bucket: Bucket, **members: Any) -> tuple[Seen, PartContext]:
    stage = context(spec(**members))
    stage = replace(stage, settings=replace(stage.settings, check_role=False))
    return seen_by(SourceParts(bucket), PartKind.SOURCE, stage), stage  # type: ignore[arg-type]


ALL_THREE = {
    "RequirementsS3Path": "r.txt",
    "PluginsS3Path": "p.zip",
    "StartupScriptS3Path": "s.sh",
    "StartupScriptS3ObjectVersion": "s1",
}


def test_every_object_is_known_by_url_version_and_content() -> None:
    bucket = Bucket(**{"r.txt": Found("", "er"), "p.zip": Found("p1", "ep"), "s.sh": Found("s1", "es")})
    seen, stage = source(bucket, **ALL_THREE)
    checked = seen.facts["source.checked"]
    assert seen.phase is PartPhase.READY
    assert seen.facts == {
        "source.checked": checked,
        "source.requirements": "s3://flight-bucket/r.txt",
        "source.requirements.version": "",
        "source.requirements.etag": "er",
        "source.plugins": "s3://flight-bucket/p.zip?versionId=p1",
        "source.plugins.version": "p1",
        "source.plugins.etag": "ep",
        "source.startup_script": "s3://flight-bucket/s.sh?versionId=s1",
        "source.startup_script.version": "s1",
        "source.startup_script.etag": "es",
    }
    before = bucket.looked
    again = seen_by(SourceParts(bucket), PartKind.SOURCE, knowing(stage, seen.facts))  # type: ignore[arg-type]
    assert (again.phase, bucket.looked) == (PartPhase.READY, before), "what was found good is not looked at again"
    for changed in (spec(), spec(**{**ALL_THREE, "PluginsS3Path": "q.zip"}), spec(**ALL_THREE, ExecutionRoleArn=ROLE)):
        other = replace(stage, spec=changed, facts=seen.facts)
        same = changed == stage.spec
        seen_by(SourceParts(bucket), PartKind.SOURCE, other)  # type: ignore[arg-type]
        assert (bucket.looked == before) is same, "another request is"
        before = bucket.looked


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "There is no s3://flight-bucket/r.txt. Upload it, or leave the member out of the request."),
        (
            {"RequirementsS3ObjectVersion": "r9"},
            "There is no s3://flight-bucket/r.txt version r9. Upload it, or leave the member out of the request.",
        ),
    ],
)
def test_an_object_that_is_not_there_is_named(members: dict[str, str], said: str) -> None:
    objects = {"r.txt": Found("r1", "e")} if members else {}
    seen, _ = source(Bucket(**objects), RequirementsS3Path="r.txt", **members)
    assert (seen.phase, seen.fault) == (PartPhase.FAILED, Failure("INCORRECT_CONFIGURATION", said))


def test_a_bucket_that_is_not_there_is_named() -> None:
    bucket = Bucket()
    bucket.there = False
    seen, _ = source(bucket, DagS3Path="team/dags")
    said = "The bucket flight-bucket does not exist. Create it, put the DAGs below team/dags/ in it, and create the"
    assert seen.fault == Failure("INCORRECT_CONFIGURATION", f"{said} environment again.")


class Balancers:
    """ELBv2 in memory: one load balancer, one group, listeners by port."""

    def __init__(self) -> None:
        self.balancer: DescribedLoadBalancer | None = None
        self.group = ""
        self.ports: list[int] = []
        self.made: list[tuple[Any, ...]] = []
        self.deleted: list[str] = []

    def find(self, name: str) -> DescribedLoadBalancer | None:
        return self.balancer

    def find_group(self, name: str) -> str:
        return self.group

    def listener_ports(self, arn: str) -> Sequence[int]:
        return self.ports

    def make(self, name: str, subnets: Sequence[str], groups: Sequence[str]) -> DescribedLoadBalancer:
        self.made.append(("balancer", name, *subnets, *groups))
        self.balancer = DescribedLoadBalancer("arn:lb", "lb.internal", "provisioning")
        return self.balancer

    def make_listener(self, balancer: str, group: str, port: int) -> None:
        self.made.append(("listener", balancer, group, port))
        self.ports.append(port)

    def delete(self, arn: str) -> None:
        self.deleted.append(arn)

    def delete_group(self, arn: str) -> None:
        self.deleted.append(arn)


def test_a_load_balancer_is_made_piece_by_piece_and_has_an_address_at_once() -> None:
    elb = Balancers()
    parts, stage = BalancerParts(elb), context()  # type: ignore[arg-type]
    assert seen_by(parts, PartKind.BALANCER, stage).phase is PartPhase.ABSENT
    elb.group = "arn:tg"
    assert seen_by(parts, PartKind.BALANCER, stage).phase is PartPhase.DIFFERENT
    parts.put(stage, part_of(PartKind.BALANCER, stage))
    port = SETTINGS.web_listener_port
    assert elb.made == [
        ("balancer", "skylift-flight", "subnet-1", "subnet-2", "sg-1"),
        ("listener", "arn:lb", "arn:tg", port),
    ]
    address = "lb.internal" if port == 80 else f"lb.internal:{port}"
    assert seen_by(parts, PartKind.BALANCER, stage) == Seen(
        PartPhase.READY, {"web.address": address, "web.target_group": "arn:tg"}
    )
    parts.put(stage, part_of(PartKind.BALANCER, stage))
    assert elb.made[2:] == [("listener", "arn:lb", "arn:tg", port)], "what is there is not made again"


@pytest.mark.parametrize(("port", "address"), [(80, "lb.internal"), (8081, "lb.internal:8081")])
def test_the_port_stands_in_the_address_unless_it_is_http_s_own(port: int, address: str) -> None:
    elb = Balancers()
    elb.balancer, elb.group, elb.ports = DescribedLoadBalancer("arn:lb", "lb.internal", "active"), "arn:tg", [port]
    stage = context()
    stage = replace(stage, settings=replace(stage.settings, web_listener_port=port))
    assert seen_by(BalancerParts(elb), PartKind.BALANCER, stage).facts["web.address"] == address  # type: ignore[arg-type]
    elb.ports = [port + 1]
    seen = seen_by(BalancerParts(elb), PartKind.BALANCER, stage)  # type: ignore[arg-type]
    assert seen == Seen(PartPhase.DIFFERENT, note=f"no listener on port {port}")


def test_a_load_balancer_that_aws_cannot_make_has_failed_and_goes_whole() -> None:
    elb, stage = Balancers(), context()
    parts = BalancerParts(elb)  # type: ignore[arg-type]
    elb.balancer = DescribedLoadBalancer("arn:lb", "lb.internal", "failed")
    assert seen_by(parts, PartKind.BALANCER, stage).phase is PartPhase.DIFFERENT, "it has no group yet"
    elb.group, elb.ports = "arn:tg", [SETTINGS.web_listener_port]
    fault = Failure("LOAD_BALANCER_FAILED", "AWS could not make load balancer skylift-flight.")
    assert seen_by(parts, PartKind.BALANCER, stage) == Seen(PartPhase.FAILED, fault=fault)
    parts.remove(stage, part_of(PartKind.BALANCER, stage))
    assert elb.deleted == ["arn:lb", "arn:tg"], "the group can go when nothing forwards to it"
    elb.balancer, elb.group = None, ""
    elb.deleted.clear()
    parts.remove(stage, part_of(PartKind.BALANCER, stage))
    assert elb.deleted == []


class Places:
    """Batch in memory."""

    def __init__(self) -> None:
        self.environments: dict[str, BatchResource] = {}
        self.queues: dict[str, BatchResource] = {}
        self.definitions: dict[str, Mapping[str, Any]] = {}
        self.calls: list[str] = []

    def environment(self, name: str) -> BatchResource | None:
        return self.environments.get(name)

    def queue(self, name: str) -> BatchResource | None:
        return self.queues.get(name)

    def definition(self, name: str) -> Mapping[str, Any] | None:
        return self.definitions.get(name)

    def make_environment(self, name: str, wanted: Mapping[str, Any]) -> None:
        self.calls.append("make environment")
        self.environments[name] = BatchResource("ENABLED", "CREATING", "", wanted)

    def change_environment(self, name: str, wanted: Mapping[str, Any]) -> None:
        self.calls.append("change environment")
        self.environments[name] = replace(self.environments[name], resources=wanted)

    def make_queue(self, name: str) -> None:
        self.calls.append("make queue")
        self.queues[name] = BatchResource("ENABLED", "CREATING", "", {})

    def register(self, request: Mapping[str, Any]) -> None:
        self.calls.append("register")
        self.definitions[request["jobDefinitionName"]] = request

    def deregister(self, name: str) -> None:
        self.calls.append("deregister")
        self.definitions.pop(name, None)

    def delete_queue(self, name: str) -> None:
        self.calls.append("delete queue")
        del self.queues[name]

    def delete_environment(self, name: str) -> None:
        self.calls.append("delete environment")
        self.environments.pop(name, None)


class TestBatch:
    NAME = "skylift-flight-task"

    def setup_method(self) -> None:
        self.places, self.stage = Places(), context(BATCH)
        self.parts = BatchParts(self.places)  # type: ignore[arg-type]
        self.part = part_of(PartKind.BATCH, self.stage)

    def look(self, stage: PartContext | None = None) -> Seen:
        return seen_by(self.parts, PartKind.BATCH, stage or self.stage)

    def put(self, stage: PartContext | None = None) -> list[str]:
        self.places.calls.clear()
        self.parts.put(stage or self.stage, self.part)
        return self.places.calls

    def valid(self) -> None:
        for table in (self.places.environments, self.places.queues):
            for name in table:
                table[name] = replace(table[name], status="VALID")

    def ready(self) -> None:
        for _ in range(2):
            self.put()
            self.valid()

    def test_made_look_by_look(self) -> None:
        assert self.look().phase is PartPhase.ABSENT
        assert self.put() == ["make environment", "register"]
        assert self.look().phase is PartPhase.MOVING, "the compute environment is not VALID yet"
        assert self.put() == [], "a queue needs a compute environment that is VALID"
        self.valid()
        assert self.look() == Seen(PartPhase.DIFFERENT, note="the job queue is to be made")
        assert self.put() == ["make queue"]
        assert self.look().phase is PartPhase.MOVING
        self.valid()
        assert self.look() == Seen(PartPhase.READY)
        assert self.put() == []

    def test_no_longer_as_wanted(self) -> None:
        self.ready()
        more = replace(self.stage, spec=replace(BATCH, max_workers=BATCH.max_workers + 1))
        assert self.look(more) == Seen(PartPhase.DIFFERENT, note="the compute environment is not as wanted")
        assert "change environment" in self.put(more)
        assert self.look(more).phase is PartPhase.READY
        other = replace(more, spec=replace(more.spec, dag_path="flows"))
        assert self.look(other) == Seen(PartPhase.DIFFERENT, note="the job definition is not as wanted")
        assert self.put(other) == ["register"]
        assert self.look(other).phase is PartPhase.READY
        self.places.definitions.clear()
        assert self.look(other).phase is PartPhase.DIFFERENT

    def test_the_order_of_subnets_means_nothing(self) -> None:
        self.ready()
        found = self.places.environments[self.NAME]
        turned = {**found.resources, "subnets": list(reversed(found.resources["subnets"]))}
        self.places.environments[self.NAME] = replace(found, resources=turned)
        assert self.look().phase is PartPhase.READY

    def test_what_batch_calls_invalid_has_failed(self) -> None:
        self.ready()
        for what, table in (("compute environment", self.places.environments), ("job queue", self.places.queues)):
            kept = table[self.NAME]
            table[self.NAME] = replace(kept, status="INVALID", reason="CLIENT_ERROR - no such subnet")
            fault = Failure("BATCH_FAILED", f"Batch's {what} {self.NAME}: CLIENT_ERROR - no such subnet")
            assert self.look() == Seen(PartPhase.FAILED, fault=fault)
            table[self.NAME] = kept

    def test_removed_look_by_look(self) -> None:
        self.ready()
        leaving = replace(self.stage, leaving=True)
        self.places.calls.clear()
        for _ in range(2):
            assert self.look(leaving).phase is PartPhase.READY
            self.parts.remove(leaving, self.part)
        assert self.places.calls == ["deregister", "delete queue", "deregister", "delete environment"]
        assert self.look(leaving).phase is PartPhase.ABSENT

    @pytest.mark.parametrize("left", ["environments", "queues", "definitions"])
    def test_anything_that_is_left_is_left(self, left: str) -> None:
        self.ready()
        for name in {"environments", "queues", "definitions"} - {left}:
            getattr(self.places, name).clear()
        assert self.look(replace(self.stage, leaving=True)).phase is PartPhase.READY

    def test_room_for_as_many_as_max_workers_promises(self) -> None:
        large = spec(EnvironmentClass="mw1.large", MaxWorkers=3)
        assert resources(context(large))["maxvCpus"] == 4 * 20 * 3


class Groups:
    """CloudWatch Logs' groups."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def groups(self, prefix: str) -> set[str]:
        return {name for name in self.names if name.startswith(prefix)}

    def make_group(self, name: str) -> None:
        self.names.add(name)

    def delete_group(self, name: str) -> None:
        self.names.discard(name)


def test_log_groups_are_those_that_are_switched_on_and_ours() -> None:
    on = {"Enabled": True, "LogLevel": "INFO"}
    stage = context(spec(LoggingConfiguration={"SchedulerLogs": on}))
    groups = Groups("airflow-flight2-Task")
    parts = LogParts(groups)  # type: ignore[arg-type]
    assert seen_by(parts, PartKind.LOGS, stage).phase is PartPhase.ABSENT
    parts.put(stage, part_of(PartKind.LOGS, stage))
    assert groups.names == {
        "airflow-flight2-Task",
        "/skylift/flight",
        "airflow-flight-Scheduler",
        "airflow-flight-Task",
    }
    assert seen_by(parts, PartKind.LOGS, stage) == Seen(PartPhase.READY)
    groups.names -= {"airflow-flight-Scheduler", "airflow-flight-Task"}
    note = "missing airflow-flight-Scheduler, airflow-flight-Task"
    assert seen_by(parts, PartKind.LOGS, stage) == Seen(PartPhase.DIFFERENT, note=note)
    parts.put(stage, part_of(PartKind.LOGS, stage))
    parts.remove(stage, part_of(PartKind.LOGS, stage))
    assert groups.names == {"airflow-flight2-Task", "airflow-flight-Scheduler", "airflow-flight-Task"}, "logs outlive"
    assert seen_by(parts, PartKind.LOGS, stage).phase is PartPhase.ABSENT


class Ecs:
    """ECS tasks that run once, and their log."""

    def __init__(self) -> None:
        self.runs: list[Mapping[str, Any]] = []
        self.stopped: list[tuple[str, str]] = []
        self.task: DescribedTask | None = None
        self.read: list[tuple[str, str]] = []

    def run(self, request: Mapping[str, Any]) -> str:
        self.runs.append(request)
        return ARN

    def describe(self, arns: Sequence[str]) -> dict[str, DescribedTask]:
        return {arn: self.task for arn in arns if self.task}

    def stop(self, arn: str, why: str) -> None:
        self.stopped.append((arn, why))

    def last_lines(self, group: str, stream: str) -> tuple[str, ...]:
        self.read.append((group, stream))
        return ("password is hunter2-hunter2",)

    def read_json(self, bucket: str, key: str) -> None:
        return None


def stopped(code: int | None, stop_code: str = "EssentialContainerExited", why: str = "", said: str = "") -> Any:
    container = EcsContainer("airflow", "STOPPED", code, said)
    return DescribedTask(ARN, "STOPPED", "STOPPED", stop_code, why, code is not None, "", (container,))


def test_what_runs_once_is_asked_for_like_this() -> None:
    ecs, stage = Ecs(), context(spec(Name="e" * 60))
    started = Once(ecs, ecs).start(stage, "arn:def:1", "token", {"B": "2", "A": "1"})  # type: ignore[arg-type]
    assert started == ARN
    assert ecs.runs == [
        {
            "taskDefinition": "arn:def:1",
            "launchType": SETTINGS.launch_type,
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": ["subnet-1", "subnet-2"],
                    "securityGroups": ["sg-1"],
                    "assignPublicIp": "DISABLED",
                }
            },
            "clientToken": "token",
            "startedBy": f"skylift/{'e' * 28}",
            "overrides": {
                "containerOverrides": [
                    {"name": "airflow", "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
                ]
            },
        }
    ]


@pytest.mark.parametrize(
    ("kind", "parts"),
    [(PartKind.LAYER, lambda ecs: LayerParts(ecs, Once(ecs, ecs))), (PartKind.MIGRATION, lambda ecs: MigrationParts(Once(ecs, ecs)))],
    ids=["layer", "migration"],
)  # fmt: skip
def test_with_the_environment_goes_what_still_runs_for_it(kind: PartKind, parts: Any) -> None:
    ecs, stage = Ecs(), context(spec(RequirementsS3Path="r.txt"))
    made, part = parts(ecs), part_of(kind, stage)
    made.remove(stage, part)
    assert ecs.stopped == [], "nothing was begun"
    begun = knowing(stage, made.put(stage, part))
    made.remove(begun, part)
    assert ecs.stopped == [(ARN, "the environment is deleted")]
    leaving = replace(begun, leaving=True)
    ecs.task = stopped(143)
    assert seen_by(made, kind, leaving).phase is PartPhase.ABSENT
    ecs.task = replace(ecs.task, last_status="RUNNING")
    assert seen_by(made, kind, leaving).phase is PartPhase.MOVING
    ecs.task = None
    assert seen_by(made, kind, leaving).phase is PartPhase.ABSENT, "ECS has forgotten it"


@pytest.mark.parametrize("code", ["TerminationNotice", "SpotInterruption", "InfrastructureHealth"])
def test_a_place_that_was_taken_away_says_nothing_about_the_deed(code: str) -> None:
    assert interrupted(stopped(143, code))
    assert not interrupted(stopped(1))


@pytest.mark.parametrize(
    ("why", "said", "code"),
    [
        ("CannotPullContainerError: no such image", "", "IMAGE_FAILED"),
        ("", "CannotInspectContainerError: x", "IMAGE_FAILED"),
        ("Task failed: ImagePullFailure", "", "IMAGE_FAILED"),
        ("ResourceInitializationError: no such secret", "", "OTHER"),
    ],
)
def test_an_image_that_cannot_be_had_is_told_from_other_reasons(why: str, said: str, code: str) -> None:
    assert code_of_start(stopped(None, "TaskFailedToStart", why, said), "OTHER") == code


def test_all_that_is_known_about_an_end_is_told_and_no_secret() -> None:
    ecs = Ecs()
    once, stage = Once(ecs, ecs), context(spec(AirflowConfigurationOptions={"smtp.smtp_password": "hunter2-hunter2"}))  # type: ignore[arg-type]
    fault = once.fault(stage, stopped(3, why="It ended", said="badly"), "migrate", "CODE", "It failed")
    assert fault.code == "CODE"
    assert fault.message.startswith("It failed: It ended; badly; exit code 3\npassword is ")
    assert "hunter2" not in fault.message
    assert ecs.read == [("/skylift/flight", "migrate/airflow/0123")]
    assert failure_text(stopped(None), ()) == "ECS gave no reason"
    assert (
        once.fault(stage, stopped(None, why="no image"), "migrate", "CODE", "It failed").message
        == "It failed: no image"
    )
    assert len(ecs.read) == 1, "what never ran has no log"
