"""A place on this machine where a project's DAGs run without an environment: the image's Python with the project's
requirements and settings, an empty Airflow database, and the local cloud's AWS if it runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from skylift.cli.checking.python import CheckPython, airflow_environment, python_of, with_requirements, with_settings
from skylift.cli.home import Home
from skylift.cli.projects.project import Project
from skylift.cli.serving.server import running
from skylift.cli.settings_file.read import ProjectSettings
from skylift.core.containers import BUNDLE
from skylift.core.errors import Refused
from skylift.core.names import s3_url
from skylift.core.secrecy import hide_in
from skylift.runtime.parsing.request import Remark

KEPT = 4
"""Empty databases that are kept, of the newest images."""


def prepared_python(
    home: Home, project: Project, settings: ProjectSettings, program: Path | None, say: Callable[[str], None]
) -> CheckPython:
    """The project's Python. Raises ``Refused`` if its requirements cannot be installed, and as ``python_of``."""
    python = with_requirements(python_of(home, program, say), home, project, say)
    if isinstance(python, Remark):
        raise Refused(f"{project.folder / python.file}: {hide_in(python.text)}")
    return with_settings(python, settings)


def environment_in(
    home: Home, project: Project, python: CheckPython, folder: Path, say: Callable[[str], None]
) -> dict[str, str]:
    """The variables for a process in ``folder``, which gets an Airflow home with a database if it has none."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = folder / "airflow.db"
    airflow = {
        **airflow_environment(folder),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(project.folder / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
    }
    if not database.exists():
        shutil.copyfile(_empty_database(home, python, say), database)
    return {**python.environment, **airflow, **_aws(home, project)}


def bundle_of(folder: Path, file: Path) -> dict[str, str]:
    """Airflow's setting for a bundle with one DAG file only, in ``folder``: nothing else is read for its run."""
    folder.mkdir()
    (folder / file.name).symlink_to(file)
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    told = json.dumps([{"name": "dags", "classpath": kind, "kwargs": {"path": str(folder)}}])
    return {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": told}


def _aws(home: Home, project: Project) -> Mapping[str, str]:
    """Where AWS calls go: where the shell's AWS variables lead, if that is this machine (``skylift shellenv``, or a
    test's own local cloud); else the owner's AWS in this home's local cloud; {} if it does not run."""
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname or ""
    if host == "localhost" or host.startswith("127."):
        return {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name == BUNDLE.env}
    server = running(home, patience=0)
    if server is None:
        return {}
    return {**home.variables(server.port), BUNDLE.env: s3_url(project.bucket, "dags")}


def _empty_database(home: Home, python: CheckPython, say: Callable[[str], None]) -> Path:
    """A database as Airflow makes it; made once for each image."""
    key = hashlib.sha256(str(python.program).encode()).hexdigest()[:32]
    made = home.folder / "cache" / "check" / "databases" / f"{key}.db"
    if made.exists():
        return made
    say("making an empty Airflow database, once for this image")
    made.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=made.parent) as name:
        fresh = Path(name) / "airflow.db"
        environment = {
            **python.environment,
            **airflow_environment(Path(name)),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{fresh}",
        }
        words = [str(python.program), "-m", "airflow", "db", "migrate"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=name)
        if done.returncode or not fresh.exists():
            raise Refused(f"Airflow cannot make a database: {hide_in(' '.join(done.stderr.split())[-500:])}")
        fresh.replace(made)
    for old in sorted(made.parent.glob("*.db"), key=os.path.getmtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return made
