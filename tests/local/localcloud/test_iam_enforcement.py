"""``--enforce-iam``: users and roles of the emulated IAM, judged by their policies, in each service's own words."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError

from skylift.localcloud.emulators.table import TABLE, Emulator
from skylift.testing.cloud import ACCOUNT, REGION, Cloud, running_cloud

pytestmark = pytest.mark.local

SERVICES = ("ecs-tasks.amazonaws.com",)
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/work:1"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    images = {"python": sys.prefix, IMAGE: sys.prefix}
    with running_cloud(tmp_path_factory.mktemp("iam"), images=images, iam="enforce") as running:
        running.client("ecs").create_cluster()
        running.client("s3").create_bucket(Bucket="reports")
        running.client("s3").put_object(Bucket="reports", Key="june/a", Body=b"a")
        yield running


def allow(actions: Any, resources: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class User:
    """An IAM user with a key, and one inline policy that can be changed."""

    def __init__(self, cloud: Cloud, name: str, *statements: dict[str, Any]) -> None:
        self.cloud, self.name = cloud, name
        iam = cloud.client("iam")
        iam.create_user(UserName=name)
        self.arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        if statements:
            self.may(*statements)

    def may(self, *statements: dict[str, Any]) -> None:
        self.cloud.client("iam").put_user_policy(
            UserName=self.name, PolicyName="inline", PolicyDocument=document(*statements)
        )

    def client(self, service: str) -> Any:
        return self.cloud.client(service, **self.keys)


def denied(call: Any, *words: str, code: str = "AccessDenied") -> str:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    for word in words:
        assert word in error["Message"], error
    return str(error["Message"])


def role(cloud: Cloud, name: str, *statements: dict[str, Any], trust: Any = None, path: str = "/") -> str:
    iam = cloud.client("iam")
    principal = trust or {"Service": list(SERVICES)}
    trusted = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    made = iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=document(trusted))["Role"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=document(*statements))
    return str(made["Arn"])


def test_a_user_may_what_its_policy_says_and_s3_answers_in_its_words(cloud: Cloud) -> None:
    anna = User(cloud, "anna", allow("s3:GetObject", "arn:aws:s3:::reports/${aws:username}/*"))
    cloud.client("s3").put_object(Bucket="reports", Key="anna/own", Body=b"mine")
    s3 = anna.client("s3")
    assert s3.get_object(Bucket="reports", Key="anna/own")["Body"].read() == b"mine"
    text = denied(lambda: s3.get_object(Bucket="reports", Key="june/a"))
    assert text == (
        f"User: {anna.arn} is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::reports/june/a "
        "because no identity-based policy allows the s3:GetObject action"
    )
    denied(lambda: s3.put_object(Bucket="reports", Key="anna/own", Body=b""), "s3:PutObject")
    denied(lambda: s3.list_objects_v2(Bucket="reports"), "s3:ListBucket on resource: arn:aws:s3:::reports because")
    url = s3.generate_presigned_url("get_object", {"Bucket": "reports", "Key": "june/a"})
    assert "X-Amz-Signature" in url or "Signature" in url


def test_a_form_uploads_with_the_rights_of_who_signed_it(cloud: Cloud) -> None:
    fred = User(cloud, "fred", allow("s3:PutObject", "arn:aws:s3:::reports/fred/*"))
    for key, status in (("fred/a", 204), ("june/b", 403)):
        form = fred.client("s3").generate_presigned_post("reports", key)
        fields = [f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}' for n, v in form["fields"].items()]
        file = '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncontent'
        body = "\r\n".join([*fields, file, "--x--", ""]).encode()
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert urllib3.request("POST", form["url"], body=body, headers=headers).status == status, key
    assert cloud.client("s3").get_object(Bucket="reports", Key="fred/a")["Body"].read() == b"content"


def test_who_may_not_list_is_not_told_that_an_object_is_missing(cloud: Cloud) -> None:
    bob = User(cloud, "bob", allow("s3:GetObject", "arn:aws:s3:::reports/*"))
    denied(lambda: bob.client("s3").get_object(Bucket="reports", Key="none"), "s3:ListBucket")
    bob.may(allow("s3:GetObject", "arn:aws:s3:::reports/*"), allow("s3:ListBucket", "arn:aws:s3:::reports"))
    with pytest.raises(ClientError, match="NoSuchKey"):
        bob.client("s3").get_object(Bucket="reports", Key="none")


def test_deleting_and_copying_are_judged_object_by_object(cloud: Cloud) -> None:
    carol = User(cloud, "carol", allow("s3:DeleteObject", "arn:aws:s3:::reports/carol/*"))
    for key in ("carol/1", "carol/2", "carol/3"):
        cloud.client("s3").put_object(Bucket="reports", Key=key, Body=b"x")
    s3 = carol.client("s3")
    s3.delete_objects(Bucket="reports", Delete={"Objects": [{"Key": "carol/1"}, {"Key": "carol/2"}]})
    both = {"Objects": [{"Key": "carol/3"}, {"Key": "june/a"}]}
    denied(lambda: s3.delete_objects(Bucket="reports", Delete=both), "reports/june/a")
    carol.may(allow(["s3:PutObject", "s3:DeleteObject"], "arn:aws:s3:::reports/carol/*"))
    source = {"Bucket": "reports", "Key": "june/a"}
    denied(lambda: s3.copy_object(Bucket="reports", Key="carol/4", CopySource=source), "s3:GetObject", "june/a")


def test_a_buckets_and_a_queues_policy_give_and_take(cloud: Cloud) -> None:
    dora = User(cloud, "dora")
    s3, sqs = cloud.client("s3"), cloud.client("sqs")
    s3.create_bucket(Bucket="shared")
    s3.put_object(Bucket="shared", Key="a", Body=b"a")
    denied(lambda: dora.client("s3").get_object(Bucket="shared", Key="a"))
    to_dora = allow(["s3:GetObject"], "arn:aws:s3:::shared/*", Principal={"AWS": dora.arn})
    s3.put_bucket_policy(Bucket="shared", Policy=document(to_dora))
    assert dora.client("s3").get_object(Bucket="shared", Key="a")
    dora.may(allow("*"))
    s3.put_bucket_policy(Bucket="shared", Policy=document({**to_dora, "Effect": "Deny"}))
    denied(lambda: dora.client("s3").get_object(Bucket="shared", Key="a"), "explicit deny in a resource-based policy")
    assert s3.get_object(Bucket="shared", Key="a")["Body"].read() == b"a"  # the owner
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:jobs"
    dora.may(allow("sqs:ReceiveMessage", arn))
    queue = dora.client("sqs")
    denied(lambda: queue.send_message(QueueUrl=url, MessageBody="x"), "sqs:SendMessage", arn)
    denied(lambda: queue.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}]), "sqs:SendMessage")
    given = allow("sqs:SendMessage", arn, Principal={"AWS": dora.arn})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(given)})
    assert queue.send_message(QueueUrl=url, MessageBody="x")["MessageId"]


@pytest.mark.parametrize(
    ("service", "call", "code", "words"),
    [
        ("ecs", lambda c: c.list_clusters(), "AccessDeniedException", "ecs:ListClusters because"),
        ("ecs", lambda c: c.describe_clusters(), "AccessDeniedException", "cluster/default"),
        ("batch", lambda c: c.describe_job_queues(), "AccessDeniedException", "batch:DescribeJobQueues"),
        ("batch", lambda c: c.terminate_job(jobId="1-2", reason="x"), "AccessDeniedException", ":job/1-2"),
        ("elbv2", lambda c: c.describe_load_balancers(), "AccessDenied", "elasticloadbalancing:DescribeLoadBalancers"),
        ("logs", lambda c: c.create_log_group(logGroupName="/a/b"), "AccessDeniedException", "log-group:/a/b:*"),
        ("secretsmanager", lambda c: c.get_secret_value(SecretId="s"), "AccessDeniedException", "secret:s-??????"),
        ("sqs", lambda c: c.create_queue(QueueName="q9"), "AccessDenied", f"sqs:{REGION}:{ACCOUNT}:q9"),
        ("events", lambda c: c.put_rule(Name="r", ScheduleExpression="rate(1 day)"), "AccessDeniedException", "rule/r"),
        ("scheduler", lambda c: c.get_schedule(Name="s"), "AccessDeniedException", "schedule/default/s"),
        ("iam", lambda c: c.get_role(RoleName="airflow"), "AccessDenied", ":role/airflow"),
        ("rds", lambda c: c.describe_db_instances(), "AccessDenied", "rds:DescribeDBInstances"),
        ("ec2", lambda c: c.describe_vpcs(), "UnauthorizedOperation", "ec2:DescribeVpcs"),
        ("sns", lambda c: c.list_topics(), "AccessDenied", "sns:ListTopics"),
        ("dynamodb", lambda c: c.list_tables(), "AccessDeniedException", "dynamodb:ListTables"),
        ("lambda", lambda c: c.list_functions(), "AccessDeniedException", "lambda:ListFunctions"),
        ("cloudwatch", lambda c: c.list_metrics(), "AccessDenied", "cloudwatch:ListMetrics"),
        ("ssm", lambda c: c.get_parameter(Name="/a"), "AccessDeniedException", "ssm:GetParameter"),
    ],
)
def test_each_protocol_denies_in_its_own_form(cloud: Cloud, service: str, call: Any, code: str, words: str) -> None:
    nobody = _nobody(cloud)
    text = denied(lambda: call(nobody.client(service)), nobody.arn, words, code=code)
    assert "is not authorized to perform" in text
    assert "not authorized" not in _said(lambda: call(_everything(cloud).client(service)))


def _said(call: Any) -> str:
    try:
        call()
    except ClientError as error:
        return str(error)
    return ""


_USERS: dict[str, User] = {}


def _nobody(cloud: Cloud) -> User:
    return _USERS.get(f"nobody {cloud.url}") or _USERS.setdefault(f"nobody {cloud.url}", User(cloud, "nobody"))


def _everything(cloud: Cloud) -> User:
    name = f"all {cloud.url}"
    return _USERS.get(name) or _USERS.setdefault(name, User(cloud, "everything", allow("*")))


LISTS: dict[str, tuple[str, dict[str, str]]] = {
    "acm": ("list_certificates", {}),
    "application-autoscaling": ("describe_scalable_targets", {"ServiceNamespace": "ecs"}),
    "batch": ("describe_job_queues", {}),
    "ecs": ("list_clusters", {}),
    "elbv2": ("describe_load_balancers", {}),
    "logs": ("describe_log_groups", {}),
}
"""A call of each service that the wire serves itself, but for MWAA, which this cloud does not have."""


def test_no_service_of_ours_is_left_out(cloud: Cloud) -> None:
    ours = {one.names[-1] for one in TABLE if one.server is Emulator.SKYLIFT}
    assert ours - {"mwaa"} == set(LISTS)
    nobody = User(cloud, "left-out")
    for service, (operation, members) in LISTS.items():
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(nobody.client(service), operation)(**members)


def test_a_role_is_taken_on_by_whom_it_trusts(cloud: Cloud) -> None:
    eve = User(cloud, "eve")
    arn = role(cloud, "deployer", allow("s3:ListAllMyBuckets"), trust={"AWS": eve.arn}, path="/teams/")
    frank = User(cloud, "frank", allow("sts:AssumeRole"))
    denied(
        lambda: frank.client("sts").assume_role(RoleArn=arn, RoleSessionName="run"),
        "sts:AssumeRole on resource: " + arn + " because no role trust policy allows",
    )
    keys = eve.client("sts").assume_role(RoleArn=arn, RoleSessionName="run")["Credentials"]
    session = _session(cloud, keys)
    assert session("s3").list_buckets()["Buckets"]
    text = denied(lambda: session("s3").create_bucket(Bucket="new"), "s3:CreateBucket")
    assert f"User: arn:aws:sts::{ACCOUNT}:assumed-role/deployer/run is not" in text
    keys = eve.client("sts").assume_role(RoleArn=arn, RoleSessionName="run", Policy=document(allow("s3:GetObject")))[
        "Credentials"
    ]
    denied(lambda: _session(cloud, keys)("s3").list_buckets(), "because no session policy allows")


def _session(cloud: Cloud, keys: dict[str, str]) -> Any:
    return lambda service: boto3.client(
        service,
        endpoint_url=cloud.url,
        region_name=REGION,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(inject_host_prefix=False),
    )


def test_a_boundary_and_a_group(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    gina = User(cloud, "gina")
    iam.create_group(GroupName="readers")
    iam.put_group_policy(GroupName="readers", PolicyName="p", PolicyDocument=document(allow("s3:*")))
    iam.add_user_to_group(GroupName="readers", UserName="gina")
    assert gina.client("s3").list_objects_v2(Bucket="reports")["KeyCount"]
    bound = iam.create_policy(PolicyName="bound", PolicyDocument=document(allow("s3:Get*")))["Policy"]["Arn"]
    iam.put_user_permissions_boundary(UserName="gina", PermissionsBoundary=bound)
    denied(lambda: gina.client("s3").list_objects_v2(Bucket="reports"), "no permissions boundary allows")


CODE = """
import boto3, botocore
try:
    boto3.client("s3").put_object(Bucket="reports", Key="out/1", Body=b"1")
    print("done")
