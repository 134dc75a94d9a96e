"""A compute without a cloud, for tests: it fulfils the contract of ``Compute`` and does what a test tells it.

The same test that the local cloud's ECS passes checks it (``tests/contract/test_compute_contract.py``).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from threading import Lock

from skylift.core.attempt import Attempt, Compute, Observation, Phase, Submission


class FakeCompute(Compute):
    """Attempts in memory. Thread-safe.

    Attributes:
        submitted: tokens of all submit calls, repeated ones too.
        calls: how many attempts each submit call had.
        documents: the workload of each placed attempt, by ref.
        stops: refs of all stop calls.
        finds: external ids of all find calls.
        looks: refs of each observe call.
        listings: how many census calls there were.
        renewals: refs of all renew calls.
        history: every change of every container, as an event would report it.
        hidden: refs that the service says it does not know, although they exist (eventual consistency).
        kin_by: the label whose value is the group key; "" for none.
        by_reference: whether the workload of a placed attempt can be renewed.
        explanations: what is known about an end, by ref.
        refusals: errors for the next calls, by verb (``submit``, ``observe``, ``stop`` ...); for submit, with
            ``lost_answer``, the attempt is placed anyway.
    """

    def __init__(self, most_per_submit: int = 1, most_per_observe: int = 100) -> None:
        self.most_per_submit = most_per_submit
        self.most_per_observe = most_per_observe
        self.submitted: list[str] = []
        self.calls: list[int] = []
        self.documents: dict[str, str] = {}
        self.stops: list[str] = []
        self.finds: list[str] = []
        self.looks: list[tuple[str, ...]] = []
        self.listings = 0
        self.renewals: list[str] = []
        self.history: list[Observation] = []
        self.hidden: set[str] = set()
        self.kin_by = ""
        self.by_reference = False
        self.explanations: dict[str, str] = {}
        self.refusals: dict[str, list[Exception | Submission]] = {}
        self.lost_answer = False
        self._seen: dict[str, Observation] = {}
        self._lock = Lock()

    def group_key(self, attempt: Attempt) -> Hashable | None:
        return attempt.labels.get(self.kin_by) if self.kin_by else None

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        self.calls.append(len(attempts))
        return [self._submit(attempt) for attempt in attempts]

    def observe(self, refs: Sequence[str]) -> list[Observation]:
        with self._lock:
            self.looks.append(tuple(refs))
            self._refuse("observe")
            missing = {ref for ref in refs if ref not in self._seen or ref in self.hidden}
            return [Observation(ref, Phase.MISSING) if ref in missing else self._seen[ref] for ref in refs]

    def stop(self, ref: str, why: str) -> None:
        with self._lock:
            self.stops.append(ref)
            self._refuse("stop")
            seen = self._seen.get(ref)
            if seen is not None and seen.phase is not Phase.STOPPED:
                code = 143 if seen.began else None
                self._set(replace(seen, phase=Phase.STOPPED, exit_code=code, by_request=True, reason=why))

    def find(self, attempt: Attempt) -> list[str]:
        with self._lock:
            self.finds.append(attempt.external_id)
            self._refuse("find")
            return [ref for ref in self._seen if owner_of(ref) == attempt.external_id and ref not in self.hidden]

    def census(self) -> dict[str, list[str]]:
        with self._lock:
            self.listings += 1
            self._refuse("census")
            found: dict[str, list[str]] = {}
            for ref, seen in self._seen.items():
                if seen.phase is not Phase.STOPPED and ref not in self.hidden:
                    found.setdefault(owner_of(ref), []).append(ref)
            return found

    def renew(self, attempt: Attempt, ref: str) -> bool:
        with self._lock:
            self.renewals.append(ref)
            self._refuse("renew")
            if self.by_reference:
                self.documents[ref] = attempt.document()
            return self.by_reference

    def explain(self, ref: str) -> str:
        with self._lock:
            self._refuse("explain")
            return self.explanations.get(ref, "")

    # What a test does to attempts.

    def alive(self) -> list[str]:
        """Refs that are not stopped."""
        return [ref for ref, seen in list(self._seen.items()) if seen.phase is not Phase.STOPPED]

    def seen(self, ref: str) -> Observation:
        """The real state of a container."""
        return self._seen[ref]

    def run(self, ref: str) -> None:
        """Its container starts."""
        self._set(Observation(ref, Phase.RUNNING, began=True))

    def exit(self, ref: str, code: int, reason: str = "") -> None:
        """Its container ends."""
        self._set(Observation(ref, Phase.STOPPED, began=True, exit_code=code, reason=reason))

    def fail_to_start(self, ref: str, reason: str = "no image", *, shortage: bool = False) -> None:
        """Its container never starts."""
        self._set(Observation(ref, Phase.STOPPED, reason=reason, shortage=shortage))

    def vanish(self, ref: str, reason: str = "host lost") -> None:
        """Its container started and has ended, but nobody knows how: no exit code, no containers."""
        self._set(Observation(ref, Phase.STOPPED, began=True, reason=reason))

    def forget(self, ref: str) -> None:
        """The service no longer knows it, like a job that ended a day ago."""
        del self._seen[ref]

    def _set(self, seen: Observation) -> None:
        before = self._seen.get(seen.ref)
        version = before.version + 1 if before is not None else 1
        self._seen[seen.ref] = replace(seen, version=version)
        self.history.append(replace(self._seen[seen.ref], external_id=owner_of(seen.ref)))

    def _submit(self, attempt: Attempt) -> Submission:
        with self._lock:
            self.submitted.append(attempt.token)
            ref = f"fake:{attempt.token}"
            queue = self.refusals.get("submit") or []
            answer = queue.pop(0) if queue else None
            if answer is None or self.lost_answer:
                if ref not in self._seen:
                    self._set(Observation(ref, Phase.WAITING))
                self.documents[ref] = attempt.document()
            if isinstance(answer, Exception):
                raise answer
            return answer or Submission(ref=ref)

    def _refuse(self, verb: str) -> None:
        queue = self.refusals.get(verb) or []
        if queue:
            error = queue.pop(0)
            if isinstance(error, Exception):
                raise error


def owner_of(ref: str) -> str:
    """The external id of a container of the fake."""
    return ref.removeprefix("fake:").rpartition(".")[0]
