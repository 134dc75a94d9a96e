"""Environments over the MWAA API: requests made from projects, waiting, refusals with the service's own reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from skylift.cli import environments
from skylift.cli.account import Network
from skylift.cli.environments import (
    Foundation,
    creation,
    outdated,
    refuse_existing,
    state_text,
    wait_available,
    wait_healthy,
    web_url,
)
from skylift.cli.projects.project import Project
from skylift.core.environment import ECS_EXECUTOR
from skylift.core.errors import Refused, Unavailable

pytestmark = pytest.mark.unit

BASE = Foundation(
    "arn:aws:iam::000000000000:role/r",
    Network(("subnet-1", "subnet-2"), "sg-1"),
    {"requirements.txt": "v1", "plugins.zip": "", "startup.sh": ""},
)


class Mwaa:
    """Shows one environment, going through the given states."""

    def __init__(self, *shows: dict[str, Any]) -> None:
        self.shows = list(shows)

    def get_environment(self, Name: str) -> dict[str, Any]:
        if not self.shows:
            answer = {"Error": {"Code": "ResourceNotFoundException", "Message": f"no {Name}"}}
            raise ClientError(answer, "GetEnvironment")  # type: ignore[arg-type]
        return {"Environment": self.shows.pop(0) if len(self.shows) > 1 else self.shows[0]}

    def get_paginator(self, operation: str) -> Mwaa:
        assert operation == "list_environments"
        return self

    def paginate(self) -> list[dict[str, Any]]:
        return [{"Environments": sorted({show["Name"] for show in self.shows})}]


def shown(status: str, **members: Any) -> dict[str, Any]:
    return {"Name": "e", "Status": status, **members}


def test_a_request_has_only_the_files_that_are_there() -> None:
    request = creation(Project(Path("/p"), "e"), BASE, {"core.parallelism": "8"})
    assert request["SourceBucketArn"] == "arn:aws:s3:::skylift-e"
    assert (request["RequirementsS3Path"], request["RequirementsS3ObjectVersion"]) == ("requirements.txt", "v1")
    assert "PluginsS3Path" not in request
    assert request["AirflowConfigurationOptions"] == {"core.executor": ECS_EXECUTOR, "core.parallelism": "8"}


def test_creating_what_exists_is_refused_and_what_failed_is_not() -> None:
    project = Project(Path("/p"), "e")
    with pytest.raises(Refused, match=r"already \(AVAILABLE\)(.|\n)*skylift up /p --name e(.|\n)*skylift env delete e"):
        refuse_existing(Mwaa(shown("AVAILABLE")), project)
    refuse_existing(Mwaa(shown("CREATE_FAILED")), project)
    refuse_existing(Mwaa(), project)


def seen(name: str) -> bool:
    """The control plane has looked at it."""
    return True


def test_what_was_unavailable_before_a_restart_is_waited_for_until_it_is_looked_at() -> None:
    looks = iter((False, False))
    mwaa = Mwaa(shown("UNAVAILABLE"), shown("UNAVAILABLE"), shown("AVAILABLE", WebserverUrl="127.66.0.1:8080"))
    assert wait_available(mwaa, "e", print, lambda name: "", lambda name: next(looks))["Status"] == "AVAILABLE"
    with pytest.raises(
        Refused, match=r"UNAVAILABLE: its API server ends again and again(.|\n)*logs api-server --env e"
    ):
        wait_available(Mwaa(shown("UNAVAILABLE")), "e", print, lambda name: "", seen)


def test_waiting_for_airflow_goes_on_as_long_as_it_may_come() -> None:
    answers: list[list[str] | Exception] = [Unavailable("not yet")] * 50 + [["scheduler"]] * 3 + [[]]

    def unhealthy() -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    said: list[str] = []
    wait_healthy(unhealthy, said.append, lambda: "")
    assert answers == []
    assert said[-1] == "waiting for Airflow: scheduler"
    answers = [Unavailable("not yet")] * 2
    with pytest.raises(Refused, match="it is going away"):
        wait_healthy(unhealthy, said.append, lambda: "it is going away")


def test_waiting_ends_with_the_environment_and_says_what_is_done() -> None:
    said: list[str] = []
    mwaa = Mwaa(shown("CREATING"), shown("AVAILABLE", WebserverUrl="127.66.0.1:8080"))
    found = wait_available(mwaa, "e", said.append, lambda name: "building layer", seen)
    assert web_url(found) == "http://127.66.0.1:8080"
    assert said == ["environment e: building layer"]


def test_a_failed_environment_is_refused_with_the_services_reason() -> None:
    error = {"ErrorCode": "REQUIREMENTS_FAILED", "ErrorMessage": "no matching distribution for foo==9.9"}
    mwaa = Mwaa(shown("CREATE_FAILED", LastUpdate={"Error": error}))
    with pytest.raises(Refused, match=r"REQUIREMENTS_FAILED: no matching distribution for foo==9\.9"):
        wait_available(mwaa, "e", print, lambda name: "", seen)


def test_waiting_has_an_end() -> None:
    with pytest.raises(Unavailable, match="not available after"):
        wait_available(Mwaa(shown("CREATING")), "e", print, lambda name: "", seen, limit=0.0)


def test_an_unknown_environment_is_refused_and_the_known_ones_are_named() -> None:
    class Others(Mwaa):
        def paginate(self) -> list[dict[str, Any]]:
            return [{"Environments": ["b", "a"]}]

    with pytest.raises(Refused, match=r"no environment e\. There are: a, b"):
        environments.get(Others(), "e")
    with pytest.raises(Refused, match="Which environment"):
        environments.the_one(Others(), None)
    with pytest.raises(Refused, match=r"skylift up .*examples/quickstart"):
        environments.the_one(Mwaa(), None)
    assert environments.the_one(Mwaa(shown("AVAILABLE")), None) == "e"


def test_a_file_is_outdated_when_the_bucket_has_another_version() -> None:
    environment = shown("AVAILABLE", RequirementsS3ObjectVersion="v0")
    assert outdated(environment, BASE.versions) == ["requirements.txt"]
    assert outdated(shown("AVAILABLE", RequirementsS3ObjectVersion="v1"), BASE.versions) == []
    gone = {"requirements.txt": "", "plugins.zip": "", "startup.sh": ""}
    assert outdated(environment, gone) == ["requirements.txt"]


def test_deleting_waits_until_it_is_gone() -> None:
    class Going(Mwaa):
        def delete_environment(self, Name: str) -> None:
            self.shows = [shown("DELETING"), shown("DELETING")]

        def get_environment(self, Name: str) -> dict[str, Any]:
            if len(self.shows) == 1 and self.shows[0]["Status"] == "DELETING":
                self.shows = []
            return super().get_environment(Name)

    mwaa = Going(shown("AVAILABLE"))
    said: list[str] = []
    environments.delete(mwaa, "e", said.append)
    assert said == ["environment e: DELETING"]


def test_an_environment_whose_update_failed_is_not_called_available() -> None:
    available = {"Name": "e", "Status": "AVAILABLE", "LastUpdate": {"Status": "SUCCESS"}}
    assert state_text(available) == "environment e is AVAILABLE"
    error = {"ErrorCode": "REQUIREMENTS_FAILED", "ErrorMessage": "no such package\nmore"}
    failed = {"Name": "e", "Status": "UPDATE_FAILED", "LastUpdate": {"Status": "FAILED", "Error": error}}
    assert state_text(failed) == "environment e serves (its last update failed and was undone: skylift env events e)"


@pytest.mark.parametrize(("word", "stopped"), [("True", True), ("1", True), ("off", False), ("", False)])
def test_it_is_stopped_in_every_spelling_that_the_control_plane_takes(word: str, stopped: bool) -> None:
    assert environments.is_stopped({"AirflowConfigurationOptions": {"skylift.stopped": word}}) is stopped
