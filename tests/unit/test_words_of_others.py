"""Words in the source that somebody else must understand, each against its owner: AWS's members and states against
botocore's models, Airflow's options against Airflow, facts and SQL statements against the place that writes them.

A client passes over a member that it does not know, so a misspelling is an answer without a value, and no error.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from skylift.executors.options.batch import BATCH_SECTION, BATCH_SETTINGS
from skylift.executors.options.ecs import ECS_SECTION, ECS_SETTINGS
from skylift.executors.options.settings import OWN_SECTION, OWN_SETTINGS
from skylift.wire.conventions import CONVENTIONS
from skylift.wire.models import model_of

pytestmark = pytest.mark.unit
SOURCE = Path(__file__).parents[2] / "src" / "skylift"
SERVICES = (
    "batch",
    "cloudwatch",
    "ecs",
    "elbv2",
    "events",
    "iam",
    "logs",
    "mwaa",
    "s3",
    "secretsmanager",
    "sqs",
    "sts",
)

OF_NO_MODEL = {
    "Task metadata endpoint version 4 (ECS developer guide)": """
        AttachmentIndex CPU ContainerARN DockerId DockerName ExitCode Family Image IPv4Addresses KnownStatus Labels
        LaunchType LogOptions MACAddress Memory NORMAL Networks PrivateDNSName PullStartedAt PullStoppedAt Revision
        StartedAt TaskARN TaskTags taskWithTags""",
    "Attachments and attributes of ECS tasks (API reference, Attachment, Task)": """
        ATTACHED ElasticNetworkInterface LATEST Linux PRECREATED PRIMARY macAddress networkInterfaceId privateDnsName
        privateIPv4Address subnetId""",
    "Failure reasons (ECS API reference, API failure reasons)": "MISSING TASK_DEFINITION_NOT_FOUND TASK_NOT_VALID AGENT",
    "Events of services (ECS developer guide, Service events, Deployment state change)": """
        SERVICE_DEPLOYMENT_COMPLETED SERVICE_DEPLOYMENT_FAILED SERVICE_DEPLOYMENT_IN_PROGRESS SERVICE_STEADY_STATE
        SERVICE_DESIRED_COUNT_UPDATED SERVICE_TASK_PLACEMENT_FAILURE SERVICE_TASK_START_IMPAIRED WARN""",
    "States of ECS tasks (ECS developer guide, Task lifecycle)": "ACTIVATING DEACTIVATING STOPPING",
    "Container Insights (CloudWatch user guide)": """
        CPUUtilization ClusterName Cpu CpuReserved CpuUtilized Memory MemoryReserved MemoryUtilization MemoryUtilized TaskDefinitionFamily
        TaskId""",
    "Linux capabilities on Fargate (ECS API reference, KernelCapabilities)": "SYS_PTRACE",
    "Commands of health checks (ECS API reference, HealthCheck)": "CMD",
    "ListJobs (Batch API reference, filters)": "AFTER_CREATED_AT BEFORE_CREATED_AT JOB_DEFINITION JOB_NAME",
    "Variables of Batch's containers (Batch user guide, Job environment variables)": """
        AWS_BATCH_CE_NAME AWS_BATCH_JOB_ARRAY_INDEX AWS_BATCH_JOB_ARRAY_SIZE AWS_BATCH_JOB_ATTEMPT AWS_BATCH_JOB_ID
        AWS_BATCH_JQ_NAME""",
    "Variables of containers (ECS developer guide; SDKs reference guide, Settings)": """
        AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_DEFAULT_REGION
        AWS_DISABLE_HOST_PREFIX_INJECTION AWS_EC2_METADATA_DISABLED AWS_ECS_FARGATE AWS_ENDPOINT_URL AWS_EXECUTION_ENV
        AWS_REGION ECS_AGENT_URI ECS_CONTAINER_METADATA_URI_V4 CannotStartContainerError CannotPullContainerError ResourceInitializationError
        CannotCreateContainerError CannotInspectContainerError""",
    "Attributes of instances (ECS developer guide, Service discovery; Cloud Map API reference, RegisterInstance)": """
        AVAILABILITY_ZONE AWS_INIT_HEALTH_STATUS AWS_INSTANCE_IPV4 AWS_INSTANCE_PORT ECS_CLUSTER_NAME ECS_SERVICE_NAME
        ECS_TASK_DEFINITION_FAMILY REGION""",
    "Types of DNS records (Cloud Map API reference, DnsRecord)": "SRV",
    "POSIX": "HOME LANG TMPDIR",
    "SQL": "COMMIT ROLLBACK",
    "Reasons of ECS's refusals (ECS API reference, Common errors)": "ClusterNotFound",
    "Our own, on disk": "ecsTaskDefinition",
}
"""Words that no model of botocore's has, by where they are written down."""


