"""The contract between local cloud and runtime: what a template depends on. A template is a preloaded process from
which containers are forked.

Airflow reads most of its configuration when it is imported. So a template is made for certain values of certain
variables, and only containers with the same values may come from it. The local cloud selects the template by these
variables. The runtime checks them again before it continues in a fork, because a startup script may have changed them.
Neither imports the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MODULE = "skylift.runtime.template"
"""Prepares templates of skylift's own images, and acts in their forks."""

AIRFLOW = "AIRFLOW__CORE__EXECUTOR"
"""Who has no executor configured is a one-off job (migration, building a layer): a template for it would not pay."""

LATE = (
    "AIRFLOW__LOGGING__LOGGING_LEVEL",
    "AIRFLOW__LOGGING__NAMESPACE_LEVELS",
    "AIRFLOW__LOGGING__REMOTE_LOGGING",
    "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER",
    "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID",
    "AIRFLOW__LOGGING__DELETE_LOCAL_LOGS",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__PARALLELISM",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
)
"""Options that are read after the fork only (``runtime/template.py`` sees to it): they may differ, so that Airflow
tasks, which have no database and no keys, and all components of an environment share one template and its memory."""

_BASE = re.compile(
    r"AIRFLOW__.+|PYTHON.+|LD_.+|MALLOC_.+|LC_.+|LANG|TZ|VIRTUAL_ENV|SKYLIFT_LAYER|SKYLIFT_LAYER_CACHE|AIRFLOW_CONFIG"
)

_HINTS = re.compile(
    r"AWS_(ENDPOINT_URL.*|REGION|DEFAULT_REGION|EXECUTION_ENV|MAX_ATTEMPTS|RETRY_MODE|CA_BUNDLE)"
    r"|AWS_(DISABLE_HOST_PREFIX_INJECTION|EC2_METADATA_DISABLED)"
    r"|REQUESTS_CA_BUNDLE|SSL_CERT_(FILE|DIR)|(?i:(https?|no|all)_proxy)"
)


def base_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a template depends on; it gets no others. Sorted by name."""
    return {name: environment[name] for name in sorted(environment) if _BASE.fullmatch(name) and name not in LATE}


def hints_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for which a template may prepare; a container with other values does the work again.

    Clients of AWS that a template made are given out only where all variables are equal that they read: so every one
    that the local cloud gives its containers belongs here.
    """
    return {name: value for name, value in environment.items() if _HINTS.fullmatch(name)}


def wants_template(environment: Mapping[str, str]) -> bool:
    """Whether a container with this environment is one of many, so that a template pays."""
    return AIRFLOW in environment
