"""What decides which template a container comes from, which arguments a fork can act on, and how remembered paths are
moved."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import JsonValue, TypeAdapter

from skylift.aws import ready
from skylift.core.containers import Command
from skylift.core.templates import LATE, base_of, hints_of, wants_template
from skylift.localcloud.containers.runner import Launch
from skylift.localcloud.containers.template import key_of
from skylift.runtime import relocate, template
from skylift.runtime import run_python as acting
from skylift.runtime.components import Component, home_of, program_for

pytestmark = pytest.mark.unit
AIRFLOW = {
    "AIRFLOW__CORE__EXECUTOR": "x",
    "AIRFLOW__CORE__DEFAULT_TIMEZONE": "4",
    "PYTHONPATH": "/a",
    "LANG": "C.UTF-8",
}


def launch(program: str = "/image/bin/python", module: str = "m", **environment: str) -> Launch:
    return Launch(Path("/c"), Path(program), ("python",), {**AIRFLOW, **environment}, Path("/c/work"), template=module)


def test_a_template_has_all_that_decides_whether_its_clients_fit_a_container() -> None:
    """Otherwise each container makes its own clients, which is a fifth of its CPU."""
    whole = json.loads((Path(__file__).parent / "answers" / "ecs_containers.json").read_text())
    given = whole["launch of /bin/sleep"]["environment"]
    assert "AWS_ENDPOINT_URL" in ready._decisive(given)
    assert ready._decisive(hints_of(given)) == ready._decisive(given)


@pytest.mark.parametrize(
    "name", [*LATE, "HOME", "TMPDIR", "SKYLIFT_WORKLOAD", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "MINE"]
)
def test_containers_that_differ_in_this_share_a_template(name: str) -> None:
    assert key_of(launch()) == key_of(launch(**{name: "other"}))
    assert name not in base_of({name: "secret"})


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW__CORE__DEFAULT_TIMEZONE",
        "AIRFLOW_CONFIG",
        "PYTHONPATH",
        "PYTHONHASHSEED",
        "LD_PRELOAD",
        "TZ",
        "SKYLIFT_LAYER",
    ],
)
def test_containers_that_differ_in_this_do_not(name: str) -> None:
    assert key_of(launch()) != key_of(launch(**{name: "other"}))


def test_another_image_or_module_is_another_template() -> None:
    assert len({key_of(launch()), key_of(launch(program="/other/bin/python")), key_of(launch(module="n"))}) == 3


def test_only_containers_of_a_configured_airflow_want_one() -> None:
    assert wants_template(AIRFLOW)
    assert not wants_template({"AIRFLOW__CORE__LOAD_EXAMPLES": "False"})


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        (("-m", "airflow"), True),
        (("-c", "pass", "-x"), True),
        (("script.py", "-m"), True),
        ((), False),
        (("-m",), False),
        (("-",), False),
        (("-u", "-m", "airflow"), False),
        (("--version",), False),
    ],
)
def test_which_arguments_a_fork_understands(words: tuple[str, ...], fits: bool) -> None:
    assert acting.understands(("python", *words)) is fits


def test_who_is_no_fork_cannot_continue() -> None:
    program = Component((sys.executable, "-m", "airflow"), {"AIRFLOW_HOME": "/nowhere", "HOME": "/", "PATH": "/bin"})
    assert not template.can_continue(program)


@pytest.mark.parametrize("word", [*Command, "python"])
def test_what_a_component_is_given_keeps_it_in_the_fork(word: str) -> None:
    """A variable too many, and a component is started plainly: 150 MB and two seconds more."""
    program = program_for([word], home_of({**AIRFLOW, "HOME": "/container"}))
    assert template.decisive(program.environment) == template.decisive(home_of({**AIRFLOW, "HOME": "/template"}))


NAME = "relocate-test-5f3c1a"


def test_remembered_paths_are_found_and_moved() -> None:
    old = f"/templates/{NAME}"
    module = ModuleType("remembering")
    exec("def default(path=OLD + '/x', n=1): return path", {"OLD": old}, vars(module))
    vars(module).update(
        home=f"{old}/airflow", nested={"a": {"plain": f"sqlite:///{old}/airflow/x.db"}}, listed=[f"{old}/y"]
    )
    vars(module)["Owner"] = type("Owner", (), {"PATH": f"{old}/.aws"})
    places = relocate.find(old)
    places.move("/var/af", "/home/one")
    assert module.home == "/var/af"
    assert module.nested == {"a": {"plain": "sqlite:////var/af/x.db"}}
    assert module.listed == ["/home/one/y"]
    assert module.Owner.PATH == "/home/one/.aws"
    assert module.default() == "/home/one/x"
    places.move("/var/af", "/home/two")
    assert module.listed == ["/home/two/y"]


def test_a_path_that_cannot_be_moved_is_told() -> None:
    kept = {f"/templates/{NAME}-set/x"}
    with pytest.raises(relocate.CannotRelocate, match="set"):
        relocate.find(f"/templates/{NAME}-set")
    assert kept


@pytest.mark.parametrize(("value", "code"), [(None, 0), (3, 3), (256, 0), (-1, 255), (True, 1), ("text", 1)])
def test_exit_codes_are_pythons(value: object, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert acting.exit_code(value) == code
    assert capsys.readouterr().err == ("text\n" if value == "text" else "")


def test_streams_are_as_python_makes_them() -> None:
    assert isinstance(acting.stream(sys.__stdout__ or sys.stdout, 1, "w", unbuffered=False).buffer, io.BufferedWriter)
    assert isinstance(acting.stream(sys.__stdout__ or sys.stdout, 1, "w", unbuffered=True).buffer, io.FileIO)


def test_airflow_tasks_share_their_validators() -> None:
    comms, runner = ModuleType("comms"), ModuleType("task_runner")
    told = dict[str, int]
    vars(comms).update(TypeAdapter=TypeAdapter, ToTask=told)
    vars(runner).update(TypeAdapter=TypeAdapter, JsonValue=JsonValue)
    template._share_adapters(comms, runner)
    assert comms.TypeAdapter(comms.ToTask) is comms.TypeAdapter(comms.ToTask)
    assert comms.TypeAdapter(told).validate_json('{"a": 1}') == {"a": 1}
    assert runner.TypeAdapter(JsonValue) is runner.TypeAdapter(JsonValue)
    assert runner.TypeAdapter(int).validate_python("1") == 1, "any other is made as ever"
