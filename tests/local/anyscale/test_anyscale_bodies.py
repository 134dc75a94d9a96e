"""What is sent to Anyscale is what its own client 0.26.112 sends for the same parameters, as recorded by hand; where
packages go; and who may read a job's variables."""

from __future__ import annotations

import json
import os
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.amazon.aws.secrets.secrets_manager import SecretsManagerBackend
from tests.local.anyscale.test_anyscale_jobs import on, watch
from tests.stack import ROOT

import skylift.anyscale.submitting as submitting
from skylift.anyscale.account import account_of
from skylift.anyscale.parameters import job_request, service_request
from skylift.anyscale.refusals import AnyscaleUnavailable
from skylift.testing import Cloud
from skylift.testing.anyscale import Anyscale

pytestmark = [pytest.mark.local, pytest.mark.timeout(240)]


def body_of(anyscale: Anyscale, name: str) -> Any:
    return next(one["body"] for one in anyscale.jobs() if one["name"] == name)


def test_a_job_is_sent_as_anyscales_own_client_sends_it(anyscale: Anyscale) -> None:
    given = {
        "name": "full",
        "entrypoint": "true",
        "image_uri": "me/img:1",
        "env_vars": {"A": "1"},
        "requirements": ["six"],
        "excludes": ["*.csv", "/sub"],
        "working_dir": "https://x/y.zip",
        "timeout_s": 5,
        "tags": {"a": "b"},
        "priority": 3,
        "py_executable": "python -O",
        "max_retries": 2,
        "cloud": "local",
        "project": "default",
        "compute_config": "default",
        "job_queue_config": {"priority": 2, "target_job_queue_name": "q"},
    }
    on(anyscale, lambda client: submitting.submit(client, job_request(given)))
    assert body_of(anyscale, "full") == {
        "name": "full",
        "project_id": "prj_local",
        "config": {
            "entrypoint": "true",
            "runtime_env": {
                "excludes": ["*.csv", "/sub"],
                "user_provided_working_dir": "https://x/y.zip",
                "working_dir": "https://x/y.zip",
                "py_executable": "python -O",
                "pip": ["six"],
                "env_vars": {"A": "1"},
            },
            "build_id": "bld_local",
            "compute_config_id": "cpt_local",
            "max_retries": 2,
            "timeout_s": 5,
            "priority": 3,
        },
        "job_queue_config": {"priority": 2, "target_job_queue_name": "q"},
        "tags": {"a": "b"},
    }
    on(anyscale, lambda client: submitting.submit(client, job_request({"name": "least", "entrypoint": "true"})))
    config = {"entrypoint": "true", "build_id": "bld_local", "compute_config_id": "cpt_local", "max_retries": 1}
    assert body_of(anyscale, "least") == {"name": "least", "project_id": "prj_local", "config": config}


APPLICATION = {"import_path": "a:b", "runtime_env": {"env_vars": {"B": "2", "A": "own"}, "excludes": ["*.x"]}}


def test_a_service_is_sent_as_anyscales_own_client_sends_it(anyscale: Anyscale) -> None:
    given = {
        "name": "bodies",
        "applications": [APPLICATION],
        "grpc_options": {"grpc_servicer_functions": ["x.y.add"], "service_names": ["p.Foo"]},
        "http_options": {"request_timeout_s": 5},
        "logging_config": {"log_level": "DEBUG"},
        "query_auth_token_enabled": False,
        "working_dir": "https://x/y.zip",
        "requirements": ["six"],
        "env_vars": {"A": "1"},
        "excludes": ["*.csv"],
        "proxy_location": "HeadOnly",
        "tags": {"a": "b"},
        "version_name": "v7",
        "ray_gcs_external_storage_config": {"address": "redis:6379"},
    }
    on(anyscale, lambda client: submitting.deploy(client, service_request(given, max_surge_percent="20")))
    assert anyscale.services()["bodies"] == {
        "name": "bodies",
        "project_id": "prj_local",
        "version": "v7",
        "ray_serve_config": {
            "applications": [
                {
                    "import_path": "a:b",
                    "runtime_env": {
                        "env_vars": {"B": "2", "A": "1"},
                        "excludes": ["*.x", "*.csv"],
                        "user_provided_working_dir": "https://x/y.zip",
                        "working_dir": "https://x/y.zip",
                        "pip": ["six"],
                    },
                }
            ],
            "http_options": {"request_timeout_s": 5},
            "grpc_options": {"grpc_servicer_functions": ["x.y.add"], "service_names": ["p.Foo"]},
            "logging_config": {"log_level": "DEBUG"},
            "proxy_location": "HeadOnly",
        },
        "build_id": "bld_local",
        "compute_config_id": "cpt_local",
        "config": {
            "max_uptime_timeout_sec": 0,
            "access": {"use_bearer_token": False},
            "protocols": {"grpc": {"enabled": True, "port": 9000, "service_names": ["p.Foo"]}},
            "env_vars": {"A": "1"},
        },
        "rollout_strategy": "ROLLOUT",
        "ray_gcs_external_storage_config": {
            "address": "redis:6379",
            "redis_certificate_path": "/etc/ssl/certs/ca-certificates.crt",
            "enable": True,
        },
        "auto_complete_rollout": True,
        "max_surge_percent": 20,
        "tags": {"a": "b"},
    }


