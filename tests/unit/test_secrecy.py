"""What looks like a secret is hidden from people: by its name, by its form, within URLs and JSON; the rest is shown."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from skylift.core.secrecy import hide, hide_in, hide_options, quoted, secrets_of

pytestmark = pytest.mark.unit
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.s5J-xyz_0123"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp.smtp_password", "hunter2"),
        ("smtp.smtp_password", "1234"),
        ("core.fernet_key", "x"),
        ("api.secret_key", "a b c"),
        ("api_auth.jwt_secret", "short"),
        ("celery.flower_basic_auth", "admin:admin"),
        ("celery.broker_url", "redis://host/0"),
        ("celery.result_backend", "db+postgresql://u:p@h/d"),
        ("database.sql_alchemy_conn", "postgresql://h/d"),
        ("database.sql_alchemy_conn_cmd", "cat /run/secret"),
        ("database.sql_alchemy_conn_secret", "name"),
        ("secrets.backend_kwargs", '{"url": "http://vault:8200", "x": "y"}'),
        ("sentry.sentry_dsn", "https://abc@sentry.example/1"),
        ("custom.API_KEY", "abc"),
        ("custom.apikey", "abc"),
        ("custom.accessKey", "abc"),
        ("custom.aws_secret_access_key", "abc"),
        ("custom.github-token", "abc"),
        ("custom.bot.token", "abc"),
        ("custom.slack_webhook", "https://hooks.example/a/b"),
        ("custom.db_conn_uri", "mysql://h/d"),
        ("AIRFLOW_CONN_PROD", "whatever"),
        ("plain.value", "0123456789abcdef0123456789abcdef"),
        ("plain.value", "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RFRg=="),
        ("plain.value", JWT),
        ("plain.value", "AKIAIOSFODNN7EXAMPLE"),
        ("plain.value", "ghp_0123456789abcdefghij0123"),
        ("plain.value", "-----BEGIN RSA PRIVATE KEY----- MIIE -----END RSA PRIVATE KEY-----"),
    ],
)
def test_a_secret_is_not_shown_at_all(name: str, value: str) -> None:
    assert hide(name, value) == "***"
    assert value not in hide_in(f"before {value} after", secrets_of({name: value})) or len(value) < 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("core.default_timezone", "Europe/Berlin"),
        ("core.parallelism", "32"),
        ("core.executor", "AwsEcsExecutor,AwsBatchExecutor"),
        ("secrets.backend", "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"),
        ("workers.secrets_backend", "a.b.C"),
        ("api_auth.jwt_expiration_time", "86400"),
        ("core.hide_sensitive_var_conn_fields", "True"),
        ("core.simple_auth_manager_passwords_file", "/opt/passwords.json"),
        ("logging.remote_log_conn_id", "aws_default"),
        ("custom.secret_arn", "arn:aws:secretsmanager:eu-north-1:000000000000:secret:x"),
        ("aws_ecs_executor.subnets", "subnet-0123456789abcdef0,subnet-0123456789abcdef1"),
        ("aws_ecs_executor.task_definition", "arn:aws:ecs:eu-north-1:000000000000:task-definition/Airflow-Task:12"),
        ("logging.path", "/usr/local/Airflow1/logs/and/more/of/it/below"),
        ("plain.uuid", "12345678-1234-1234-1234-123456789012"),
        ("plain.url", "https://example.org/a?b=c"),
        ("plain.empty", ""),
        ("email.from", "someone@example.org"),
    ],
)
def test_what_is_no_secret_is_shown(name: str, value: str) -> None:
    assert hide(name, value) == value
    assert secrets_of({name: value}) == ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://me:pa%40ss@host:5432/db", "postgresql://***@host:5432/db"),
        ("https://only-a-token@host/x", "https://***@host/x"),
        ("https://me:p@ss@host/x", "https://***@host/x"),
        ("https://h/x?a=1&access_token=abc&b=2", "https://h/x?a=1&access_token=***&b=2"),
        ("s3://b/k?X-Amz-Signature=0a1b", "s3://b/k?X-Amz-Signature=***"),
        ('{"host": "h", "password": "abc"}', '{"host": "h", "password": "***"}'),
        ('[{"name": "DB_PASSWORD", "value": "abc"}, {"name": "A", "value": "b"}]',
         '[{"name": "DB_PASSWORD", "value": "***"}, {"name": "A", "value": "b"}]'),
        ('{"a": {"tokens": ["x", "y"]}, "pin_token": 1234}', '{"a": {"tokens": ["***", "***"]}, "pin_token": "***"}'),
        ('{"url": "amqp://u:p@h"}', '{"url": "amqp://***@h"}'),
    ],
)  # fmt: skip
def test_a_secret_within_a_value_is_hidden_there(value: str, shown: str) -> None:
    assert hide("plain.value", value) == shown


def test_every_option_that_airflow_calls_sensitive_is_hidden() -> None:
    airflow = importlib.util.find_spec("airflow")
    assert airflow
    folder = Path(next(iter(airflow.submodule_search_locations or ())))
    sections: dict[str, Any] = yaml.safe_load((folder / "config_templates" / "config.yml").read_text())
    options = {f"{name}.{key}": one for name, section in sections.items() for key, one in section["options"].items()}
    sensitive = [name for name, one in options.items() if one.get("sensitive")]
    assert len(sensitive) > 5
    assert [name for name in sensitive if hide(name, "x") != "***"] == []
    shown = [name for name in options if hide(name, "x") == "x"]
    assert len(shown) > 0.9 * len(options), "hiding everything would be no help"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("fast", "'fast'"),
        ('{"environment": {"A": "secret-thing"}', "its value"),
        ("{'overrides': {'password': 'secret-thing'}}", "its value"),
        (
            '{"overrides": [{"name": "TOKEN", "value": "x"}]}',
            """'{"overrides": [{"name": "TOKEN", "value": "***"}]}'""",
        ),
        ("redis://me:pass@host", "'redis://***@host'"),
    ],
)
def test_an_error_quotes_no_secret(value: str, shown: str) -> None:
    assert quoted("run_task_kwargs", value) == shown


def test_secrets_are_found_in_other_texts() -> None:
    options = {
        "smtp.smtp_password": "hunter2-hunter2",
        "custom.url": "amqp://me:pa%40ss-word@host",
        "custom.json": '{"tokens": ["abcdef"], "host": "harmless"}',
        "custom.short_token": "ab",
        "core.default_timezone": "Europe/Berlin",
    }
    secrets = secrets_of(options)
    told = "hunter2-hunter2 pa@ss-word pa%40ss-word abcdef harmless abroad Europe/Berlin"
    assert hide_in(told, secrets) == "*** *** *** *** harmless abroad Europe/Berlin"
    assert hide_options(options)["core.default_timezone"] == "Europe/Berlin"
