"""``build-layer``: turns requirements.txt and plugins.zip into one archive in S3, once for all containers.

Whenever the user can act, it writes ``result.json``: a wrong requirement is a result, not a crash.
"""

from __future__ import annotations

import compileall
import json
import os
import py_compile
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from skylift.aws.s3_objects import ObjectRef, S3Objects
from skylift.core.containers import (
    BUNDLE,
    LAYER_ARCHIVE,
    LAYER_CACHE,
    LAYER_RESULT,
    LAYER_TARGET,
    PLUGINS,
    REQUIREMENTS,
    STARTUP_SCRIPT,
    STARTUP_SECONDS,
    Command,
    LayerFault,
)
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.core.file_paths import unfit
from skylift.core.names import split_s3_url
from skylift.runtime import layer, requirements, startup
from skylift.runtime.archive import ArchiveFailed, pack_tar, unpack_zip
from skylift.runtime.components import component_of, home_of
from skylift.runtime.logs import install_logs

CHECK_SECONDS = 900
"""Time limit for importing all requirements and plugins once: it takes seconds, on a busy machine minutes."""


class LayerRefused(Refused):
    """The layer cannot be built from the user's files.

    Attributes:
        code: the LayerFault, which is also the ErrorCode of the environment's LastUpdate.
    """

    def __init__(self, code: LayerFault, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def build(environ: Mapping[str, str], objects: S3Objects | None = None) -> int:
    """Builds the layer and uploads archive and result. Exit code: 0 built, 1 refused, 75 S3 unreachable."""
    s3 = objects or S3Objects()
    bucket, prefix = split_s3_url(LAYER_TARGET.read(environ))
    try:
        with tempfile.TemporaryDirectory(prefix="skylift-layer-") as folder:
            archive = _built(Path(folder), environ, s3)
            s3.put(bucket, _key(prefix, LAYER_ARCHIVE), archive)
        result = {"ok": True, "code": "", "reason": "", "archive": LAYER_ARCHIVE}
    except LayerRefused as error:
        result = {"ok": False, "code": str(error.code), "reason": str(error), "archive": ""}
    except SkyliftError as error:
        print(f"skylift: the layer cannot be built now: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 75 if isinstance(error, Unavailable) else 78
    s3.put(bucket, _key(prefix, LAYER_RESULT), json.dumps(result).encode())
    if result["ok"]:
        _keep(environ, f"s3://{bucket}/{_key(prefix, LAYER_ARCHIVE)}")
    outcome = "built" if result["ok"] else f"refused: {result['reason']}"
    print(f"skylift: layer {outcome}", flush=True)  # noqa: T201
    return 0 if result["ok"] else 1


def _keep(environ: Mapping[str, str], url: str) -> None:
    """Unpacks the layer where the containers of this machine share theirs, if they do: a template can be made only with
    a layer that is there, and without one all components import Airflow themselves."""
    if LAYER_CACHE.env not in environ:
        return
    try:
        layer.prepared(url, LAYER_CACHE.read(environ))
    except SkyliftError as error:  # the first container that needs it tries again
        print(f"skylift: the layer is not unpacked yet: {error}", file=sys.stderr, flush=True)  # noqa: T201


def _built(folder: Path, environ: Mapping[str, str], s3: S3Objects) -> Path:
    ready = _after_startup(environ, folder / "startup.log")
    content = folder / "layer"
    packages = content / layer.SITE_PACKAGES
    packages.mkdir(parents=True)
    text = _text(REQUIREMENTS.read(environ), s3)
    _plugins(PLUGINS.read(environ), content, folder, s3)
    if text.strip():
        with install_logs.recorded(install_logs.REQUIREMENTS, folder / "requirements.log", environ):
            _install(text, environ, folder, packages, ready, s3)
            _check(content, text, ready, folder)
    else:
        _check(content, text, ready, folder)
    archive = folder / LAYER_ARCHIVE
    pack_tar(content, archive)
    return archive


def _install(
    text: str, environ: Mapping[str, str], folder: Path, packages: Path, ready: Mapping[str, str], s3: S3Objects
) -> None:
    _dag_files_named_in(text, environ, folder, s3)
    try:
        requirements.install(text, folder, packages, ready)
    except requirements.RegistryUnreachable as error:
        raise LayerRefused(LayerFault.REGISTRY_UNREACHABLE, str(error)) from error
    except requirements.RequirementsFailed as error:
        raise LayerRefused(LayerFault.REQUIREMENTS_FAILED, str(error)) from error


def _after_startup(environ: Mapping[str, str], record: Path) -> dict[str, str]:
    ready = home_of(environ)
    script = STARTUP_SCRIPT.read(environ)
    if not script:
        return ready
    try:
        with install_logs.recorded(install_logs.STARTUP, record.with_name("startup-copied.log"), environ):
            return startup.with_startup(
                script,
                ready,
                component_of(Command.BUILD_LAYER),
                cache=LAYER_CACHE.read(environ),
                seconds=STARTUP_SECONDS.read(environ),
                record=record,
            )
    except startup.StartupFailed as error:
        raise LayerRefused(LayerFault.STARTUP_SCRIPT_FAILED, str(error)) from error


def _text(url: str, s3: S3Objects) -> str:
    if not url:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        if s3.fetch(ObjectRef.parse(url), file) is None:
            raise LayerRefused(LayerFault.REQUIREMENTS_FAILED, f"{url} does not exist")
        try:
            return file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise LayerRefused(LayerFault.REQUIREMENTS_FAILED, f"{url} is not UTF-8 text: {error}") from error


def _plugins(url: str, content: Path, folder: Path, s3: S3Objects) -> None:
    """Unpacks plugins.zip; requirements may point to wheels in it, so it comes first."""
    if not url:
        return
    archive, target = folder / "plugins.zip", content / layer.PLUGINS
    if s3.fetch(ObjectRef.parse(url), archive) is None:
        raise LayerRefused(LayerFault.PLUGINS_FAILED, f"{url} does not exist")
    try:
        unpack_zip(archive, target)
    except ArchiveFailed as error:
        raise LayerRefused(LayerFault.PLUGINS_FAILED, f"plugins.zip: {error}") from error
    (folder / "plugins").symlink_to(target)
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(target, quiet=2, invalidation_mode=unchecked)


def _dag_files_named_in(text: str, environ: Mapping[str, str], folder: Path, s3: S3Objects) -> None:
    """Downloads files below /usr/local/airflow/dags that the requirements name: constraints, wheels."""
    bundle = BUNDLE.read(environ)
    mark = f"{folder}/dags/"
    for line in requirements.localised(text, folder).splitlines() if bundle else ():
        _, found, relative = line.partition(mark)
        relative = relative.split()[0] if found and relative.split() else ""
        if relative and not unfit(relative):
            bucket, prefix = split_s3_url(bundle)
            s3.fetch(ObjectRef(bucket, _key(prefix, relative)), folder / "dags" / relative)


def _check(content: Path, text: str, ready: Mapping[str, str], folder: Path) -> None:
    """Imports everything once, in a separate process, as Airflow will."""
    names = sorted({requirement.name for requirement in requirements.read(text)})
    report_file = folder / "report.json"
    # Without Airflow's examples, as in the containers: users copy the examples' plugins together with their names.
    airflow = {"AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    environ = layer.with_layer({**ready, **airflow}, content)
    environ = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "skylift.runtime.checks", str(report_file), str(content), *names]
    ended = ""
    try:
        done = subprocess.run(command, env=environ, timeout=CHECK_SECONDS, check=False, stdout=sys.stderr)
        ended = f"ended with exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        ended = f"took longer than {CHECK_SECONDS} s"
    for told in judge(json.loads(report_file.read_text()) if report_file.is_file() else {}, ended):
        print(told, file=sys.stderr, flush=True)  # noqa: T201  the container's log is where one looks
    _drop_unwanted_bytecode(content)


def judge(report: Mapping[str, object], ended: str) -> list[str]:
    """What the user must know of the plugins: one that does not load is Airflow's to report, and refuses nothing.

    Raises:
        LayerRefused: a requirement cannot be imported, or the check did not finish.

    Args:
        report: what ``checks`` wrote; empty if it wrote nothing.
        ended: how the process ended, in words.
    """
    found = report.get("requirements")
    if isinstance(found, dict) and found:
        told = "; ".join(f"{os.path.basename(name)}: {text}" for name, text in sorted(found.items()))
        raise LayerRefused(LayerFault.REQUIREMENTS_FAILED, f"it installs, but does not import: {told}")
    if not report.get("done"):
        now = str(report.get("now") or "the check")
        code = LayerFault.REQUIREMENTS_FAILED if now.startswith("requirement ") else LayerFault.PLUGINS_FAILED
        raise LayerRefused(code, f"importing {now} {ended}; its output is in the log")
    plugins = report.get("plugins")
    broken = sorted(plugins.items()) if isinstance(plugins, dict) else []
    return [f"The plugin {os.path.basename(name)} does not load, and is left out: {text}" for name, text in broken]


def _drop_unwanted_bytecode(content: Path) -> None:
    """Removes bytecode that the check wrote: Python compares its time with the source's, and the archive changes
    times."""
    for pyc in content.rglob("*.pyc"):
        if pyc.read_bytes()[4:8] == b"\0\0\0\0":  # PEP 552: no flags means "checked by time and size"
            pyc.unlink()


def _key(prefix: str, name: str) -> str:
    return f"{prefix.strip('/')}/{name}" if prefix.strip("/") else name
