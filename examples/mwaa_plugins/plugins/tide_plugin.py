"""The plugin: gives Airflow a macro, and has a row on the page of plugins."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from hooks.tide_hook import height


class TidePlugin(AirflowPlugin):
    """``{{ macros.tides.height(hour) }}`` in templates."""

    name = "tides"
    macros = [height]  # noqa: RUF012 - Airflow's own form
