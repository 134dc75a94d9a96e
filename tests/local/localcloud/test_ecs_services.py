"""Services as real boto3 sees them: desired count, restarts, rolling deployments, load balancers, their end."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.local.ecs_cloud import NETWORK, Cloud, definition, wait_for

pytestmark = pytest.mark.local

WEB = """
import json, os, sys, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
task = json.load(urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"]))
class Web(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["VERSION"].encode())
    def log_message(self, *_): pass
ThreadingHTTPServer((task["Networks"][0]["IPv4Addresses"][0], 8080), Web).serve_forever()
"""


def service_of(ecs: Any, name: str) -> dict[str, Any]:
    return dict(ecs.describe_services(services=[name])["services"][0])


def create(ecs: Any, name: str, *command: str, count: int = 1, **members: Any) -> str:
    """A service of that name with a task definition of that name; its task definition's ARN."""
    arn = ecs.register_task_definition(**{**definition(*command), "family": name})["taskDefinition"][
        "taskDefinitionArn"
    ]
    ecs.create_service(
        serviceName=name,
        taskDefinition=arn,
        desiredCount=count,
        launchType="FARGATE",
        networkConfiguration=NETWORK,
        **members,
    )
    return str(arn)


def tasks_of(ecs: Any, name: str) -> list[dict[str, Any]]:
    arns = ecs.list_tasks(serviceName=name)["taskArns"]
    return list(ecs.describe_tasks(tasks=arns)["tasks"]) if arns else []


def steady(ecs: Any, name: str) -> None:
    ecs.get_waiter("services_stable").wait(services=[name], WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    wait_for(lambda: service_of(ecs, name)["deployments"][0]["rolloutState"] == "COMPLETED")


def test_a_service_keeps_its_count(cloud: Cloud, ecs: Any) -> None:
    create(ecs, "keep", "sleep", "300", count=2, tags=[{"key": "a", "value": "b"}], propagateTags="SERVICE")
    steady(ecs, "keep")
    service = service_of(ecs, "keep")
    assert (service["runningCount"], service["pendingCount"], service["status"]) == (2, 0, "ACTIVE")
    assert "has reached a steady state" in service["events"][0]["message"]
    assert service["deployments"][0]["status"] == "PRIMARY"
    first = tasks_of(ecs, "keep")
    assert {task["group"] for task in first} == {"service:keep"}
    assert {task["startedBy"] for task in first} == {service["deployments"][0]["id"]}
    tags = ecs.list_tags_for_resource(resourceArn=first[0]["taskArn"])["tags"]
    assert tags == [{"key": "a", "value": "b"}]
    folder = cloud.home / "cloud" / "containers" / f"{first[0]['taskArn'].rsplit('/', 1)[-1][:12]}-0"
    os.kill(int((folder / "pid").read_text().split()[2]), signal.SIGKILL)
    wait_for(lambda: first[0]["taskArn"] not in {task["taskArn"] for task in tasks_of(ecs, "keep")})
    wait_for(lambda: service_of(ecs, "keep")["runningCount"] == 2)
    gone = ecs.describe_tasks(tasks=[first[0]["taskArn"]])["tasks"][0]
    assert gone["containers"][0]["exitCode"] == 137


def test_scaling(ecs: Any) -> None:
    create(ecs, "scale", "sleep", "300", count=0)
    steady(ecs, "scale")
    ecs.update_service(service="scale", desiredCount=3)
    steady(ecs, "scale")
    three = {task["taskArn"] for task in tasks_of(ecs, "scale")}
    assert len(three) == 3
    ecs.update_service(service="scale", desiredCount=1)
    steady(ecs, "scale")
    left = {task["taskArn"] for task in tasks_of(ecs, "scale")}
    assert len(left) == 1
    (gone, *_) = three - left
    task = ecs.describe_tasks(tasks=[gone])["tasks"][0]
    assert task["stopCode"] == "ServiceSchedulerInitiated"
    assert task["stoppedReason"].startswith("Scaling activity initiated by (deployment ecs-svc/")


def test_a_service_that_cannot_start_slows_down_and_says_so(ecs: Any) -> None:
    create(ecs, "broken", "false")
    wait_for(lambda: service_of(ecs, "broken")["deployments"][0]["failedTasks"] >= 3)
    service = service_of(ecs, "broken")
    assert any("unable to consistently start tasks successfully" in event["message"] for event in service["events"])
    began, before = time.monotonic(), service["deployments"][0]["failedTasks"]
    wait_for(lambda: service_of(ecs, "broken")["deployments"][0]["failedTasks"] >= before + 2)
    assert time.monotonic() - began > 2, "the fourth and fifth start wait 2 s and 4 s"
    ecs.delete_service(service="broken", force=True)


def test_rolling_starts_the_new_before_it_stops_the_old(cloud: Cloud, ecs: Any) -> None:
    elb = cloud.client("elbv2")
    balancer = elb.create_load_balancer(Name="web", Subnets=["subnet-1", "subnet-2"])["LoadBalancers"][0]
    group = elb.create_target_group(Name="web", Protocol="HTTP", Port=8080, VpcId="vpc-1", TargetType="ip")[
        "TargetGroups"
    ][0]
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=8080,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
    )
    url = f"http://{balancer['DNSName']}:8080/"
    arns = []
    for version in ("one", "two"):
        request = definition(
            "python",
            "-c",
            WEB,
            portMappings=[{"containerPort": 8080}],
            environment=[{"name": "VERSION", "value": version}],
        )
        answer = ecs.register_task_definition(**{**request, "family": "web"})
        arns.append(answer["taskDefinition"]["taskDefinitionArn"])
    ecs.create_service(
        serviceName="web",
        taskDefinition=arns[0],
        desiredCount=1,
        networkConfiguration=NETWORK,
        loadBalancers=[{"targetGroupArn": group["TargetGroupArn"], "containerName": "main", "containerPort": 8080}],
    )
    wait_for(lambda: fetch(url) == "one")
    ecs.update_service(service="web", taskDefinition=arns[1])
    assert [d["status"] for d in service_of(ecs, "web")["deployments"]] == ["PRIMARY", "ACTIVE"]
    seen: list[str | None] = []

    def changed() -> bool:
        seen.append(fetch(url))
        assert service_of(ecs, "web")["runningCount"] >= 1
        return seen[-3:] == ["two"] * 3

    wait_for(changed)
    assert set(seen) <= {"one", "two"}, "somebody was always there to answer"
    steady(ecs, "web")
    assert len(service_of(ecs, "web")["deployments"]) == 1
    health = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    address = tasks_of(ecs, "web")[0]["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert address in {item["Target"]["Id"] for item in health}


def fetch(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def test_force_new_deployment_and_no_change(ecs: Any) -> None:
    arn = create(ecs, "force", "sleep", "300")
    steady(ecs, "force")
    before = tasks_of(ecs, "force")[0]["taskArn"]
    ecs.update_service(service="force", taskDefinition=arn, desiredCount=1)
    assert len(service_of(ecs, "force")["deployments"]) == 1
    ecs.update_service(service="force", forceNewDeployment=True)
    steady(ecs, "force")
    wait_for(lambda: len(tasks_of(ecs, "force")) == 1)
    assert tasks_of(ecs, "force")[0]["taskArn"] != before


def test_deleting(ecs: Any) -> None:
    create(ecs, "gone", "sleep", "300")
    steady(ecs, "gone")
    with pytest.raises(ClientError, match="scaled above 0"):
        ecs.delete_service(service="gone")
    assert ecs.delete_service(service="gone", force=True)["service"]["status"] == "DRAINING"
    ecs.get_waiter("services_inactive").wait(services=["gone"], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert not any(arn.endswith("/gone") for arn in ecs.list_services()["serviceArns"])
    with pytest.raises(ClientError, match="ServiceNotActiveException"):
        ecs.update_service(service="gone", desiredCount=1)
    create(ecs, "gone", "sleep", "300")
    steady(ecs, "gone")


def test_creating_again(ecs: Any) -> None:
    arn = create(ecs, "again", "sleep", "300", count=0)
    request = {"serviceName": "again", "taskDefinition": arn, "launchType": "FARGATE", "networkConfiguration": NETWORK}
    assert ecs.create_service(**request, desiredCount=0)["service"]["serviceName"] == "again"
    with pytest.raises(ClientError, match="Creation of service was not idempotent"):
        ecs.create_service(**request, desiredCount=2)


def test_listing_in_pages(ecs: Any) -> None:
    for number in range(3):
        create(ecs, f"listed-{number}", "sleep", "300", count=0)
    pages = ecs.get_paginator("list_services").paginate(PaginationConfig={"PageSize": 2})
    names = [arn.rsplit("/", 1)[-1] for page in pages for arn in page["serviceArns"]]
    assert {"listed-0", "listed-1", "listed-2"} <= set(names)
    assert len(names) == len(set(names))
    answer = ecs.describe_services(services=["listed-0", "none"])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]


def test_nothing_to_do_costs_no_cpu(ecs: Any) -> None:
    create(ecs, "idle", "sleep", "300", count=2)
    steady(ecs, "idle")
    wait_for(lambda: ecs.describe_clusters()["clusters"][0]["pendingTasksCount"] == 0)
    before, began = time.process_time(), time.monotonic()
    time.sleep(2)
    used = (time.process_time() - before) / (time.monotonic() - began)
    assert used < 0.05
