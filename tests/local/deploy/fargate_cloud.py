"""A local cloud for ``skylift fargate``, its command line as a person types it, and a count of everything that is
there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.localcloud.images.registry import NamedImage
from skylift.testing.cloud import Cloud

IMAGE = "test/python:1"
SMALL = Path(__file__).parent / "small_airflow"


def small_image() -> NamedImage:
    """An image in which something small stands for Airflow. One test has the real one."""
    return NamedImage(Path(sys.prefix), {"PYTHONPATH": str(SMALL)})


@dataclass(frozen=True)
class Typed:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """Types commands of ``skylift fargate`` at a cloud."""

    cloud: Cloud
    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """Of the owner of the cloud, or of whom ``more`` says."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SKYLIFT_"))}
        return {
            **kept,
            **self.cloud.variables,
            "SKYLIFT_HOME": str(self.folder / "home"),
            "COLUMNS": "200",
            **self.more,
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "skylift.cli", "fargate", *words]

    def type(self, *words: str, seconds: float = 120) -> Typed:
        """Runs a command to its end."""
        done = subprocess.run(
            self.command(*words),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Typed(done.returncode, done.stdout, done.stderr)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Starts a command, whose output is one stream."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def compose(self, **service: Any) -> Path:
        """ecs-cli's file, for the small image."""
        path = self.folder / "docker-compose.yml"
        said = {"image": IMAGE, "ports": ["8080:8080"], **service}
        # JSON is YAML, too.
        path.write_text(json.dumps({"version": "3", "services": {"airflow": said}}))
        return path

    def small(self) -> list[str]:
        """Options of up for the small image."""
        path = self.folder / "docker-compose.yml"
        return ["--compose", str(path if path.exists() else self.compose()), "--cpu", "256", "--memory", "512", "--yes"]


def run_a_sleeper(ecs: Any, cluster: str, network: Mapping[str, Any]) -> dict[str, Any]:
    """Starts an ECS task of somebody else in a network; it has a task definition named as its cluster."""
    ecs.register_task_definition(
        family=cluster,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "c", "image": IMAGE, "command": ["sleep", "600"], "stopTimeout": 2}],
    )
    started: dict[str, Any] = ecs.run_task(
        cluster=cluster,
        taskDefinition=cluster,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )["tasks"][0]
    return started


def everything(cloud: Cloud) -> Mapping[str, list[str]]:
    """Names of all that is in the account, by kind; not what AWS itself keeps (tasks that have ended)."""
    ec2, ecs, logs = cloud.client("ec2"), cloud.client("ecs"), cloud.client("logs")
    clusters = ecs.list_clusters()["clusterArns"]
    found = {
        "vpcs": [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]],
        "subnets": [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]],
        "gateways": [one["InternetGatewayId"] for one in ec2.describe_internet_gateways()["InternetGateways"]],
        "tables": [one["RouteTableId"] for one in ec2.describe_route_tables()["RouteTables"]],
        "groups": [one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]],
        "interfaces": [one["NetworkInterfaceId"] for one in ec2.describe_network_interfaces()["NetworkInterfaces"]],
        "addresses": [one["AllocationId"] for one in ec2.describe_addresses()["Addresses"]],
        "clusters": clusters,
        "services": [arn for one in clusters for arn in ecs.list_services(cluster=one)["serviceArns"]],
        "tasks": [arn for one in clusters for arn in ecs.list_tasks(cluster=one)["taskArns"]],
        "definitions": [
            arn
            for status in ("ACTIVE", "INACTIVE")
            for arn in ecs.list_task_definitions(status=status)["taskDefinitionArns"]
        ],
        "roles": [one["RoleName"] for one in cloud.client("iam").list_roles()["Roles"]],
        "logs": [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]],
        "secrets": [one["Name"] for one in cloud.client("secretsmanager").list_secrets()["SecretList"]],
        "buckets": [one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"]],
    }
    return {kind: sorted(names) for kind, names in found.items()}