except botocore.exceptions.ClientError as error:
    print(error)
"""


def _define(cloud: Cloud, family: str, **more: Any) -> None:
    container = {"name": "main", "image": "python", "command": ["python", "-c", CODE], **more.pop("container", {})}
    log = {"awslogs-group": "work", "awslogs-region": REGION, "awslogs-stream-prefix": family}
    container["logConfiguration"] = {"logDriver": "awslogs", "options": log}
    cloud.client("ecs").register_task_definition(
        family=family, containerDefinitions=[{**container, "memory": 64}], **more
    )


def _run(cloud: Cloud, client: Any, family: str) -> dict[str, Any]:
    task = client.run_task(taskDefinition=family)["tasks"][0]["taskArn"]
    deadline = time.monotonic() + 60
    while True:
        found = cloud.client("ecs").describe_tasks(tasks=[task])["tasks"][0]
        if found["lastStatus"] == "STOPPED":
            return dict(found)
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_an_ecs_task_runs_with_its_roles_only(cloud: Cloud) -> None:
    cloud.client("logs").create_log_group(logGroupName="work")
    write = allow(["logs:CreateLogStream", "logs:PutLogEvents"], f"arn:aws:logs:*:{ACCOUNT}:log-group:work:*")
    secret = cloud.client("secretsmanager").create_secret(Name="key", SecretString="s")["ARN"]
    pull = [
        allow("ecr:GetAuthorizationToken"),
        allow(
            ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
            f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/work",
        ),
    ]
    statements = [write, allow("secretsmanager:GetSecretValue", secret), *pull]
    start = role(cloud, "start", *statements)
    own = role(cloud, "own", allow("s3:PutObject", "arn:aws:s3:::reports/out/*"))
    _define(
        cloud, "work", executionRoleArn=start, taskRoleArn=own,
        container={"image": IMAGE, "secrets": [{"name": "KEY", "valueFrom": secret}]},
    )  # fmt: skip
    task = _run(cloud, cloud.client("ecs"), "work")
    assert task["containers"][0]["exitCode"] == 0, task
    assert _lines(cloud, "work", task) == ["done"]
    iam = cloud.client("iam")
    iam.put_role_policy(RoleName="own", PolicyName="inline", PolicyDocument=document(allow("s3:GetObject")))
    assert (
        "not authorized to perform: s3:PutObject" in _lines(cloud, "work", _run(cloud, cloud.client("ecs"), "work"))[0]
    )
    names = [
        "logs:CreateLogStream",
        "secretsmanager:GetSecretValue",
        "ecr:GetAuthorizationToken",
        "ecr:BatchCheckLayer",
    ]
    for number, name in enumerate(names):
        fewer = [one for place, one in enumerate(statements) if place != number]
        iam.put_role_policy(RoleName="start", PolicyName="inline", PolicyDocument=document(*fewer))
        task = _run(cloud, cloud.client("ecs"), "work")
        assert task["stopCode"] == "TaskFailedToStart", task
        assert name in task["stoppedReason"]


def _lines(cloud: Cloud, family: str, task: dict[str, Any]) -> list[str]:
    stream = f"{family}/main/{task['taskArn'].rpartition('/')[2]}"
    events = cloud.client("logs").get_log_events(logGroupName="work", logStreamName=stream, startFromHead=True)
    return [one["message"] for one in events["events"]]


def test_roles_must_be_passed_and_trusted(cloud: Cloud) -> None:
    own = role(cloud, "passed")
    _define(cloud, "passing", taskRoleArn=own)
    run = allow("ecs:RunTask", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/passing:*")
    hugo = User(cloud, "hugo", run)
    denied(
        lambda: hugo.client("ecs").run_task(taskDefinition="passing"), "iam:PassRole", own, code="AccessDeniedException"
    )
    other = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    hugo.may(run, allow("iam:PassRole", own, Condition=other))
    denied(lambda: hugo.client("ecs").run_task(taskDefinition="passing"), "iam:PassRole", code="AccessDeniedException")
    hugo.may(run, allow("iam:PassRole", own))
    assert hugo.client("ecs").run_task(taskDefinition="passing")["tasks"]
    denied(
        lambda: hugo.client("ecs").register_task_definition(
            family="mine", taskRoleArn=own, containerDefinitions=[{"name": "a", "image": "python", "memory": 9}]
        ),
        "ecs:RegisterTaskDefinition",
        code="AccessDeniedException",
    )
    untrusted = role(cloud, "untrusted", trust={"Service": "lambda.amazonaws.com"})
    _define(cloud, "untrusted", taskRoleArn=untrusted)
    denied(
        lambda: cloud.client("ecs", **_everything(cloud).keys).run_task(taskDefinition="untrusted"),
        "ECS was unable to assume the role",
        code="ClientException",
    )


def test_conditions_of_ecs(cloud: Cloud) -> None:
    cloud.client("ecs").create_cluster(clusterName="prod")
    here = {"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/default"}}
    ida = User(cloud, "ida", allow("ecs:ListTasks", Condition=here), allow("ecs:DescribeTasks", "*", Condition=here))
    assert ida.client("ecs").list_tasks()["taskArns"] is not None
    denied(lambda: ida.client("ecs").list_tasks(cluster="prod"), "ecs:ListTasks", code="AccessDeniedException")
    assert ida.client("ecs").describe_tasks(tasks=["0" * 32])["failures"]
    denied(
        lambda: ida.client("ecs").describe_tasks(cluster="prod", tasks=["0" * 32]),
        f"task/prod/{'0' * 32}",
        code="AccessDeniedException",
    )


def test_what_is_seen_becomes_the_least_policy_once_and_bounded(cloud: Cloud) -> None:
    jane = User(cloud, "jane", allow("s3:*"))
    for number in range(60):
        jane.client("s3").put_object(Bucket="reports", Key=f"many/{number}", Body=b"")
    seen = [one for one in cloud.observed() if one["principal"] == jane.arn and one["action"] == "s3:PutObject"]
    assert len(seen) < 45
    assert "arn:aws:s3:::reports/many/*" in {one["resource"] for one in seen}
