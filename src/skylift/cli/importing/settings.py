"""What ``skylift.toml`` says of an environment that is imported. Pure: GetEnvironment's answer in, text out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skylift.cli.settings_file.difference import MEMBERS, NUMBERS
from skylift.cli.settings_file.schema import MODULES
from skylift.cli.terminal import counted
from skylift.control.airflow_config import variable
from skylift.control.api.validation import CLASSES
from skylift.core.secrecy import HIDDEN, hide

NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class ListedObjects:
    """What Airflow's REST API lists: connections without passwords, variables, pools; each as Airflow has it.

    Attributes:
        refused: why something could not be listed.
    """

    connections: tuple[Mapping[str, Any], ...] = ()
    variables: tuple[Mapping[str, Any], ...] = ()
    pools: tuple[Mapping[str, Any], ...] = ()
    refused: tuple[str, ...] = ()


@dataclass
class ImportedSettings:
    """Texts of two files, and what the user must know."""

    toml: str
    dotenv: str
    notes: list[str] = field(default_factory=list)


def settings_of(environment: Mapping[str, Any], state: ListedObjects, offered: str) -> ImportedSettings:
    """The files of a project.

    Args:
        offered: the Airflow version of our image.
    """
    options = dict(environment.get("AirflowConfigurationOptions") or {})
    secret = {name: value for name, value in options.items() if hide(name, value) != value}
    lines = [
        f"# Of the environment {environment['Name']} ({environment.get('Arn', 'without ARN')}).",
        *_head(environment),
    ]
    lines += [
        "",
        "[options]",
        *(f"{_key(name)} = {_text(value)}" for name, value in sorted(options.items()) if name not in secret),
    ]
    if secret:
        lines.append(f"# In .env, as they look secret: {', '.join(sorted(secret))}")
    lines += ["", "[logs]", *_logs(environment)]
    lines += ["", "[pools]", *_pools(state.pools)]
    lines += ["", "[variables]", *_variables(state.variables)]
    lines += [
        "",
        "# Airflow does not tell passwords. Put them into .env, then remove the # of the line.",
        "[connections]",
    ]
    lines += _connections(state.connections)
    dotenv = ["# Git must not have this file."]
    dotenv += [f"{variable(name)}={_quoted(value)}" for name, value in sorted(secret.items())]
    return ImportedSettings("\n".join(lines) + "\n", "\n".join(dotenv) + "\n", _notes(environment, state, offered))


def _head(environment: Mapping[str, Any]) -> Iterable[str]:
    yield f"name = {_text(environment['Name'])}"
    yield '# As on MWAA: Airflow tasks run on workers. ["ecs"] gives each a container of its own.'
    yield 'executors = ["celery"]'
    size = environment.get("EnvironmentClass", "mw1.small")
    yield f"class = {_text(size)}" if size in CLASSES else f"# class = {_text(size)}  # not known here"
    for name, member in MEMBERS.items():
        value = environment.get(member)
        if value is None or name in {"class", "role"} or "." in name:
            continue
        yield f"{name} = {int(value) if member in NUMBERS else _text(str(value))}"
    for table in ("workers", "webservers"):
        counts = {one: environment.get(MEMBERS[f"{table}.{one}"]) for one in ("min", "max")}
        told = ", ".join(f"{one} = {int(number)}" for one, number in counts.items() if number is not None)
        if told:
            yield f"{table} = {{ {told} }}"


def _logs(environment: Mapping[str, Any]) -> Iterable[str]:
    logging = environment.get("LoggingConfiguration") or {}
    for name, module in MODULES.items():
        one = logging.get(module)
        if one:
            yield f"{name} = {_text(one['LogLevel'] if one.get('Enabled') else 'off')}"


def _pools(pools: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for one in pools:
        if one["name"] != "default_pool":
            yield f"{_key(one['name'])} = {int(one['slots'])}"


def _variables(variables: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for one in variables:
        value = one.get("value")
        if not NAME.fullmatch(one["key"]):
            yield f"# {_key(one['key'])}: only letters, digits and _ are possible here; skylift variables set takes it"
        elif value is None or value == HIDDEN or hide(one["key"], value) != value:
            yield f'# {one["key"]} = {{ env = "VAR_{one["key"].upper()}" }}'
        else:
            yield f"{one['key']} = {_text(value)}"


def _connections(connections: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for one in connections:
        name = one["connection_id"]
        if not NAME.fullmatch(name):
            yield f"# {_key(name)}: only letters, digits and _ are possible here; skylift connections set takes it"
            continue
        members = [f"{key} = {_text(one[key])}" for key in ("conn_type", "host", "login", "schema") if one.get(key)]
        members += [f"port = {int(one['port'])}"] if one.get("port") else []
        members += [f'password = {{ env = "CONN_{name.upper()}" }}'] if one.get("login") else []
        told = "" if not one.get("extra") else "  # it also has extra"
        yield f"# {name} = {{ {', '.join(members)} }}{told}"


def _notes(environment: Mapping[str, Any], state: ListedObjects, offered: str) -> list[str]:
    version = str(environment.get("AirflowVersion", offered))
    found = []
    if version != offered:
        more = " Airflow 3 reads DAGs differently: see the AIR warnings of skylift check." if version < "3" else ""
        found.append(f"it has Airflow {version}; environments here have {offered}.{more}")
    if key := environment.get("KmsKey"):
        found.append(f"its KMS key {key} is not used here")
    if role := environment.get("ExecutionRoleArn"):
        found.append(
            f"its role {role} stays where it is: skylift makes another; give it more rights with [[statements]]"
        )
    found.append("its network, its endpoints and its access mode are not taken over")
    if state.connections:
        found.append(f"{counted(len(state.connections), 'connection')}: Airflow tells no passwords; see [connections]")
    if state.variables:
        found.append("variables whose names look secret are switched off in [variables]: put their values into .env")
    return found + [f"not listed: {one}" for one in state.refused]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _quoted(value: str) -> str:
    return f"'{value}'" if re.search(r"[\s#'\"]", value) and "'" not in value else value
