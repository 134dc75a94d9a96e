"""A project: a folder with MWAA's layout, and how its files map to keys of its bucket.

``dags/`` (required), ``plugins/`` or ``plugins.zip``, ``requirements.txt``, ``startup.sh``, and optional ``data/``. In
the layout of aws-mwaa-local-runner, two are ``requirements/requirements.txt`` and ``startup_script/startup.sh``. Keys
are the relative paths. Links to files and folders are followed, as ``aws s3 sync`` does. ``plugins/`` is copied as
``plugins.zip``; the same files always give the same bytes, so an unchanged folder never looks changed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shlex
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skylift.core.errors import Refused
from skylift.core.file_paths import PLACES, unfit
from skylift.core.names import ENVIRONMENT_NAME

LOG = logging.getLogger(__name__)
SETTINGS = "skylift.toml"
SINGLES = tuple(PLACES)
FOLLOWED = ("dags", "data")
IGNORED_FOLDERS = frozenset({"__pycache__", ".git", ".hg", ".svn", ".idea", ".vscode", ".ipynb_checkpoints"})
TEMPORARY = re.compile(
    r".*~ | \.\#.* | \#.*\# | .*\.(swp|swo|swx|tmp|part|pyc|pyo|crdownload) | 4913 | \.DS_Store | .*___jb_(tmp|old)___"
    r" | \.goutputstream-.*",
    re.VERBOSE,
)
"""Names of temporary files of editors and desktops: vim (4913, .swp), emacs, JetBrains, gedit, macOS."""


@dataclass(frozen=True)
class Project:
    """One project folder, with the name of its environment."""

    folder: Path
    name: str

    @property
    def bucket(self) -> str:
        """``skylift-{name}`` as S3 allows it: lower case, no underscores."""
        return "skylift-" + self.name.lower().replace("_", "-")

    def file_of(self, single: str) -> Path:
        """Where one of ``SINGLES`` is, or would be."""
        found = (self.folder / place for place in PLACES[single])
        return next((path for path in found if path.is_file()), self.folder / single)

    def remarks(self) -> list[str]:
        """What is worth a word about the folder as a whole, a sentence each."""
        said = list[str]()
        if not any(path.suffix in {".py", ".zip"} for path in walk(self.folder / "dags")):
            said.append(f"{self.folder / 'dags'} holds no Python file: Airflow will show no DAG")
        moved = [self.file_of(single).relative_to(self.folder).as_posix() for single in SINGLES]
        said += [
            f"{place} is used as {single}" for single, place in zip(SINGLES, moved, strict=True) if place != single
        ]
        return said


@dataclass(frozen=True)
class Sync:
    """The steps after which the bucket equals the project.

    Attributes:
        kept: files of which somebody else put another version into the bucket, while ours stayed as it was: theirs
            stays there.
        replaced: of these, the ones that we have changed, too: ours are put, and theirs are older versions now.
    """

    put: tuple[str, ...]
    remove: tuple[str, ...]
    kept: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()

    def notices(self, bucket: str) -> list[str]:
        """What the user must know, a sentence each."""
        kept = [
            f"somebody else has put another {key} into s3://{bucket}, and it stays: yours has not changed since you "
            "put it there. To use yours, change it and save"
            for key in self.kept
        ]
        return kept + [
            f"somebody else had put another {key} into s3://{bucket}; yours is the newest now, and theirs is the "
            "version before it"
            for key in self.replaced
        ]


def open_project(folder: Path, name: str = "") -> Project:
    """The project in a folder; the name defaults to the folder's.

    Raises:
        Refused: the folder or its ``dags/`` is missing, or the name cannot be an environment's.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise Refused(f"There is no folder {folder}. Give the folder of a project (with dags/ in it).")
    if not (folder / "dags").is_dir():
        raise Refused(
            f"{folder} has no folder dags/. A project is a folder with dags/, and optionally plugins/ or plugins.zip, "
            "requirements.txt, startup.sh and data/."
        )
    if (folder / "plugins").is_dir() and (folder / "plugins.zip").exists():
        raise Refused(f"{folder} has both plugins/ and plugins.zip. Keep one of them.")
    return Project(folder, checked_name(name or default_name(folder)))


