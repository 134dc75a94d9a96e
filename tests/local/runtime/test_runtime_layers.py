"""Layers end to end with real processes: built from requirements and plugins, put to S3, used by many containers at
once."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.local.runtime_cloud import rest_of_aws

pytestmark = pytest.mark.local
BUCKET = "layers-bucket"
EXAMPLE = Path(__file__).parents[3] / "examples" / "quickstart"
NETWORK = (
    "SSL_CERT_FILE",
    "PIP_INDEX_URL",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with rest_of_aws(tmp_path_factory.mktemp("aws")) as found:
        s3_of(found).create_bucket(Bucket=BUCKET)
        yield found


def s3_of(cloud: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=cloud["AWS_ENDPOINT_URL"],
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
    )


class Container:
    """What a container of an environment is given: an environment and a home of its own."""

    def __init__(self, cloud: dict[str, str], home: Path) -> None:
        self.s3 = s3_of(cloud)
        self.home = home
        home.mkdir(exist_ok=True)
        network = {name: os.environ[name] for name in NETWORK if name in os.environ}
        uv = os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(home),
            "UV_CACHE_DIR": uv,
            "SKYLIFT_LAYER_CACHE": str(home.parent / "layers"),
            **network,
            **cloud,
        }

    def put(self, key: str, body: bytes | str) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "skylift.runtime", *command],
            env=self.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(*command, **variables)
        out, err = process.communicate(timeout=150)
        return process.returncode, out, err

    def build(self, name: str, requirements: str = "", plugins: bytes = b"", **variables: str) -> dict[str, Any]:
        """Runs build-layer and gives result.json, with the exit code."""
        given = {"SKYLIFT_LAYER_TARGET": f"s3://{BUCKET}/layers/{name}", **variables}
        if requirements:
            given["SKYLIFT_REQUIREMENTS"] = self.put(f"{name}/requirements.txt", requirements)
        if plugins:
            given["SKYLIFT_PLUGINS"] = self.put(f"{name}/plugins.zip", plugins)
        code, out, err = self.run("build-layer", **given)
        body = self.s3.get_object(Bucket=BUCKET, Key=f"layers/{name}/result.json")["Body"].read()
        return {"exit": code, "log": out + err, **json.loads(body)}


@pytest.fixture
def container(cloud: dict[str, str], tmp_path: Path) -> Container:
    return Container(cloud, tmp_path / "home")


def zipped(files: dict[str, bytes | str]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
    return buffer.getvalue()


def wheel(name: str, files: dict[str, bytes | str]) -> bytes:
    """A pure wheel, version 1.0."""
    folder = f"{name}-1.0.dist-info"
    record = "".join(f"{path},,\n" for path in [*files, f"{folder}/METADATA", f"{folder}/WHEEL", f"{folder}/RECORD"])
    return zipped(
        {
            **files,
            f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{folder}/RECORD": record,
        }
    )


OFFLINE = "--no-index\n--find-links /usr/local/airflow/plugins\n"
SHOW = "import mine, sys, os; print(mine.WHERE, mine.__cached__ or '', os.environ['AIRFLOW__CORE__PLUGINS_FOLDER'])"


def test_a_layer_of_wheels_from_plugins_zip_is_built_and_used_by_many_at_once(container: Container) -> None:
    plugins = zipped(
        {"mine-1.0-py3-none-any.whl": wheel("mine", {"mine.py": "WHERE = __file__\n"}), "side.py": "x = 1\n"}
    )
    digest = "0123456789abcdef" * 4
    built = container.build(digest, OFFLINE + "mine==1.0\n", plugins)
    assert (built["ok"], built["exit"], built["archive"]) == (True, 0, "layer.tar.gz"), built
    layer = f"s3://{BUCKET}/layers/{digest}/layer.tar.gz"
    folder = container.home.parent / "layers" / digest
    assert (folder / "site-packages" / "mine.py").is_file(), "on this machine it is there for the first template"
    shutil.rmtree(folder)  # as on another machine

    started = [container.start("python", "-c", SHOW, SKYLIFT_LAYER=layer) for _ in range(5)]
    ended = [process.communicate(timeout=60) for process in started]
    compiled = f"{folder}/site-packages/__pycache__/mine.{sys.implementation.cache_tag}.pyc"
    assert {out for out, _ in ended} == {f"{folder}/site-packages/mine.py {compiled} {folder}/plugins\n"}, ended
    assert Path(compiled).read_bytes()[4:8] == b"\x01\0\0\0", (
        "unchecked-hash bytecode: times in the archive do not matter"
    )
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == [], (
        "nothing half-made is left"
    )


def test_wheels_are_found_by_mwaas_paths(container: Container) -> None:
    container.put("dags/wheels/theirs-1.0-py3-none-any.whl", wheel("theirs", {"theirs.py": ""}))
    plugins = zipped({"mine-1.0-py3-none-any.whl": wheel("mine", {"mine.py": ""})})
    text = (
        "--no-index\nmine @ file:///usr/local/airflow/plugins/mine-1.0-py3-none-any.whl ; python_version > '3'\n"
        "/usr/local/airflow/dags/wheels/theirs-1.0-py3-none-any.whl\n"
    )
    digest = "fedcba9876543210" * 4
    built = container.build(digest, text, plugins, SKYLIFT_DAGS=f"s3://{BUCKET}/dags")
    assert built["ok"], built
    packages = container.home.parent / "layers" / digest / "site-packages"
    assert {path.name for path in packages.glob("*.py")} == {"mine.py", "theirs.py"}


def test_the_quickstarts_own_layer_builds(container: Container) -> None:
    plugins = zipped({path.name: path.read_bytes() for path in (EXAMPLE / "plugins").glob("*.py")})
    began = time.monotonic()
    built = container.build("quickstart", (EXAMPLE / "requirements.txt").read_text(), plugins)
    assert built["ok"], built
    assert time.monotonic() - began < 60
    layer = f"s3://{BUCKET}/layers/quickstart/layer.tar.gz"
    code, out, err = container.run("python", "-c", DRAW, str(EXAMPLE), SKYLIFT_LAYER=layer)
    assert code == 0, err
    packages, svg = out.split("\n", 1)
    assert "pygal" in json.loads(packages)
    assert "importlib-metadata" not in json.loads(packages), "what the image has is not installed again"
    assert svg.count('class="line') >= 4
    assert 'href="http' not in svg, "the picture loads nothing from elsewhere"
    assert "src=" not in svg


DRAW = """
import importlib.metadata, json, sys
print(json.dumps(sorted(dist.metadata["Name"].lower() for dist in importlib.metadata.distributions(path=[sys.path[1]]))))
sys.path.append(sys.argv[1] + "/dags")
import weather
table = open(sys.argv[1] + "/data/seattle-weather.csv").read()
print(weather.chart_of([weather.summary_of(table, year) for year in weather.years_in(table)]).decode())
"""


@pytest.mark.parametrize(
    ("requirements", "reason"),
    [
        ("pygal\nskylift-no-such-package-here==9.9\n", "line 2: skylift-no-such-package-here==9.9: No solution"),
        ("# a comment\napache-airflow==2.10.0\n", "line 2: apache-airflow==2.10.0: No solution"),
        ("--constraint /usr/local/airflow/dags/none.txt\n", "none.txt"),
        ("what is this\n", "line 1: Couldn't parse"),
    ],
)
def test_a_bad_requirement_is_a_result_with_the_resolvers_reason(
    requirements: str, reason: str, container: Container
) -> None:
    built = container.build("bad", requirements)
    assert (built["ok"], built["code"], built["exit"]) == (False, "REQUIREMENTS_FAILED", 1)
    assert reason in built["reason"]
    assert built["archive"] == ""


def test_a_registry_that_does_not_answer_is_said_as_such(container: Container) -> None:
    began = time.monotonic()
    built = container.build(
        "dead",
        "skylift-unheard-of\n",
        UV_DEFAULT_INDEX="http://127.0.0.1:9/simple",
        UV_CACHE_DIR=str(container.home / "c"),
    )
    assert built["code"] == "REGISTRY_UNREACHABLE"
    assert built["reason"].startswith("the package registry cannot be reached. Check the network")
    assert time.monotonic() - began < 60


def test_what_installs_but_does_not_import_is_refused(container: Container) -> None:
    broken = wheel("mine", {"mine.py": "import nothing_of_that_name\n"})
    plugins = zipped({"mine-1.0-py3-none-any.whl": broken})
    built = container.build("noimport", OFFLINE + "mine\n", plugins)
    assert built["code"] == "REQUIREMENTS_FAILED"
    assert "does not import: mine: import mine: No module named 'nothing_of_that_name'" in built["reason"]


@pytest.mark.parametrize(
    ("plugins", "reason"),
    [
        (zipped({"dies.py": "import airflow\nimport os; os._exit(9)\n"}), "importing plugins ended with exit code 9"),
        (zipped({"../outside.py": "x"}), "would be written outside its folder"),
        (b"PK no zip", "plugins.zip: it cannot be unpacked"),
    ],
)
def test_a_bad_plugin_is_a_result(plugins: bytes, reason: str, container: Container) -> None:
    built = container.build("plugin", plugins=plugins)
    assert (built["code"], built["exit"]) == ("PLUGINS_FAILED", 1), built
    assert reason in built["reason"]


def test_a_plugin_that_does_not_load_refuses_nothing(container: Container) -> None:
    plugins = zipped({"bad_plugin.py": "import airflow\nraise RuntimeError('not today')\n"})
    built = container.build("does-not-load", plugins=plugins)
    assert (built["ok"], built["exit"]) == (True, 0), built
    assert "The plugin bad_plugin.py does not load, and is left out: " in built["log"]


def test_plugins_taken_over_from_airflows_examples_are_no_duplicates(container: Container) -> None:
    airflow = importlib.util.find_spec("airflow")
    assert airflow
    folder = Path(next(iter(airflow.submodule_search_locations or ()))) / "example_dags" / "plugins"
    plugins = {path.name: path.read_bytes() for path in folder.glob("*.py") if path.name != "__init__.py"}
    assert len(plugins) > 3
    built = container.build("examples", plugins=zipped(dict(plugins)))
    assert (built["ok"], built["reason"]) == (True, ""), built


@pytest.mark.parametrize("way", ["/{0}/c.txt", "../../../../../../../../..{0}/c.txt"])
def test_requirements_cannot_have_a_file_put_outside_their_folder(
    way: str, container: Container, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    relative = way.format(outside)
    container.put(f"dags/{relative}", "pygal==1.0\n")
    text = f"-c /usr/local/airflow/dags/{relative}\npygal\n"
    built = container.build("outside", text, SKYLIFT_DAGS=f"s3://{BUCKET}/dags")
    assert built["code"] == "REQUIREMENTS_FAILED"
    assert not outside.exists()


def test_a_startup_script_that_fails_is_a_result(container: Container) -> None:
    url = container.put("startup.sh", "echo going wrong\nexit 3\n")
    built = container.build("startup", "pygal\n", SKYLIFT_STARTUP_SCRIPT=url)
    assert (built["code"], built["exit"]) == ("STARTUP_SCRIPT_FAILED", 1)
    assert built["reason"] == "startup.sh failed with exit code 3. Its last lines:\ngoing wrong"
    assert "going wrong" in built["log"]


def test_a_layer_that_is_not_there_or_broken_stops_the_container(container: Container) -> None:
    code, _, err = container.run("true", SKYLIFT_LAYER=f"s3://{BUCKET}/layers/none/layer.tar.gz")
    assert (code, err.count("\n")) == (82, 1)
    url = container.put("layers/broken/layer.tar.gz", b"no archive")
    assert container.run("true", SKYLIFT_LAYER=url)[0] == 82
