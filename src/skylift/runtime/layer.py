"""Uses a layer: downloaded and unpacked once per machine; after that only two environment variables.

The layer's site-packages come first on PYTHONPATH, so they win over the image's. That is safe because of how a layer is
built (``requirements.py``): it contains only what the image lacks, and what the user's own constraints file changes.

On MWAA ``dags`` and ``plugins`` are folders in AIRFLOW_HOME, and people's code looks for its files there. Here the DAGs
are a bundle and the plugins a part of the layer, in folders of their own, so AIRFLOW_HOME gets links to them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from skylift.core.containers import BUNDLE, BUNDLE_NAME
from skylift.core.errors import Refused
from skylift.runtime.components import BUNDLE_STORAGE

SITE_PACKAGES = "site-packages"
PLUGINS = "plugins"
PLUGINS_FOLDER = "AIRFLOW__CORE__PLUGINS_FOLDER"
DIGEST = re.compile(r"[0-9a-f]{16,64}")


class LayerFailed(Refused):
    """The layer does not exist, or is not an archive."""


def with_layer(environment: Mapping[str, str], layer: Path) -> dict[str, str]:
    """The environment in which Python finds the layer's packages and Airflow its plugins."""
    plugins, packages = layer / PLUGINS, layer / SITE_PACKAGES
    places = [str(place) for place in (packages, plugins) if place.is_dir()]
    before = environment.get("PYTHONPATH")
    path = os.pathsep.join([*places, *([before] if before else [])])
    ready = {**environment, **({"PYTHONPATH": path} if path else {})}
    if (packages / "bin").is_dir():
        ready["PATH"] = str(packages / "bin") + os.pathsep + environment.get("PATH", os.defpath)
    if plugins.is_dir():
        ready[PLUGINS_FOLDER] = str(plugins)
    return ready


def link_home(environment: Mapping[str, str]) -> None:
    """Links ``dags`` and ``plugins`` in AIRFLOW_HOME, in a container whose DAGs are a bundle."""
    if BUNDLE.read(environment):
        dags = Path(environment[BUNDLE_STORAGE], BUNDLE_NAME, "dags")  # as ``bundle.S3Bundle`` has it
        dags.mkdir(parents=True, exist_ok=True)
        link_files(environment, dags)


def link_files(environment: Mapping[str, str], dags: Path) -> None:
    """Links both; a folder with files in it stays as it is.

    Args:
        environment: has AIRFLOW_HOME and, if there are plugins, their folder.
        dags: the folder with the DAGs.
    """
    home = Path(environment["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    _link(home / "dags", dags)
    if plugins := environment.get(PLUGINS_FOLDER):
        _link(home / "plugins", Path(plugins))


def _link(place: Path, target: Path) -> None:
    try:
        if place.is_dir() and not place.is_symlink():
            place.rmdir()  # an image's, empty
        place.symlink_to(target)
    except (
        OSError
    ):  # it has files of its own, or is a link from an earlier start: the environment works without it, too
        return


def prepared(url: str, cache: str) -> Path:
    """The unpacked layer's folder. Many containers may ask at once: one downloads, the others wait for it.

    Args:
        url: the archive, ``s3://bucket/.../{digest}/layer.tar.gz``.
        cache: folder of all layers on this machine.

    Raises:
        LayerFailed: there is no such archive, or it is broken.
        Unavailable: S3 cannot be reached now.
    """
    folder = Path(cache) / folder_name(url)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(url, folder)
    return folder


def folder_name(url: str) -> str:
    """The digest in the layer's key; a digest of the URL when there is none."""
    parent = url.rsplit("/", 2)[-2] if url.count("/") > 2 else ""
    return parent if DIGEST.fullmatch(parent) else hashlib.sha256(url.encode()).hexdigest()


def _fetch(url: str, folder: Path) -> None:
    """Downloads and unpacks next to the folder, then renames: the folder exists only when it is complete."""
    from skylift.aws.s3_objects import ObjectRef, S3Objects  # lazy: boto3 takes 0.2 s, and most layers are here already
    from skylift.runtime.archive import ArchiveFailed, unpack_tar  # lazy: tarfile is needed once per machine

    half = Path(tempfile.mkdtemp(prefix=f".{folder.name[:16]}-", dir=folder.parent))
    try:
        archive = half / "layer.tar.gz"
        if S3Objects().fetch(ObjectRef.parse(url), archive) is None:
            raise LayerFailed(f"layer {url} does not exist")
        unpack_tar(archive, half / "layer")
        (half / "layer").rename(folder)
    except ArchiveFailed as error:
        raise LayerFailed(f"layer {url}: {error}") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