def checked_name(name: str) -> str:
    """The name. Raises ``Refused`` for one that cannot be an environment's, with a bucket of its own."""
    if not ENVIRONMENT_NAME.fullmatch(name) or len(name) > 55 or name[-1] in "-_":
        raise Refused(
            f"{name!r} cannot be an environment's name: it begins with a letter, has letters, digits, - and _, ends "
            "with a letter or digit, and has at most 55 characters. Give one with --name."
        )
    return name


def default_name(folder: Path) -> str:
    """The environment's default name: that of skylift.toml, else the folder's, in letters that MWAA allows."""
    return told_name(folder) or re.sub(r"[^0-9a-zA-Z\-_]+", "-", folder.name).strip("-_")


def told_name(folder: Path) -> str | None:
    """The name in a folder's skylift.toml; ``None`` if it has none, or cannot be read."""
    try:
        told = tomllib.loads((folder / SETTINGS).read_text()).get("name")
    except (OSError, ValueError):
        return None  # ``settings_file.read`` tells what is wrong with it
    return told if isinstance(told, str) and told else None


def up_line() -> str:
    """A command that creates an environment: from the current folder if it is a project, otherwise from our example."""
    if Path("dags").is_dir():
        return "skylift up ."
    example = Path(__file__).parents[4] / "examples" / "quickstart"
    if not (example / "dags").is_dir():
        return "skylift up, and the folder of your project (one with dags/ in it)"
    shown = example.relative_to(Path.cwd()) if example.is_relative_to(Path.cwd()) else example
    return f"skylift up {shlex.quote(str(shown))} (or the folder of your own project, with dags/ in it)"


def up_command(project: Project, run_it: bool = False, dag_id: str | None = None) -> str:
    """The command that starts this project again, or continues what was begun."""
    words = ["skylift", "up", str(project.folder)]
    words += ["--name", project.name] if project.name != default_name(project.folder) else []
    words += ["--run"] if run_it else []
    words += ["--dag", dag_id] if dag_id else []
    return shlex.join(words)


def contents(project: Project) -> dict[str, bytes]:
    """Every key of the project with its bytes. Files that vanish while they are read are left out."""
    found: dict[str, bytes] = {}
    for top in FOLLOWED:
        for path in walk(project.folder / top):
            _read_into(found, path.relative_to(project.folder).as_posix(), path)
    for single in SINGLES:
        _read_into(found, single, project.file_of(single))
    if (project.folder / "plugins").is_dir():
        found["plugins.zip"] = zip_folder(project.folder / "plugins")
    return found


def changed_contents(project: Project, paths: Iterable[Path], known: Iterable[str] = ()) -> dict[str, bytes | None]:
    """Keys and bytes of what changed; ``None`` for a key whose file is gone. Paths that are not copied are left out.

    Args:
        paths: files and folders. A folder that appears or vanishes as a whole (``mv``, ``git checkout``) is one change.
        known: keys that came from the folder earlier, to know what was in a folder that is gone.
    """
    found: dict[str, bytes | None] = {}
    for path in paths:
        if not belongs(project, path):
            continue
        key = path.relative_to(project.folder).as_posix()
        if key.partition("/")[0] == "plugins":
            whole = project.folder / "plugins"
            found["plugins.zip"] = zip_folder(whole) if whole.is_dir() else None
            continue
        if singles := _singles_at(key):
            for single in singles:
                read: dict[str, bytes] = {}
                _read_into(read, single, project.file_of(single))
                found[single] = read.get(single)
            continue
        below = [one for one in known if one.startswith(f"{key}/")]
        now = [one.relative_to(project.folder).as_posix() for one in walk(path)] if path.is_dir() else [key]
        for each in {*now, *below, *(one for one in known if one == key)}:
            body: dict[str, bytes] = {}
            _read_into(body, each, project.folder / each)
            found[each] = body.get(each)
    return found


