"""Plugins of Airflow 2's web server (Flask blueprints, views, menu links) in an Airflow 3 without the FAB provider.

Airflow 3 mounts them with FAB, and without it the API server does not start at all. So without FAB they are left out,
and the log says so; whatever else these plugins bring (macros, listeners, timetables) stays.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

from airflow import plugins_manager

_log = logging.getLogger(__name__)


def leave_out_without_fab() -> None:
    """Call before the API server mounts plugins."""
    if find_spec("airflow.providers.fab") is not None:
        return
    found = _parts()
    if not any(found):
        return
    names = ", ".join(sorted({str(one.get("name", one)) for part in found for one in part if isinstance(one, dict)}))
    _log.warning(
        "These plugins have pages for Airflow 2's web server (Flask), which Airflow 3 shows only with FAB: %s. "
        "The pages are left out. To have them, put apache-airflow-providers-fab into requirements.txt; or make them a "
        "fastapi_apps or external_views of the plugin.",
        names or "(without a name)",
    )
    for part in found:
        part.clear()


def _parts() -> list[list[Any]]:
    """Airflow's own lists: what is taken out of them is not mounted."""
    if hasattr(plugins_manager, "get_flask_plugins"):  # since 3.2
        return list(plugins_manager.get_flask_plugins())
    plugins_manager.initialize_flask_plugins()
    known = ("flask_blueprints", "flask_appbuilder_views", "flask_appbuilder_menu_links")
    return [part for name in known if (part := getattr(plugins_manager, name)) is not None]
