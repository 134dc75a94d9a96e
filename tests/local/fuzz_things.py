"""Calls that a local cloud takes, one after the other; each can then be spoilt in every place, with things there to act
upon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore import xform_name

ROLE = "arn:aws:iam::000000000000:role/fuzz"
NETWORK = {
    "awsvpcConfiguration": {
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
}
TAGS = [{"key": "team", "value": "blue"}]
UPPER_TAGS = [{"Key": "team", "Value": "blue"}]


@dataclass
class Lawful:
    """Makes calls, and keeps what was called with what.

    Attributes:
        client: makes a boto3 client.
        calls: service, operation, request.
        known: values by members' names in lower case, for each service.
    """

    client: Callable[[str], Any]
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def call(self, service: str, operation: str, /, **request: Any) -> Any:
        """Calls; the answer."""
        answer = getattr(self.client(service), xform_name(operation))(**request)
        self.calls.append((service, operation, request))
        return answer


def made(client: Callable[[str], Any], image: str) -> Lawful:
    """What can be called of ECS, Batch and Elastic Load Balancing with success."""
    lawful = Lawful(client)
    _ecs(lawful, image)
    _elb(lawful)
    _batch(lawful, image)
    return lawful


def _ecs(lawful: Lawful, image: str) -> None:
    def call(operation: str, /, **request: Any) -> Any:
        return lawful.call("ecs", operation, **request)

    cluster = call(
        "CreateCluster",
        clusterName="fuzz",
        tags=TAGS,
        settings=[{"name": "containerInsights", "value": "disabled"}],
        capacityProviders=["FARGATE"],
        defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1, "base": 0}],
    )["cluster"]["clusterArn"]
    container = {
        "name": "main",
        "image": image,
        "command": ["python", "-c", "pass"],
        "essential": True,
        "cpu": 10,
        "memory": 100,
        "environment": [{"name": "A", "value": "1"}],
        "secrets": [{"name": "S", "valueFrom": "fuzz"}],
        "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
        "healthCheck": {"command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3, "startPeriod": 1},
        "ulimits": [{"name": "nofile", "softLimit": 100, "hardLimit": 200}],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {"awslogs-group": "g", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "p"},
        },
        "dependsOn": [{"containerName": "first", "condition": "COMPLETE"}],
        "stopTimeout": 10,
    }
    first = {"name": "first", "image": image, "command": ["true"], "essential": False}
    definition = call(
        "RegisterTaskDefinition",
        family="fuzz",
        cpu="256",
        memory="512",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        executionRoleArn=ROLE,
        taskRoleArn=ROLE,
        containerDefinitions=[container, first],
        tags=TAGS,
        runtimePlatform={"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        ephemeralStorage={"sizeInGiB": 21},
    )["taskDefinition"]["taskDefinitionArn"]
    service = call(
        "CreateService",
        cluster="fuzz",
        serviceName="fuzz",
        taskDefinition="fuzz",
        desiredCount=0,
        launchType="FARGATE",
        networkConfiguration=NETWORK,
        deploymentConfiguration={
            "maximumPercent": 200,
            "minimumHealthyPercent": 100,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
        tags=TAGS,
    )["service"]["serviceArn"]
    call(
        "UpdateService",
        cluster="fuzz",
        service="fuzz",
        desiredCount=0,
        taskDefinition=definition,
        networkConfiguration=NETWORK,
        deploymentConfiguration={"maximumPercent": 200, "minimumHealthyPercent": 100},
    )
    task = call(
        "RunTask",
        cluster="fuzz",
        taskDefinition="fuzz",
        launchType="FARGATE",
        count=1,
        startedBy="fuzz",
        group="fuzz",
        networkConfiguration=NETWORK,
        overrides={
            "cpu": "256",
            "memory": "512",
            "taskRoleArn": ROLE,
            "containerOverrides": [
                {
                    "name": "main",
                    "command": ["true"],
                    "environment": [{"name": "B", "value": "2"}],
                    "cpu": 5,
                    "memory": 50,
                }
            ],
        },
        tags=TAGS,
    )["tasks"][0]["taskArn"]
    call("DescribeTasks", cluster="fuzz", tasks=[task], include=["TAGS"])
    call("ListTasks", cluster="fuzz", family="fuzz", desiredStatus="RUNNING", maxResults=10)
    call("DescribeServices", cluster="fuzz", services=["fuzz"], include=["TAGS"])
    call("DescribeTaskDefinition", taskDefinition="fuzz", include=["TAGS"])
    call("ListTaskDefinitions", familyPrefix="fuzz", status="ACTIVE", sort="DESC", maxResults=5)
    call("TagResource", resourceArn=service, tags=TAGS)
    call("UntagResource", resourceArn=service, tagKeys=["team"])
    call("PutAccountSetting", name="containerInsights", value="disabled")
    call("StopTask", cluster="fuzz", task=task, reason="fuzz")
    lawful.known["ecs"] = {
        "cluster": cluster,
        "taskdefinition": definition,
        "service": "fuzz",
        "resourcearn": service,
        "task": task,
        "tasks": [task],
        "image": image,
    }


def _elb(lawful: Lawful) -> None:
    def call(operation: str, /, **request: Any) -> Any:
        return lawful.call("elbv2", operation, **request)

    balancer = call(
        "CreateLoadBalancer", Name="fuzz", Subnets=["subnet-1", "subnet-2"], Scheme="internal", Tags=UPPER_TAGS
    )["LoadBalancers"][0]["LoadBalancerArn"]
    group = call(
        "CreateTargetGroup",
        Name="fuzz",
        Protocol="HTTP",
        Port=80,
        VpcId="vpc-1",
        TargetType="ip",
        HealthCheckPort="80",
        HealthCheckPath="/",
        HealthCheckIntervalSeconds=30,
        Matcher={"HttpCode": "200"},
        Tags=UPPER_TAGS,
    )["TargetGroups"][0]["TargetGroupArn"]
    forward = {"TargetGroups": [{"TargetGroupArn": group, "Weight": 1}]}
    listener = call(
        "CreateListener",
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=18080,
        DefaultActions=[{"Type": "forward", "ForwardConfig": forward}],
    )["Listeners"][0]["ListenerArn"]
    call("ModifyListener", ListenerArn=listener, DefaultActions=[{"Type": "forward", "TargetGroupArn": group}])
    call("ModifyTargetGroup", TargetGroupArn=group, HealthCheckPath="/", Matcher={"HttpCode": "200-299"})
    call(
        "ModifyTargetGroupAttributes",
        TargetGroupArn=group,
        Attributes=[{"Key": "stickiness.enabled", "Value": "false"}],
    )
    call("ModifyLoadBalancerAttributes", LoadBalancerArn=balancer, Attributes=[{"Key": "x", "Value": "60"}])
    call("ModifyListenerAttributes", ListenerArn=listener, Attributes=[{"Key": "x", "Value": "60"}])
    page = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": "x"}
    query = {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "a", "Value": "b*"}]}}
    header = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "a", "Values": ["b"]}}
    rule = call(
        "CreateRule",
        ListenerArn=listener,
        Priority=1,
        Conditions=[query, header, {"Field": "path-pattern", "Values": ["/a/*"]}],
        Actions=[{"Type": "fixed-response", "Order": 1, "FixedResponseConfig": page}],
    )["Rules"][0]["RuleArn"]
    away = {"Protocol": "HTTPS", "Port": "443", "Host": "#{host}", "Path": "/#{path}", "StatusCode": "HTTP_301"}
    address = {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}}
    redirects = [{"Type": "redirect", "RedirectConfig": away}]
    call("ModifyRule", RuleArn=rule, Conditions=[address], Actions=redirects)
    call("SetRulePriorities", RulePriorities=[{"RuleArn": rule, "Priority": 2}])
    call("DescribeRules", ListenerArn=listener, PageSize=10)
    call("SetSecurityGroups", LoadBalancerArn=balancer, SecurityGroups=["sg-1"])
    call("RegisterTargets", TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": 9}])
    call("DescribeTargetHealth", TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": 9}])
    call("DescribeLoadBalancers", Names=["fuzz"], PageSize=10)
    call("DescribeTargetGroups", TargetGroupArns=[group])
    call("DescribeListeners", LoadBalancerArn=balancer)
    call("AddTags", ResourceArns=[balancer], Tags=UPPER_TAGS)
    call("RemoveTags", ResourceArns=[balancer], TagKeys=["team"])
    call("DescribeTags", ResourceArns=[balancer])
    call("DeregisterTargets", TargetGroupArn=group, Targets=[{"Id": "127.0.0.1", "Port": 9}])
    lawful.known["elbv2"] = {
        "loadbalancerarn": balancer,
        "targetgrouparn": group,
        "listenerarn": listener,
        "rulearn": rule,
        "resourcearns": [balancer, group, listener],
    }


def _batch(lawful: Lawful, image: str) -> None:
    def call(operation: str, /, **request: Any) -> Any:
        return lawful.call("batch", operation, **request)

    environment = call(
        "CreateComputeEnvironment",
        computeEnvironmentName="fuzz",
        type="MANAGED",
        state="ENABLED",
        computeResources={"type": "FARGATE", "maxvCpus": 4, "subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
        tags={"team": "blue"},
    )["computeEnvironmentArn"]
    queue = call(
        "CreateJobQueue",
        jobQueueName="fuzz",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )["jobQueueArn"]
    resources = [{"type": "VCPU", "value": "0.25"}, {"type": "MEMORY", "value": "512"}]
    definition = call(
        "RegisterJobDefinition",
        jobDefinitionName="fuzz",
        type="container",
        platformCapabilities=["FARGATE"],
        parameters={"a": "1"},
        retryStrategy={"attempts": 1, "evaluateOnExit": [{"onReason": "x*", "action": "RETRY"}]},
        timeout={"attemptDurationSeconds": 60},
        propagateTags=True,
        tags={"team": "blue"},
        containerProperties={
            "image": image,
            "command": ["python", "-c", "Ref::a"],
            "executionRoleArn": ROLE,
            "jobRoleArn": ROLE,
            "environment": [{"name": "A", "value": "1"}],
            "secrets": [{"name": "S", "valueFrom": "fuzz"}],
            "resourceRequirements": resources,
            "networkConfiguration": {"assignPublicIp": "ENABLED"},
            "fargatePlatformConfiguration": {"platformVersion": "LATEST"},
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}},
        },
    )["jobDefinitionArn"]
    task = {
        "executionRoleArn": ROLE,
        "containers": [{"name": "main", "image": image, "command": ["true"], "resourceRequirements": resources}],
    }
    call(
        "RegisterJobDefinition",
        jobDefinitionName="fuzz-many",
        type="container",
        platformCapabilities=["FARGATE"],
        ecsProperties={"taskProperties": [task]},
    )
    job = call(
        "SubmitJob",
        jobName="fuzz",
        jobQueue="fuzz",
        jobDefinition="fuzz",
        parameters={"a": "2"},
        containerOverrides={
            "command": ["true"],
            "environment": [{"name": "B", "value": "2"}],
            "resourceRequirements": resources,
        },
        retryStrategy={"attempts": 1},
        timeout={"attemptDurationSeconds": 60},
        arrayProperties={"size": 2},
        dependsOn=[],
        tags={"team": "blue"},
    )["jobId"]
    overridden = [{"name": "main", "command": ["true"], "environment": [{"name": "B", "value": "2"}]}]
    call(
        "SubmitJob",
        jobName="many",
        jobQueue="fuzz",
        jobDefinition="fuzz-many",
        dependsOn=[{"jobId": job, "type": "SEQUENTIAL"}],
        ecsPropertiesOverride={"taskProperties": [{"containers": overridden}]},
    )
    call("DescribeJobs", jobs=[job, f"{job}:0"])
    call("ListJobs", jobQueue="fuzz", filters=[{"name": "JOB_NAME", "values": ["f*"]}], maxResults=10)
    call("ListJobs", arrayJobId=job)
    call("DescribeJobQueues", jobQueues=["fuzz"])
    call("DescribeJobDefinitions", jobDefinitionName="fuzz", status="ACTIVE")
    call("UpdateComputeEnvironment", computeEnvironment="fuzz", computeResources={"maxvCpus": 8})
    call("UpdateJobQueue", jobQueue="fuzz", priority=2)
    call("TagResource", resourceArn=queue, tags={"team": "blue"})
    call("UntagResource", resourceArn=queue, tagKeys=["team"])
    call("TerminateJob", jobId=job, reason="fuzz")
    lawful.known["batch"] = {
        "computeenvironment": environment,
        "jobqueue": queue,
        "jobdefinition": definition,
        "jobid": job,
        "jobs": [job],
        "resourcearn": queue,
    }
