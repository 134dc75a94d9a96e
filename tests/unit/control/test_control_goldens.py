"""What the control plane sends to AWS and only AWS judges: policies, rules, health checks, word by word.

The local cloud takes any policy and keeps any rule, so an environment would work there whatever these say.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.stub import Stubber
from tests.control_scenes import ROLE, context, spec

from skylift.aws.batch.resources import BatchPlaces
from skylift.aws.elb import Balancers
from skylift.aws.event_queues import EventQueues
from skylift.aws.s3 import S3
from skylift.control.blueprint import EXECUTOR_ROLE, Part, PartKind, blueprint
from skylift.control.definitions import definition
from skylift.control.part_context import PartContext
from skylift.control.parts.batch import job_definition, resources
from skylift.control.parts.events import EventParts, pattern, policy
from skylift.control.parts.service import ServiceParts
from skylift.core.containers import Command

pytestmark = pytest.mark.unit
QUEUE = "arn:aws:sqs:us-east-1:000000000000:skylift-flight-events"
RULE = "arn:aws:events:us-east-1:000000000000:rule/skylift-flight-events"
BATCH = "skylift.executors.batch.AwsBatchExecutor"
URL = "https://sqs.us-east-1.amazonaws.com/000000000000/skylift-flight-events"
TASKS = {
    "clusterArn": ["arn:aws:ecs:us-east-1:000000000000:cluster/skylift"],
    "group": ["family:skylift-flight-task"],
    "lastStatus": [{"anything-but": ["PROVISIONING", "PENDING", "ACTIVATING"]}],
}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "RuleFills",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": QUEUE,
            "Condition": {"ArnEquals": {"aws:SourceArn": RULE}},
        },
        {
            "Sid": "SchedulerReads",
            "Effect": "Allow",
            "Principal": {"AWS": ROLE},
            "Action": ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
            "Resource": QUEUE,
        },
    ],
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")


def expecting(client: Any, *calls: tuple[str, dict[str, Any], dict[str, Any]]) -> Stubber:
    """The client takes exactly these calls, in this order, with exactly these members."""
    stubber = Stubber(client)
    for operation, request, answer in calls:
        stubber.add_response(operation, answer, request)
    stubber.activate()
    return stubber


def part_of(kind: PartKind, stage: PartContext, role: str = "") -> Part:
    return next(part for part in blueprint(stage.spec) if part.kind is kind and part.role == role)


def test_the_policy_of_the_queue() -> None:
    assert policy(context()) == POLICY


def test_what_the_rule_matches() -> None:
    assert pattern(context()) == {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": TASKS,
    }
    jobs = {
        "jobQueue": ["arn:aws:batch:us-east-1:000000000000:job-queue/skylift-flight-task"],
        "status": ["RUNNING", "SUCCEEDED", "FAILED"],
    }
    assert pattern(context(spec(AirflowConfigurationOptions={"core.executor": BATCH}))) == {
        "source": ["aws.ecs", "aws.batch"],
        "detail-type": ["ECS Task State Change", "Batch Job State Change"],
        "detail": {"$or": [TASKS, jobs]},
    }


def test_the_queue_and_the_rule_are_made_as_they_are_written_here() -> None:
    queues, stage = EventQueues("us-east-1"), context()
    attributes = {
        "MessageRetentionPeriod": "3600",
        "ReceiveMessageWaitTimeSeconds": "20",
        "Policy": json.dumps(POLICY, sort_keys=True),
    }
    name = "skylift-flight-events"
    sqs = expecting(
        queues._sqs,
        ("get_queue_url", {"QueueName": name}, {"QueueUrl": URL}),
        ("set_queue_attributes", {"QueueUrl": URL, "Attributes": attributes}, {}),
    )
    wanted = json.dumps(pattern(stage), sort_keys=True)
    rule = {"Name": name, "EventPattern": wanted, "State": "ENABLED", "Description": "made by skylift"}
    target = {"Rule": name, "Targets": [{"Id": "queue", "Arn": QUEUE}]}
    events = expecting(
        queues._events,
        ("put_rule", rule, {}),
        ("put_targets", target, {"FailedEntryCount": 0, "FailedEntries": []}),
    )
    EventParts(queues).put(stage, part_of(PartKind.EVENTS, stage))
    sqs.assert_no_pending_responses()
    events.assert_no_pending_responses()


def test_the_rule_of_the_bucket_deletes_all_versions_of_what_nobody_fetched() -> None:
    s3 = S3("us-east-1")
    rule = {
        "ID": "skylift workloads/",
        "Filter": {"Prefix": "workloads/"},
        "Status": "Enabled",
        "Expiration": {"Days": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    theirs = {"ID": "theirs", "Filter": {"Prefix": "x/"}, "Status": "Enabled", "Expiration": {"Days": 7}}
    stubber = expecting(
        s3._s3,
        ("get_bucket_lifecycle_configuration", {"Bucket": "b"}, {"Rules": [{**rule, "Status": "Disabled"}, theirs]}),
        (
            "put_bucket_lifecycle_configuration",
            {"Bucket": "b", "LifecycleConfiguration": {"Rules": [theirs, rule]}},
            {},
        ),
        ("get_bucket_lifecycle_configuration", {"Bucket": "b"}, {"Rules": [theirs, rule]}),
    )
    s3.expire("b", "workloads/", 1)
    s3.expire("b", "workloads/", 1)  # as wanted: nothing is put
    stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("region", "place"),
    [("us-east-1", {}), ("eu-west-1", {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}})],
)
def test_a_bucket_is_made_where_it_is_wanted(region: str, place: dict[str, Any]) -> None:
    s3 = S3(region)
    stubber = expecting(s3._s3, ("create_bucket", {"Bucket": "b", **place}, {}))
    s3.make_bucket("b")
    stubber.assert_no_pending_responses()


def test_the_load_balancer_is_internal_and_patient_with_a_busy_api_server() -> None:
    balancers = Balancers("us-east-1")
    made = {"LoadBalancerArn": "arn:lb", "DNSName": "internal-x", "State": {"Code": "provisioning"}}
    stubber = expecting(
        balancers._elb,
        (
            "create_load_balancer",
            {
                "Name": "n",
                "Subnets": ["subnet-1", "subnet-2"],
                "SecurityGroups": ["sg-1"],
                "Scheme": "internal",
                "Type": "application",
            },
            {"LoadBalancers": [made]},
        ),
        (
            "create_target_group",
            {
                "Name": "n",
                "Protocol": "HTTP",
                "Port": 8080,
                "TargetType": "ip",
                "HealthCheckPath": "/health",
                "HealthCheckIntervalSeconds": 10,
                "HealthCheckTimeoutSeconds": 9,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 10,
                "VpcId": "vpc-1",
            },
            {"TargetGroups": [{"TargetGroupArn": "arn:tg"}]},
        ),
        (
            "create_listener",
            {
                "LoadBalancerArn": "arn:lb",
                "Protocol": "HTTP",
                "Port": 80,
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": "arn:tg"}],
            },
            {"Listeners": []},
        ),
    )
    assert balancers.make("n", ["subnet-1", "subnet-2"], ["sg-1"]).state == "provisioning"
    assert balancers.make_group("n", 8080, "vpc-1", "/health") == "arn:tg"
    balancers.make_listener("arn:lb", "arn:tg", 80)
    stubber.assert_no_pending_responses()


class Services:
    """``EcsServices`` without services: keeps what is asked for."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    def describe(self, names: list[str]) -> dict[str, Any]:
        return {}

    def create(self, request: dict[str, Any]) -> None:
        self.created.append(request)


