"""Hides an environment's secrets on the command line: ``***``, unless ``--show-secrets`` is given. The API hides
nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from skylift.cli import environments
from skylift.core.secrecy import hide_in, hide_options, secrets_of

OPTIONS = "AirflowConfigurationOptions"
SHOW_SECRETS = click.option("--show-secrets", is_flag=True, help="Show values that look like secrets as they are.")


def hidden(environment: Mapping[str, Any]) -> dict[str, Any]:
    """An environment as from GetEnvironment, with its secrets hidden."""
    options: Mapping[str, str] = environment.get(OPTIONS) or {}
    secrets = secrets_of(options)

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shown(one) for name, one in value.items()}
        if isinstance(value, list):
            return [shown(one) for one in value]
        return hide_in(value, secrets) if isinstance(value, str) else value

    found = {name: shown(value) for name, value in environment.items() if name != OPTIONS}
    return {name: hide_options(options) if name == OPTIONS else found[name] for name in environment}


def hiding(mwaa: Any, name: str, write: Callable[[str], None]) -> Callable[[str], None]:
    """``write`` for lines of an environment's logs: user code may print its options, and programs print addresses."""
    secrets = secrets_in(environments.find(mwaa, name) or {})
    return lambda text: write(hide_in(text, secrets))


def secrets_in(environment: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts in an environment's options that look like secrets."""
    return secrets_of(environment.get(OPTIONS) or {})
