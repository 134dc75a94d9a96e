"""How containers are configured: options that Airflow knows, no secret in a task definition, the user's options on
top."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from airflow.providers.amazon.get_provider_info import get_provider_info
from tests.control_scenes import VERSION, context, spec

from skylift.control import airflow_config
from skylift.control.blueprint import COMPONENTS, EXECUTOR_ROLE
from skylift.control.definitions import definition, digest_of, secrets, variables
from skylift.control.part_context import short_name
from skylift.core.containers import CONTAINER_SETTINGS, Command
from skylift.core.templates import base_of

pytestmark = pytest.mark.unit
ROLES = (*COMPONENTS, EXECUTOR_ROLE, Command.MIGRATE, Command.BUILD_LAYER)
LOGGING = context(spec(LoggingConfiguration={"TaskLogs": {"Enabled": True, "LogLevel": "INFO"}}))
OURS = {"AWS_ECS_EXECUTOR", "SKYLIFT"}


def known_options() -> set[str]:
    found = find_spec("airflow")
    assert found is not None
    places = [Path(place) for place in found.submodule_search_locations or ()]
    text = next(place / "config_templates/config.yml" for place in places if (place / "config_templates").is_dir())
    sections = yaml.safe_load(text.read_text()) | get_provider_info()["config"]
    return {f"AIRFLOW__{section.upper()}__{key.upper()}" for section, one in sections.items() for key in one["options"]}


def test_airflow_knows_every_option() -> None:
    known = known_options()
    told = {name for role in ROLES for name in (*variables(LOGGING, role), *secrets(LOGGING, role))}
    assert "AIRFLOW__LOGGING__DELETE_LOCAL_LOGS" in told
    options = {name for name in told if name.startswith("AIRFLOW__") and name.split("__")[1] not in OURS}
    assert len(options) > 15
    assert options - known == set()


def test_the_runtime_knows_every_variable_of_ours() -> None:
    known = {setting.env for setting in CONTAINER_SETTINGS}
    told = {role: {*variables(context(), role), *secrets(context(), role)} for role in ROLES}
    ours = {role: {name for name in names if name.startswith("SKYLIFT_")} for role, names in told.items()}
    inside = {
        "SKYLIFT_ENVIRONMENT",
        "SKYLIFT_DAGS",
        "SKYLIFT_LAYER",
        "SKYLIFT_STARTUP_SCRIPT",
        "SKYLIFT_METRICS_SECONDS",
    }
    assert ours == {
        **dict.fromkeys(COMPONENTS, inside),
        Command.API_SERVER: inside | {"SKYLIFT_TOKEN_KEY"},
        EXECUTOR_ROLE: inside,
        Command.MIGRATE: {"SKYLIFT_ENVIRONMENT", "SKYLIFT_DAGS"},
        Command.BUILD_LAYER: {"SKYLIFT_ENVIRONMENT", "SKYLIFT_DAGS"},
    }
    assert inside | {"SKYLIFT_TOKEN_KEY"} < known


def test_every_container_has_the_variables_that_mwaa_sets() -> None:
    here = context()
    wanted = {
        "AIRFLOW_ENV_NAME": here.spec.name,
        "AIRFLOW_VERSION": here.spec.airflow_version,
        "CUSTOMER_ACCOUNT_ID": here.settings.account,
    }
    assert all(wanted.values())
    for role in ROLES:
        assert variables(here, role).items() >= wanted.items(), role


@pytest.mark.parametrize("role", [EXECUTOR_ROLE, Command.BUILD_LAYER])
def test_user_code_sees_neither_database_nor_keys(role: str) -> None:
    text = json.dumps(definition(context(), role))
    assert "arn:secret" not in text


def test_all_containers_of_an_environment_come_from_one_template() -> None:
    roles = (*COMPONENTS, EXECUTOR_ROLE)  # the others are one-off, and start plainly
    first, *others = [base_of({**variables(LOGGING, role), **secrets(LOGGING, role)}) for role in roles]
    assert others == [first] * len(others)


def test_only_the_api_server_gets_the_key_for_sign_in_tokens() -> None:
    for role in ROLES:
        assert ("SKYLIFT_TOKEN_KEY" in variables(context(), role)) == (role == Command.API_SERVER)


def test_options_of_the_user_travel_as_secrets() -> None:
    wanted = spec(AirflowConfigurationOptions={"smtp.smtp_password": "hunter2", "core.parallelism": "9"})
    found = definition(context(wanted), Command.SCHEDULER)
    assert "hunter2" not in json.dumps(found)
    container = found["containerDefinitions"][0]
    names = [one["name"] for one in (*container["environment"], *container["secrets"])]
    assert len(names) == len(set(names)), "ECS refuses a name twice"
    sources = {one["name"]: one["valueFrom"] for one in container["secrets"]}
    assert sources["AIRFLOW__CORE__PARALLELISM"] == f"arn:secret:options:AIRFLOW__CORE__PARALLELISM::{VERSION}"


def test_what_has_to_be_cannot_be_overridden() -> None:
    wanted = spec(
        AirflowConfigurationOptions={
            "core.executor": "LocalExecutor",
            "core.fernet_key": "mine",
            "database.sql_alchemy_conn": "sqlite://",
            "api.base_url": "http://elsewhere",
            "webserver.base_url": "http://elsewhere",
            "core.default_timezone": "Europe/Berlin",
        }
    )
    assert airflow_config.user_options(context(wanted)) == {"AIRFLOW__CORE__DEFAULT_TIMEZONE": "Europe/Berlin"}


@pytest.mark.parametrize("option", ["", "api.instance_name", "webserver.instance_name", "API.Instance_Name"])
def test_airflow_calls_itself_by_the_environments_name_unless_the_user_names_it(option: str) -> None:
    wanted = spec(AirflowConfigurationOptions={option: "mine"} if option else {})
    told = variables(context(wanted), Command.API_SERVER)
    assert told.get("AIRFLOW__API__INSTANCE_NAME") == (None if option else wanted.name)


def test_the_digest_follows_the_content() -> None:
    first = digest_of(definition(context(), Command.SCHEDULER))
    assert first
    assert digest_of(definition(context(), Command.SCHEDULER)) == first
    layered, url = spec(RequirementsS3Path="r.txt"), "s3://b/layers/x/layer.tar.gz"
    assert digest_of(definition(context(layered, layer__url=url), Command.SCHEDULER)) != first
    assert digest_of(definition(context(layer__url=url), Command.SCHEDULER)) == first, "the requirements were removed"
    options = spec(AirflowConfigurationOptions={"core.parallelism": "9"})
    first = digest_of(definition(context(options), Command.SCHEDULER))
    assert digest_of(definition(context(options, secrets__options_version="v2"), Command.SCHEDULER)) != first


def test_task_logs_can_be_off() -> None:
    wanted = spec(LoggingConfiguration={"TaskLogs": {"Enabled": False, "LogLevel": "INFO"}})
    assert variables(context(wanted), Command.SCHEDULER)["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "False"


def test_what_a_dag_file_prints_is_not_among_the_logs_of_airflow_tasks() -> None:
    processor, scheduler = (variables(LOGGING, role) for role in (Command.DAG_PROCESSOR, Command.SCHEDULER))
    assert processor["AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET"] == "stdout"
    assert processor["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "False"
    assert scheduler["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "True"


def test_logs_of_a_module_that_is_off_go_to_our_own_group() -> None:
    off = definition(context(), Command.SCHEDULER)["containerDefinitions"][0]["logConfiguration"]["options"]
    wanted = spec(LoggingConfiguration={"SchedulerLogs": {"Enabled": True, "LogLevel": "INFO"}})
    on = definition(context(wanted), Command.TRIGGERER)["containerDefinitions"][0]["logConfiguration"]["options"]
    assert off["awslogs-group"] == "/skylift/flight"
    assert on["awslogs-group"] == "airflow-flight-Scheduler"


def test_short_names_stay_different() -> None:
    long = "a" * 80
    assert short_name("flight", "skylift-", 32) == "skylift-flight"
    assert len(short_name(long, "skylift-", 32)) <= 32
    assert short_name(long, "skylift-", 32) != short_name(long[:-1] + "b", "skylift-", 32)
    assert short_name("my_env", "skylift-", 32) != short_name("my-env", "skylift-", 32)


LEVELS = {
    "TaskLogs": "DEBUG",
    "WorkerLogs": "ERROR",
    "SchedulerLogs": "WARNING",
    "WebserverLogs": "CRITICAL",
    "DagProcessingLogs": "INFO",
}


def levels(**more: bool) -> dict[str, str]:
    """Airflow's level in each role's containers, when each module has another."""
    asked = {module: {"Enabled": more.get(module, True), "LogLevel": level} for module, level in LEVELS.items()}
    place = context(spec(LoggingConfiguration=asked))
    return {
        str(role): variables(place, role)["AIRFLOW__LOGGING__LOGGING_LEVEL"] for role in (*COMPONENTS, EXECUTOR_ROLE)
    }


def test_each_module_of_logs_has_its_level() -> None:
    assert levels() == {
        "api-server": "CRITICAL",
        "scheduler": "WARNING",
        "dag-processor": "INFO",
        "triggerer": "WARNING",
        EXECUTOR_ROLE: "DEBUG",
    }


def test_what_the_executors_container_prints_has_the_workers_level() -> None:
    asked = {module: {"Enabled": True, "LogLevel": level} for module, level in LEVELS.items()}
    place = context(spec(LoggingConfiguration=asked))
    told = variables(place, EXECUTOR_ROLE)["AIRFLOW__LOGGING__NAMESPACE_LEVELS"]
    assert told == "supervisor=ERROR airflow.sdk.execution_time.execute_workload=ERROR"
    assert "AIRFLOW__LOGGING__NAMESPACE_LEVELS" not in variables(place, Command.SCHEDULER)


def test_without_logs_of_airflow_tasks_the_workers_level_is_the_containers() -> None:
    assert levels(TaskLogs=False)[EXECUTOR_ROLE] == "ERROR"


STATSD = "AIRFLOW__METRICS__STATSD_"


def test_metrics_go_to_cloudwatch_whatever_the_user_says_of_statsd() -> None:
    options = {"metrics.statsd_host": "mine", "metrics.statsd_custom_client_path": "mine.Client"}
    place = context(spec(AirflowConfigurationOptions=options))
    for role in (*COMPONENTS, EXECUTOR_ROLE):
        told = variables(place, role)
        assert told[f"{STATSD}ON"] == "True"
        assert told[f"{STATSD}CUSTOM_CLIENT_PATH"] == "skylift.runtime.metrics.client.CloudWatchStats"
        assert told[f"{STATSD}HOST"] == "localhost"
        assert not {name for name in secrets(place, role) if name.startswith("AIRFLOW__METRICS__")}


@pytest.mark.parametrize(("said", "on"), [("False", "False"), ("false", "False"), ("True", "True"), ("", "True")])
def test_the_user_can_switch_metrics_off(said: str, on: str) -> None:
    place = context(spec(AirflowConfigurationOptions={"metrics.statsd_on": said} if said else {}))
    assert variables(place, Command.SCHEDULER)[f"{STATSD}ON"] == on


def test_the_users_choice_of_metrics_reaches_airflow() -> None:
    options = {"metrics.metrics_allow_list": "^ti_", "metrics.metrics_block_list": "dag", "metrics.otel_on": "True"}
    place = context(spec(AirflowConfigurationOptions=options))
    for role in (*COMPONENTS, EXECUTOR_ROLE):
        ours = {name for name in secrets(place, role) if name.startswith("AIRFLOW__METRICS__")}
        assert ours == {
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST",
            "AIRFLOW__METRICS__METRICS_BLOCK_LIST",
            "AIRFLOW__METRICS__OTEL_ON",
        }
