"""Every parameter of the existing provider's operators is there, and each failure is told in words."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.connection import Connection

from skylift.anyscale import AnyscaleHook, RolloutAnyscaleService, SubmitAnyscaleJob, vendor
from skylift.anyscale.account import account_of
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.job_log import _lines
from skylift.anyscale.parameters import job_request, service_request
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable, records, required
from skylift.anyscale.status import AnyscaleJobStatus
from skylift.anyscale.submitting import resolve

pytestmark = pytest.mark.unit

SHARED = {
    **dict.fromkeys(("image_uri", "containerfile", "compute_config", "working_dir", "excludes", "requirements")),
    **dict.fromkeys(("env_vars", "py_modules", "cloud", "project")),
    "poll_interval": 60,
    "wait_for_completion": True,
}
JOB = {
    **SHARED,
    "conn_id": inspect.Parameter.empty,
    "entrypoint": inspect.Parameter.empty,
    "name": None,
    "max_retries": 1,
    "fetch_logs": True,
    "job_timeout_seconds": 3600,
    "job_queue_config": None,
    "extra_job_params": None,
}
SERVICE = {
    **SHARED,
    **dict.fromkeys(("conn_id", "name", "applications"), inspect.Parameter.empty),
    **dict.fromkeys(("http_options", "grpc_options", "logging_config", "ray_gcs_external_storage_config")),
    "query_auth_token_enabled": True,
    "in_place": False,
    "canary_percent": None,
    "max_surge_percent": None,
    "service_rollout_timeout_seconds": 900,
}
"""Parameters and defaults of astro-provider-anyscale 1.3.0."""
NOT_TEMPLATES = {"job_queue_config", "extra_job_params"}


@pytest.mark.parametrize(("ours", "theirs"), [(SubmitAnyscaleJob, JOB), (RolloutAnyscaleService, SERVICE)])
def test_the_operators_have_the_existing_providers_parameters(ours: Any, theirs: dict[str, Any]) -> None:
    found = inspect.signature(ours.__init__).parameters
    assert {name: found[name].default for name in theirs} == theirs
    assert {*theirs} - NOT_TEMPLATES <= {*ours.template_fields}


def test_extra_parameters_go_before_the_operators_own() -> None:
    given = {"entrypoint": "true", "env_vars": {"A": "1"}, "max_retries": "2"}
    request = job_request({**given, "env_vars": "{'A': '2'}", "timeout_s": "5", "registry_login_secret": "s", "new": 1})
    assert (request.max_retries, request.timeout_s, request.workload.env_vars) == (2, 5, {"A": "2"})
    assert request.workload.beyond == {"registry_login_secret": "s", "new": 1}


class Model:
    """Models of Anyscale's client are dictionaries to us."""

    def __init__(self, **members: Any) -> None:
        self.members = members

    def to_dict(self) -> dict[str, Any]:
        return self.members


def test_models_of_anyscales_client_are_understood() -> None:
    queue, compute = Model(priority=1), Model(head_node={"instance_type": "m5.large"})
    request = job_request(Model(entrypoint="true", job_queue_config=queue, compute_config=compute, tags={"a": "b"}))
    assert request.job_queue == {"priority": 1}
    assert request.workload.beyond == {"compute_config": {"head_node": {"instance_type": "m5.large"}}}
    assert request.tags == {"a": "b"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"entrypoint": " "}, "entrypoint is ' ', and must be the command"),
        ({"entrypoint": "x", "image_uri": "a", "containerfile": "b"}, "image_uri or containerfile, not both"),
        ({"entrypoint": "x", "env_vars": "PASSWORD=hush"}, "env_vars is 'str', and must be a dictionary"),
        ({"entrypoint": "x", "timeout_s": "long"}, "timeout_s is 'long', and must be a number"),
        ({"entrypoint": "x", "max_retries": "inf"}, "max_retries is 'inf', and must be a number"),
        ({"entrypoint": "x", "requirements": "torch"}, "requirements torch cannot be read.*Give a list, or the path"),
        ({"entrypoint": "x", "excludes": 5}, "excludes is 5, and must be a list"),
        ("train.py", "config is 'str', and must be a dictionary"),
    ],
)
def test_jobs_that_cannot_be_are_refused(given: Any, words: str) -> None:
    with pytest.raises(AnyscaleRefused, match=words) as told:
        job_request(given)
    assert "hush" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ({"name": "s"}, {}, r"applications is \(\), and must be a list like"),
        ({"name": "", "applications": [{}]}, {}, "name is '', and must be the service's name"),
        ({"name": "s", "applications": "main:app"}, {}, "applications is 'main:app', and must be a list"),
        ({"name": "s", "applications": [{}]}, {"canary_percent": "200"}, "must be between 0 and 100"),
        ({"name": "s", "applications": [{}]}, {"canary_percent": 1, "in_place": True}, "leave out canary_percent"),
    ],
)
def test_services_that_cannot_be_are_refused(given: Any, options: Any, words: str) -> None:
    with pytest.raises(AnyscaleRefused, match=words):
        service_request(given, **options)


