"""Tests of orders.py on the local cloud: containers really run, S3 really stores, faults really strike."""

import orders
import pytest


@pytest.fixture
def bucket(aws_client) -> str:
    """A bucket with three orders, and ECS ready."""
    s3, ecs = aws_client("s3"), aws_client("ecs")
    s3.create_bucket(Bucket="orders")
    s3.put_object(Bucket="orders", Key="today", Body=b"3\n4\n5\n")
    ecs.create_cluster(clusterName="default")
    orders.register()
    return "orders"


def test_the_sum_comes_from_the_container(bucket):
    assert orders.sum_on_ecs(bucket, "today") == 12


def test_a_failing_container_is_told(bucket):
    with pytest.raises(orders.ReportFailed, match="Essential container in task exited"):
        orders.sum_on_ecs(bucket, "no-such-key")


def test_a_lost_answer_does_not_run_it_twice(bucket, aws_client, skylift_faults):
    ecs = aws_client("ecs")
    before = len(ecs.list_tasks(desiredStatus="STOPPED")["taskArns"])
    skylift_faults("cut", operation="RunTask", calls=1)
    assert orders.sum_on_ecs(bucket, "today") == 12
    assert len(ecs.list_tasks(desiredStatus="STOPPED")["taskArns"]) == before + 1


def test_no_capacity_is_told(bucket, skylift_faults):
    skylift_faults("capacity", reason="Capacity is unavailable at this time.")
    with pytest.raises(orders.ReportFailed, match="Capacity is unavailable"):
        orders.sum_on_ecs(bucket, "today")


def test_throttling_is_borne(bucket, skylift_cloud, skylift_faults):
    skylift_faults("throttle", service="ecs", burst=1, rate=1, name="slow")
    assert orders.sum_on_ecs(bucket, "today") == 12
    assert any(fault["name"] == "slow" and fault["hits"] for fault in skylift_cloud.faults())


def test_the_same_as_a_batch_job(bucket, aws_client):
    batch = aws_client("batch")
    batch.create_compute_environment(
        computeEnvironmentName="fargate",
        type="MANAGED",
        computeResources={
            "type": "FARGATE",
            "maxvCpus": 4,
            "subnets": ["subnet-1"],
            "securityGroupIds": ["sg-1"],
        },
    )
    batch.create_job_queue(
        jobQueueName="reports",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "fargate"}],
    )
    batch.register_job_definition(
        jobDefinitionName="report",
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties={
            "image": orders.IMAGE,
            "executionRoleArn": orders.ROLE,
            "jobRoleArn": orders.ROLE,
            "resourceRequirements": [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}],
        },
    )
    assert orders.sum_on_batch(bucket, "today", "reports", "report") == 12
