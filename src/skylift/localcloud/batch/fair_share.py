"""Whose turn it is in a job queue with a fair-share policy. Pure, but for the ledger, which remembers what was used.

Source: Batch user guide, "Fair-share scheduling policies"; API reference, FairsharePolicy and ShareAttributes. Simpler
than AWS: what counts is the vCPUs of attempts (whole while they run, then less and less until the policy's decay time
has passed), not how long they ran; and ``computeReservation`` is stored, but reserves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skylift.core.clock import Clock
from skylift.localcloud.batch.shapes import executing, refused
from skylift.localcloud.ports import Document

LEAST_DECAY_SECONDS, MOST_DECAY_SECONDS = 600, 604_800
_GRAIN = 10.0
"""Seconds: attempts that end within them are added up."""
_IDENTIFIER = re.compile(r"[a-zA-Z0-9]{1,255}\*?")
_MOST_SHARES, _MOST_PRIORITY = 500, 9999
_LEAST_WEIGHT, _MOST_WEIGHT, _MOST_RESERVED = 0.0001, 999.9999, 99


def weight_of(share: str, policy: Document) -> float:
    """The weight factor of a share identifier: its own, or that of its prefix; a lower one gets more."""
    for one in policy.get("shareDistribution", ()):
        name = one["shareIdentifier"]
        if share == name or (name.endswith("*") and share.startswith(name[:-1])):
            return float(one.get("weightFactor", 1.0))
    return 1.0


def ranked(used: Mapping[str, float], oldest: Mapping[str, int], policy: Document) -> list[str]:
    """Share identifiers in the order of their turns: who has used least for its weight, then whose job is oldest.

    Args:
        used: what each has used, in vCPUs.
        oldest: number of the next job of each that has one.
        policy: the ``fairsharePolicy``.
    """
    return sorted(oldest, key=lambda one: (used.get(one, 0.0) * weight_of(one, policy), oldest[one]))


class ShareLedger:
    """What each share identifier of each job queue has used, in this process: a restart forgets what has ended."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[tuple[str, str], float] = {}
        self._ended: dict[tuple[str, str], dict[float, float]] = {}

    def take(self, queue: str, share: str, vcpus: float) -> None:
        """An attempt takes capacity."""
        if share:
            self._running[queue, share] = self._running.get((queue, share), 0.0) + vcpus

    def leave(self, queue: str, share: str, vcpus: float) -> None:
        """It gives its capacity back."""
        if share:
            key, bucket = (queue, share), self._clock() // _GRAIN * _GRAIN
            self._running[key] = max(0.0, self._running.get(key, 0.0) - vcpus)
            ended = self._ended.setdefault(key, {})
            ended[bucket] = ended.get(bucket, 0.0) + vcpus
            for old in [at for at in ended if at < bucket - MOST_DECAY_SECONDS]:
                del ended[old]

    def used(self, queue: str, share: str, policy: Document) -> float:
        """vCPUs of what runs, and less and less of what has ended."""
        window = policy.get("shareDecaySeconds") or LEAST_DECAY_SECONDS
        now, ended = self._clock(), self._ended.get((queue, share), {})
        faded = sum(vcpus * max(0.0, 1.0 - max(0.0, now - at) / window) for at, vcpus in ended.items())
        return self._running.get((queue, share), 0.0) + faded


def check_policy(request: Mapping[str, Any]) -> None:
    """Refuses a scheduling policy that Batch would not accept (``ClientException``)."""
    if request.get("quotaSharePolicy"):
        raise refused("quotaSharePolicy is not supported by skylift's local cloud.")
    policy = request.get("fairsharePolicy") or {}
    if not 0 <= policy.get("shareDecaySeconds", 0) <= MOST_DECAY_SECONDS:
        raise executing(f"shareDecaySeconds must be between 0 and {MOST_DECAY_SECONDS}.")
    if not 0 <= policy.get("computeReservation", 0) <= _MOST_RESERVED:
        raise executing(f"computeReservation must be between 0 and {_MOST_RESERVED}.")
    shares = policy.get("shareDistribution", ())
    if len(shares) > _MOST_SHARES:
        raise executing(f"shareDistribution can have at most {_MOST_SHARES} share identifiers.")
    names = sorted(one["shareIdentifier"] for one in shares)
    for one in shares:
        check_identifier(one["shareIdentifier"])
        if not _LEAST_WEIGHT <= one.get("weightFactor", 1.0) <= _MOST_WEIGHT:
            raise executing(f"weightFactor must be between {_LEAST_WEIGHT} and {_MOST_WEIGHT}.")
    for place, name in enumerate(names):
        if any(_covers(name, other) or _covers(other, name) for other in names[place + 1 :]):
            raise executing("The share identifiers of a fair-share policy must not overlap.")


def check_shared_job(request: Mapping[str, Any], queue: Document) -> None:
    """Refuses a submission whose share does not fit the queue (``ClientException``)."""
    if "schedulingPolicyArn" not in queue:
        for member in ("shareIdentifier", "schedulingPriorityOverride"):
            if member in request:
                raise executing(f"{member} cannot be specified: the job queue has no scheduling policy.")
        return
    if "shareIdentifier" not in request:
        raise executing("shareIdentifier must be specified: the job queue has a scheduling policy.")
    check_identifier(request["shareIdentifier"])
    if not 0 <= request.get("schedulingPriorityOverride", 0) <= _MOST_PRIORITY:
        raise executing(f"schedulingPriorityOverride must be between 0 and {_MOST_PRIORITY}.")


def check_identifier(name: str) -> None:
    """Refuses what is no share identifier (``ClientException``)."""
    if not _IDENTIFIER.fullmatch(name):
        raise executing("A shareIdentifier has up to 255 letters and digits, and can end with an asterisk (*).")


def _covers(name: str, other: str) -> bool:
    return name == other or (name.endswith("*") and other.removesuffix("*").startswith(name[:-1]))