def test_what_needs_anyscales_client_is_refused_before_anything_is_sent() -> None:
    request = job_request({"entrypoint": "x", "compute_config": {"head_node": {}}, "ray_version": "2.5"})
    with pytest.raises(AnyscaleRefused, match=r"own client can do this: compute_config, ray_version\. Add anyscale to"):
        asyncio.run(resolve(AnyscaleClient("http://127.0.0.1:1", "key"), request.workload))


def connection(**members: Any) -> Connection:
    return Connection(conn_id="c", conn_type="anyscale", **members)


def test_an_account_comes_from_the_connection_or_as_with_the_existing_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = json.dumps({"working_dir_bucket": "s3://mine/some"})
    found = account_of(connection(password=" aph0_x\n", host="own.example.com", extra=extra), "c")
    assert (found.host, found.key, found.bucket) == ("https://own.example.com", "aph0_x", "s3://mine/some")
    assert "aph0" not in repr(found)
    monkeypatch.setenv("ANYSCALE_HOST", "https://their.example.com")
    monkeypatch.setenv("ANYSCALE_CLI_TOKEN", "aph0_env")
    found = account_of(connection(), "c")
    assert (found.host, found.key) == ("https://their.example.com", "aph0_env")
    monkeypatch.setenv("AIRFLOW__ANYSCALE__CLI_TOKEN", "aph0_option")
    assert account_of(connection(), "c").key == "aph0_option"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "The connection c has no API key"),
        ({"password": "aph0_a b"}, "API key of connection c has a space"),
        ({"password": "aph0_a\nCookie: x"}, "API key of connection c has a space"),
        ({"password": "aph0_ä"}, "API key of connection c has a space"),
        ({"password": "k", "extra": '{"working_dir_bucket": "mine"}'}, "must be like s3://bucket"),
    ],
)
def test_connections_that_cannot_be_are_told(members: Any, words: str) -> None:
    with pytest.raises(AnyscaleRefused, match=words) as told:
        account_of(connection(**members), "c")
    assert "aph0" not in str(told.value)


def test_the_form_of_airflow_3_1_is_that_of_later_ones() -> None:
    behaviour = AnyscaleHook.get_ui_field_behaviour()
    assert behaviour["relabeling"]["password"] == "API Key"
    assert behaviour["hidden_fields"] == ["schema", "port", "login"]


def test_answers_of_something_else_are_told() -> None:
    with pytest.raises(AnyscaleRefused, match=r"answer to x has no id\. Is the connection's host"):
        required({"detail": "ok"}, "id", "x")
    with pytest.raises(AnyscaleRefused, match="answer to x is no list"):
        records({"a": 1}, "x")
    assert required({"id": 0}, "id", "x") == 0


