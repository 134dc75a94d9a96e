"""What people see of an environment: no secrets, and everything else as in the API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from skylift.cli.hiding import hidden, secrets_in
from skylift.cli.main import cli

pytestmark = pytest.mark.unit
ENVIRONMENT = {
    "Name": "life",
    "Status": "CREATE_FAILED",
    "CreatedAt": datetime(2026, 11, 30, tzinfo=UTC),
    "Arn": "arn:aws:airflow:us-east-1:000000000000:environment/life",
    "MaxWorkers": 3,
    "NetworkConfiguration": {"SubnetIds": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]},
    "LastUpdate": {
        "Error": {"ErrorCode": "X", "ErrorMessage": "cannot log in with hunter2-hunter2 at amqp://me:pa55@h"}
    },
    "AirflowConfigurationOptions": {"smtp.smtp_password": "hunter2-hunter2", "core.default_timezone": "Europe/Berlin"},
    "Tags": {"team": "blue"},
}


def test_secrets_are_hidden_wherever_they_stand_and_nothing_else() -> None:
    shown = hidden(ENVIRONMENT)
    assert list(shown) == list(ENVIRONMENT)
    assert shown.pop("AirflowConfigurationOptions") == {
        "smtp.smtp_password": "***",
        "core.default_timezone": "Europe/Berlin",
    }
    error = shown.pop("LastUpdate")["Error"]["ErrorMessage"]
    assert error == "cannot log in with *** at amqp://***@h"
    assert shown == {name: ENVIRONMENT[name] for name in shown}
    assert secrets_in(ENVIRONMENT) == ("hunter2-hunter2",)
    assert hidden({"Name": "bare"}) == {"Name": "bare"}


@pytest.mark.parametrize("given", ["smtp_password=hunter2", "smtp.smtp_passwordhunter2", "=hunter2"])
def test_a_mistyped_option_is_refused_without_its_value(given: str) -> None:
    done = CliRunner().invoke(cli, ["env", "create", "name", ".", "--option", given])
    assert done.exit_code == 2
    assert "is not SECTION.KEY=VALUE" in done.output
    assert "=hunter2" not in done.output
