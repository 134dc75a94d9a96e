"""ECS's actions and resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skylift.core.iam.patterns import ContextValues
from skylift.localcloud.iam.actions.call import (
    ECS_TASKS,
    ApiCall,
    Need,
    OperationNeeds,
    Resources,
    arns,
    member,
    members,
    nothing_in_particular,
    pass_role,
)
from skylift.localcloud.ports import Document

NEW_TASKS = "*"
"""In place of ids that do not exist yet."""


def cluster_name(call: ApiCall) -> str:
    """The name of the cluster that a request is about."""
    return (call.text("cluster") or "default").rpartition("/")[2]


def roles_of(definition: Document, overrides: Mapping[str, object]) -> list[str]:
    """The roles with which an ECS task runs: the task's and the execution role."""
    words = ("taskRoleArn", "executionRoleArn")
    return list(dict.fromkeys(str(role) for word in words if (role := overrides.get(word) or definition.get(word))))


def _cluster(call: ApiCall) -> Iterable[str]:
    return [call.named("cluster", cluster_name(call))]


def _clusters(call: ApiCall) -> Iterable[str]:
    return [call.named("cluster", one) for one in call.texts("clusters") or ["default"]]


def _keys(call: ApiCall) -> Mapping[str, ContextValues]:
    return {"ecs:cluster": call.named("cluster", cluster_name(call))}


def _in_cluster(kind: str, *names: str) -> Resources:
    def found(call: ApiCall) -> Iterable[str]:
        named = [one for name in names for one in call.texts(name)]
        return [call.named(f"{kind}/{cluster_name(call)}", one) for one in named]

    return found


def _instances(call: ApiCall) -> Iterable[str]:
    return [call.arn(f"container-instance/{cluster_name(call)}/*")]


def _run_definition(call: ApiCall) -> Iterable[str]:
    reference = call.text("taskDefinition")
    return [
        call.lookups.task_definition(reference).get("taskDefinitionArn") or call.named("task-definition", reference)
    ]


def _run_keys(call: ApiCall) -> Mapping[str, ContextValues]:
    overrides = call.members.get("overrides") or {}
    definition = call.lookups.task_definition(call.text("taskDefinition"))
    sizes = {word: str(overrides.get(word) or definition.get(word) or "") for word in ("cpu", "memory")}
    return {
        **_keys(call),
        "ecs:enable-execute-command": "true" if call.members.get("enableExecuteCommand") else "false",
        **{f"ecs:task-{word}": size for word, size in sizes.items() if size},
    }


def _run_further(call: ApiCall) -> Iterable[Need]:
    definition = call.lookups.task_definition(call.text("taskDefinition"))
    yield from (pass_role(one, ECS_TASKS) for one in roles_of(definition, call.members.get("overrides") or {}))
    if call.members.get("tags") or call.members.get("propagateTags") in {"TASK_DEFINITION", "SERVICE"}:
        yield _tagging(call, call.arn(f"task/{cluster_name(call)}/{NEW_TASKS}"))


def _register_further(call: ApiCall) -> Iterable[Need]:
    yield from (pass_role(one, ECS_TASKS) for one in roles_of({}, call.members))
    if call.members.get("tags"):
        yield _tagging(call, *_family(call))


def _tagging(call: ApiCall, resource: str) -> Need:
    return Need("ecs:TagResource", resource, {"ecs:CreateAction": call.operation})


def _family(call: ApiCall) -> Iterable[str]:
    return [call.arn(f"task-definition/{call.text('family')}:{NEW_TASKS}")]


def _service_further(call: ApiCall) -> Iterable[Need]:
    if role := call.text("role"):
        yield pass_role(role, "ecs.amazonaws.com")
    if call.members.get("tags"):
        yield from (_tagging(call, one) for one in _in_cluster("service", "serviceName")(call))


def _created_cluster(call: ApiCall) -> Iterable[str]:
    return [call.named("cluster", call.text("clusterName") or "default")]


def _created_cluster_tags(call: ApiCall) -> Iterable[Need]:
    return [_tagging(call, one) for one in _created_cluster(call)] if call.members.get("tags") else []


_SERVICE = OperationNeeds(_in_cluster("service", "service"), _keys)
_TASKS = OperationNeeds(_in_cluster("task", "tasks"), _keys)
_TAGS = OperationNeeds(arns("resourceArn"))

ECS: Mapping[str, OperationNeeds] = {
    "CreateCluster": OperationNeeds(_created_cluster, further=_created_cluster_tags),
    "DeleteCluster": OperationNeeds(_cluster),
    "DescribeClusters": OperationNeeds(_clusters),
    "UpdateCluster": OperationNeeds(_cluster),
    "UpdateClusterSettings": OperationNeeds(_cluster),
    "PutClusterCapacityProviders": OperationNeeds(_cluster),
    "CreateCapacityProvider": OperationNeeds(member("capacity-provider", "name")),
    "UpdateCapacityProvider": OperationNeeds(member("capacity-provider", "name")),
    "DeleteCapacityProvider": OperationNeeds(member("capacity-provider", "capacityProvider")),
    "DescribeCapacityProviders": OperationNeeds(
        lambda call: members("capacity-provider", "capacityProviders")(call) or [call.arn("capacity-provider/*")]
    ),
    "RegisterTaskDefinition": OperationNeeds(_family, further=_register_further),
    "DeleteTaskDefinitions": OperationNeeds(members("task-definition", "taskDefinitions")),
    "RunTask": OperationNeeds(_run_definition, _run_keys, _run_further),
    "StartTask": OperationNeeds(_run_definition, _run_keys, _run_further),
    "StopTask": OperationNeeds(_in_cluster("task", "task"), _keys),
    "DescribeTasks": _TASKS,
    "ListTasks": OperationNeeds(_instances, _keys),
    "GetTaskProtection": _TASKS,
    "UpdateTaskProtection": _TASKS,
    "ExecuteCommand": OperationNeeds(
        lambda call: [*_in_cluster("task", "task")(call), *_cluster(call)],
        lambda call: {**_keys(call), "ecs:container-name": call.text("container")},
    ),
    "CreateService": OperationNeeds(_in_cluster("service", "serviceName"), _keys, _service_further),
    "UpdateService": _SERVICE,
    "DeleteService": _SERVICE,
    "DescribeServices": OperationNeeds(_in_cluster("service", "services"), _keys),
    "ListServiceDeployments": _SERVICE,
    "DescribeServiceDeployments": OperationNeeds(arns("serviceDeploymentArns")),
    "DescribeServiceRevisions": OperationNeeds(arns("serviceRevisionArns")),
    "StopServiceDeployment": OperationNeeds(arns("serviceDeploymentArn")),
    "ContinueServiceDeployment": OperationNeeds(arns("serviceDeploymentArn")),
    "ListContainerInstances": OperationNeeds(_cluster),
    "DescribeContainerInstances": OperationNeeds(_in_cluster("container-instance", "containerInstances"), _keys),
    "ListAttributes": OperationNeeds(_cluster),
    "TagResource": _TAGS,
    "UntagResource": _TAGS,
    "ListTagsForResource": _TAGS,
    "ListServices": OperationNeeds(nothing_in_particular, _keys),
}
"""By operation; every other supports no resources."""
