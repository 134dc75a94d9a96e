"""What Batch refuses beyond botocore's model. Pure; each rule with its source.

Sources: API reference of RegisterJobDefinition, SubmitJob, ResourceRequirement, RetryStrategy, JobTimeout; "Service
quotas" and "Job definition parameters" in the user guide. Texts are AWS's if users have reported them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from skylift.localcloud.batch.containers import effective, on_fargate, overridden_names, size_of, written
from skylift.localcloud.batch.fair_share import check_shared_job
from skylift.localcloud.batch.shapes import NAME, executing, refused
from skylift.localcloud.ecs.model.checks import check_fargate_size
from skylift.localcloud.ports import Document
from skylift.wire.errors import AwsError

MOST_SUBMISSION_BYTES = 30 * 1024
MOST_DEFINITION_BYTES = 24 * 1024
MOST_DEPENDENCIES = 20
MOST_CHILDREN = 10_000
MOST_ATTEMPTS = 10
MOST_RULES = 5
LEAST_TIMEOUT = 60
LEAST_MEMORY = 4
_UNSERVED_DEFINITION = ("eksProperties", "nodeProperties", "consumableResourceProperties")
_UNSERVED_SUBMISSION = ("eksPropertiesOverride", "nodeOverrides", "consumableResourcePropertiesOverride")
_GLOB = re.compile(r"(?=.)[^*]{0,511}\*?", re.DOTALL)
_EXIT_GLOB = re.compile(r"(?=.)[0-9]{0,511}\*?")


def check_definition(request: Document) -> None:
    """Refuses a job definition that Batch would not register (``ClientException``)."""
    if not NAME.fullmatch(request["jobDefinitionName"]):
        raise executing("Job definition name should match valid pattern")
    if request["type"] != "container":
        raise refused("Multi-node parallel jobs are not supported by skylift's local cloud.")
    _check_unserved(request, _UNSERVED_DEFINITION)
    if len(json.dumps(request, separators=(",", ":"))) > MOST_DEFINITION_BYTES:
        raise refused("The size of the job definition must not exceed 24 KiB.")
    if ("containerProperties" in request) == ("ecsProperties" in request):
        raise executing("Either containerProperties or ecsProperties must be provided for a container job.")
    if "ecsProperties" in request and len(request["ecsProperties"]["taskProperties"]) != 1:
        raise executing("ecsProperties must have exactly one element in taskProperties.")
    for capability in request.get("platformCapabilities", ()):
        if capability not in {"EC2", "FARGATE"}:
            raise executing(f"platformCapabilities: {capability} is not one of EC2, FARGATE.")
    for container in written(request):
        _check_container(container)
    if on_fargate(request):
        _check_fargate(request)
    check_retries(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))


def _check_unserved(request: Mapping[str, Any], members: tuple[str, ...]) -> None:
    for member in members:
        if request.get(member):
            raise refused(f"{member} is not supported by skylift's local cloud.")


def _check_container(container: Document) -> None:
    if not container.get("image"):
        raise executing("Container.image should not be null or empty.")
    size = _size([container])
    if size.vcpus <= 0:
        raise executing("Container vCPUs should be greater than 0.")
    if size.memory < LEAST_MEMORY:
        raise executing(f"Container memory should be at least {LEAST_MEMORY} MiB.")
    if any(one["type"] == "GPU" for one in container.get("resourceRequirements", ())):
        raise refused("GPUs are not supported by skylift's local cloud.")


def _check_fargate(definition: Document) -> None:
    properties = definition.get("containerProperties") or definition["ecsProperties"]["taskProperties"][0]
    if not properties.get("executionRoleArn"):
        raise executing("EXECUTIONROLE_REQUIRED: Fargate job definitions must have an executionRoleArn.")
    if any(container.get("privileged") for container in written(definition)):
        raise executing("privileged is not applicable for Fargate.")
    if any("vcpus" in container or "memory" in container for container in written(definition)):
        raise executing("Fargate job definitions must use resourceRequirements, not vcpus and memory.")
    _check_fargate_size(written(definition))


def _check_fargate_size(containers: list[Document]) -> None:
    size = _size(containers)
    try:
        check_fargate_size(round(size.vcpus * 1024), size.memory)
    except AwsError as error:
        raise executing(
            f"Fargate resource requirements ({size.vcpus:.2f} vCPU, {size.memory} MiB) not valid."
        ) from error


def _size(containers: list[Document]) -> Any:
    try:
        return size_of(containers)
    except ValueError as error:
        raise executing("resourceRequirements: values of VCPU and MEMORY must be numbers.") from error


def check_retries(strategy: Mapping[str, Any] | None) -> None:
    """``retryStrategy``: 1 to 10 attempts, at most five rules, each with at least one pattern."""
    if strategy is None:
        return
    if not 1 <= strategy.get("attempts", 1) <= MOST_ATTEMPTS:
        raise executing(f"Retry attempts must be between 1 and {MOST_ATTEMPTS}.")
    rules = strategy.get("evaluateOnExit", ())
    if len(rules) > MOST_RULES:
        raise executing(f"evaluateOnExit can have at most {MOST_RULES} conditions.")
    if rules and "attempts" not in strategy:
        raise executing("attempts must be specified when evaluateOnExit is.")
    for rule in rules:
        if rule["action"].upper() not in {"RETRY", "EXIT"}:
            raise executing("evaluateOnExit: action must be RETRY or EXIT.")
        patterns = [rule[name] for name in ("onReason", "onStatusReason") if name in rule]
        code = rule.get("onExitCode")
        if not patterns and code is None:
            raise executing("evaluateOnExit: at least one of onExitCode, onReason, onStatusReason is needed.")
        if code is not None and not _EXIT_GLOB.fullmatch(code):
            raise executing("evaluateOnExit: onExitCode can have digits only, and end with an asterisk (*).")
        if not all(_GLOB.fullmatch(pattern) for pattern in patterns):
            raise executing("evaluateOnExit: patterns have up to 512 characters and can end with an asterisk (*).")


def check_timeout(timeout: Mapping[str, Any] | None) -> None:
    """``timeout``: 60 seconds at least."""
    if timeout is not None and timeout.get("attemptDurationSeconds", 0) < LEAST_TIMEOUT:
        raise executing(f"Timeout must be at least {LEAST_TIMEOUT} seconds.")


def check_submission(request: Mapping[str, Any], definition: Document, queue: Document) -> None:
    """Refuses what SubmitJob refuses, when definition and queue are known."""
    if not NAME.fullmatch(request["jobName"]):
        raise executing("Job name should match valid pattern")
    if len(json.dumps(request, separators=(",", ":"))) > MOST_SUBMISSION_BYTES:
        raise refused("The size of the SubmitJob request must not exceed 30 KiB.")
    _check_unserved(request, _UNSERVED_SUBMISSION)
    check_shared_job(request, queue)
    if queue["state"] != "ENABLED":
        raise executing("Job Queue is not in ENABLED state")
    if on_fargate(definition) != (queue["jobQueueType"] == "ECS_FARGATE"):
        raise executing(
            f"The platformCapabilities {definition.get('platformCapabilities') or ['EC2']} of the job definition do "
            "not match "
            f"the compute environments of job queue {queue['jobQueueName']}."
        )
    check_retries(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))
    _check_array(request)
    _check_overrides(request, definition)


def _check_array(request: Mapping[str, Any]) -> None:
    size = request.get("arrayProperties", {}).get("size")
    if size is not None and not 2 <= size <= MOST_CHILDREN:
        raise executing(f"Array size must be between 2 and {MOST_CHILDREN}.")
    needs = request.get("dependsOn", ())
    if len(needs) > MOST_DEPENDENCIES:
        raise executing(f"A job can have at most {MOST_DEPENDENCIES} dependencies.")
    for need in needs:
        if "jobId" not in need and need.get("type") != "SEQUENTIAL":
            raise executing("A dependency without a jobId must be of type SEQUENTIAL.")
        if size is None and (need.get("type") == "N_TO_N" or "jobId" not in need):
            raise executing("Dependencies of type N_TO_N, and SEQUENTIAL without a jobId, are for array jobs only.")


def _check_overrides(request: Mapping[str, Any], definition: Document) -> None:
    if "containerOverrides" in request and "containerProperties" not in definition:
        raise executing("containerOverrides cannot be used with a job definition that has ecsProperties.")
    if "ecsPropertiesOverride" in request and "ecsProperties" not in definition:
        raise executing("ecsPropertiesOverride cannot be used with a job definition that has containerProperties.")
    unknown = overridden_names(request) - {container["name"] for container in written(definition)}
    if unknown:
        raise executing(f"Override for a container that is not in the job definition: {', '.join(sorted(unknown))}")
    legacy = [one for one in request.get("containerOverrides", {}) if one in {"vcpus", "memory"}]
    if legacy and on_fargate(definition):
        raise executing(f"Overrides of Fargate jobs must use resourceRequirements, not {' and '.join(sorted(legacy))}.")
    containers = effective(definition, request)
    for container in containers:
        _check_container(container)
    if on_fargate(definition):
        _check_fargate_size(containers)
