"""Finds out more about a Batch job than an ``Observation`` says: why it ended, its state, what its container
printed."""

from __future__ import annotations

from collections.abc import Callable, Collection

from skylift.aws.batch.endings import BatchEnding, BatchEndings
from skylift.aws.output import LogReader, Stream, StreamOutput
from skylift.core.attempt import Explainer
from skylift.core.errors import SkyliftError
from skylift.executors.batch_observation import log_stream, main_container
from skylift.executors.last_words import words as last_words
from skylift.executors.last_words.tail import lines_of
from skylift.executors.last_words.words import Limit


class BatchExplainer(Explainer):
    """Asks Batch and CloudWatch Logs about one Batch job at a time; for worker threads.

    Args:
        endings: the calls on Batch.
        output: reads logs.
        most: how many of the last lines; 0 for none.
        names: the container in which Airflow runs, if the job definition has several; if empty, the first.
        pause: waits between two reads of a log that may not have arrived yet.
    """

    def __init__(
        self,
        endings: BatchEndings,
        output: LogReader,
        *,
        most: int,
        names: Collection[str] = (),
        pause: Callable[[], None] | None = None,
    ) -> None:
        self._endings = endings
        self._most = most
        self._names = names
        self._pause = pause
        self._output = output

    def explain(self, ref: str) -> str:
        """More about an end, several lines. Raises ``Unavailable`` or ``Refused`` if Batch cannot be asked about
        it."""
        ending = self._endings.describe(ref)
        if ending is None:
            return ""
        main = main_container(ending.job, self._names)
        size = ending.memory.get(main.name if main else "", 0)
        limit = Limit(size, "MEMORY of the Batch job") if size else None
        stopped = ending.job.on_request or ending.job.reason.startswith("Host EC2")
        memory = last_words.memory_words(main.reason, main.exit_code, limit, stopped=stopped) if main else ""
        link = last_words.batch_link(ending.arn) if ending.on_aws else ""
        return "\n".join(filter(None, [memory, link and f"AWS console: {link}", self._lines(ending)]))

    def standing(self, ref: str) -> str:
        """Its state, in one line. Raises like ``explain``."""
        ending = self._endings.describe(ref)
        if ending is None:
            return f"Batch does not know the job {ref} (yet, or any more)."
        link = f" {last_words.batch_link(ending.arn)}" if ending.on_aws else ""
        why = f": {ending.job.reason}" if ending.job.reason else ""
        return f"Batch job {ending.arn or ref} is {ending.job.status} since {ending.since}{why}{link}"

    def output(self, ref: str) -> StreamOutput | None:
        """What its container prints; ``None`` if that goes to no CloudWatch stream. Raises like ``explain``."""
        ending = self._endings.describe(ref)
        stream = self._stream(ending) if ending else None
        return self._output.of(stream) if stream else None

    def _lines(self, ending: BatchEnding) -> str:
        if not self._most:
            return ""
        stream = self._stream(ending)
        if stream is None:
            # Batch names the stream when the container starts: a container that never started has printed nothing.
            return ""
        try:
            return lines_of(self._output, stream, self._most, ending.arn if ending.on_aws else "", pause=self._pause)
        except SkyliftError as error:
            # We know the end itself and must report it, with or without lines.
            return last_words.unread_words(str(error))

    def _stream(self, ending: BatchEnding) -> Stream | None:
        name = log_stream(ending.job, self._names)
        return Stream(ending.job.log_group, name, ending.log_region) if name and ending.job.log_group else None
