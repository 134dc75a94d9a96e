"""podman for tests, in a store of its own: base image, our image from our Dockerfile, a world for the runner's
contract.

Everything is below ``$SKYLIFT_IMAGE_CACHE`` (default ``/tmp/skylift-image-<uid>``), so that a second run builds nothing
anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skylift.localcloud.containers.engine_runner import EngineRunner
from skylift.localcloud.containers.oci import OciEngine
from skylift.localcloud.containers.runner import Launch, Runner, RunningContainer

ROOT = Path(__file__).parents[2]
IMAGE = "skylift/airflow:3.3.2"
BASE = "localhost/skylift-base:bookworm"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAMS = ("podman", "buildah", "mmdebstrap")


class CannotRun(Exception):
    """podman does not run here; the text says why."""


@dataclass(frozen=True)
class Store:
    """An engine with a store of its own."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        files = {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }
        return {**os.environ, **files}

    @property
    def engine(self) -> OciEngine:
        program = shutil.which("podman")
        assert program is not None
        return OciEngine(Path(program), "podman", self.environ)

    def do(self, *words: str) -> str:
        """Runs a command on this store. Raises ``CannotRun`` with the end of what it said."""
        done = subprocess.run(words, env=self.environ, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise CannotRun(f"{' '.join(words[:3])}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def has(self, image: str) -> bool:
        return self.engine.run_now("image", "exists", image).code == 0


def open_store() -> Store:
    """The store, configured. Raises ``CannotRun`` when podman or its companions are missing or do not work."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise CannotRun(f"not installed: {' '.join(missing)} (see docs/containers.md)")
    folder = Path(os.environ.get("SKYLIFT_IMAGE_CACHE") or f"/tmp/skylift-image-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # crun refuses cgroups v1; an ordinary root without CAP_SYS_RESOURCE may not raise limits.
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    runtime = "" if v2 else 'runtime="runc"\n'
    limits = 'default_ulimits=["nofile=1024:1024","nproc=4096:4096"]\n'
    (folder / "containers.conf").write_text(
        f'[containers]\nnetns="host"\n{limits}[engine]\n{runtime}cgroup_manager="cgroupfs"\n'
    )
    # The driver is named: else podman's database does not know it, and its own clean-up after a container fails.
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver="overlay"\ngraphroot="{folder}/root"\nrunroot="{folder}/run"\n'
    )
    store = Store(folder)
    store.do("podman", "info")
    return store


def build_base(store: Store) -> str:
    """A Debian with Python, where no registry can be asked; ``$SKYLIFT_BASE_IMAGE`` names another."""
    if named := os.environ.get("SKYLIFT_BASE_IMAGE"):
        return named
    if not store.has(BASE):
        tar = store.folder / "base.tar"
        keys = [f"--keyring={DEBIAN_KEYS}"] if DEBIAN_KEYS.exists() else []
        wanted = "--include=python3-minimal,python3-venv,ca-certificates"
        store.do("mmdebstrap", "--variant=minbase", wanted, *keys, "bookworm", str(tar))
        store.do("podman", "import", str(tar), BASE)
        tar.unlink()
    return BASE


def build_image(store: Store, base: str, *options: str, name: str = IMAGE) -> None:
    """Our image from our Dockerfile; this machine's certificates are there while it is built, and not in it."""
    certificates = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.exists() else []
    words: Sequence[str] = (
        "--isolation",
        "chroot",
        "--network",
        "host",
        "--layers",
        "--build-arg",
        f"BASE_IMAGE={base}",
    )
    store.do("buildah", "bud", *words, *certificates, *options, "-t", name, str(ROOT))


class PodmanWorld:
    """A world for ``tests.contract.runner_contract``."""

    real = True
    added = frozenset({"PWD", "SHLVL", "_", "OLDPWD", "container", "HOSTNAME", "LC_CTYPE"})

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._count = 0

    def runner(self) -> EngineRunner:
        return EngineRunner(self._store.engine)

    def launch(self, *words: str, memory: int = 0, **environment: str) -> Launch:
        self._count += 1
        whole = {"PATH": "/opt/skylift/bin:/usr/bin:/bin", "HOME": "/home/airflow", **environment}
        return Launch(self._folder / f"c-{self._count}", Path(words[0]), words, whole, Path("/"), memory, image=IMAGE)

    def missing(self, runner: Runner, word: str) -> Launch:
        return self.launch(word)

    def act(self, container: RunningContainer, code: int) -> None:
        """It does by itself."""
