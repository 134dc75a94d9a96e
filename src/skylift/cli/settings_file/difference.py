"""What must change so that an environment is as ``skylift.toml`` says, and what somebody else changed. Pure.

Three things are compared: the file, what it said when it was last applied (digests only: values may be secret), and the
environment. What the file says wins if the file changed. What changed only in the environment was done by somebody on
purpose: it is drift, which is shown and never undone without being asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skylift.cli.settings_file.schema import MODULES
from skylift.core.environment import ECS_EXECUTOR
from skylift.core.secrecy import hide

OPTION = "options."
ENVIRONMENT = "options.skylift.environment"
"""The flat name of the option with the references of all variables (``control.settings.VARIABLES``)."""

MEMBERS = {
    "class": "EnvironmentClass",
    "schedulers": "Schedulers",
    "workers.min": "MinWorkers",
    "workers.max": "MaxWorkers",
    "webservers.min": "MinWebservers",
    "webservers.max": "MaxWebservers",
    "maintenance_window": "WeeklyMaintenanceWindowStart",
    "role": "ExecutionRoleArn",
}
OF_COMMANDS = {(f"{OPTION}core.executor", ECS_EXECUTOR), (f"{OPTION}skylift.stopped", "True")}
"""Options that ``skylift up`` and ``skylift stop`` set without a file."""

NUMBERS = frozenset({"Schedulers", "MinWorkers", "MaxWorkers", "MinWebservers", "MaxWebservers"})
LEVEL_OF_OFF = "INFO"


@dataclass(frozen=True)
class Drift:
    """One thing that was changed elsewhere: with ``env update``, boto3, Terraform. Values are hidden if secret."""

    name: str
    now: str
    wanted: str

    def __str__(self) -> str:
        if self.wanted:
            return f"{self.name} was changed elsewhere to {self.now}; skylift.toml says {self.wanted}"
        return f"{self.name} = {self.now} was set elsewhere, and is not in skylift.toml"


@dataclass(frozen=True)
class Difference:
    """What is to be done.

    Attributes:
        change: flat name -> value.
        remove: options that the file had, and has no more.
    """

    change: Mapping[str, str]
    remove: tuple[str, ...] = ()
    drift: tuple[Drift, ...] = ()


def flat_of(environment: Mapping[str, Any]) -> dict[str, str]:
    """An environment, as from GetEnvironment, by flat names."""
    flat = {name: str(environment[member]) for name, member in MEMBERS.items() if environment.get(member) is not None}
    logging = environment.get("LoggingConfiguration") or {}
    for name, module in MODULES.items():
        if module in logging:
            flat[f"logs.{name}"] = str(logging[module]["LogLevel"]) if logging[module]["Enabled"] else "off"
    options = environment.get("AirflowConfigurationOptions") or {}
    return flat | {f"{OPTION}{name}": str(value) for name, value in options.items()}


def difference(
    wanted: Mapping[str, str], last: Mapping[str, str], now: Mapping[str, str], *, undo: bool = False
) -> Difference:
    """What to do.

    Args:
        wanted: what the file says, by flat names.
        last: digests of what it said when it was last applied.
        now: the environment.
        undo: whether drift is to be undone.
    """
    change, remove, drift = {}, [], []
    for name, value in wanted.items():
        if now.get(name) == value:
            continue
        if last.get(name) == digest(value) and not undo:
            drift.append(Drift(name, shown(name, now.get(name, "nothing")), shown(name, value)))
        else:
            change[name] = value
    for name, value in now.items():
        if name in wanted or not name.startswith(OPTION) or (name, value) in OF_COMMANDS:
            continue
        if last.get(name) == digest(value) or undo:
            remove.append(name)
        else:
            drift.append(Drift(name, shown(name, value), ""))
    return Difference(change, tuple(remove), tuple(drift))


def digests_of(wanted: Mapping[str, str]) -> dict[str, str]:
    """What to keep for the next comparison."""
    return {name: digest(value) for name, value in wanted.items()}


def digest(value: str) -> str:
    """A value's digest. It is salted with nothing, and so is kept in a private file only."""
    return hashlib.sha256(value.encode()).hexdigest()


def shown(name: str, value: str) -> str:
    """A value for people."""
    if name == ENVIRONMENT:
        return "other variables" if value != "nothing" else "nothing"
    return hide(name.removeprefix(OPTION), value)


def request(found: Difference, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The members of UpdateEnvironment (or CreateEnvironment) that do it; {} if nothing changes."""
    members: dict[str, Any] = {}
    for name, member in MEMBERS.items():
        if name in found.change:
            members[member] = int(found.change[name]) if member in NUMBERS else found.change[name]
    logging = environment.get("LoggingConfiguration") or {}
    levels = {
        module: _level(found.change[f"logs.{name}"], logging.get(module) or {})
        for name, module in MODULES.items()
        if f"logs.{name}" in found.change
    }
    if levels:
        members["LoggingConfiguration"] = levels
    options = {name: value for name, value in found.change.items() if name.startswith(OPTION)}
    if options or found.remove:
        kept = dict(environment.get("AirflowConfigurationOptions") or {})
        for name in found.remove:
            kept.pop(name.removeprefix(OPTION), None)
        members["AirflowConfigurationOptions"] = kept | {
            name.removeprefix(OPTION): value for name, value in options.items()
        }
    return members


def _level(wanted: str, now: Mapping[str, Any]) -> dict[str, Any]:
    off = wanted == "off"
    return {"Enabled": not off, "LogLevel": str(now.get("LogLevel", LEVEL_OF_OFF)) if off else wanted}
