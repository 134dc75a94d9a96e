"""What Airflow's provider registry is told about this distribution: executors, Anyscale's connection, options.

The entry point ``apache_airflow_provider`` names ``get_provider_info``. Airflow calls it in every process, so that it
only names modules and imports none of Anyscale's.
"""

from __future__ import annotations

from typing import Any

from skylift.executors import provider

ANYSCALE: dict[str, Any] = {
    "hooks": [{"integration-name": "Anyscale", "python-modules": ["skylift.anyscale.hook"]}],
    "operators": [
        {"integration-name": "Anyscale", "python-modules": ["skylift.anyscale.jobs", "skylift.anyscale.services"]}
    ],
    "triggers": [{"integration-name": "Anyscale", "python-modules": ["skylift.anyscale.triggers"]}],
    "extra-links": ["skylift.anyscale.links.AnyscaleJobLink", "skylift.anyscale.links.AnyscaleServiceLink"],
    "connection-types": [
        {
            "connection-type": "anyscale",
            "hook-name": "Anyscale",
            "hook-class-name": "skylift.anyscale.hook.AnyscaleHook",
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "port", "login"],
                "relabeling": {"password": "API Key", "host": "Anyscale host (optional)"},
                "placeholders": {
                    "host": "https://console.anyscale.com",
                    "extra": '{"working_dir_bucket": "s3://my-bucket/prefix"} (optional)',
                },
            },
        }
    ],
}


def get_provider_info() -> dict[str, Any]:
    """In the shape of Airflow's ``provider_info.schema.json``."""
    return {
        **provider.get_provider_info(),
        "description": "Executors that run every Airflow task in its own container on AWS; jobs and services of "
        "Anyscale.",
        **ANYSCALE,
    }
