"""Batch as a ``Compute``: attempts are jobs or children of array jobs, and are found again by their names. Only the
``batch_*`` files know Batch's words."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from skylift.aws.batch.jobs import MOST_PER_DESCRIBE, BatchJobs, Unclear
from skylift.aws.errors import Throttled
from skylift.core.attempt import Attempt, Compute, Observation, Submission
from skylift.core.clock import Clock
from skylift.core.errors import Refused, Unavailable
from skylift.executors.batch_arrays import MOST_REMEMBERED, Arrays
from skylift.executors.batch_observation import observation
from skylift.executors.executor_config.batch_request import (
    array_name,
    check_executor_config,
    is_array,
    job_name,
    names_of,
    submit_request,
    token_of,
)
from skylift.executors.in_container.payload import Payload, Payloads
from skylift.executors.last_words.batch import BatchExplainer
from skylift.executors.options.batch import BatchOptions
from skylift.executors.options.settings import OWN_SECTION

MOST_CHILDREN = 10_000
"""Of an array job (user guide, "AWS Batch service quotas"); the least is 2."""

JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

SETTLED = 5.0
"""Seconds from the first look that did not find a job to one that says that it was not submitted: lists may be late."""


class BatchCompute(Compute):
    """Batch as a ``Compute``; see its contract in ``skylift.core.attempt``.

    A ref is a job's id, or ``id:index`` for a child of an array. The state in memory only saves calls: after a restart,
    the names of jobs and the lists of arrays say what was submitted before.

    Args:
        jobs: the calls.
        options: what every SubmitJob has in common.
        payloads: how the workload gets into the container.
        tags: whether Batch jobs are tagged with the attempt's labels.
        together: whether attempts with equal group keys become array jobs.
        labels: labels of all attempts: the team.
        explainer: finds out more about one Batch job; ``None``: nothing does.
        clock: seconds; must not run back.
    """

    most_per_observe = MOST_PER_DESCRIBE

    def __init__(
        self,
        jobs: BatchJobs,
        options: BatchOptions,
        payloads: Payloads,
        *,
        tags: bool = True,
        together: bool = False,
        labels: Mapping[str, str] | None = None,
        explainer: BatchExplainer | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.most_per_submit = MOST_CHILDREN if together else 1
        self._jobs = jobs
        self._options = options
        self._payloads = payloads
        self._tags = tags
        self._together = together
        self._labels = labels or {}
        self.explainer = explainer
        self._clock = clock
        self._arrays = Arrays(payloads, jobs, clock)
        self._names = options.containers()
        # Where our own attempts are, so that two calls with one token give one job.
        self._placed: OrderedDict[str, str] = OrderedDict()
        # Tokens that may or may not have been submitted, with the time of the first search that found
        # nothing.
        self._doubts: dict[str, float | None] = {}
        # Tokens of jobs that were found under another number than expected, by ref.
        self._found: dict[str, str] = {}

    def group_key(self, attempt: Attempt) -> Hashable | None:
        if not self._together or attempt.number > 1 or self._in_doubt(attempt):
            return None
        if not attempt.executor_config:
            return attempt.queue, attempt.shortages, ""
        try:
            return attempt.queue, attempt.shortages, json.dumps(attempt.executor_config, sort_keys=True, default=repr)
        except (TypeError, ValueError):
            return None

    def submit(self, attempts: Sequence[Attempt]) -> list[Submission]:
        try:
            if len(attempts) == 1:
                return [self._submit_one(attempts[0])]
            return [Submission(ref=ref) for ref in self._submit_array(attempts)]
        except Throttled as error:
            answer = Submission(later=str(error), throttled=True)
        except Unclear as error:
            self._doubts.update(dict.fromkeys((attempt.token for attempt in attempts), None))
            answer = Submission(later=str(error))
        except Unavailable as error:
            answer = Submission(later=str(error))
        except Refused as error:
            options = self._options.of(attempts[0].queue)
            if options.fallback(attempts[0].shortages):
                # The next fallback may work; a fallback must not fail what would have run without it.
                answer = Submission(later=f"[{OWN_SECTION}] capacity_fallback: {error}", shortage=True)
            else:
                answer = Submission(refused=f"{error}{_advice(str(error))}")
        return [answer for _ in attempts]

    def observe(self, refs: Sequence[str]) -> list[Observation]:
        known = self._jobs.describe(refs)
        return [observation(ref, known.get(ref), self._names) for ref in refs]

    def stop(self, ref: str, why: str) -> None:
        self._jobs.terminate(ref, why)

    def find(self, attempt: Attempt) -> list[str]:
        return [ref for _, ref in self._all_of(attempt)]

    def census(self) -> dict[str, list[str]]:
        """All living jobs in the queues of the options, and all children of the arrays among them.

        Jobs with foreign names are listed by their ids: the amazon provider's executor stored ids as external ids.
        """
        places = [place for one in (self._options, *self._options.queues.values()) for place in one.places()]
        refs: dict[str, str] = {}
        found: dict[str, list[str]] = {}
        for place in dict.fromkeys(places):
            for name, job_id in self._jobs.alive(place):
                tokens = self._payloads.array(name) if is_array(name) and self._payloads.by_reference else ()
                refs |= {token: f"{job_id}:{index}" for index, token in enumerate(tokens)}
                if token_of(name):
                    refs[token_of(name)] = job_id
                elif not tokens:
                    found[job_id] = [job_id]
        for token in sorted(refs, key=_number):
            found.setdefault(token.rpartition(".")[0], []).append(refs[token])
        self._found.update({ref: token for token, ref in refs.items() if _number(token) > 1})
        return found

    def renew(self, attempt: Attempt, ref: str) -> bool:
        """Writes the workload's object again, with a fresh token; an inline workload cannot be changed."""
        if not self._payloads.by_reference:
            return False
        number = _number(self._found.get(ref, attempt.token))
        self._payloads.renew(replace(attempt, number=number))
        return True

    def explain(self, ref: str) -> str:
        return self.explainer.explain(ref) if self.explainer else ""

    # Submit.

    def _submit_one(self, attempt: Attempt) -> Submission:
        options = self._of(attempt)
        if attempt.token in self._placed:
            return Submission(ref=self._placed[attempt.token])
        check_executor_config(attempt.executor_config, options.container)
        if self._in_doubt(attempt):
            known = self._look(attempt)
            if known:
                return known
        payload = self._payloads.prepare(attempt)
        request = self._request(options, [attempt], payload, job_name(options, attempt))
        ref = self._jobs.submit(request)
        self._doubts.pop(attempt.token, None)
        self._place({attempt.token: ref})
        return Submission(ref=ref)

    def _submit_array(self, attempts: Sequence[Attempt]) -> list[str]:
        options = self._of(attempts[0])
        check_executor_config(attempts[0].executor_config, options.container)
        name = array_name(options, attempts, str(uuid.uuid4()))
        payload = self._payloads.prepare_array(name, attempts)
        request = self._request(options, attempts, payload, name)
        self._arrays.note(name, [attempt.token for attempt in attempts])
        job_id = self._jobs.submit(request)
        self._arrays.submitted(name, job_id)
        refs = {attempt.token: f"{job_id}:{index}" for index, attempt in enumerate(attempts)}
        self._place(refs)
        return list(refs.values())

    def _place(self, refs: Mapping[str, str]) -> None:
        self._placed.update(refs)
        while len(self._placed) > MOST_REMEMBERED:
            self._placed.popitem(last=False)

    def _request(
        self, options: BatchOptions, attempts: Sequence[Attempt], payload: Payload, name: str
    ) -> dict[str, Any]:
        labelled = [replace(attempt, labels={**attempt.labels, **self._labels}) for attempt in attempts]
        return submit_request(options, labelled, payload, name, tags=self._tags)

    def _of(self, attempt: Attempt) -> BatchOptions:
        return self._options.of(attempt.queue).after(attempt.shortages)

    # Search for what may have been submitted.

    def _in_doubt(self, attempt: Attempt) -> bool:
        """Whether it may have been submitted already."""
        return attempt.token in self._doubts or attempt.adopted

    def _look(self, attempt: Attempt) -> Submission | None:
        """The answer for an attempt that may exist already; ``None`` once it is certain that it does not."""
        token, queues = attempt.token, self._queues(attempt)
        if attempt.adopted:
            # Only the external id of these is known, so the newest job counts.
            refs = [ref for known, ref in self._all_of(attempt) if _number(known) >= attempt.number]
            ref = refs[-1] if refs else ""
        else:
            name = job_name(self._of(attempt), attempt)
            ref = self._arrays.find(queues, token) or next(
                filter(None, (self._jobs.newest(one, name) for one in queues)), ""
            )
        if ref:
            self._doubts.pop(token, None)
            return Submission(ref=ref)
        now, since = self._clock(), self._doubts.get(token)
        if since is None or now - since < SETTLED:
            self._doubts[token] = now if since is None else since
            return Submission(later="its Batch job may be there already: looking once more")
        if self._together and not attempt.adopted:
            del self._doubts[token]
            return Submission(later="its Batch job is not there: submitting it again, with others")
        return None

    def _all_of(self, attempt: Attempt) -> list[tuple[str, str]]:
        """(token, ref) of all attempts of an external id that Batch knows, by number."""
        queues = self._queues(attempt)
        begin = names_of(self._of(attempt), attempt)
        named = [one for queue in queues for one in self._jobs.named(queue, f"{begin}*")]
        numbers = {name.removeprefix(begin): ref for name, ref in named}
        found = {f"{attempt.external_id}.{number}": ref for number, ref in numbers.items() if number.isdecimal()}
        found |= self._children_of(queues, attempt.external_id)
        theirs = attempt.external_id if JOB_ID.fullmatch(attempt.external_id) and not found else ""
        if theirs and theirs in self._jobs.describe([theirs]):
            # The amazon provider's executor stored the job's id there: its jobs are adopted as they are.
            return [(attempt.token, theirs)]
        refs = sorted(found.items(), key=lambda one: _number(one[0]))
        self._found.update({ref: token for token, ref in refs if token != attempt.token})
        return refs

    def _children_of(self, queues: Sequence[str], external_id: str) -> dict[str, str]:
        if not self._payloads.by_reference:
            return {}
        try:
            return dict(self._arrays.search(queues, external_id))
        except Refused:
            # Without arrays, the scheduler needs no permission to list the bucket.
            if self._together:
                raise
            return {}

    def _queues(self, attempt: Attempt) -> list[str]:
        """Job queues in which its jobs may be."""
        wanted = attempt.executor_config.get("jobQueue") if isinstance(attempt.executor_config, Mapping) else None
        return [wanted] if wanted and isinstance(wanted, str) else self._options.of(attempt.queue).places()


def _advice(text: str) -> str:
    if "batch:TagResource" in text:
        return f" (allow it, or set [{OWN_SECTION}] tags = False)"
    return ""


def _number(token: str) -> int:
    return int(token.rpartition(".")[2] or 0)
