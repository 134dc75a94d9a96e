"""The folder that holds all state of one skylift (``$SKYLIFT_HOME``), and what a process needs to talk to its server.

Nothing is written outside this folder. It is private (mode 0700), because it holds credentials and the database.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skylift.core.errors import Refused
from skylift.localcloud.damage import json_object, read_state
from skylift.localcloud.state_file import keep_copy

REGION = "us-east-1"
ACCOUNT = "000000000000"
DEFAULT_PORT = 4747
LOCK = "server.lock"
"""Name of the lock file that the one server of a home keeps open and locked."""
FOREIGN_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)
"""Variables that botocore prefers to a credentials file, or that override ``AWS_ENDPOINT_URL``: if they stayed set, our
calls would use a real account's keys, or go to a real endpoint."""


@dataclass(frozen=True)
class Home:
    """The paths below a home. Creating one touches no disk; ``prepare`` does."""

    folder: Path

    @property
    def server_file(self) -> Path:
        """The server of this home: pid, port, start time. Exists only while a server is ready."""
        return self.folder / "server.json"

    @property
    def server_log(self) -> Path:
        """Output of the background process."""
        return self.folder / "server.log"

    @property
    def lock_file(self) -> Path:
        """Locked (flock) by the one server of this home; contains its pid."""
        return self.folder / LOCK

    @property
    def credentials(self) -> Path:
        """AWS shared credentials file."""
        return self.folder / "aws" / "credentials"

    @property
    def config(self) -> Path:
        """AWS shared config file: region and endpoint."""
        return self.folder / "aws" / "config"

    @property
    def master_key(self) -> Path:
        """32 random bytes from which session credentials are derived."""
        return self.folder / "aws" / "master.key"

    @property
    def projects(self) -> Path:
        """Project folders that are followed, by environment."""
        return self.folder / "projects.json"

    def prepare(self) -> None:
        """Creates the folder, private.

        Raises:
            Refused: it cannot be created or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.folder / "aws").mkdir(exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
        except OSError as error:
            raise Refused(
                f"The folder {self.folder} cannot be used ({error.strerror}). "
                "Set SKYLIFT_HOME to a folder that you may write to."
            ) from error

    def variables(self, port: int) -> dict[str, str]:
        """Environment variables with which boto3, the AWS CLI and others talk to this server. No secrets in them."""
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_CONFIG_FILE": str(self.config),
            "AWS_ENDPOINT_URL": endpoint(port),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def find_home(environ: Mapping[str, str]) -> Home:
    """``$SKYLIFT_HOME``; otherwise ``skylift`` in the XDG data folder (default ``~/.local/share``).

    Raises:
        Refused: no variable says where this user's home is.
    """
    chosen = environ.get("SKYLIFT_HOME")
    shared = environ.get("XDG_DATA_HOME")
    try:
        if chosen:
            return Home(Path(chosen).expanduser().absolute())
        folder = Path(shared) if shared else Path(environ.get("HOME") or "~").expanduser() / ".local" / "share"
        return Home(folder.absolute() / "skylift")
    except RuntimeError as error:  # a ~ of a user who is not in the passwd file
        raise Refused(
            "This user has no home folder: HOME is not set, and the passwd file does not know the user. "
            "Set SKYLIFT_HOME to a folder that you may write to."
        ) from error


def endpoint(port: int) -> str:
    """The AWS endpoint URL on a port of this machine."""
    return f"http://127.0.0.1:{port}"


def foreign_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables to unset so that AWS tools talk to this server only: ``FOREIGN_VARIABLES``, and every
    ``AWS_ENDPOINT_URL_<SERVICE>``."""
    return [*FOREIGN_VARIABLES, *sorted(name for name in environ if name.startswith("AWS_ENDPOINT_URL_"))]


def aim(home: Home, port: int) -> None:
    """Makes this process talk only to this home's server, whatever AWS settings it was started with."""
    for name in foreign_variables(os.environ):
        os.environ.pop(name, None)
    os.environ.update(home.variables(port))
    direct = [part for part in (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "").split(",") if part]
    if "127.0.0.1" not in direct:
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join([*direct, "127.0.0.1"])


def write_private(path: Path, text: str) -> None:
    """Replaces a file in one step, readable by its owner only (0600); keeps the old file next to it as a copy."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        keep_copy(path)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def read_json(path: Path, holds: str = "") -> dict[str, Any]:
    """The object in a JSON file; empty if the file does not exist.

    Args:
        holds: what the file contains, for the message when it is damaged.

    Raises:
        Damaged: it is not a JSON object.
        OSError: no permission, or its folder is not a folder: the file is not damaged.
    """
    try:
        path.open("rb").close()
        return read_state(
            path, json_object, holds or f"what skylift keeps in {path.name}", "The command can then be run again."
        )
    except FileNotFoundError:
        return {}
