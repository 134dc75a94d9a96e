"""Batch's operations that end jobs: TerminateJob and CancelJob, one by one or up to 50 at once."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from collections.abc import Callable

from skylift.localcloud.batch.model import BatchJob
from skylift.localcloud.batch.operations import BatchOperations, Request
from skylift.localcloud.batch.shapes import refused
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

_MOST_AT_ONCE = 50
_LONGEST_REASON = 1024


class EndingOperations(BatchOperations):
    """Unknown and ended jobs count as successfully processed (API reference of TerminateJobs)."""

    def terminate_job(self, caller: Caller, request: Request) -> Document:
        """Ends a job in any state: what runs gets SIGTERM, then SIGKILL. It is not retried."""
        self._each([request["jobId"]], request["reason"], self.engine.terminate)
        return {}

    def cancel_job(self, caller: Caller, request: Request) -> Document:
        """Ends a job that has not begun; does nothing to one that has."""
        self._each([request["jobId"]], request["reason"], self.engine.cancel)
        return {}

    def terminate_jobs(self, caller: Caller, request: Request) -> Document:
        """TerminateJob for up to 50 jobs."""
        return self._each(request["jobs"], request["reason"], self.engine.terminate)

    def cancel_jobs(self, caller: Caller, request: Request) -> Document:
        """CancelJob for up to 50 jobs."""
        return self._each(request["jobs"], request["reason"], self.engine.cancel)

    def _each(self, names: list[str], reason: str, end: Callable[[BatchJob, str], None]) -> Document:
        if not 1 <= len(names) <= _MOST_AT_ONCE:
            raise refused(f"jobs must have 1 to {_MOST_AT_ONCE} entries.")
        if not 1 <= len(reason) <= _LONGEST_REASON:
            raise refused(f"reason must have 1 to {_LONGEST_REASON} characters.")
        for name in names:
            job = self.store.find(name)
            if job is not None:
                end(job, reason)
        return {"successful": names, "errors": []}
