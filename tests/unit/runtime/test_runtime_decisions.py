"""What the runtime decides, without doing it: programs, layers on the path, the startup script's variables, DAG
changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skylift.aws.s3_objects import Listed, ObjectRef
from skylift.core.containers import LayerFault
from skylift.core.errors import Unavailable
from skylift.runtime.build import LayerRefused, judge
from skylift.runtime.components import component_of, home_of, own_address, program_for
from skylift.runtime.layer import PLUGINS_FOLDER, folder_name, link_home, with_layer
from skylift.runtime.mirror import compare, sort_keys
from skylift.runtime.startup import merged

pytestmark = pytest.mark.unit
AIRFLOW = (sys.executable, "-m", "skylift.runtime.airflow_main")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["scheduler"], (*AIRFLOW, "scheduler", "--skip-serve-logs")),
        (["triggerer"], (*AIRFLOW, "triggerer", "--skip-serve-logs")),
        (["dag-processor"], (*AIRFLOW, "dag-processor")),
        (["migrate"], (*AIRFLOW, "db", "migrate")),
        (["api-server"], (*AIRFLOW, "api-server", "--host", "127.0.0.1", "--port", "8080")),
        (
            ["python", "-m", "skylift.executors.in_container.main"],
            ("python", "-m", "skylift.executors.in_container.main"),
        ),
    ],
)
def test_a_command_becomes_a_program(arguments: list[str], expected: tuple[str, ...], tmp_path: Path) -> None:
    assert program_for(arguments, {"AIRFLOW_HOME": str(tmp_path)}).argv == expected


def test_airflows_home_is_the_containers_own_unless_it_is_given() -> None:
    ready = home_of({"HOME": "/containers/1"})
    assert ready["AIRFLOW_HOME"] == "/containers/1/airflow"
    assert ready["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH"] == "/containers/1/airflow/dag_bundles"
    assert home_of({"HOME": "/x", "AIRFLOW_HOME": "/y"})["AIRFLOW_HOME"] == "/y"


def test_dags_and_plugins_are_found_in_airflows_home(tmp_path: Path) -> None:
    plugins = tmp_path / "layer" / "plugins"
    plugins.mkdir(parents=True)
    ready = home_of({"HOME": str(tmp_path), "SKYLIFT_DAGS": "s3://bucket/dags", PLUGINS_FOLDER: str(plugins)})
    home = Path(ready["AIRFLOW_HOME"])
    (home / "dags").mkdir(parents=True)  # empty, as in an image
    for _ in range(2):  # a container may start again
        link_home(ready)
        assert (home / "dags").resolve() == home / "dag_bundles" / "dags" / "dags"
        assert (home / "plugins").resolve() == plugins


def test_what_is_in_airflows_home_already_stays(tmp_path: Path) -> None:
    ready = home_of({"HOME": str(tmp_path), "SKYLIFT_DAGS": "s3://bucket/dags"})
    own = Path(ready["AIRFLOW_HOME"], "dags", "own.py")
    own.parent.mkdir(parents=True)
    own.touch()
    link_home(ready)
    assert own.is_file()
    link_home(home_of({"HOME": str(tmp_path / "without-bundle")}))
    assert not (tmp_path / "without-bundle").exists()


def test_components_have_mwaas_words() -> None:
    words = {word: component_of(word) for word in ("api-server", "scheduler", "dag-processor", "triggerer", "python")}
    assert words == {
        "api-server": "webserver",
        "scheduler": "scheduler",
        "dag-processor": "scheduler",
        "triggerer": "scheduler",
        "python": "worker",
    }


def test_metadata_that_does_not_answer_is_for_later() -> None:
    with pytest.raises(Unavailable, match="ECS_CONTAINER_METADATA_URI_V4"):
        own_address({"ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:1/v4"})


def test_the_startup_script_cannot_touch_what_the_environment_needs() -> None:
    before = {
        "PATH": "/bin",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AWS_REGION": "eu-north-1",
        "SKYLIFT_DAGS": "s3://b/dags",
    }
    exported = {
        **dict.fromkeys(before, "changed"),
        **dict.fromkeys(("PYTHONPATH", "MWAA__CORE__X", "ECS_X", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "SHLVL"), "bad"),
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "Europe/Stockholm",
        "TEAM": "data",
    }
    assert merged(before, exported) == {
        **before,
        "PATH": "changed",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "Europe/Stockholm",
        "TEAM": "data",
    }


def test_a_layer_comes_first_on_the_path_and_gives_its_plugins(tmp_path: Path) -> None:
    for name in ("site-packages/bin", "plugins"):
        (tmp_path / name).mkdir(parents=True)
    ready = with_layer({"PATH": "/bin", "PYTHONPATH": "/own"}, tmp_path)
    assert ready["PYTHONPATH"] == f"{tmp_path}/site-packages:{tmp_path}/plugins:/own"
    assert ready["AIRFLOW__CORE__PLUGINS_FOLDER"] == f"{tmp_path}/plugins"
    assert ready["PATH"] == f"{tmp_path}/site-packages/bin:/bin"
    assert with_layer({"PATH": "/bin"}, tmp_path / "empty") == {"PATH": "/bin"}


def test_a_layers_folder_is_named_by_its_digest() -> None:
    assert folder_name(f"s3://b/layers/{'ab12' * 16}/layer.tar.gz") == "ab12" * 16
    assert folder_name("s3://b/layer.tar.gz") != folder_name("s3://c/layer.tar.gz")
    assert "/" not in folder_name("s3://b/x/../layer.tar.gz")


def test_what_is_a_dag_file() -> None:
    keys = ("a.py", "pkg/", "pkg/b.py", "pkg/__pycache__/b.pyc", "clash/z.py", "", "A.py")
    listing = [Listed(f"dags/{key}", f'"{key}"', 0 if key.endswith("/") else 1) for key in keys]
    found = sort_keys(listing, "dags/")
    assert found.files == {key: f'"{key}"' for key in ("a.py", "pkg/b.py", "clash/z.py", "A.py")}
    assert found.unfit == {}, "folder markers and bytecode are nothing to warn of"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("n" * 300 + ".py", "303 bytes"),
        ("n" * 249 + ".py", "a name of 252 bytes"),
        ("ü" * 128 + ".py", "259 bytes"),
        ("pkg/" + "n" * 256 + "/b.py", "256 bytes"),
        ("/".join(["f" * 200] * 6), "1205 bytes"),
        ("d/" * 200 + "deep.py", "200 folders deep"),
        ("clash", "is a folder, too"),
        ("../evil.py", "'..'"),
        ("pkg/../../evil.py", "'..'"),
        ("./a.py", "'.'"),
        ("x//y.py", "empty part"),
        ("/etc/passwd", "begins with a slash"),
        ("not-empty/", "ends with a slash"),
        ("new\nline.py", "control character"),
        ("bell\x07.py", "control character"),
        ("zero\0.py", "control character"),
        ("half-\udc80.py", "not UTF-8"),
    ],
)
def test_a_key_that_cannot_be_a_file_is_left_out_alone_and_says_why(key: str, reason: str) -> None:
    good = {"good.py": '"1"', "clash/z.py": '"2"', "n" * 248 + ".py": '"3"'}
    listing = [Listed(f"dags/{path}", etag, 1) for path, etag in {**good, key: '"bad"'}.items()]
    found = sort_keys(listing, "dags/")
    assert found.files == good
    assert list(found.unfit) == [key]
    assert reason in found.unfit[key]


def test_names_that_differ_only_in_case_are_one_file_where_the_file_system_sees_no_case() -> None:
    listing = [Listed(f"dags/{key}", f'"{key}"', 1) for key in ("Pkg/A.py", "Pkg/a.py", "pkg/b.py")]
    found = sort_keys(listing, "dags/", case_matters=False)
    assert set(found.files) == {"Pkg/A.py", "pkg/b.py"}
    assert "only in case" in found.unfit["Pkg/a.py"]


def test_only_what_changed_is_fetched_and_what_is_gone_removed() -> None:
    changes = compare({"same": "1", "new": "1", "edited": "2"}, {"same": "1", "edited": "1", "gone": "1"})
    assert (set(changes.fetch), changes.remove) == ({"new", "edited"}, ("gone",))
    assert not compare({"same": "1"}, {"same": "1"})


def test_an_object_with_and_without_version() -> None:
    assert ObjectRef.parse("s3://b/a/k.txt?versionId=v.1_x") == ObjectRef("b", "a/k.txt", "v.1_x")
    assert ObjectRef.parse("s3://b/odd?name.txt") == ObjectRef("b", "odd?name.txt")


@pytest.mark.parametrize(
    ("report", "code", "text"),
    [
        (
            {"done": True, "requirements": {"pygal": "import pygal: no"}},
            LayerFault.REQUIREMENTS_FAILED,
            "pygal: import",
        ),
        ({"now": "requirement crash"}, LayerFault.REQUIREMENTS_FAILED, "requirement crash ended"),
        ({"now": "plugins"}, LayerFault.PLUGINS_FAILED, "plugins ended"),
    ],
)
def test_a_check_that_found_something_refuses_the_layer(report: dict[str, object], code: LayerFault, text: str) -> None:
    with pytest.raises(LayerRefused, match=text) as caught:
        judge(report, "ended with exit code -11")
    assert caught.value.code == code


def test_a_plugin_that_does_not_load_is_told_and_refuses_nothing() -> None:
    told = judge({"done": True, "plugins": {"/x/mine.py": "bad"}}, "ended with exit code 0")
    assert told == ["The plugin mine.py does not load, and is left out: bad"]
    assert judge({"done": True}, "") == []
    judge({"done": True, "requirements": {}, "plugins": {}}, "ended with exit code 0")
