"""What Airflow's provider registry needs from us: our executors, and the section ``[skylift]`` with its options.

The amazon provider declares ``[aws_ecs_executor]`` and ``[aws_batch_executor]``. Two providers that declare the same
section clash, so these are not here. Undeclared options still work (``conf.get`` with a fallback); the declaration
makes ``airflow config`` show them.
"""

from __future__ import annotations

from typing import Any

from skylift.core.settings import Setting
from skylift.executors.options.settings import OWN_SECTION, OWN_SETTINGS

KINDS = {bool: "boolean", int: "integer", float: "float"}


def get_provider_info() -> dict[str, Any]:
    """In the shape of Airflow's ``provider_info.schema.json``; the entry point ``apache_airflow_provider`` names it."""
    return {
        "package-name": "skylift",
        "name": "Skylift",
        "description": "Executors that run every Airflow task in its own container on AWS.",
        # Without it, Airflow's command line warns, and imports the executor to find commands.
        "cli": ["skylift.executors.provider.get_cli_commands"],
        "executors": ["skylift.executors.ecs.AwsEcsExecutor", "skylift.executors.batch.AwsBatchExecutor"],
        "config": {
            OWN_SECTION: {
                "description": "Options of skylift's executors, beside those of [aws_ecs_executor] and "
                "[aws_batch_executor].",
                "options": {setting.name: _option(setting) for setting in OWN_SETTINGS},
            }
        },
    }


def get_cli_commands() -> list[Any]:
    """No commands of our own in Airflow's command line."""
    return []


def _option(setting: Setting[Any]) -> dict[str, Any]:
    return {
        "description": setting.meaning,
        "version_added": "0.1.0",
        "type": KINDS.get(type(setting.default), "string"),
        "example": None,
        # Airflow would read a bare {} as a placeholder.
        "default": "" if setting.default in ({}, []) else str(setting.default),
    }
