"""Environments over real boto3 on a whole skylift: created, refused, failed with a reason, deleted without a trace."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.control_scenes import aim
from tests.stack import Stack

from skylift.aws import signed
from skylift.cli.serving.composition import SETTINGS
from skylift.control.plane import ControlPlane
from skylift.core.errors import Refused

pytestmark = pytest.mark.local
ROLE = "arn:aws:iam::000000000000:role/control-tests"
BUCKET = "control-tests"
DAG = b"""
from airflow.sdk import dag, task

@dag(schedule=None)
def flight():
    @task
    def fly():
        return 1
    fly()

flight()
"""


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.25)
    raise AssertionError(f"{what}: not within {seconds} s")


@pytest.fixture(scope="module")
def ground(stack: Stack) -> dict[str, Any]:
    """What a request needs: bucket, role, network. The bucket holds a DAG and files to install."""
    s3, iam, ec2 = stack.client("s3"), stack.client("iam"), stack.client("ec2")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=BUCKET, Key="dags/flight.py", Body=DAG)
    iam.create_role(RoleName="control-tests", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)]
    group = ec2.create_security_group(GroupName="control", Description="control", VpcId=vpc)["GroupId"]
    return {
        "ExecutionRoleArn": ROLE,
        "SourceBucketArn": f"arn:aws:s3:::{BUCKET}",
        "DagS3Path": "dags",
        "NetworkConfiguration": {"SubnetIds": subnets, "SecurityGroupIds": [group]},
    }


@pytest.fixture(scope="module")
def mwaa(stack: Stack) -> Any:
    return stack.client("mwaa")


def get(mwaa: Any, name: str) -> dict[str, Any]:
    return dict(mwaa.get_environment(Name=name)["Environment"])


def ended(mwaa: Any, name: str, seconds: float) -> dict[str, Any]:
    """The environment once it is not CREATING any more."""

    def look() -> dict[str, Any] | None:
        found = get(mwaa, name)
        return None if found["Status"] == "CREATING" else found

    return dict(until(look, seconds, f"{name} still CREATING"))


def gone(mwaa: Any, name: str) -> bool:
    try:
        assert get(mwaa, name)["Status"] == "DELETING"
    except mwaa.exceptions.ResourceNotFoundException:
        return True
    return False


def test_a_whole_life(stack: Stack, mwaa: Any, ground: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers have their own test (tests/local/whole/test_workers.py); here they would only take time.
    options = {"core.executor": "skylift.executors.ecs.AwsEcsExecutor", "smtp.smtp_password": "hunter2-hunter2"}
    options |= {"core.default_timezone": "Europe/Berlin"}
    made = mwaa.create_environment(Name="life", **ground, AirflowConfigurationOptions=options, Tags={"team": "blue"})
    assert made["Arn"] == "arn:aws:airflow:us-east-1:000000000000:environment/life"
    first = get(mwaa, "life")
    assert (first["Status"], first["LastUpdate"]["Status"]) == ("CREATING", "PENDING")
    with pytest.raises(ClientError, match="already exists"):
        mwaa.create_environment(Name="life", **ground)
    with pytest.raises(mwaa.exceptions.ValidationException, match="must complete previous operation"):
        mwaa.delete_environment(Name="life")
    found = ended(mwaa, "life", 240)
    assert found["Status"] == "AVAILABLE", found["LastUpdate"]
    assert found["LastUpdate"]["Status"] == "SUCCESS"
    assert found["CreatedAt"] == first["CreatedAt"]
    assert mwaa.list_tags_for_resource(ResourceArn=made["Arn"])["Tags"] == {"team": "blue"}
    assert "life" in mwaa.list_environments()["Environments"]
    aim(stack, monkeypatch)
    plane = ControlPlane(SETTINGS)
    assert plane.plan_of("life") == (), "what is as wanted needs no step"
    with pytest.raises(Refused, match="no environment nobody"):
        plane.plan_of("nobody")
    _plan_is_printed(stack)
    _progress_is_told(stack)
    _nothing_secret_is_shown(stack)
    _secrets_are_hidden_from_people(stack, mwaa)
    _its_ecs_tasks_are_told_of(stack, ground)
    _leaves_no_trace(stack, mwaa)


def _plan_is_printed(stack: Stack) -> None:
    assert stack.must("env", "plan", "life").strip() == "life is AVAILABLE: nothing to do"
    assert json.loads(stack.must("env", "plan", "life", "--json")) == {
        "name": "life",
        "status": "AVAILABLE",
        "condition": "",
        "steps": [],
    }


def _progress_is_told(stack: Stack) -> None:
    told = signed.call("GET", "/_skylift/environments/life", region="us-east-1")
    assert (told["name"], told["status"], told["doing"]) == ("life", "AVAILABLE", "available")
    assert {part["phase"] for part in told["parts"]} == {"ready"}
    with pytest.raises(Refused, match="does not exist"):
        signed.call("GET", "/_skylift/environments/nobody", region="us-east-1")
    endpoint = json.loads((stack.home / "server.json").read_text())["port"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://127.0.0.1:{endpoint}/_skylift/environments/life")


def _nothing_secret_is_shown(stack: Stack) -> None:
    ecs, secrets = stack.client("ecs"), stack.client("secretsmanager")
    hidden = {"hunter2-hunter2"}
    for name in ("life/airflow", "life/database", "token-key"):
        text = secrets.get_secret_value(SecretId=f"skylift/{name}")["SecretString"]
        value = json.loads(text) if text.startswith("{") else {"key": text}
        plain = {"host", "port", "dbname", "username"}
        hidden |= {one for key, one in value.items() if key not in plain}
    assert len(hidden) >= 6
    shown = [
        ecs.describe_task_definition(taskDefinition=f"skylift-life-{role}")["taskDefinition"]
        for role in ("api-server", "scheduler", "dag-processor", "triggerer", "task", "migrate")
    ]
    arns = ecs.list_tasks(cluster="skylift")["taskArns"]
    text = json.dumps([shown, ecs.describe_tasks(cluster="skylift", tasks=arns)], default=str)
    assert not [secret for secret in hidden if secret in text]
    assert not [secret for secret in hidden if secret in stack.log(10_000)]


def _secrets_are_hidden_from_people(stack: Stack, mwaa: Any) -> None:
    assert get(mwaa, "life")["AirflowConfigurationOptions"]["smtp.smtp_password"] == "hunter2-hunter2", "as MWAA does"
    logs, place = stack.client("logs"), {"logGroupName": "airflow-life-Task", "logStreamName": "dag_id=talks/x"}
    logs.create_log_stream(**place)
    event = {"timestamp": int(time.time() * 1000), "message": "my password is hunter2-hunter2, in Europe/Berlin"}
    logs.put_log_events(**place, logEvents=[event])
    for words in (["env", "show", "life"], ["env", "show", "life", "--json"], ["env", "logs", "task", "--env", "life"]):
        shown = stack.must(*words)
        assert "Europe/Berlin" in shown
        assert "***" in shown
        assert "hunter2" not in shown
        assert "hunter2-hunter2" in stack.must(*words, "--show-secrets")


def _its_ecs_tasks_are_told_of(stack: Stack, ground: dict[str, Any]) -> None:
    ecs, sqs, events = stack.client("ecs"), stack.client("sqs"), stack.client("events")
    definition = ecs.describe_task_definition(taskDefinition="skylift-life-scheduler")["taskDefinition"]
    variables = {one["name"]: one["value"] for one in definition["containerDefinitions"][0]["environment"]}
    assert variables["AIRFLOW__SKYLIFT__EVENTS_QUEUE"] == "arn:aws:sqs:us-east-1:000000000000:skylift-life-events"
    # The scheduler empties the environment's own queue; a second target of the rule shows what it is told.
    url = sqs.create_queue(QueueName="copy")["QueueUrl"]
    target = {"Id": "copy", "Arn": "arn:aws:sqs:us-east-1:000000000000:copy"}
    events.put_targets(Rule="skylift-life-events", Targets=[target])
    network = {"subnets": ground["NetworkConfiguration"]["SubnetIds"]}
    arn = ecs.run_task(
        cluster="skylift",
        taskDefinition="skylift-life-task",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        overrides={"containerOverrides": [{"name": "airflow", "command": ["sh", "-c", "exit 0"]}]},
    )["tasks"][0]["taskArn"]
    told: list[dict[str, Any]] = []

    def ended() -> bool:
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MaxNumberOfMessages=10)
        told.extend(json.loads(message["Body"])["detail"] for message in answer.get("Messages", ()))
        return any(one["lastStatus"] == "STOPPED" for one in told)

    until(ended, 60, "the end is told")
    assert {one["taskArn"] for one in told} == {arn}
    assert not {one["lastStatus"] for one in told} & {"PROVISIONING", "PENDING"}


def _leaves_no_trace(stack: Stack, mwaa: Any) -> None:
    mwaa.delete_environment(Name="life")
    until(lambda: gone(mwaa, "life"), 60, "life still there")
    ecs, elb, secrets = stack.client("ecs"), stack.client("elbv2"), stack.client("secretsmanager")
    names = [f"skylift-life-{role}" for role in ("api-server", "scheduler", "dag-processor", "triggerer")]
    services = ecs.describe_services(cluster="skylift", services=names)["services"]
    assert {one["status"] for one in services} <= {"INACTIVE"}
    running = ecs.list_tasks(cluster="skylift")["taskArns"]
    groups = [one["group"] for one in ecs.describe_tasks(cluster="skylift", tasks=running)["tasks"]] if running else []
    assert not [group for group in groups if "skylift-life-" in group]
    left = [one["LoadBalancerName"] for one in elb.describe_load_balancers()["LoadBalancers"]]
    assert "skylift-life" not in left
    kept = [one["Name"] for one in secrets.list_secrets()["SecretList"]]
    assert not [name for name in kept if name.startswith("skylift/life/")]
    rules, queues = stack.client("events").list_rules()["Rules"], stack.client("sqs").list_queues()["QueueUrls"]
    assert not [one for one in (*(rule["Name"] for rule in rules), *queues) if "skylift-life" in one]
    objects = stack.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert "dags/flight.py" in {one["Key"] for one in objects}, "the user's bucket stays as it is"
    with pytest.raises(mwaa.exceptions.ResourceNotFoundException):
        mwaa.delete_environment(Name="life")


def test_broken_requirements_end_with_the_resolvers_reason(stack: Stack, mwaa: Any, ground: dict[str, Any]) -> None:
    body = b"skylift-there-is-no-such-package==9.9\n"
    version = stack.client("s3").put_object(Bucket=BUCKET, Key="broken.txt", Body=body)["VersionId"]
    begun = time.monotonic()
    mwaa.create_environment(Name="broken", **ground, RequirementsS3Path="broken.txt")
    found = ended(mwaa, "broken", 60)
    assert time.monotonic() - begun < 60
    assert found["Status"] == "CREATE_FAILED"
    assert found["RequirementsS3ObjectVersion"] == version
    error = found["LastUpdate"]["Error"]
    assert error["ErrorCode"] == "REQUIREMENTS_FAILED"
    assert "skylift-there-is-no-such-package" in error["ErrorMessage"]
    mwaa.delete_environment(Name="broken")
    until(lambda: gone(mwaa, "broken"), 30, "broken still there")


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"SourceBucketArn": "arn:aws:s3:::nobody-has-this-bucket"}, "nobody-has-this-bucket does not exist"),
        ({"PluginsS3Path": "no-plugins.zip"}, "There is no s3://control-tests/no-plugins.zip"),
        ({"ExecutionRoleArn": "arn:aws:iam::000000000000:role/nobody"}, "role/nobody does not exist"),
    ],
)
def test_what_the_user_must_put_right_is_told(
    mwaa: Any, ground: dict[str, Any], members: dict[str, Any], word: str
) -> None:
    mwaa.create_environment(Name="wrong", **{**ground, **members})
    found = ended(mwaa, "wrong", 30)
    assert found["Status"] == "CREATE_FAILED"
    assert found["LastUpdate"]["Error"]["ErrorCode"] == "INCORRECT_CONFIGURATION"
    assert word in found["LastUpdate"]["Error"]["ErrorMessage"]
    mwaa.delete_environment(Name="wrong")
    until(lambda: gone(mwaa, "wrong"), 30, "wrong still there")


def test_malformed_requests_are_refused_at_once(mwaa: Any, ground: dict[str, Any]) -> None:
    for members in ({"AirflowVersion": "2.0.2"}, {"MinWorkers": 9, "MaxWorkers": 2}, {"EnvironmentClass": "mw1.tiny"}):
        with pytest.raises(mwaa.exceptions.ValidationException):
            mwaa.create_environment(Name="malformed", **{**ground, **members})
    with pytest.raises(mwaa.exceptions.ResourceNotFoundException):
        mwaa.get_environment(Name="malformed")
