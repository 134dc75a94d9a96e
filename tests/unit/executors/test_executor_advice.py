"""What people read about a refused RunTask: AWS's message, the option that it concerns with its value and its source,
and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.executor_airflow import ecs_conf
from tests.unit.executors.test_executor_ecs import Ecs, refusal

from skylift.aws.ecs.tasks import EcsTasks
from skylift.core.attempt import Attempt
from skylift.executors.ecs import EcsCompute
from skylift.executors.in_container.payload import Payloads
from skylift.executors.options.ecs import ecs_options

pytestmark = pytest.mark.unit
STRATEGY = [{"capacityProvider": "mine", "weight": 1}]


def words(
    text: str, executor_config: dict[str, Any] | None = None, code: str = "InvalidParameterException", **more: str
) -> str:
    """The refusal of one attempt, whose RunTask is refused with this code and text."""
    options = more if "capacity_provider_strategy" in more else {"launch_type": "FARGATE", **more}
    ecs = Ecs(run_task=refusal(code, text))
    compute = EcsCompute(EcsTasks(ecs, "c"), ecs_options(ecs_conf(**options)), Payloads())
    (answer,) = compute.submit([Attempt("e", 1, lambda: "{}", executor_config=executor_config or {})])
    assert not answer.ref
    return answer.refused


@pytest.mark.parametrize(
    ("code", "text", "begins", "ends"),
    [
        ("ClusterNotFoundException", "Cluster not found.", "[aws_ecs_executor] cluster = 'c': ", "Create the cluster, "
                                                                                                 "or name another."),
        ("ClientException", "TaskDefinition is inactive", "[aws_ecs_executor] task_definition = 't': ", "or the family alone for its newest."),
        ("ClientException", "TaskDefinition not found.", "[aws_ecs_executor] task_definition = 't': ", "(aws ecs list-task-definitions)."),
        ("PlatformUnknownException", "no such", "[aws_ecs_executor] platform_version = '9': ", "Name another, or "
                                                                                               "none."),
        ("InvalidParameterException", "The subnet ID 'subnet-1' does not exist", "[aws_ecs_executor] subnets = "
                                                                                 "['subnet-1']: ", "all of one VPC."),
        ("InvalidParameterException", "Invalid security group", "[aws_ecs_executor] security_groups = ['sg-1']: "
                                                                "", "of the subnets' VPC."),
        ("InvalidParameterException", "Task definition does not support launch_type FARGATE.", "[aws_ecs_executor] "
                                                                                               "launch_type = "
                                                                                               "'FARGATE': ", "be compatible with it."),
        ("ClientException", "not authorized to perform: iam:PassRole on x", "", "`skylift iam-policy scheduler` "
                                                                                "prints what the scheduler's role "
                                                                                "needs."),
        ("AccessDeniedException", "User is not authorized to perform: ecs:RunTask", "", "Allow it; `skylift "
                                                                                        "iam-policy scheduler` prints "
                                                                                        "what the scheduler's role "
                                                                                        "needs."),
        ("AccessDeniedException", "not authorized to perform: ecs:TagResource", "[skylift] tags: ", "`skylift iam-policy scheduler` prints what the scheduler's role needs."),
    ],
)  # fmt: skip
def test_a_refusal_names_the_option_its_value_and_what_to_do(code: str, text: str, begins: str, ends: str) -> None:
    said = words(text, code=code, subnets="subnet-1", security_groups="sg-1", platform_version="9")
    assert said.startswith(begins)
    assert text.rstrip(".") in said
    assert said.endswith(ends)


def test_what_the_author_asked_for_is_the_authors_to_change() -> None:
    said = words("The specified capacity provider 'mine' was not found", {"capacityProviderStrategy": STRATEGY})
    assert said.startswith(f"executor_config capacityProviderStrategy = {STRATEGY!r}: ")
    said = words(
        "The specified capacity provider 'mine' was not found",
        capacity_provider_strategy=str(STRATEGY).replace("'", '"'),
    )
    assert said.startswith(f"[aws_ecs_executor] capacity_provider_strategy = {STRATEGY!r}: ")


def test_a_container_that_is_not_in_the_task_definition_is_told_by_who_named_it() -> None:
    text = "Override for container named {} is not a container in the TaskDefinition."
    assert words(text.format("airflow")).startswith("[aws_ecs_executor] container_name = 'airflow': ")
    sidecar = {"overrides": {"containerOverrides": [{"name": "sidecar", "cpu": 1}]}}
    assert words(text.format("sidecar"), sidecar).startswith("executor_config overrides.containerOverrides: ")


@pytest.mark.parametrize(
    ("executor_config", "where"),
    [({}, "[aws_ecs_executor]"), ({"startedBy": "x", "group": "g"}, "[aws_ecs_executor] and executor_config")],
)
def test_a_refusal_that_nobody_knows_still_tells_where_the_arguments_come_from(
    executor_config: Any, where: str
) -> None:
    assert words("Something new", executor_config).endswith(f"Something new (arguments come from {where})")


def test_a_fallback_that_is_refused_waits_for_the_next_in_turn_instead_of_failing_the_work() -> None:
    fallback = '[{"capacityProvider": "mine", "weight": 1}]'
    options = {"launch_type": "FARGATE", "skylift_capacity_fallback": f"[{fallback}]"}
    compute = EcsCompute(
        EcsTasks(Ecs(run_task=refusal("InvalidParameterException", "capacity provider 'mine' was not found")), "c"),
        ecs_options(ecs_conf(**options)),
        Payloads(),
    )
    first, second = (compute.submit([Attempt("e", 1, lambda: "{}", shortages=shortages)])[0] for shortages in (0, 1))
    assert first.refused
    assert not first.shortage
    assert not second.refused
    assert second.shortage
    assert second.later.startswith("[skylift] capacity_fallback: ")
    assert second.later.endswith("(aws ecs put-cluster-capacity-providers).")
