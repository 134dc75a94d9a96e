"""Images of the local cloud: virtual environments that are found by an image reference, and built once.

An image has two layers. The *base* is the content of its lock file, for one Python on one platform; it is large and
never changes. The *package* is the skylift that runs now; it is small and changes with every edit. An image is a clone
of the base by hard links plus the package, under the digest of both. So a running container never sees its files
change, and a new skylift costs a second, not a download.

Folders below ``$SKYLIFT_HOME/images``: ``base-<digest>``, ``<digest>``, ``lock``, and ``.new-*`` / ``.old-*`` while
something is built or removed. A folder gets its final name only when it is whole.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skylift.core import templates
from skylift.core.containers import DAG_CACHE, ENTRYPOINT, LAYER_CACHE
from skylift.core.errors import Refused
from skylift.core.partitions import SUFFIXES
from skylift.localcloud.containers.mounts import MWAA_PATHS
from skylift.localcloud.images.build import (
    SYSTEM,
    Base,
    PackageLayer,
    build_base,
    build_image,
    image_base,
    image_digest,
    locked,
    read_package,
    remove_leftovers,
    remove_unused,
)
from skylift.localcloud.images.network import network_variables
from skylift.localcloud.images.uv import space_error

LOCKS = Path(__file__).parents[1] / "image_locks"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT = 3
"""How many images, and how many bases, stay when a new one is built: those of Airflow and of Ray, and a previous
one."""

_REFERENCE = re.compile(
    rf"(?:\d{{12}}\.dkr\.ecr\.[a-z0-9-]+\.(?:{'|'.join(map(re.escape, SUFFIXES))})/)?"
    r"skylift/(?P<name>[a-z0-9._-]+):(?P<tag>[\w][\w.-]{0,127})"
)


@dataclass(frozen=True)
class BuiltImage:
    """A complete image.

    Attributes:
        reference: the name by which it was asked for.
        root: folder of the virtual environment.
        entrypoint: the image's own ENTRYPOINT; empty: a container's command is its first word.
        default_command: the image's own CMD, for a container that names neither entryPoint nor command.
        environment: variables that the image gives to every container.
        template: module that prepares templates, from which containers are forked; empty: none.
    """

    reference: str
    root: Path
    entrypoint: tuple[str, ...]
    default_command: tuple[str, ...]
    environment: Mapping[str, str]
    template: str = templates.MODULE

    def executable(self, word: str) -> Path | None:
        """The file that a command's first word means on this image's PATH; ``None`` if there is none."""
        found = shutil.which(word, path=self.environment["PATH"])
        return Path(found) if found else None


def site_of(root: Path) -> dict[str, str]:
    """Makes a virtual environment's packages the system's packages for another environment that asks for those.

    Airflow's PythonVirtualenvOperator asks by default (``system_site_packages``), to find Airflow there, as in an OCI
    image or on MWAA. The system's packages are those of the bare Python, and the "user's", which may be anywhere.
    """
    return {"PYTHONUSERBASE": str(root)}


class BuiltImages:
    """The images of one ``$SKYLIFT_HOME``. Safe to use from several threads and processes at once."""

    asks = False
    """Once built, an image stays as it is."""

    def __init__(
        self, home: Path, cache: Path, *, environ: Mapping[str, str] = os.environ, locks: Path = LOCKS
    ) -> None:
        """
        Args:
            home: ``$SKYLIFT_HOME``; images are kept in its folder ``images``.
            cache: ``$SKYLIFT_HOME/cache``, which holds uv's cache (unless UV_CACHE_DIR names another) and the layers.
            environ: the machine's environment, of which only network variables, UV_CACHE_DIR and ``MWAA_PATHS`` are
                used.
            locks: folder of lock files ``<name>-<tag>.txt``.
        """
        self.folder = home.absolute() / "images"
        self._cache = cache.absolute()
        self._environ = environ
        self._network = network_variables(environ)
        self._locks = locks
        self._package: PackageLayer | None = None

    @property
    def references(self) -> tuple[str, ...]:
        """Every reference that can be built, without registry."""
        stems = (path.stem.rpartition("-") for path in sorted(self._locks.glob("*.txt")))
        return tuple(f"skylift/{name}:{tag}" for name, _, tag in stems)

    def find(self, reference: str) -> BuiltImage | None:
        """The image, if it is built for this skylift and this Python; ``None`` if not, or if it is unknown."""
        lock = self._lock_of(reference)
        if lock is None:
            return None
        if self._package is None:
            self._package = read_package()
        root = self.folder / image_digest(image_base(lock, self._environ), self._package)
        return self._image(reference, root) if root.is_dir() else None

    def build(self, reference: str, progress: Callable[[str], None]) -> BuiltImage:
        """The image, built first if it does not exist. Blocks: for seconds, or with an empty cache as long as
        downloads take.

        Waits for another process that builds at the same time. ``progress`` gets short lines for people.

        Raises:
            Refused: the reference is unknown (text begins with ``CannotPullContainerError``), this Python is not
                supported, uv is missing, or the disk is full.
            Unavailable: no package registry can be reached.
        """
        lock = self._lock_of(reference)
        if lock is None:
            known = ", ".join(self.references)
            raise Refused(
                f"CannotPullContainerError: {reference}: not found. "
                f"This local cloud has: {known} (also below <account>.dkr.ecr.<region>.amazonaws.com/)."
            )
        base, package = image_base(lock, self._environ), read_package()
        self._package = package
        root = self.folder / image_digest(base, package)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not root.is_dir():
                with locked(self.folder / "lock", progress):
                    self._build_locked(root, base, package, progress)
            os.utime(root)
        except OSError as error:
            raise space_error(self.folder, error) or error from error
        return self._image(reference, root)

    def _build_locked(self, root: Path, base: Base, package: PackageLayer, progress: Callable[[str], None]) -> None:
        if root.is_dir():
            return
        remove_leftovers(self.folder)
        base_root = self.folder / f"base-{base.digest}"
        if not base_root.is_dir():
            build_base(base_root, base, self._tool_environment(), progress)
        os.utime(base_root)
        build_image(root, base_root, package, progress)
        remove_unused(self.folder, keep=KEPT)

    def _lock_of(self, reference: str) -> Path | None:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            return None
        lock = self._locks / f"{match['name']}-{match['tag']}.txt"
        return lock if lock.is_file() else None

    def _image(self, reference: str, root: Path) -> BuiltImage:
        environment = {
            "PATH": f"{root / 'bin'}:{root / SYSTEM / 'bin'}:{SYSTEM_PATH}",
            "VIRTUAL_ENV": str(root),
            **site_of(root),
            LAYER_CACHE.env: str(self._cache / "layers"),
            DAG_CACHE.env: str(self._cache / "dags"),
            "UV_CACHE_DIR": self._uv_cache(),
            **self._network,
        }
        match = _REFERENCE.fullmatch(reference)
        if match is not None and match["name"] != "airflow":
            return BuiltImage(reference, root, (), ("python",), environment, template="")
        # As in our Dockerfile: a container that cannot name an entry point (Batch's) gets layer and startup script,
        # too.
        if MWAA_PATHS.read(self._environ):
            environment[MWAA_PATHS.env] = "true"
        return BuiltImage(reference, root, ENTRYPOINT, ("airflow", "version"), environment)

    def _uv_cache(self) -> str:
        return self._environ.get("UV_CACHE_DIR") or str(self._cache / "uv")

    def _tool_environment(self) -> dict[str, str]:
        """What uv gets: never our own Python's variables, in particular not PYTHONDONTWRITEBYTECODE."""
        machine = {name: self._environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in self._environ}
        return {
            **machine,
            "PATH": SYSTEM_PATH,
            "UV_CACHE_DIR": self._uv_cache(),
            "UV_NO_PROGRESS": "1",
            **self._network,
        }
