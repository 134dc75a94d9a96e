"""The sessions of Airflow's AWS hooks in an environment's containers: ``[aws] session_factory``."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import BaseSessionFactory

from skylift.aws import models


class SessionFactory(BaseSessionFactory):
    """The provider's factory, except that sessions without a connection (such as the log handler's) share the AWS
    models that they load."""

    def create_session(self, deferrable: bool = False) -> Any:
        """Like the provider's method."""
        if self.conn or deferrable:
            return super().create_session(deferrable=deferrable)
        return models.session(self.region_name)