def test_a_working_dir_goes_to_a_bucket_of_ones_own_once(
    anyscale: Anyscale, skylift_cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in skylift_cloud.variables.items():
        monkeypatch.setenv(name, value)
    s3 = skylift_cloud.client("s3")
    s3.create_bucket(Bucket="own-packages")
    (tmp_path / "main.py").write_text("print('hello')")
    for name in ("bucket-1", "bucket-2"):
        request = job_request({"name": name, "entrypoint": "true", "working_dir": str(tmp_path)})
        on(anyscale, lambda client, one=request: submitting.submit(client, one, "s3://own-packages/some/where/"))  # type: ignore[misc]
    (found,) = s3.list_objects_v2(Bucket="own-packages")["Contents"]
    assert found["Key"].startswith("some/where/pkg_")
    for name in ("bucket-1", "bucket-2"):
        runtime_env = body_of(anyscale, name)["config"]["runtime_env"]
        assert runtime_env["working_dir"] == f"s3://own-packages/{found['Key']}"


def test_who_may_only_describe_ecs_tasks_reads_no_variables_of_a_job(anyscale: Anyscale, skylift_cloud: Cloud) -> None:
    given = {"name": "secretive", "entrypoint": 'echo "it is $PASSWORD" | tr a-z A-Z', "env_vars": {"PASSWORD": "hush"}}
    job = on(anyscale, lambda client: submitting.submit(client, job_request(given)))["id"]
    found, told = watch(anyscale, job)
    assert (found.state, "IT IS HUSH" in told) == ("SUCCESS", True)
    ecs = skylift_cloud.client("ecs")
    arns = ecs.list_tasks(cluster="anyscale", desiredStatus="STOPPED")["taskArns"]
    tasks = ecs.describe_tasks(cluster="anyscale", tasks=arns)["tasks"]
    definition = ecs.describe_task_definition(taskDefinition="anyscale-job")
    shown = json.dumps([tasks, definition], default=str)
    assert "hush" not in shown
    run = on(anyscale, lambda client: client.get(f"/ext/v0/production_jobs/{job}", "a test"))["last_job_run_id"]
    (overrides,) = (task["overrides"]["containerOverrides"] for task in tasks if task["startedBy"] == run[-36:])
    (url,) = (variable["value"] for variable in overrides[0]["environment"])
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)


def test_a_submission_is_repeated_only_if_anyscale_did_nothing(anyscale: Anyscale) -> None:
    before = len(anyscale.jobs())
    request = job_request({"name": "slowed", "entrypoint": "true"})
    anyscale.answer_with(503, 1, "/create")
    with pytest.raises(AnyscaleUnavailable, match=r"503 to the submission of job slowed.*Anyscale's own trouble"):
        on(anyscale, lambda client: submitting.submit(client, request))
    assert len(anyscale.jobs()) == before
    anyscale.answer_with(429, 1, "/create")
    on(anyscale, lambda client: submitting.submit(client, request))
    assert len(anyscale.jobs()) == before + 1


SECRETS = [
    '{"conn_type": "anyscale", "conn_id": "anyscale_secret", "key": "aph0_k"}',
    '{"conn_id": "anyscale_secret", "conn_type": "anyscale", "key": "aph0_k"}',
    '{"key": "aph0_k", "conn_id": "anyscale_secret", "conn_type": "anyscale"}',
    '{"conn_type": "anyscale", "password": "aph0_k"}',
    "anyscale://:aph0_k@",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_a_connection_whatever_its_order(
    skylift_cloud: Cloud, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    for name, value in skylift_cloud.variables.items():
        monkeypatch.setenv(name, value)
    secrets, name = skylift_cloud.client("secretsmanager"), "airflow/connections/anyscale_secret"
    secrets.create_secret(Name=name, SecretString=text)
    try:
        backend = SecretsManagerBackend(connections_prefix="airflow/connections", variables_prefix=None)
        connection = backend.get_connection("anyscale_secret")
        account = account_of(connection, "anyscale_secret")
        assert (account.key, account.host) == ("aph0_k", "https://console.anyscale.com")
    finally:
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_the_example_looks_up_no_other_connection(skylift_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call for what the secrets backend's options leave out: each would be one at each look-up."""
    for name, value in skylift_cloud.variables.items():
        monkeypatch.setenv(name, value)
    text = (ROOT / "examples" / "anyscale_job_secretsmanager" / "skylift.toml").read_text()
    backend = SecretsManagerBackend(**json.loads(tomllib.loads(text)["options"]["secrets.backend_kwargs"]))
    calls: list[str] = []
    backend.client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
    assert backend.get_connection("postgres_default") is None
    assert backend.get_variable("anything") is None
    assert backend.get_config("anything") is None
    assert calls == []
    assert backend.get_connection("anyscale_none") is None
    assert calls == ["GetSecretValue"]
