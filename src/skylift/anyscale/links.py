"""Buttons of Airflow's UI that lead to a job's or a service's page at Anyscale."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink

JOB_PAGE = "_link_AnyscaleJobLink"
SERVICE_PAGE = "_link_AnyscaleServiceLink"
"""XComs where Airflow's UI looks for the buttons' addresses. The operator writes them as soon as it knows them, so that
the button is there while the Airflow task waits."""


class AnyscaleJobLink(BaseOperatorLink):
    """To the job's page."""

    name = "Anyscale job"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """The address; empty before the job was submitted."""
        return _address(ti_key, JOB_PAGE)


class AnyscaleServiceLink(BaseOperatorLink):
    """To the service's page."""

    name = "Anyscale service"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """The address; empty before the rollout began."""
        return _address(ti_key, SERVICE_PAGE)


def _address(ti_key: Any, key: str) -> str:
    from airflow.sdk.execution_time.xcom import XCom  # lazy: only a worker needs it, not the parsing of a DAG

    found = XCom.get_value(ti_key=ti_key, key=key)
    return str(found or "")
