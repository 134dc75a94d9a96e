"""Words that AWS's clients, Airflow, containers or databases of an earlier skylift know: they are theirs, not ours to
spell."""

from __future__ import annotations

import pytest

from skylift.control.blueprint import PartKind
from skylift.control.plan import PartPhase, StepVerb
from skylift.core.attempt import Exit
from skylift.core.containers import Command, LayerFault
from skylift.core.environment import Status
from skylift.executors.fleet.settle import Standing
from skylift.localcloud.batch.lifecycle import JobState
from skylift.localcloud.ecs.model.lifecycle import ServiceState, StopCode, TaskState
from skylift.wire.models import model_of

pytestmark = pytest.mark.unit


def of_aws(service: str, shape: str) -> set[str]:
    return set(model_of(service).shape_for(shape).enum)


def test_statuses_of_environments_are_mwaas() -> None:
    assert {*map(str, Status)} == of_aws("mwaa", "EnvironmentStatus")


def test_states_of_jobs_are_batchs() -> None:
    assert {*map(str, JobState)} == of_aws("batch", "JobStatus")


def test_stop_codes_are_ecss() -> None:
    assert {*map(str, StopCode)} == of_aws("ecs", "TaskStopCode")


def test_states_of_ecs_tasks_and_services_are_ecss() -> None:
    """Developer guide, "Amazon ECS task lifecycle"; API reference, Service.status. The model has them as plain text."""
    path = ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"]
    assert [*map(str, TaskState)] == path
    assert {*map(str, ServiceState)} == {"ACTIVE", "DRAINING", "INACTIVE"}


def test_how_a_task_instance_stands_is_airflows_word() -> None:
    from airflow.utils.state import TaskInstanceState  # lazy: slow to import

    ours = {Standing.QUEUED, Standing.RUNNING, Standing.RESTARTING}
    assert {str(one) for one in ours} <= {str(one.value) for one in TaskInstanceState}
    assert (str(Standing.UNKNOWN), len(Standing)) == ("", 5)


def test_exit_codes_are_what_containers_of_every_version_end_with() -> None:
    known = {"DONE": 0, "ENDED_BADLY": 70, "NOT_OURS": 71, "NEVER_BEGAN": 72}
    assert {name: int(Exit[name]) for name in known} == known


def test_commands_are_in_the_task_definitions_of_earlier_versions() -> None:
    words = ["api-server", "scheduler", "dag-processor", "triggerer", "migrate", "build-layer"]
    assert [*map(str, Command)][: len(words)] == words
    assert {str(fault) for fault in LayerFault} == {
        "REQUIREMENTS_FAILED",
        "PLUGINS_FAILED",
        "STARTUP_SCRIPT_FAILED",
        "REGISTRY_UNREACHABLE",
    }


def test_parts_are_named_in_rows_and_in_what_people_read() -> None:
    kinds = {str(kind) for kind in PartKind}
    assert kinds >= {
        "source", "logs", "secrets", "database", "balancer", "events", "batch", "definition", "layer", "migration",
        "service", "health",
    }  # fmt: skip
    assert {str(phase) for phase in PartPhase} == {"absent", "different", "moving", "ready", "failed", "blocked"}
    assert {str(verb) for verb in StepVerb} >= {"put", "remove"}