def walk(folder: Path) -> Iterable[Path]:
    """Files of a folder that belong to a project, sorted by name. A file whose name no container could have is
    reported.
    """
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if name not in IGNORED_FOLDERS and not _leads_back(Path(parent) / name)
        )
        for name in sorted(files):
            path = Path(parent) / name
            if TEMPORARY.fullmatch(name) or not path.is_file():  # reading a pipe would never end
                continue
            if reason := unfit(path.relative_to(folder).as_posix()):
                LOG.warning("%s is left out, and nothing else: its name %s", ascii(str(path)), reason)
            else:
                yield path


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it is in: following it would never end."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def linked_folders(project: Project) -> dict[Path, list[Path]]:
    """The folders outside to which links of the project lead, each with the paths of its links."""
    found = dict[Path, list[Path]]()
    for top in (*FOLLOWED, "plugins"):
        places = [project.folder / top]
        for parent, folders, _ in os.walk(project.folder / top, followlinks=True):
            folders[:] = [
                name for name in folders if name not in IGNORED_FOLDERS and not _leads_back(Path(parent) / name)
            ]
            places += [Path(parent) / name for name in folders]
        for path in places:
            if path.is_symlink() and path.is_dir():
                found.setdefault(path.resolve(), []).append(path)
    return found


def through_links(links: Mapping[Path, Sequence[Path]], path: Path) -> set[Path]:
    """A changed path, and what each link that leads to it calls it: it may be in the project itself, too."""
    leading = ((target, link) for target, found in links.items() if path.is_relative_to(target) for link in found)
    return {path, *(link / path.relative_to(target) for target, link in leading)}


def _singles_at(place: str) -> list[str]:
    """Which of ``SINGLES`` a path is, or may hold."""
    return [
        single
        for single, places in PLACES.items()
        if any(one == place or one.startswith(f"{place}/") for one in places)
    ]


def belongs(project: Project, path: Path) -> bool:
    """Whether a changed path is one that is copied to the bucket."""
    try:
        parts = path.relative_to(project.folder).parts
    except ValueError:
        return False
    if not parts or any(part in IGNORED_FOLDERS for part in parts) or TEMPORARY.fullmatch(parts[-1]):
        return False
    if unfit("/".join(parts)):
        return False
    return parts[0] in FOLLOWED or parts[0] == "plugins" or bool(_singles_at("/".join(parts)))


def zip_folder(folder: Path) -> bytes:
    """A folder as a zip file: the same bytes for the same files, whenever and wherever it is made."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in walk(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return memory.getvalue()


def plan_sync(
    local: Mapping[str, bytes], remote: Mapping[str, str], ours: Iterable[str], last: Mapping[str, str] | None = None
) -> Sync:
    """The keys to put and to remove.

    Args:
        local: keys with bytes, as in the folder.
        remote: keys with ETags (MD5, as S3 gives for single-part puts), as in the bucket.
        ours: keys that came from the folder earlier; only those are removed, others' objects stay.
        last: digests of the files that environments pin (``SINGLES``), as we put them last.
    """
    last = last or {}
    differing = [key for key, body in local.items() if remote.get(key, "") != digest(body)]
    foreign = {key for key in differing if key in last and remote.get(key, last[key]) != last[key]}
    kept = {key for key in foreign if digest(local[key]) == last[key]}
    put = tuple(key for key in differing if key not in kept)
    remove = tuple(sorted(key for key in set(ours) if key in remote and key not in local))
    return Sync(put, remove, tuple(sorted(kept)), tuple(sorted(foreign - kept)))


def digest(body: bytes) -> str:
    """MD5 in hex: S3's ETag of an object put in one part."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _read_into(found: dict[str, bytes], key: str, path: Path) -> None:
    try:
        found[key] = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        # Editors replace files: one that vanished between listing and reading is back with the next change. The same
        # goes for files that became folders, and the reverse.
        return
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from error
