"""``environmentFiles``: what ECS accepts, what the lines mean, which variable wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.localcloud.test_ecs_engine import World, definition, played, until

from skylift.localcloud.ecs.model.checks import check_definition
from skylift.localcloud.ecs.model.environment_files import files_of, merged, place_of, variables_of, wrong_files
from skylift.wire.errors import AwsError

pytestmark = pytest.mark.unit


def file(value: str) -> dict[str, str]:
    return {"value": value, "type": "s3"}


def test_lines_mean_what_they_mean_to_ecs() -> None:
    text = '# a comment\nA=1\nB= two words \nC="quoted"\n D=4\nE=a=b\n\nno sign\n=nobody\nEMPTY=\nA=last\r\n'
    assert variables_of(text) == {"A": "last", "B": " two words ", "C": '"quoted"', " D": "4", "E": "a=b"}


def test_the_first_file_that_has_a_name_decides() -> None:
    assert merged([{"A": "1"}, {"A": "2", "B": "2"}, {"B": "3"}]) == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["arn:aws:s3:::b/a.env"] * 10, ""),
        (["arn:aws-cn:s3:::b/deep/a.env"], ""),
        (["arn:aws:s3:::b/a.env"] * 11, "at most 10 environment files"),
        (["s3://b/a.env"], "must be the ARN of an object in S3"),
        (["arn:aws:s3:::b"], "must be the ARN of an object in S3"),
        (["arn:aws:s3:::b/a.txt"], "must have the file extension .env"),
    ],
)
def test_what_a_container_may_name(values: list[str], said: str) -> None:
    assert said in wrong_files(map(file, values))
    assert bool(said) == bool(wrong_files(map(file, values)))


def test_an_override_replaces_the_definitions_files() -> None:
    ours, theirs = {"environmentFiles": [file("arn:aws:s3:::b/1.env")]}, {"environmentFiles": [file("x")]}
    assert files_of(ours, {}) == ["arn:aws:s3:::b/1.env"]
    assert files_of(ours, theirs) == ["x"]
    assert place_of("arn:aws:s3:::b/deep/1.env") == ("b", "deep/1.env")


def test_a_definition_with_files_needs_an_execution_role() -> None:
    request: dict[str, Any] = definition(environmentFiles=[file("arn:aws:s3:::b/1.env")])
    check_definition(request)
    with pytest.raises(AwsError, match="executionRoleArn"):
        check_definition({**request, "executionRoleArn": ""})
    with pytest.raises(AwsError, match="file extension"):
        check_definition(definition(environmentFiles=[file("arn:aws:s3:::b/1")]))


def test_a_file_that_is_not_there_stops_the_task_before_it_starts(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        arn = world.run(environmentFiles=[file("arn:aws:s3:::b/none.env")])
        await until(lambda: world.task(arn)["lastStatus"] == "STOPPED")
        assert world.task(arn)["stopCode"] == "TaskFailedToStart"
        reason = world.task(arn)["stoppedReason"]
        assert reason.startswith("ResourceInitializationError: failed to download env files: ")
        assert "arn:aws:s3:::b/none.env: NotFound" in reason

    played(tmp_path, scenario)
