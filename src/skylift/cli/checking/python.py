"""The Python that reads a project's files: that of the environment's image, with the project's requirements."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from skylift.cli.home import Home
from skylift.cli.projects.project import Project
from skylift.cli.settings_file.read import ProjectSettings
from skylift.control.airflow_config import variable
from skylift.control.settings import ControlSettings
from skylift.core.environment import ECS_EXECUTOR
from skylift.core.errors import Refused
from skylift.localcloud.images.built import BuiltImages
from skylift.localcloud.images.found import LocalImages
from skylift.localcloud.images.network import network_variables
from skylift.runtime.layer import PLUGINS, with_layer
from skylift.runtime.parsing.request import Remark

KEPT = 8
"""Installed requirements that are kept: the newest ones, of all projects."""


@dataclass(frozen=True)
class CheckPython:
    """A Python that has Airflow and skylift.

    Attributes:
        program: its path.
        identity: changes when what it has installed changes.
        environment: for its processes.
        plugins: the folder with plugins that came as ``plugins.zip``; empty if there is none.
    """

    program: Path
    identity: str
    environment: Mapping[str, str]
    plugins: str = ""


def python_of(home: Home, program: Path | None, say: Callable[[str], None]) -> CheckPython:
    """The image's Python, built first if it is not there; or the given one.

    Raises:
        Refused: there is no such Python.
        Unavailable: the image cannot be built now.
    """
    if program is not None:
        found = shutil.which(str(program))
        if found is None:
            raise Refused(f"{program} is no program. Give the Python of an environment that has Airflow and skylift.")
        found = os.path.abspath(found)  # it is started in another folder; its links stay as they are
        packages = sorted(Path(found).parents[1].glob("lib/python3.*/site-packages"))
        identity = f"{found} {max((one.stat().st_mtime_ns for one in packages), default=0)}"
        return CheckPython(Path(found), identity, {"PATH": f"{Path(found).parent}:{os.defpath}", **_machine()})
    home.prepare()
    settings = ControlSettings.read(os.environ)
    reference = settings.image_of(settings.versions[-1])
    images = LocalImages(BuiltImages(home.folder, home.folder / "cache"), home.folder)
    image = images.find(reference) or images.build(reference, say)
    python = image.executable("python")
    if python is None:
        raise Refused(f"The image {reference} has no python.")
    return CheckPython(python, str(python.parents[1]), {**image.environment, **_machine()})


def with_requirements(
    python: CheckPython, home: Home, project: Project, say: Callable[[str], None]
) -> CheckPython | Remark:
    """The same Python with the project's requirements and plugins; or why they cannot be installed."""
    ready = python
    files = [project.file_of(name) for name in ("requirements.txt", "plugins.zip")]
    content = b"\0".join(file.read_bytes() for file in files if file.is_file())
    if _asks_for_something(content) or files[1].is_file():
        key = hashlib.sha256(python.identity.encode() + b"\0" + content).hexdigest()[:32]
        layer = home.folder / "cache" / "check" / "layers" / key
        if not layer.is_dir():
            say("installing requirements.txt")
            if wrong := _install(python, project, layer):
                return wrong
        os.utime(layer)
        plugins = layer / PLUGINS
        environment = with_layer(python.environment, layer)
        ready = CheckPython(
            python.program, f"{python.identity} {key}", environment, str(plugins) if plugins.is_dir() else ""
        )
    if (project.folder / PLUGINS).is_dir():
        environment = {**ready.environment, "AIRFLOW__CORE__PLUGINS_FOLDER": str(project.folder / PLUGINS)}
        ready = CheckPython(ready.program, ready.identity, environment, str(project.folder / PLUGINS))
    return ready


def with_settings(python: CheckPython, settings: ProjectSettings) -> CheckPython:
    """The same Python with the variables of skylift.toml and .env: DAG files may read them."""
    options = {name: value for name, value in settings.plain.items() if name.startswith("options.")}
    told = json.dumps([sorted(settings.values.items()), sorted(options.items()), sorted(settings.references)])
    identity = f"{python.identity} {hashlib.sha256(told.encode()).hexdigest()}"
    variables = {variable(name.removeprefix("options.")): value for name, value in options.items()}
    return replace(python, identity=identity, environment={**python.environment, **variables, **settings.values})


def airflow_environment(airflow_home: Path) -> dict[str, str]:
    """What Airflow needs to be imported: a home of its own, and a database that is never opened."""
    return {
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_home}/none.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": ECS_EXECUTOR,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "PYTHONDONTWRITEBYTECODE": "1",  # nothing of ours beside the user's files
    }


def _install(python: CheckPython, project: Project, layer: Path) -> Remark | None:
    layer.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=layer.parent) as folder:
        made = Path(folder) / "layer"
        words = [str(python.program), "-m", "skylift.runtime.parsing.packages", str(project.folder), str(made)]
        done = subprocess.run(words, env=dict(python.environment), capture_output=True, text=True, check=False)
        if done.returncode == 1 and done.stdout.strip():
            return _remark(done.stdout.strip().splitlines()[-1])
        if done.returncode:
            raise Refused(f"{python.program} cannot install requirements: {done.stderr.strip()[-500:]}")
        if not layer.is_dir():
            made.rename(layer)
    for old in sorted(layer.parent.glob("[0-9a-f]*"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return None


def _remark(reason: str) -> Remark:
    if reason.startswith("plugins.zip"):
        return Remark("plugins.zip", 0, 0, "plugins", reason)
    word, number, _ = [*reason.split(maxsplit=2), "", "", ""][:3]
    line = int(number.rstrip(":")) if word == "line" and number.rstrip(":").isdecimal() else 0
    return Remark("requirements.txt", line, 0, "requirements", reason)


def _asks_for_something(content: bytes) -> bool:
    return any(line.strip() and not line.strip().startswith(b"#") for line in content.splitlines())


def _machine() -> dict[str, str]:
    """What processes of this machine need, and no more of the shell's: an environment has none of it."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "UV_CACHE_DIR") if name in os.environ}
    return {**kept, **network_variables(os.environ)}
