"""``Container`` and ``BatchContainer``: what one Airflow task needs of its container, with completion and immediate
checks.

    from skylift.executors import Container

    @task(executor_config=Container(cpu=1, memory="4GiB", spot=True))

They make a plain dict in AWS's own words: the arguments of RunTask or SubmitJob that ``executor_config`` has
always contained. So Airflow's database and serialized DAGs store it like any other, and can read it without skylift.
If a DAG file asks for something that AWS does not have, parsing it gives an error that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

from skylift.executors.executor_config.fields import (
    DEFINITION,
    NAME,
    between,
    check_place,
    environment_of,
    given,
    match,
    network,
    one_override,
    place_of,
    storage,
    tags_of,
    vcpus_of,
)
from skylift.executors.executor_config.sizes import cpu_units, gpus, mib

LaunchType = Literal["FARGATE", "EC2", "EXTERNAL", "MANAGED_INSTANCES"]


class _Plain(dict[str, Any]):
    """A dict that is pickled and copied as a plain one, so that readers do not need this class."""

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(dict(self), memo)


class Container(_Plain):
    """An ``executor_config`` for ``AwsEcsExecutor``. What you give replaces what the options and the task definition
    say.

    Args:
        cpu: vCPUs of the ECS task, e.g. 0.5.
        memory: of the ECS task and of Airflow's container in it: ``"4GiB"``, ``"512MiB"`` or MiB. On Fargate it must be
            one of the sizes that go with ``cpu``.
        container_memory: of Airflow's container alone, if sidecars need a part of ``memory``.
        gpu: GPUs; never on Fargate.
        spot: True: Fargate Spot. False: Fargate On-Demand, even if the options say Spot.
        launch_type: instead of a capacity provider.
        capacity_provider: its name, or names with weights; instead of a launch type.
        task_definition: family, ``family:revision`` or ARN.
        cluster: name or ARN.
        environment: variables of Airflow's container.
        ephemeral_storage: on Fargate, 21 to 200 GiB.
        subnets, security_groups, assign_public_ip: of the ECS task's network interface.
        platform_version: of Fargate.
        task_role, execution_role: ARNs.
        tags: of the ECS task.
        container_name: of Airflow's container in the task definition. Needed only if the amazon provider's executor
            runs the DAG; skylift's knows it from its options.

    Raises:
        Refused: AWS has no such thing; the text names the field and the allowed values.
    """

    def __init__(
        self,
        *,
        cpu: float | None = None,
        memory: str | int | None = None,
        container_memory: str | int | None = None,
        gpu: int | None = None,
        spot: bool | None = None,
        launch_type: LaunchType | None = None,
        capacity_provider: str | Mapping[str, int] | None = None,
        task_definition: str | None = None,
        cluster: str | None = None,
        environment: Mapping[str, str] | None = None,
        ephemeral_storage: str | None = None,
        subnets: Sequence[str] | None = None,
        security_groups: Sequence[str] | None = None,
        assign_public_ip: bool | None = None,
        platform_version: str | None = None,
        task_role: str | None = None,
        execution_role: str | None = None,
        tags: Mapping[str, str] | None = None,
        container_name: str | None = None,
    ) -> None:
        place = place_of(spot, launch_type, capacity_provider)
        units = None if cpu is None else cpu_units("Container", cpu)
        size = None if memory is None else mib("Container", "memory", memory)
        own = size if container_memory is None else mib("Container", "container_memory", container_memory)
        check_place(place, gpu, units, size, own)
        override = {
            "environment": environment_of("Container", environment),
            "memory": own,
            "resourceRequirements": gpus("Container", gpu),
        }
        overrides = {
            "cpu": units and str(units),
            "memory": size and str(size),
            "ephemeralStorage": storage(ephemeral_storage),
            "taskRoleArn": match("Container", "task_role", task_role, NAME),
            "executionRoleArn": match("Container", "execution_role", execution_role, NAME),
            "containerOverrides": one_override(container_name, override),
        }
        fields = {
            **place,
            "taskDefinition": match("Container", "task_definition", task_definition, DEFINITION),
            "cluster": match("Container", "cluster", cluster, NAME),
            "platformVersion": platform_version,
            "overrides": given(overrides),
            "networkConfiguration": network(subnets, security_groups, assign_public_ip),
            "tags": [{"key": key, "value": value} for key, value in tags_of("Container", tags).items()],
        }
        super().__init__(given(fields))


class BatchContainer(_Plain):
    """An ``executor_config`` for ``AwsBatchExecutor``. What you give replaces what the options and the job definition
    say.

    Args:
        vcpus: whole numbers on EC2; on Fargate also 0.25 and 0.5, with a ``memory`` that goes with it.
        memory: ``"4GiB"``, ``"512MiB"`` or MiB.
        gpu: GPUs; never on Fargate.
        job_queue: name or ARN.
        job_definition: name, ``name:revision`` or ARN.
        attempts: how often Batch itself may start the Batch job, 1 to 10, if it ends badly. Airflow's own ``retries``
            are better for failures of the work itself.
        timeout: seconds, at least 60, after which Batch ends it.
        environment: variables of the container.
        parameters: of the job definition.
        share_identifier, scheduling_priority: for queues with fair share; the priority is 0 to 9999.
        tags: of the Batch job.

    Raises:
        Refused: AWS has no such thing; the text names the field and the allowed values.
    """

    def __init__(
        self,
        *,
        vcpus: float | None = None,
        memory: str | int | None = None,
        gpu: int | None = None,
        job_queue: str | None = None,
        job_definition: str | None = None,
        attempts: int | None = None,
        timeout: int | None = None,
        environment: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        share_identifier: str | None = None,
        scheduling_priority: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        size = None if memory is None else mib("BatchContainer", "memory", memory, least=4)
        needs = {"VCPU": vcpus_of(vcpus, size, gpu), "MEMORY": size and str(size)}
        override = {
            "resourceRequirements": [
                *({"type": kind, "value": value} for kind, value in needs.items() if value),
                *gpus("BatchContainer", gpu),
            ],
            "environment": environment_of("BatchContainer", environment),
        }
        tries = between("attempts", attempts, 1, 10)
        seconds = between("timeout", timeout, 60, None)
        fields = {
            "jobQueue": match("BatchContainer", "job_queue", job_queue, NAME),
            "jobDefinition": match("BatchContainer", "job_definition", job_definition, DEFINITION),
            "containerOverrides": given(override),
            "retryStrategy": tries and {"attempts": tries},
            "timeout": seconds and {"attemptDurationSeconds": seconds},
            "parameters": dict(parameters or {}),
            "shareIdentifier": share_identifier,
            "schedulingPriorityOverride": between("scheduling_priority", scheduling_priority, 0, 9999),
            "tags": tags_of("BatchContainer", tags),
        }
        super().__init__(given(fields))
