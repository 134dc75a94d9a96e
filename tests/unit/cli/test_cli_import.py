"""``skylift env import``: GetEnvironment's answer and Airflow's lists become files that ``skylift up`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skylift.cli.importing.settings import ListedObjects, settings_of
from skylift.cli.settings_file.difference import difference, flat_of, request
from skylift.cli.settings_file.read import read

pytestmark = pytest.mark.unit
MWAA: dict[str, Any] = {
    "Name": "production",
    "Arn": "arn:aws:airflow:eu-west-1:1:environment/production",
    "AirflowVersion": "2.10.3",
    "EnvironmentClass": "mw1.medium",
    "ExecutionRoleArn": "arn:aws:iam::1:role/mwaa",
    "KmsKey": "arn:aws:kms:eu-west-1:1:key/k",
    "MinWorkers": 1,
    "MaxWorkers": 5,
    "MinWebservers": 2,
    "MaxWebservers": 2,
    "Schedulers": 2,
    "WeeklyMaintenanceWindowStart": "SUN:02:00",
    "LoggingConfiguration": {
        "SchedulerLogs": {"Enabled": True, "LogLevel": "WARNING"},
        "WorkerLogs": {"Enabled": False, "LogLevel": "INFO"},
    },
    "AirflowConfigurationOptions": {"core.default_timezone": "utc", "smtp.smtp_password": "pw hunter2"},
}
STATE = ListedObjects(
    connections=(
        {"connection_id": "db", "conn_type": "postgres", "host": "h", "login": "me", "port": 5432, "extra": "{}"},
        {"connection_id": "with-dash", "conn_type": "http"},
    ),
    variables=({"key": "shops", "value": '["a"]'}, {"key": "api_token", "value": "***"}),
    pools=({"name": "default_pool", "slots": 128}, {"name": "slow lane", "slots": 3}),
    refused=("pools: no right",),
)


def test_what_is_imported_is_what_up_would_make(tmp_path: Path) -> None:
    found = settings_of(MWAA, STATE, "3.3.2")
    assert "hunter2" not in found.toml
    (tmp_path / "skylift.toml").write_text(found.toml)
    (tmp_path / ".env").write_text(found.dotenv)
    settings = read(tmp_path, {})
    assert settings.name == "production"
    assert settings.pools == {"slow lane": 3}
    assert settings.values == {"AIRFLOW__SMTP__SMTP_PASSWORD": "pw hunter2", "AIRFLOW_VAR_SHOPS": '["a"]'}
    rest = difference(settings.plain, {}, flat_of(MWAA))
    assert set(rest.change) == {"options.core.executor"}
    assert set(request(rest, MWAA)) == {"AirflowConfigurationOptions"}


def test_what_cannot_be_brought_is_said() -> None:
    found = settings_of(MWAA, STATE, "3.3.2")
    told = "\n".join(found.notes)
    for word in ("2.10.3", "AIR warnings", "KMS key", "role/mwaa", "passwords", "not listed: pools: no right"):
        assert word in told
    assert (
        '# db = { conn_type = "postgres", host = "h", login = "me", port = 5432, password = { env = "CONN_DB" } }'
        in found.toml
    )
    assert '# "with-dash"' in found.toml
    assert '# api_token = { env = "VAR_API_TOKEN" }' in found.toml


def test_a_switched_on_connection_is_one(tmp_path: Path) -> None:
    text = settings_of(MWAA, STATE, "3.3.2").toml.replace("# db = ", "db = ")
    (tmp_path / "skylift.toml").write_text(text)
    assert read(tmp_path, {"CONN_DB": "x"}).connections == {"db"}
