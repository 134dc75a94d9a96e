"""How an image's two layers are made on disk: uv for the base, hard links and a copy for the image.

Every folder is made under a temporary name and renamed when it is whole, under one file lock; the next build removes
what a killed process left.
"""

from __future__ import annotations

import compileall
import errno
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import skylift
from skylift.localcloud.images.pythons import image_python
from skylift.localcloud.images.usage import roots_in_use
from skylift.localcloud.images.uv import run_uv

_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.ENOTSUP)
"""File systems without hard links (or with few of them) raise one of these: then an image is a copy."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Base:
    """A base layer: a lock file's content for one Python."""

    lock: Path
    python: Path
    digest: str


@dataclass(frozen=True)
class PackageLayer:
    """A package layer: its files, by their path below site-packages, and their digest."""

    files: Mapping[str, bytes]
    digest: str


SYSTEM = "system"
"""Folder of an image that holds the Python under its virtual environment (``link_python``)."""


def image_base(lock: Path, environ: Mapping[str, str]) -> Base:
    """The base of a lock for the Python that images have here.

    Raises:
        Refused: there is no such Python.
    """
    python = image_python(environ)
    facts = (python.implementation, python.version, python.platform, str(python.path))
    digest = _digest({"lock": lock.read_bytes(), "facts": "\n".join(facts).encode()})
    return Base(lock, python.path, digest)


def read_package() -> PackageLayer:
    """The skylift that runs now, with its installed name, version and entry points."""
    folder = Path(skylift.__file__).parent
    sources = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    files = {f"skylift/{path.relative_to(folder)}": path.read_bytes() for path in sources}
    try:
        installed = importlib.metadata.distribution("skylift")
        version, entry_points = installed.version, installed.read_text("entry_points.txt") or ""
    except importlib.metadata.PackageNotFoundError:
        version, entry_points = "0", ""
    about = f"skylift-{version}.dist-info"
    files[f"{about}/METADATA"] = f"Metadata-Version: 2.1\nName: skylift\nVersion: {version}\n".encode()
    files[f"{about}/entry_points.txt"] = entry_points.encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: skylift\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/INSTALLER"] = b"skylift\n"
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"]).encode()
    return PackageLayer(files, _digest(files))


def image_digest(base: Base, package: PackageLayer) -> str:
    """The name of an image's folder."""
    return hashlib.sha256(f"{base.digest} {package.digest}".encode()).hexdigest()[:16]


def _digest(files: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{len(files[name])}\0".encode())
        total.update(files[name])
    return total.hexdigest()[:16]


@contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """Holds the file lock of the images; the kernel releases it when we die."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that builds an image")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_base(root: Path, base: Base, environment: Mapping[str, str], progress: Progress) -> None:
    """Makes a base layer at ``root``; needs the lock. Raises like ``Images.build``."""
    locked_packages = sum("==" in line for line in base.lock.read_text().splitlines())
    progress(f"installing up to {locked_packages} packages of {base.lock.stem} for {base.python}")
    with _made_whole(root) as new:
        run_uv(["venv", "--quiet", "--relocatable", "--python", str(base.python), str(new)], environment, progress)
        # No source builds: no package's code runs at installation, and a missing wheel is reported at once.
        # Bytecode is compiled here, on all cores, so that no container start pays for it (and none may write here).
        options = ["--require-hashes", "--no-build", "--compile-bytecode", "--python", str(new / "bin" / "python")]
        run_uv(["pip", "sync", *options, str(base.lock)], environment, _with_compiling(progress))


def _with_compiling(progress: Progress) -> Progress:
    """uv prints nothing while it compiles, which takes longest if nothing is downloaded."""

    def tell(line: str) -> None:
        progress(line)
        if line.startswith("Installed "):
            progress("compiling bytecode")

    return tell


def build_image(root: Path, base_root: Path, package: PackageLayer, progress: Progress) -> None:
    """Makes an image at ``root`` from a base and a package; needs the lock."""
    progress("adding skylift")
    with _made_whole(root) as new:
        _clone(base_root, new)
        site = next((new / "lib").glob("python3.*/site-packages"))
        for name, content in package.files.items():
            target = site / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        compileall.compile_dir(site / "skylift", quiet=2, stripdir=str(new), prependdir=str(root))
        link_python(new / "bin" / "python", new / SYSTEM)


def link_python(python: Path, folder: Path) -> Path:
    """Puts the Python under a virtual environment into ``folder/bin``, as python, python3 and python3.X; returns that
    folder.

    uv makes a virtual environment only from a Python that is not in one. Airflow's PythonVirtualenvOperator asks it
    for ``python``, which an OCI image has, but many machines do not. Two folders deep, because Python (and uv) treat
    one with a ``pyvenv.cfg`` beside it or one folder up as a virtual environment's.
    """
    base = python.resolve()
    place = folder / "bin"
    place.mkdir(parents=True, exist_ok=True)
    versions = [path.name for path in (python.parents[1] / "lib").glob("python3.*")]
    for name in ("python", "python3", *versions):
        if not (place / name).exists():
            (place / name).unlink(missing_ok=True)
            with suppress(FileExistsError):  # somebody else was faster
                (place / name).symlink_to(base)
    return place


def _clone(source: Path, target: Path) -> None:
    """A tree of hard links: 18,000 files in 0.2 s, and no disk space for their content."""
    target.mkdir()
    for entry in os.scandir(source):
        if entry.is_symlink():
            (target / entry.name).symlink_to(os.readlink(entry.path))
        elif entry.is_dir():
            _clone(Path(entry.path), target / entry.name)
        else:
            _link(Path(entry.path), target / entry.name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target)


@contextmanager
def _made_whole(root: Path) -> Iterator[Path]:
    new = root.with_name(f".new-{root.name}")
    try:
        yield new
        new.rename(root)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed build left; needs the lock, so nobody else builds."""
    for pattern in (".new-*", ".old-*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def remove_unused(folder: Path, *, keep: int) -> None:
    """Removes all but the newest ``keep`` images and bases, except those that a running process uses; needs the
    lock."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    bases = [path for path in folders if path.name.startswith("base-")]
    images = [path for path in folders if not path.name.startswith("base-")]
    old = images[keep:] + bases[keep:]
    for root in set(old) - roots_in_use(old):
        # Rename first: a half-removed folder must not look like an image.
        doomed = root.with_name(f".old-{root.name}")
        root.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
