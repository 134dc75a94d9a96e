"""Reads ``skylift.toml`` and ``.env`` of a project."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skylift.cli.projects.project import SETTINGS
from skylift.cli.projects.snapshot_rule import SnapshotRule
from skylift.cli.settings_file.schema import ELSEWHERE, mistakes
from skylift.control.api.validation import LEAST_WORKERS
from skylift.control.settings import OF_CONTAINERS
from skylift.core.environment import BATCH_EXECUTOR, CELERY_EXECUTOR, ECS_EXECUTOR
from skylift.core.errors import Refused

DOTENV = ".env"
EXECUTORS = {"ecs": ECS_EXECUTOR, "batch": BATCH_EXECUTOR, "celery": CELERY_EXECUTOR}
_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")
_QUOTED = re.compile(r"(?P<mark>['\"])(?P<text>.*)(?P=mark)\s*(?:#.*)?")


@dataclass(frozen=True)
class Reference:
    """A value that stays in Secrets Manager or SSM.

    Attributes:
        service: ``secretsmanager`` or ``ssm``.
        name: name or ARN.
        key: a member of a secret's JSON; empty: the whole.
    """

    service: str
    name: str
    key: str = ""


@dataclass(frozen=True)
class ProjectSettings:
    """What a project's files say.

    Attributes:
        plain: what may be shown, by a flat name: ``class``, ``workers.min``, ``options.core.parallelism``.
        values: environment variables whose value we have. Never shown.
        references: environment variables whose value stays elsewhere.
        pools: slots by name.
        statements: of IAM, for the role that skylift makes.
        snapshots: when they are taken; ``None``: by hand only.
    """

    name: str = ""
    plain: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    references: Mapping[str, Reference] = field(default_factory=dict)
    pools: Mapping[str, int] = field(default_factory=dict)
    statements: tuple[Mapping[str, Any], ...] = ()
    snapshots: SnapshotRule | None = None

    @property
    def connections(self) -> set[str]:
        """Ids of the connections, in lower case: Airflow looks them up in capitals."""
        return self._named("AIRFLOW_CONN_")

    @property
    def executors(self) -> tuple[str, ...]:
        """As ``[core] executor`` lists them."""
        return tuple(self.plain.get("options.core.executor", ECS_EXECUTOR).split(","))

    def _named(self, prefix: str) -> set[str]:
        return {
            name.removeprefix(prefix).lower() for name in {*self.values, *self.references} if name.startswith(prefix)
        }


def read(folder: Path, environ: Mapping[str, str]) -> ProjectSettings:
    """The settings of a project; empty if it has neither file.

    Args:
        environ: the shell's, for ``{ env = ... }``.

    Raises:
        Refused: a file cannot be read, or says something that is not allowed; the text names the place, never a value.
    """
    dotenv = read_dotenv(folder / DOTENV)
    file = folder / SETTINGS
    try:
        found = tomllib.loads(file.read_text()) if file.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{file} is not TOML: {error}") from error
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from error
    if wrong := list(mistakes(found)):
        raise Refused(f"{file}: {'; '.join(wrong[:5])}. What it may hold: skylift toml")
    return _Reader(file, {**environ, **dotenv}, dotenv).settings(found)


class _Reader:
    def __init__(self, file: Path, environ: Mapping[str, str], dotenv: Mapping[str, str]) -> None:
        self._file = file
        self._environ = environ
        # People keep keys of their own account there. Containers have their role's.
        self._values = {name: value for name, value in dotenv.items() if not OF_CONTAINERS.fullmatch(name)}
        self._references: dict[str, Reference] = {}

    def settings(self, found: Mapping[str, Any]) -> ProjectSettings:
        for name, value in found.get("environment", {}).items():
            if OF_CONTAINERS.fullmatch(name):
                raise Refused(f"{self._file}: environment.{name} is set by the environment itself. Leave it out.")
            self._put(name, value, f"environment.{name}")
        for name, value in found.get("connections", {}).items():
            self._put(f"AIRFLOW_CONN_{name.upper()}", self._connection(value, name), f"connections.{name}")
        for name, value in found.get("variables", {}).items():
            self._put(f"AIRFLOW_VAR_{name.upper()}", value, f"variables.{name}")
        return ProjectSettings(
            found.get("name", ""),
            dict(_flat(found)),
            {name: value for name, value in self._values.items() if name not in self._references},
            self._references,
            found.get("pools", {}),
            tuple(found.get("statements", ())),
            SnapshotRule(**found["snapshots"]) if "snapshots" in found else None,
        )

    def _put(self, name: str, value: Any, path: str) -> None:
        if _is_elsewhere(value):
            if "env" in value:
                self._values[name] = self._given(value["env"], path)
            elif "secret" in value:
                self._references[name] = Reference("secretsmanager", value["secret"], value.get("key", ""))
            else:
                self._references[name] = Reference("ssm", value["parameter"])
            return
        self._values[name] = value if isinstance(value, str) else json.dumps(value)

    def _given(self, name: str, path: str) -> str:
        if name not in self._environ:
            raise Refused(f"{self._file}: {path} takes {name}, which stands neither in .env nor in this shell.")
        return self._environ[name]

    def _connection(self, value: Any, name: str) -> Any:
        """A table as Airflow's JSON; anything else as it is."""
        if not isinstance(value, dict) or _is_elsewhere(value):
            return value
        password = value.get("password")
        if not isinstance(password, dict):
            return value
        if "env" not in password:
            raise Refused(
                f"{self._file}: the password of connections.{name} cannot stay elsewhere alone. Put the whole "
                'connection there, as JSON or as a URI: { secret = "..." }'
            )
        return {**value, "password": self._given(password["env"], f"connections.{name}.password")}


def _is_elsewhere(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and set(value) <= set(ELSEWHERE) and set(value) != {"key"}


def _flat(found: Mapping[str, Any]) -> Mapping[str, str]:
    flat: dict[str, str] = {
        name: str(found[name]) for name in ("class", "schedulers", "maintenance_window", "role") if name in found
    }
    for name in ("workers", "webservers"):
        flat |= {f"{name}.{one}": str(number) for one, number in found.get(name, {}).items()}
    if flat.get("workers.min") == "0":  # the API's least is 1, and this option goes before it
        flat |= {"workers.min": "1", f"options.{LEAST_WORKERS}": "0"}
    flat |= {f"logs.{name}": level for name, level in found.get("logs", {}).items()}
    for name, value in found.get("options", {}).items():
        inner = value if isinstance(value, dict) else {}
        flat |= {f"options.{name}.{key}": _text(one) for key, one in inner.items()}
        if not isinstance(value, dict):
            flat[f"options.{name}"] = _text(value)
    if executors := found.get("executors"):
        flat["options.core.executor"] = ",".join(EXECUTORS.get(one, one) for one in executors)
    return flat


def _text(value: Any) -> str:
    return str(value)  # True and False, as Airflow writes them


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a ``.env``: ``NAME=value`` lines, with comments, ``export`` and quotes, and no expansion.

    Raises:
        Refused: a line is none of these; the text has its number only.
    """
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read: {type(error).__name__}.") from error
    found = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise Refused(f"{path}, line {number}: expected NAME=value.")
        quoted = _QUOTED.fullmatch(match["value"])
        found[match["name"]] = quoted["text"] if quoted else re.sub(r"\s+#.*", "", match["value"]).strip()
    return found
