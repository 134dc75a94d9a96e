"""Sessions of Airflow's AWS hooks in an environment's containers: ``[aws] session_factory``."""

from __future__ import annotations

from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import BaseSessionFactory

from skylift.aws import models


class SessionFactory(BaseSessionFactory):
    """The provider's own, but sessions without a connection, as the log handler's, share what they read of AWS's
    models."""

    def create_session(self, deferrable: bool = False) -> Any:
        """As the provider's."""
        if self.conn or deferrable:
            return super().create_session(deferrable=deferrable)
        return models.session(self.region_name)
