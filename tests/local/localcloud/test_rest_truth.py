"""What does not work here is not claimed: it is refused with advice, or the answer says so where people look for a
reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.rest_server import Rest, rest_of_aws

from skylift.localcloud.emulators.nothing_ran import NOTHING_RAN
from skylift.localcloud.emulators.table import TABLE, Depth, page

pytestmark = pytest.mark.local

ROLE = "arn:aws:iam::000000000000:role/r"
CLUSTER = "arn:aws:ecs:us-east-1:000000000000:cluster/c"
ECS = {"TaskDefinitionArn": "arn:aws:ecs:us-east-1:000000000000:task-definition/t:1"}


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with rest_of_aws(tmp_path_factory.mktemp("truth") / "rest") as running:
        running.client("s3").create_bucket(Bucket="output")
        yield running


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    assert answer["Error"]["Code"] == "NotImplemented"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert answer["ResponseMetadata"]["RetryAttempts"] == 0, "an SDK must not try it again"
    return str(answer["Error"]["Message"])


def machine(resource: str, **state: Any) -> str:
    return json.dumps({"StartAt": "s", "States": {"s": {"Type": "Task", "Resource": resource, "End": True, **state}}})


def test_cloudformation_is_refused_with_what_to_use_instead(rest: Rest) -> None:
    stacks = rest.client("cloudformation")
    template = json.dumps({"Resources": {"C": {"Type": "AWS::ECS::Cluster"}}})
    calls: list[Callable[[], object]] = [
        lambda: stacks.create_stack(StackName="s", TemplateBody=template),
        lambda: stacks.create_change_set(StackName="s", ChangeSetName="c", TemplateBody=template),
        stacks.describe_stacks,
        lambda: stacks.validate_template(TemplateBody=template),
        lambda: rest.client("cloudcontrol").create_resource(TypeName="AWS::ECS::Cluster", DesiredState="{}"),
        lambda: rest.client("cloudcontrol").list_resources(TypeName="AWS::ECS::Cluster"),
    ]
    for call in calls:
        assert "Terraform" in refusal(call)


def test_what_cannot_be_called_or_delivered_to_is_refused(rest: Rest) -> None:
    states, events, scheduler = rest.client("stepfunctions"), rest.client("events"), rest.client("scheduler")
    pipes = rest.client("pipes")
    for resource in ("ecs:runTask.sync", "aws-sdk:ecs:runTask", "batch:submitJob.sync", "aws-sdk:mwaa:createCliToken"):
        made = machine(f"arn:aws:states:::{resource}")
        told = refusal(lambda text=made: states.create_state_machine(name="m", roleArn=ROLE, definition=text))
        assert "EcsRunTaskOperator" in told
    events.put_rule(Name="r", EventPattern='{"source": ["mine"]}')
    stream = {"Id": "1", "Arn": "arn:aws:kinesis:us-east-1:000000000000:stream/s", "RoleArn": ROLE}
    assert "SQS" in refusal(lambda: events.put_targets(Rule="r", Targets=[stream]))
    assert events.list_targets_by_rule(Rule="r")["Targets"] == []
    when = {"ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    for arn in (
        "arn:aws:scheduler:::aws-sdk:s3:listBuckets",
        "arn:aws:batch:us-east-1:000000000000:job-queue/q",
        "arn:aws:logs:us-east-1:000000000000:log-group:g",
    ):
        target = {"Arn": arn, "RoleArn": ROLE}
        assert "universal targets" in refusal(
            lambda one=target: scheduler.create_schedule(Name="s", Target=one, **when)
        )
    source = "arn:aws:sqs:us-east-1:000000000000:q"
    assert "DAG" in refusal(lambda: pipes.create_pipe(Name="p", RoleArn=ROLE, Source=source, Target=CLUSTER))


def test_what_is_like_it_and_can_be_served_still_is(rest: Rest) -> None:
    states, scheduler, sqs = rest.client("stepfunctions"), rest.client("scheduler"), rest.client("sqs")
    sqs.create_queue(QueueName="q")
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    about = json.dumps({"arn": CLUSTER, "of": "arn:aws:states:::ecs:runTask"})
    send = machine("arn:aws:states:::sqs:sendMessage", Parameters={"QueueUrl": f"{rest.url}/000000000000/q"})
    states.create_state_machine(name="sends", roleArn=ROLE, definition=send)
    target = {"Arn": queue, "RoleArn": ROLE, "Input": about}
    off = {"Mode": "OFF"}
    scheduler.create_schedule(Name="s", Target=target, ScheduleExpression="rate(1 hour)", FlexibleTimeWindow=off)
    events = rest.client("events")
    events.put_rule(Name="sends", EventPattern='{"source": ["mine"]}')
    events.put_targets(Rule="sends", Targets=[{"Id": "1", "Arn": queue, "Input": about}])
    assert events.list_targets_by_rule(Rule="sends")["Targets"][0]["Arn"] == queue
    assert events.put_events(Entries=[{"Source": "mine", "DetailType": "d", "Detail": about}])["FailedEntryCount"] == 0


def emr(client: Any) -> dict[str, Any]:
    cluster = client.run_job_flow(Name="c", Instances={"InstanceCount": 1}, ReleaseLabel="emr-7.0.0")["JobFlowId"]
    jar = {"Jar": "command-runner.jar", "Args": ["spark-submit", "s.py"]}
    step = client.add_job_flow_steps(JobFlowId=cluster, Steps=[{"Name": "s", "HadoopJarStep": jar}])["StepIds"][0]
    return {
        "step": client.describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]["StateChangeReason"]["Message"],
        "cluster": client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["StateChangeReason"]["Message"],
        "listed": client.list_steps(ClusterId=cluster)["Steps"][0]["Status"]["StateChangeReason"]["Message"],
    }


def glue(client: Any) -> dict[str, Any]:
    command = {"Name": "glueetl", "ScriptLocation": "s3://b/s.py"}
    client.create_job(Name="spark", Role=ROLE, Command=command)
    run = client.start_job_run(JobName="spark")["JobRunId"]
    told = {
        "run": until(lambda: client.get_job_run(JobName="spark", RunId=run)["JobRun"], "JobRunState")["StateDetail"]
    }
    client.create_crawler(Name="c", Role=ROLE, DatabaseName="d", Targets={"S3Targets": [{"Path": "s3://b"}]})
    client.start_crawler(Name="c")
    deadline = time.monotonic() + 60
    while not (last := client.get_crawler(Name="c")["Crawler"].get("LastCrawl")) and time.monotonic() < deadline:
        time.sleep(0.2)
    return {**told, "crawl": last["ErrorMessage"]}


def athena(client: Any) -> dict[str, Any]:
    output = {"OutputLocation": "s3://output/"}
    query = client.start_query_execution(QueryString="SELECT 1", ResultConfiguration=output)["QueryExecutionId"]
    status = until(lambda: client.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"], "State")
    return {"query": status["StateChangeReason"]}


def emr_serverless(client: Any) -> dict[str, Any]:
    made = client.create_application(name="a", releaseLabel="emr-6.6.0", type="SPARK")["applicationId"]
    driver = {"sparkSubmit": {"entryPoint": "s3://b/s.py"}}
    run = client.start_job_run(applicationId=made, executionRoleArn=ROLE, jobDriver=driver)["jobRunId"]
    return {
        "run": client.get_job_run(applicationId=made, jobRunId=run)["jobRun"]["stateDetails"],
        "listed": client.list_job_runs(applicationId=made)["jobRuns"][0]["stateDetails"],
    }


def emr_containers(client: Any) -> dict[str, Any]:
    provider = {"id": "k", "type": "EKS", "info": {"eksInfo": {"namespace": "n"}}}
    cluster = client.create_virtual_cluster(name="v", containerProvider=provider)["id"]
    driver = {"sparkSubmitJobDriver": {"entryPoint": "s3://b/s.py"}}
    given = {"virtualClusterId": cluster, "executionRoleArn": ROLE, "releaseLabel": "emr-6.6.0-latest"}
    run = client.start_job_run(name="j", jobDriver=driver, **given)["id"]
    return {"run": client.describe_job_run(id=run, virtualClusterId=cluster)["jobRun"]["stateDetails"]}


def sagemaker(client: Any) -> dict[str, Any]:
    image = {"TrainingImage": "i", "TrainingInputMode": "File"}
    machines = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    client.create_training_job(
        TrainingJobName="t",
        AlgorithmSpecification=image,
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": "s3://b/"},
        ResourceConfig=machines,
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    client.create_processing_job(
        ProcessingJobName="p",
        ProcessingResources={"ClusterConfig": machines},
        AppSpecification={"ImageUri": "i"},
        RoleArn=ROLE,
    )
    training = client.describe_training_job(TrainingJobName="t")
    return {
        "training": training["FailureReason"],
        "transitions": training["SecondaryStatusTransitions"][-1]["StatusMessage"],
        "processing": client.describe_processing_job(ProcessingJobName="p")["ExitMessage"],
    }


def redshift_data(client: Any) -> dict[str, Any]:
    made = client.execute_statement(Database="d", ClusterIdentifier="c", Sql="SELECT 1")["Id"]
    return {"statement": client.describe_statement(Id=made)["Error"]}


def datasync(client: Any) -> dict[str, Any]:
    place = {"ServerHostname": "h", "Subdirectory": "/s", "User": "u", "Password": "p", "AgentArns": ["a" * 20]}
    here, there = (client.create_location_smb(**place)["LocationArn"] for _ in range(2))
    work = client.create_task(SourceLocationArn=here, DestinationLocationArn=there)["TaskArn"]
    run = client.start_task_execution(TaskArn=work)["TaskExecutionArn"]
    ended = until(lambda: client.describe_task_execution(TaskExecutionArn=run), "Status")
    return {"execution": ended["Result"]["ErrorDetail"]}


SERVICES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "emr": emr,
    "glue": glue,
    "athena": athena,
    "emr-serverless": emr_serverless,
    "emr-containers": emr_containers,
    "sagemaker": sagemaker,
    "redshift-data": redshift_data,
    "datasync": datasync,
}


def until(look: Callable[[], dict[str, Any]], member: str) -> dict[str, Any]:
    """What is found once it has ended well."""
    deadline = time.monotonic() + 60
    while (found := look())[member] not in {"SUCCEEDED", "SUCCESS", "FINISHED"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_work_that_nobody_did_says_so_beside_its_state(rest: Rest, service: str) -> None:
    told = SERVICES[service](rest.client(service))
    assert told == dict.fromkeys(told, NOTHING_RAN)


def test_a_script_that_ran_is_not_called_made_up(rest: Rest) -> None:
    s3, glue = rest.client("s3"), rest.client("glue")
    s3.create_bucket(Bucket="scripts")
    for name, text in (("good", "print('done')"), ("bad", "raise SystemExit('it is wrong')")):
        s3.put_object(Bucket="scripts", Key=f"{name}.py", Body=text.encode())
        where = f"s3://scripts/{name}.py"
        glue.create_job(Name=name, Role=ROLE, Command={"Name": "pythonshell", "ScriptLocation": where})
    run = glue.start_job_run(JobName="good")["JobRunId"]
    assert "StateDetail" not in until(lambda: glue.get_job_run(JobName="good", RunId=run)["JobRun"], "JobRunState")
    athena = rest.client("athena")
    output = {"OutputLocation": "s3://scripts/"}
    made = athena.start_query_execution(QueryString="CREATE DATABASE d", ResultConfiguration=output)
    query = made["QueryExecutionId"]
    status = until(lambda: athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"], "State")
    assert not status.get("StateChangeReason")


def test_the_page_of_services_says_what_does_not_run() -> None:
    rows = {row.names[0]: row for row in TABLE}
    assert {name for name, row in rows.items() if row.depth is Depth.REFUSED} == {"cloudformation", "cloudcontrol"}
    for name in ("elasticmapreduce", "glue", "sagemaker", "eks", "rds", "redshift", "autoscaling", "ec2", "lambda"):
        assert rows[name].note, name
        assert rows[name].note in page()