def words(folder: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Each string of the folder's source that is one word of this form, with where it stands; docstrings have more than
    one word, and parts of f-strings are less than one."""
    for path in sorted((SOURCE / folder).rglob("*.py")):
        left: list[ast.AST] = [ast.parse(path.read_text())]
        while left:
            node = left.pop()
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(pattern, node.value):
                yield node.value, f"{path.relative_to(SOURCE)}:{node.lineno}"
            inner = ast.iter_child_nodes(node)
            left += [one for one in inner if not (isinstance(node, ast.JoinedStr) and isinstance(one, ast.Constant))]


@cache
def of_aws() -> frozenset[str]:
    """All names of shapes, members, errors, operations and enumerated values of the services that we serve or call."""
    found: set[str] = set()
    for service in SERVICES:
        model = model_of(service)
        found |= {*model.shape_names, *model.operation_names}
        for name in model.shape_names:
            shape = model.shape_for(name)
            members: dict[str, Any] = getattr(shape, "members", {}) or {}
            found |= {*members, *(getattr(shape, "enum", None) or ())}
            found |= {str(inner.serialization.get("name", "")) for inner in members.values()}
    return frozenset(found)


@pytest.mark.parametrize("folder", ["localcloud/ecs", "localcloud/batch"])
def test_words_of_the_local_cloud_are_awss(folder: str) -> None:
    known = of_aws() | {word for told in OF_NO_MODEL.values() for word in told.split()}
    used = list(words(folder, "[a-z]+[A-Z]\\w*|[A-Z][A-Z_0-9]+|[A-Z][A-Za-z]*[a-z]\\w*"))
    used = [one for one in used if "api/agent.py" not in one[1]]  # the agent's endpoint has no model
    assert len(used) > 200
    assert [f"{where}: {word}" for word, where in used if word not in known] == []


@pytest.mark.parametrize("folder", ["executors", "control", "aws"])
def test_members_of_what_we_ask_aws_are_awss(folder: str) -> None:
    ours = {"nodeOverride"}  # what Airflow's configuration calls Batch's nodeOverrides, refused by name
    used = list(words(folder, "[a-z]+[A-Z]\\w*"))
    assert len(used) > 20
    assert [f"{where}: {word}" for word, where in used if word not in of_aws() | ours] == []


def test_shapes_with_rules_of_their_own_are_in_the_services_models() -> None:
    for service, convention in CONVENTIONS.items():
        model = model_of(service)
        named = {**dict.fromkeys(convention.unchecked, ()), **convention.required}
        assert named.keys() <= {*model.shape_names}, service
        for shape, members in named.items():
            assert {*members} <= {*getattr(model.shape_for(shape), "members", {})}, shape


# What one place writes and another one reads.


def test_a_fact_of_an_environment_is_read_as_it_is_written() -> None:
    """``layer.url``, ``proof.tries`` ...: a fact with two spellings is one that is never found."""
    parts = {path.stem for path in (SOURCE / "control" / "parts").glob("*.py")} | {"web"}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for word, where in words("control", r"[a-z]+\.[a-z_A-Z]+"):
        if word.split(".")[0] in parts:
            found[word].append(where)
    assert len(found) > 20
    assert {word: where for word, where in found.items() if len(where) < 2} == {}


def test_each_sql_statement_is_a_file_and_each_file_is_used() -> None:
    text = (SOURCE / "control" / "store.py").read_text()
    asked = set(re.findall(r"(?:_rows|_changed|_statement)\(\s*\"(\w+)\"", text))
    files = {path.stem for path in (SOURCE / "control" / "sql").glob("*.sql")}
    assert asked <= files
    everything = "".join(path.read_text() for path in (SOURCE / "control").rglob("*.py"))
    assert [name for name in files if name not in everything] == []


# Airflow's options.

OF_PROVIDERS = {
    "MWAA's, which it resets (MWAA user guide, Configuration options)": """
        AIRFLOW__AWS_MWAA__REDIRECT_URL AIRFLOW__WEBSERVER__BASE_URL AIRFLOW__WEBSERVER__SECRET_KEY
        AIRFLOW__CORE__DATABASE_ACCESS_ISOLATION AIRFLOW__CORE__SQL_ALCHEMY_CONN AIRFLOW__CELERY__BROKER_URL
        AIRFLOW__CELERY__RESULT_BACKEND""",
    "the amazon provider's": "AIRFLOW__AWS__SESSION_FACTORY",
}


def test_options_that_environments_set_are_airflows() -> None:
    airflow = importlib.util.find_spec("airflow")
    assert airflow
    folder = Path(next(iter(airflow.submodule_search_locations or ())))
    sections = yaml.safe_load((folder / "config_templates" / "config.yml").read_text())
    known = {f"AIRFLOW__{name}__{option}".upper() for name, told in sections.items() for option in told["options"]}
    ours = {ECS_SECTION: ECS_SETTINGS, BATCH_SECTION: BATCH_SETTINGS, OWN_SECTION: OWN_SETTINGS}
    known |= {f"AIRFLOW__{name}__{one.name}".upper() for name, settings in ours.items() for one in settings}
    known |= {word for told in OF_PROVIDERS.values() for word in told.split()}
    used = [one for one in words("control", "AIRFLOW__[A-Z_0-9]+") if "__CELERY" not in one[0]]
    assert len(used) > 40
    assert [f"{where}: {word}" for word, where in used if word not in known] == []
