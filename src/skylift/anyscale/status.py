"""Jobs and services as DAGs ask for them, with the words of Anyscale's own client for their states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import skylift.anyscale.wire as wire
from skylift.anyscale.refusals import required


@dataclass(frozen=True)
class AnyscaleJobStatus:
    """A job.

    Attributes:
        state: ``STARTING``, ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TERMINATED``, or ``UNKNOWN``.
        message: why it is there, in Anyscale's words; may be empty.
        record: all that Anyscale says; ``state.current_state`` in it is its API's word.
    """

    id: str
    name: str
    state: str
    message: str
    record: Mapping[str, Any]

    @staticmethod
    def of(record: Mapping[str, Any]) -> AnyscaleJobStatus:
        """From Anyscale's record. Raises ``AnyscaleRefused``."""
        doing = "the question for a job"
        present = str(required(required(record, "state", doing), "current_state", doing))
        state = wire.JOB_WORDS.get(present, "UNKNOWN")
        return AnyscaleJobStatus(str(record["id"]), str(record.get("name") or ""), state, reason_of(record), record)


@dataclass(frozen=True)
class AnyscaleServiceStatus:
    """A service.

    Attributes:
        state: ``STARTING``, ``RUNNING``, ``ROLLING_OUT``, ``UNHEALTHY``, ``TERMINATED`` ...
        message: what is wrong, in Anyscale's words; may be empty.
        query_url: where it serves.
        record: all that Anyscale says.
    """

    id: str
    name: str
    state: str
    message: str
    query_url: str
    record: Mapping[str, Any]

    @staticmethod
    def of(record: Mapping[str, Any]) -> AnyscaleServiceStatus:
        """From Anyscale's record. Raises ``AnyscaleRefused``."""
        state = required(record, "current_state", "the question for a service")
        words = (record.get(name) or "" for name in ("name", "error_message", "base_url"))
        name, message, url = map(str, words)
        return AnyscaleServiceStatus(str(record["id"]), name, str(state), message, url, record)


def reason_of(record: Mapping[str, Any]) -> str:
    """Why a job is where it is, in Anyscale's words."""
    state = record.get("state") or {}
    words = [str(state[name]).strip() for name in ("error", "operation_message") if state.get(name)]
    return " ".join(dict.fromkeys(words))