def created(role: str) -> dict[str, Any]:
    stage = context(spec(Schedulers=3, MinWebservers=4, MaxWebservers=5), **{f"definition__{role}": "arn:def:1"})
    services: Any = Services()
    ServiceParts(services, services, services).put(stage, part_of(PartKind.SERVICE, stage, role))
    (request,) = services.created
    assert request.pop("clientToken") == stage.token("service", role)
    return dict(request)


SERVICE = {
    "taskDefinition": "arn:def:1",
    "launchType": "FARGATE",
    "networkConfiguration": {
        "awsvpcConfiguration": {
            "subnets": ["subnet-1", "subnet-2"],
            "securityGroups": ["sg-1"],
            "assignPublicIp": "DISABLED",
        }
    },
    "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 200},
}


def test_the_services_of_an_environment() -> None:
    counts = {Command.SCHEDULER: 3, Command.TRIGGERER: 1, Command.DAG_PROCESSOR: 1}
    for role, count in counts.items():
        name = f"skylift-flight-{role}"
        assert created(role) == {**SERVICE, "serviceName": name, "desiredCount": count}
    assert created(Command.API_SERVER) == {
        **SERVICE,
        "serviceName": "skylift-flight-api-server",
        "desiredCount": 4,
        "loadBalancers": [{"targetGroupArn": "arn:tg", "containerName": "airflow", "containerPort": 8080}],
        "healthCheckGracePeriodSeconds": 300,
    }


def outline(role: str) -> dict[str, Any]:
    """A role's task definition without what other tests are about: its variables, secrets and digest."""
    made = definition(context(), role)
    (container,) = made["containerDefinitions"]
    assert container.pop("environment")
    assert {*container.pop("dockerLabels")} == {"skylift.digest"}
    assert bool(container.pop("secrets")) == (role != EXECUTOR_ROLE)
    return made


