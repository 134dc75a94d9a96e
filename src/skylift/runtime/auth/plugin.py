"""Airflow's plugin with our pages for signing in and out, and the command line over HTTP: under ``/aws_mwaa``.

Every Airflow process loads plugins, so nothing is imported unless this is an environment's API server: only that has
the control plane's public key.
"""

from __future__ import annotations

import os
import time
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from skylift.core.containers import ENVIRONMENT, TOKEN_KEY


def _apps() -> list[dict[str, Any]]:
    if not (key := TOKEN_KEY.read(os.environ)):
        return []
    from skylift.runtime.auth.spent import SpentTokens  # lazy: only in an API server
    from skylift.runtime.auth.tokens import TokenReader  # lazy: only in an API server
    from skylift.runtime.auth.web import web_app  # lazy: only in an API server

    environment = ENVIRONMENT.read(os.environ)
    reader = TokenReader(key, environment, SpentTokens(), time.time)
    return [{"app": web_app(reader, environment), "url_prefix": "/aws_mwaa", "name": "skylift access"}]


def _middlewares() -> list[dict[str, Any]]:
    if not TOKEN_KEY.read(os.environ):
        return []
    from skylift.runtime.auth.web import OtherPath  # lazy: only in an API server

    return [{"middleware": OtherPath, "args": [], "kwargs": {}, "name": "skylift access under /pluginsv2"}]


class AccessPlugin(AirflowPlugin):
    """The addresses, as MWAA's own plugin has them."""

    name = "skylift_access"
    fastapi_apps = _apps()
    fastapi_root_middlewares = _middlewares()
