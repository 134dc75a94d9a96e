"""``skylift.toml`` and ``.env``: read, refused with the place and never a value, compared with what is there."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from skylift.cli.main import run
from skylift.cli.projects.project import default_name, plan_sync
from skylift.cli.projects.project import digest as md5
from skylift.cli.settings_file.difference import (
    ENVIRONMENT,
    Difference,
    difference,
    digest,
    digests_of,
    flat_of,
    request,
)
from skylift.cli.settings_file.example import EXAMPLE, switched_on
from skylift.cli.settings_file.read import ProjectSettings, Reference, read, read_dotenv
from skylift.cli.settings_file.schema import SCHEMA, mistakes
from skylift.control.settings import VARIABLES
from skylift.core.environment import CELERY_EXECUTOR, ECS_EXECUTOR
from skylift.core.errors import Refused

pytestmark = pytest.mark.unit
SECRET = "hunter2-do-not-tell"


def settings(folder: Path, text: str, dotenv: str = "", **environ: str) -> ProjectSettings:
    (folder / "skylift.toml").write_text(text)
    (folder / ".env").write_text(dotenv)
    return read(folder, environ)


def test_the_example_is_what_the_schema_allows_and_names_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    whole = tomllib.loads(switched_on())
    assert list(mistakes(whole)) == []
    assert set(whole) == set(SCHEMA["properties"])
    assert tomllib.loads(EXAMPLE) == {}, "switched off, it says nothing"
    assert run(["toml"]) == 0
    assert capsys.readouterr().out == EXAMPLE
    assert run(["toml", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_everything_in_it_is_understood(tmp_path: Path) -> None:
    found = settings(tmp_path, switched_on(), "API_KEY=k # why\nexport DB_PASSWORD='a b#c'\n")
    assert found.name == "demo"
    assert found.plain == {
        "class": "mw1.small",
        "schedulers": "1",
        "maintenance_window": "SUN:02:00",
        "role": "arn:aws:iam::000000000000:role/mine",
        "workers.min": "1",
        "workers.max": "5",
        "options.skylift.min_workers": "0",
        "webservers.min": "1",
        "webservers.max": "2",
        "logs.scheduler": "WARNING",
        "logs.worker": "off",
        "options.core.default_timezone": "Europe/Berlin",
        "options.scheduler.catchup_by_default": "False",
        "options.core.executor": ECS_EXECUTOR,
    }
    warehouse = json.loads(found.values["AIRFLOW_CONN_WAREHOUSE"])
    assert warehouse == {"conn_type": "postgres", "host": "db.test", "login": "etl", "password": "a b#c"}
    assert found.values["AIRFLOW_CONN_FILES"] == "ftp://files.test"
    assert found.values["AIRFLOW_VAR_SHOPS"] == '["Lisbon", "Porto"]'
    assert (found.values["GREETING"], found.values["API_KEY"]) == ("hello", "k")
    assert found.references == {
        "TOKEN": Reference("secretsmanager", "prod/api", "token"),
        "LIMIT": Reference("ssm", "/prod/limit"),
        "AIRFLOW_CONN_BILLING": Reference("secretsmanager", "prod/billing"),
    }
    assert found.connections == {"warehouse", "files", "billing"}
    assert found.pools == {"slow": 3}
    assert found.statements[0]["Action"] == ["sqs:SendMessage"]


def test_a_project_without_these_files_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, {}) == ProjectSettings()
    assert read(tmp_path, {}).executors == (ECS_EXECUTOR,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clas = 1", "clas is not known"),
        ("class = 'mw1.huge'", "class must be one of"),
        ("schedulers = 9", "schedulers must be from 1 to 5"),
        ("schedulers = true", "must be a whole number"),
        ("[logs]\nscheduler = 'LOUD'", "logs.scheduler must be one of"),
        (f"[connections.a]\npassword = '{SECRET}'", "connections.a needs conn_type"),
        (f"[connections.a]\nconn_type = 'x'\nuser = '{SECRET}'", "connections.a.user is not known"),
        (f"[variables]\n'a b' = '{SECRET}'", "characters that are not allowed"),
        ("[environment]\nA = { env = 'NOT_THERE' }", "environment.A takes NOT_THERE"),
        ("[connections.a]\nconn_type = 'x'\npassword = { secret = 'b' }", "Put the whole connection there"),
        ("name = ", "is not TOML"),
        ("[environment]\nAWS_PROFILE = 'x'", "environment.AWS_PROFILE is set by the environment itself"),
        ("executors = []", "executors must not be empty"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_without_values(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Refused) as caught:
        settings(tmp_path, text)
    assert told in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_dotenv_is_read_as_others_read_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('# no\n\nA=1\nB="two # words" # why\nexport C = x y # z\nD=\nE=a=b\n')
    assert read_dotenv(tmp_path / ".env") == {"A": "1", "B": "two # words", "C": "x y", "D": "", "E": "a=b"}
    (tmp_path / ".env").write_text(f"A=1\n{SECRET}\n")
    with pytest.raises(Refused, match=r"line 2: expected NAME=value") as caught:
        read_dotenv(tmp_path / ".env")
    assert SECRET not in str(caught.value)


def test_keys_of_ones_own_account_in_a_dotenv_do_not_reach_the_environment(tmp_path: Path) -> None:
    found = settings(tmp_path, "", "AWS_ACCESS_KEY_ID=AKIA\nAWS_REGION=x\nAWS_MAX_ATTEMPTS=3\nPATH=/x\nMINE=1\n")
    assert found.values == {"AWS_MAX_ATTEMPTS": "3", "MINE": "1"}


def test_secrets_are_not_in_a_repr(tmp_path: Path) -> None:
    assert SECRET not in repr(settings(tmp_path, "", f"A={SECRET}"))


NOW: dict[str, Any] = {
    "Name": "demo",
    "EnvironmentClass": "mw1.small",
    "MaxWorkers": 10,
    "LoggingConfiguration": {"SchedulerLogs": {"Enabled": True, "LogLevel": "INFO"}},
    "AirflowConfigurationOptions": {"core.executor": ECS_EXECUTOR, "core.parallelism": "8", "smtp.smtp_host": "x"},
}


def test_what_the_file_changed_is_done_and_what_others_changed_is_told() -> None:
    wanted = {"class": "mw1.medium", "options.core.parallelism": "16", "logs.scheduler": "off", "workers.max": "10"}
    last = {"class": digest("mw1.small"), "options.core.parallelism": digest("16")}
    found = difference(wanted, last, flat_of(NOW))
    assert found.change == {"class": "mw1.medium", "logs.scheduler": "off"}
    assert [str(one) for one in found.drift] == [
        "options.core.parallelism was changed elsewhere to 8; skylift.toml says 16",
        "options.smtp.smtp_host = x was set elsewhere, and is not in skylift.toml",
    ]
    assert request(found, NOW) == {
        "EnvironmentClass": "mw1.medium",
        "LoggingConfiguration": {"SchedulerLogs": {"Enabled": False, "LogLevel": "INFO"}},
    }
    undone = difference(wanted, last, flat_of(NOW), undo=True)
    assert request(undone, NOW)["AirflowConfigurationOptions"] == {
        "core.executor": ECS_EXECUTOR,
        "core.parallelism": "16",
    }
    assert undone.drift == ()


def test_what_the_file_no_longer_says_is_removed_only_if_it_was_the_files() -> None:
    last = digests_of({"options.core.parallelism": "8", "options.smtp.smtp_host": "y"})
    found = difference({}, last, flat_of(NOW))
    assert found.remove == ("options.core.parallelism",)
    assert [one.name for one in found.drift] == ["options.smtp.smtp_host"]
    assert request(found, NOW)["AirflowConfigurationOptions"] == {"core.executor": ECS_EXECUTOR, "smtp.smtp_host": "x"}


def test_nothing_to_do_is_nothing_asked() -> None:
    wanted = {"class": "mw1.small", "options.core.executor": ECS_EXECUTOR}
    assert request(difference(wanted, {}, flat_of(NOW)), NOW) == {}
    assert request(Difference({}), NOW) == {}


def test_drift_hides_what_looks_secret() -> None:
    now = {"options.smtp.smtp_password": SECRET, ENVIRONMENT: "{}"}
    told = " ".join(str(one) for one in difference({}, {}, now).drift)
    assert SECRET not in told
    assert "***" in told


def test_executors_are_words_or_classes(tmp_path: Path) -> None:
    found = settings(tmp_path, "executors = ['celery', 'ecs', 'my.own.Executor']")
    assert found.executors == (CELERY_EXECUTOR, ECS_EXECUTOR, "my.own.Executor")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"A": "arn:aws:secretsmanager:us-east-1:1:secret:x-AbCdEf:A::v"}', ""),
        ('{"A": "arn:aws:ssm:us-east-1:1:parameter/x"}', ""),
        ('{"A": "hunter2"}', "must be the ARN"),
        ('{"PATH": "arn:aws:ssm:us-east-1:1:parameter/x"}', "cannot be the name"),
        ('{"SKYLIFT_LAYER": "arn:aws:ssm:us-east-1:1:parameter/x"}', "cannot be the name"),
        ("[]", "JSON object"),
        ("hunter2", "not JSON"),
    ],
)
def test_variables_by_reference_are_arns_under_lawful_names(text: str, wrong: str) -> None:
    if not wrong:
        assert set(VARIABLES.parse(text)) == {"A"}
        return
    with pytest.raises(ValueError, match=wrong) as caught:
        VARIABLES.parse(text)
    assert "hunter2" not in str(caught.value)


def test_the_files_name_is_the_environments(tmp_path: Path) -> None:
    assert default_name(tmp_path / "my demo") == "my-demo"
    (tmp_path / "skylift.toml").write_text("name = 'other'")
    assert default_name(tmp_path) == "other"
    (tmp_path / "skylift.toml").write_text("name = ")
    assert default_name(tmp_path) == tmp_path.name.strip("-_")


def test_somebody_elses_file_in_the_bucket_is_not_replaced_without_a_word() -> None:
    key, ours, theirs = "requirements.txt", b"a==1\n", md5(b"b==2\n")
    unchanged = plan_sync({key: ours}, {key: theirs}, [key], {key: md5(ours)})
    assert (unchanged.put, unchanged.kept, unchanged.replaced) == ((), (key,), ())
    assert "it stays" in unchanged.notices("bucket")[0]
    changed = plan_sync({key: b"a==2\n"}, {key: theirs}, [key], {key: md5(ours)})
    assert (changed.put, changed.kept, changed.replaced) == ((key,), (), (key,))
    assert "the version before it" in changed.notices("bucket")[0]
    mine = plan_sync({key: b"a==2\n"}, {key: md5(ours)}, [key], {key: md5(ours)})
    assert (mine.put, mine.kept, mine.replaced) == ((key,), (), ())
    absent = plan_sync({key: ours}, {}, [key], {key: md5(ours)})
    assert absent.put == (key,)