@pytest.mark.parametrize(
    ("role", "cpu", "memory", "starts_with", "more"),
    [
        (Command.SCHEDULER, "1024", "2048", "STARTING", {"command": ["scheduler"]}),
        (
            Command.API_SERVER,
            "1024",
            "2048",
            "STARTING",
            {"command": ["api-server"], "portMappings": [{"containerPort": 8080, "protocol": "tcp"}]},
        ),
        (Command.MIGRATE, "1024", "2048", "STARTING", {"command": ["migrate"]}),
        (EXECUTOR_ROLE, "1024", "2048", ROLE, {}),
    ],
)
def test_the_task_definitions(role: str, cpu: str, memory: str, starts_with: str, more: dict[str, Any]) -> None:
    stage = context()
    starting = stage.settings.starting_role if starts_with == "STARTING" else starts_with
    assert outline(role) == {
        "family": f"skylift-flight-{role}",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": cpu,
        "memory": memory,
        "taskRoleArn": ROLE,
        "executionRoleArn": starting,
        "containerDefinitions": [
            {
                "name": "airflow",
                "image": stage.settings.image_of(stage.spec.airflow_version),
                "essential": True,
                "entryPoint": ["python", "-m", "skylift.runtime"],
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": "/skylift/flight",
                        "awslogs-region": "us-east-1",
                        "awslogs-stream-prefix": str(role),
                    },
                },
                "stopTimeout": 120,
                **more,
            }
        ],
    }


@pytest.mark.parametrize(
    ("size", "scheduler", "web"),
    [
        ("mw1.micro", ("1024", "3072"), ("1024", "3072")),
        ("mw1.small", ("1024", "2048"), ("1024", "2048")),
        ("mw1.medium", ("2048", "4096"), ("1024", "2048")),
        ("mw1.large", ("4096", "8192"), ("2048", "4096")),
        ("mw1.xlarge", ("8192", "24576"), ("4096", "12288")),
        ("mw1.2xlarge", ("16384", "49152"), ("8192", "24576")),
    ],
)
def test_the_sizes_of_the_classes(size: str, scheduler: tuple[str, str], web: tuple[str, str]) -> None:
    stage = context(spec(EnvironmentClass=size))
    sizes = {role: definition(stage, role) for role in (*Command, EXECUTOR_ROLE)}
    assert {role: (made["cpu"], made["memory"]) for role, made in sizes.items()} == {
        role: web if role == Command.API_SERVER else scheduler for role in (*Command, EXECUTOR_ROLE)
    }


def test_batch_runs_it_on_fargate_in_the_same_subnets() -> None:
    stage = context(spec(AirflowConfigurationOptions={"core.executor": BATCH}))
    places, name = BatchPlaces("us-east-1"), "skylift-flight-task"
    wanted = {"maxvCpus": 50, "subnets": ["subnet-1", "subnet-2"], "securityGroupIds": ["sg-1"]}
    assert resources(stage) == wanted
    asked = {"computeEnvironments": [name]}
    arn = "arn:aws:batch:us-east-1:000000000000:compute-environment/x"
    valid = {"computeEnvironmentName": name, "computeEnvironmentArn": arn, "state": "ENABLED", "status": "VALID"}
    fargate = {"type": "FARGATE", **wanted}
    queue = {"jobQueueName": name, "priority": 1, "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": name}]}
    stubber = expecting(
        places._batch,
        ("describe_compute_environments", asked, {"computeEnvironments": []}),
        (
            "create_compute_environment",
            {"computeEnvironmentName": name, "type": "MANAGED", "computeResources": fargate},
            {},
        ),
        ("describe_compute_environments", asked, {"computeEnvironments": [valid]}),
        ("create_job_queue", queue, {"jobQueueName": name, "jobQueueArn": "arn:q"}),
    )
    assert places.environment(name) is None
    places.make_environment(name, resources(stage))
    found = places.environment(name)
    assert found is not None
    assert found.status == "VALID"
    places.make_queue(name)
    stubber.assert_no_pending_responses()
    made = job_definition(stage)
    ours = made.pop("containerProperties")
    assert {*made} == {"jobDefinitionName", "type", "platformCapabilities", "tags"}
    assert (made["jobDefinitionName"], made["type"], made["platformCapabilities"]) == (name, "container", ["FARGATE"])
    assert (ours["jobRoleArn"], ours["executionRoleArn"]) == (ROLE, ROLE)
    assert ours["networkConfiguration"] == {"assignPublicIp": "DISABLED"}
