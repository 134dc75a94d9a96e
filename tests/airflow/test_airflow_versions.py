"""The executors on every supported Airflow version: their tests in that version's environment, then its real scheduler.
``make test-airflow`` builds the environments from the locks in this folder. The other tiers use the version in
skylift's own environment; the test here shows that it passes on the others, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.airflow.whole_airflow import IMAGE, Site, site
from uv import find_uv_bin

from skylift.testing import running_cloud

pytestmark = [pytest.mark.local, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
OLD = ("3.1", "3.2")


def venv_of(version: str) -> Path:
    if version not in OLD:
        return Path(sys.prefix)
    found = Path(os.environ.get("SKYLIFT_AIRFLOWS", ROOT / ".tools")) / f"airflow-{version}"
    assert (found / "bin" / "airflow").exists(), f"{found} is not there: make test-airflow builds it"
    return found


class Inner:
    """The unit tests that meet Airflow, those of Anyscale, and the tests of the container's command, in another
    environment."""

    def __init__(self, venv: Path, folder: Path) -> None:
        found = sorted((ROOT / "tests/unit/executors").glob("test_*.py"))
        unit = [one for one in found if "executor_airflow" in one.read_text()]
        assert len(unit) >= 7
        unit += sorted((ROOT / "tests/unit/anyscale").glob("test_*.py"))
        unwanted = ("AWS_", "SKYLIFT_", "AIRFLOW", "PYTHON", "PYTEST", "VIRTUAL_ENV")
        words = ["-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(folder / "inner")]
        self.output = folder / "output"
        with open(self.output, "wb") as output:
            self._process = subprocess.Popen(
                [venv / "bin" / "python", *words, *unit, ROOT / "tests/local/executors/test_executor_in_container.py"],
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith(unwanted)},
                stdout=output,
                stderr=output,
            )

    def code(self) -> int:
        return self._process.wait(1500)

    def end(self) -> None:
        if self._process.poll() is None:
            # So that it ends what it started itself.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)


@pytest.fixture(scope="module", autouse=True)
def inner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Inner]]:
    """The tests in the old environments begin at once, beside the schedulers, which mostly wait."""
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {one["inner_version"] for one in params if "inner_version" in one}
    started = {version: Inner(venv_of(version), tmp_path_factory.mktemp("inner")) for version in sorted(wanted)}
    yield started
    for one in started.values():
        one.end()


@pytest.mark.parametrize("version", OLD)
def test_pip_install_skylift_changes_nothing_else(version: str) -> None:
    """Not Airflow, not the amazon provider, not boto3: pip would bring only what is missing, and nothing is."""
    done = subprocess.run(
        [
            *(find_uv_bin(), "pip", "install", "--dry-run", "--reinstall-package", "skylift"),
            *("--python", venv_of(version) / "bin" / "python", ROOT),
        ],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    changes = {line.split()[1].partition("==")[0] for line in done.stderr.splitlines() if line[:3] in {" + ", " - "}}
    assert changes == {"skylift"}, done.stderr


@pytest.fixture(params=[*OLD, "own"])
def airflow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    venv = venv_of(request.param)
    with running_cloud(tmp_path / "cloud", images={IMAGE: venv}) as cloud, site(venv, cloud, tmp_path / "home") as up:
        yield up


def test_a_real_scheduler_killed_once_runs_everything_to_its_end_and_nothing_twice(airflow: Site) -> None:
    for dag in ("flight", "burst"):
        airflow.api.unpause(dag)
    airflow.api.trigger("flight", "one", {})
    airflow.until(
        lambda: open_lines(airflow, "flight") == {"late"} and (airflow.marks / "late").exists(), 240, "flight"
    )

    # The scheduler dies while its calls are on their way: accepted by AWS, with no answer for it.
    airflow.cloud.fault("cut", when="after", service="ecs", operation="RunTask")
    airflow.api.trigger("burst", "one", {})
    airflow.until(lambda: len(launched(airflow, "one")) == 4, 120, "burst is launched")
    airflow.kill("scheduler")
    airflow.cloud.clear_faults()
    airflow.start("scheduler")
    (airflow.marks / "go").touch()

    airflow.until(lambda: airflow.api.run_state("burst", "one") == "success", 240, "burst ends")
    airflow.until(lambda: airflow.api.run_state("flight", "one") == "failed", 120, "flight ends")
    assert states(airflow, "flight") == {
        ("good", -1): ("success", 1),
        ("each", 0): ("success", 1),
        ("each", 1): ("success", 1),
        ("each", 2): ("success", 1),
        ("flaky", -1): ("success", 2),
        ("bad", -1): ("failed", 1),
        ("poked", -1): ("success", 1),
        ("deferred", -1): ("success", 1),
        ("late", -1): ("success", 1),
    }
    assert states(airflow, "burst") == {("one", number): ("success", 1) for number in range(4)}
    twice = {("flaky", "-1"), ("poked", "-1"), ("deferred", "-1")}
    counted = airflow.launches()
    assert {one for one, count in counted.items() if count == 2} == twice, counted
    assert all(count == 1 for one, count in counted.items() if one not in twice), counted
    assert len(counted) == 13


@pytest.mark.parametrize("inner_version", OLD)
def test_what_meets_airflow_in_unit_tests_and_in_the_container(inner_version: str, inner: dict[str, Inner]) -> None:
    one = inner[inner_version]
    assert one.code() == 0, one.output.read_text(errors="replace")[-10000:]


def open_lines(airflow: Site, dag: str) -> set[str]:
    """Ids of what has not ended; all of it as long as nothing has begun."""
    lines = airflow.api.task_lines(dag, "one")
    return {line.task_id for line in lines if line.state not in {"success", "failed"}} or {"nothing has begun"}


def launched(airflow: Site, task_id: str) -> set[str]:
    return {index for name, index in airflow.launches() if name == task_id}


def states(airflow: Site, dag: str) -> dict[tuple[str, int], tuple[str, int]]:
    """State and number of tries by task_id and map_index."""
    return {
        (line.task_id, line.map_index): (line.state, line.try_number) for line in airflow.api.task_lines(dag, "one")
    }
