"""What the fake remembers: jobs, their runs, services. One JSON file, replaced as a whole at each change."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skylift.core.errors import Refused


@dataclass
class RunRecord:
    """One try of a job.

    Attributes:
        task: ARN of its ECS task; empty before it was started.
        key: what its container shows to get its description.
        stream: of its log.
    """

    id: str
    key: str
    task: str = ""
    stream: str = ""
    state: str = "PENDING"


@dataclass
class JobRecord:
    """One job.

    Attributes:
        body: as it was submitted.
        ending: somebody asked to end it.
    """

    id: str
    body: dict[str, Any]
    created_at: str
    creator: str
    state: str = "PENDING"
    since: str = ""
    error: str = ""
    ending: bool = False
    runs: list[RunRecord] = field(default_factory=list)


@dataclass
class ServiceRecord:
    """One service; it has states, and serves nothing."""

    id: str
    name: str
    body: dict[str, Any]
    state: str
    since: float
    error: str = ""
    version: int = 1
    canary: bool = False


@dataclass
class Records:
    """All of it.

    Attributes:
        path: the file.
    """

    path: Path
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    services: dict[str, ServiceRecord] = field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Records:
        """From the file; empty if there is none. Raises ``Refused`` if it is damaged."""
        try:
            return Records._load(path)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                f"{path} is damaged ({type(error).__name__}: {error}), so the fake of Anyscale cannot start. Move it "
                "away to begin without jobs and services: skylift up --with-anyscale"
            ) from error

    @staticmethod
    def _load(path: Path) -> Records:
        records = Records(path)
        if path.exists():
            found = json.loads(path.read_text())
            for one in found["jobs"]:
                runs = [RunRecord(**run) for run in one.pop("runs")]
                records.jobs[one["id"]] = JobRecord(**one, runs=runs)
            for one in found["services"]:
                records.services[one["name"]] = ServiceRecord(**one)
        return records

    def save(self) -> None:
        """Replaces the file, readable only by its owner."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self.path.with_name(f"{self.path.name}.new")
        content = {
            "jobs": [asdict(one) for one in self.jobs.values()],
            "services": [asdict(one) for one in self.services.values()],
        }
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(content, stream)
        beside.replace(self.path)


def new_id(prefix: str) -> str:
    """As Anyscale's look: ``prodjob_k3v9...``."""
    return f"{prefix}_{secrets.token_hex(12)}"


def now() -> str:
    """The time in Anyscale's form."""
    return datetime.now(UTC).isoformat()
