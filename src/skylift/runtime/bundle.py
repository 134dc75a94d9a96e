"""The DAG bundle of an environment: a folder in S3, mirrored into the container.

Once per ``bundle_refresh_check_interval`` Airflow's DAG processor checks whether each bundle is due: it compares the
age of the last refresh with ``refresh_interval``. A *due* bundle costs much more than a listing: a scan of all files,
two queries for vanished DAGs, an update, and three log lines. So ``refresh_interval`` lists the prefix in S3 (one
ListObjectsV2) and returns 0 when something changed, and the configured number of seconds otherwise. So a new DAG is
seen within a second, and an idle environment stays idle. Measured in ``docs/decisions/0002-dag-latency.md``.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.dag_processing.bundles.base import BaseDagBundle

from skylift.core.containers import DAG_CACHE
from skylift.core.errors import SkyliftError
from skylift.runtime.mirror import Mirror
from skylift.runtime.object_cache import ObjectCache


class S3Bundle(BaseDagBundle):
    """DAGs from ``s3://bucket/prefix``.

    Args:
        url: where the DAGs are.
        kwargs: Airflow's own: ``name``, ``refresh_interval`` (of a prefix in which nothing changes, seconds),
            ``version``, ``view_url_template``.
    """

    supports_versioning = False

    def __init__(self, *, url: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        shared = DAG_CACHE.read(os.environ)
        self._mirror = Mirror(url, Path(self.base_dir), cache=ObjectCache(Path(shared)) if shared else None)

    @property
    def path(self) -> Path:
        """The folder with the DAG files."""
        return self._mirror.folder

    @property
    def refresh_interval(self) -> int:
        """Seconds between refreshes: 0 while S3 and the folder differ (see the file's docstring)."""
        if not self.is_initialized:
            return self._quiet_interval
        try:
            return 0 if self._mirror.differs() else self._quiet_interval
        except SkyliftError:
            return 0  # S3 cannot be read: refresh() raises the error, which Airflow logs and survives

    @refresh_interval.setter
    def refresh_interval(self, seconds: int) -> None:
        self._quiet_interval = seconds

    def initialize(self) -> None:
        """Updates the folder. Called in the DAG processor, and in each container that runs a DAG's task."""
        self.refresh()
        super().initialize()

    def refresh(self) -> None:
        """Makes the folder equal to the prefix in S3. Safe in several processes at once.

        Raises:
            Refused, Unavailable: S3 refused or did not answer; Airflow logs it and tries again.
        """
        with self.lock():
            self._mirror.refresh()

    def get_current_version(self) -> None:
        """None: the bundle has no versions; each task attempt uses the newest files, as on MWAA."""
        return

    def __repr__(self) -> str:
        return f"S3Bundle(name={self.name!r}, url={self._mirror.url!r})"