def test_a_cut_piece_of_a_log_is_read_as_far_as_it_goes() -> None:
    packed = zlib.compressobj(wbits=31)
    whole = packed.compress(os.urandom(3000).hex().encode() + b"\nlast") + packed.flush()
    assert _lines(whole)[-1] == "last"
    assert len(_lines(whole[: len(whole) // 2])) == 1
    assert _lines(b"\x1f\x8bnonsense")[-1] == "(a piece of this log cannot be unpacked)"


ENDS = [
    ("SUCCESS", "", None, ""),
    (
        "OUT_OF_RETRIES",
        "exit code 3",
        AnyscaleRefused,
        r"Job j failed \(OUT_OF_RETRIES\): exit code 3\. The end of its",
    ),
    ("BROKEN", "", AnyscaleRefused, r"Job j failed \(BROKEN\)"),
    ("TERMINATED", "", AnyscaleRefused, r"Job j was ended by somebody at Anyscale \(TERMINATED\)"),
    ("unreachable", "for 600 s: away", AnyscaleUnavailable, "known of job j any more: for 600 s: away.*not ended"),
    ("refused", "401", AnyscaleRefused, "Job j cannot be watched: 401. It may still run"),
]


@pytest.mark.parametrize(("state", "message", "error", "words"), ENDS, ids=[end[0] for end in ENDS])
def test_each_end_of_waiting_for_a_job_is_told(state: str, message: str, error: Any, words: str) -> None:
    operator = SubmitAnyscaleJob(task_id="t", conn_id="c", entrypoint="true")
    event = {"job_id": "j", "state": state, "message": message}
    if error is None:
        assert operator.execute_complete({}, event) == "j"
        return
    with pytest.raises(error, match=words):
        operator.execute_complete({}, event)


SERVICE_ENDS = [
    ("timed out", "UNHEALTHY: no memory", AnyscaleUnavailable, "at last it was UNHEALTHY: no memory. The rollout goes"),
    ("SYSTEM_FAILURE", "no nodes", AnyscaleRefused, r"Service s does not serve \(SYSTEM_FAILURE\): no nodes"),
    ("USER_ERROR_FAILURE", "", AnyscaleRefused, r"does not serve \(USER_ERROR_FAILURE\)"),
    ("unreachable", "for 600 s", AnyscaleUnavailable, "Nothing is known of service s any more: for 600 s"),
    ("refused", "403", AnyscaleRefused, "Service s cannot be watched: 403"),
]


@pytest.mark.parametrize(("state", "message", "error", "words"), SERVICE_ENDS, ids=[end[0] for end in SERVICE_ENDS])
def test_each_end_of_waiting_for_a_service_is_told(state: str, message: str, error: Any, words: str) -> None:
    operator = RolloutAnyscaleService(task_id="t", conn_id="c", name="s", applications=[{"import_path": "m:a"}])
    with pytest.raises(error, match=words):
        operator.execute_complete({}, {"service_id": "i", "state": state, "message": message})
    operator.on_kill()  # after the end there is nothing to undo: no call, and so no error


def test_states_are_told_in_the_words_of_anyscales_client() -> None:
    record = {"id": "j", "state": {"current_state": "OUT_OF_RETRIES", "error": "exit 3"}}
    found = AnyscaleJobStatus.of(record)
    assert (found.state, found.message, found.record) == ("FAILED", "exit 3", record)
    assert AnyscaleJobStatus.of({"id": "j", "state": {"current_state": "NEW"}}).state == "UNKNOWN"


def test_names_of_before_a_clear_are_known() -> None:
    operator = SubmitAnyscaleJob(task_id="t", conn_id="c", entrypoint="true", name="n", retries=2)
    instance = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, max_tries=2)
    (first,) = operator._names(instance)
    instance.max_tries = 3
    second, before = operator._names(instance)
    assert before == first != second
    instance.max_tries = 50
    assert len(operator._names(instance)) == 6


CLIENT = """
import json
class Jobs:
    def submit(self, config):
        if config.given.get("name") == "bad":
            raise ValueError("The compute config 'gpu:3' does not exist.")
        if config.given.get("name") == "away":
            raise ConnectionError("no route")
        open({told!r}, "w").write(json.dumps(config.given))
        return "prodjob_1"
class Anyscale:
    def __init__(self, auth_token, _host):
        self.job = Jobs()
"""
MODELS = """
class JobConfig:
    def __init__(self, **given):
        self.given = given
JobQueueConfig = dict
"""


def test_anyscales_client_submits_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with its names; the client itself was tried by hand, because of its licence."""
    assert vendor.installed() == ""
    (tmp_path / "anyscale" / "job").mkdir(parents=True)
    (tmp_path / "anyscale" / "__init__.py").write_text(CLIENT.format(told=str(tmp_path / "told")))
    (tmp_path / "anyscale" / "job" / "__init__.py").touch()
    (tmp_path / "anyscale" / "job" / "models.py").write_text(MODELS)
    (tmp_path / "anyscale-9.9.dist-info").mkdir()
    (tmp_path / "anyscale-9.9.dist-info" / "METADATA").write_text("Name: anyscale\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert vendor.installed() == "9.9"
    given = {"name": "n", "entrypoint": "x", "image_uri": "anyscale/image/a:1", "compute_config": {"head_node": {}}}
    assert vendor.submit("http://h", "k", job_request({**given, "job_queue_config": {"priority": 1}})) == "prodjob_1"
    assert json.loads((tmp_path / "told").read_text()) == {
        **given,
        "max_retries": 1,
        "job_queue_config": {"priority": 1},
    }
    with pytest.raises(
        AnyscaleRefused, match=r"client 9.9 refused the submission of job bad: The compute config 'gpu:3'"
    ):
        vendor.submit("http://h", "k", job_request({"name": "bad", "entrypoint": "x"}))
    with pytest.raises(AnyscaleUnavailable, match=r"refused the submission of job away: no route. Look at"):
        vendor.submit("http://h", "k", job_request({"name": "away", "entrypoint": "x"}))
