"""Finds out more about an ECS task than an ``Observation`` says: why it ended, its state, what its container
printed."""

from __future__ import annotations

from collections.abc import Callable

from skylift.aws.ecs.endings import EcsEnding, EcsEndings
from skylift.aws.output import LogReader, Stream, StreamOutput
from skylift.core.attempt import Explainer
from skylift.core.errors import SkyliftError
from skylift.executors.last_words import words as last_words
from skylift.executors.last_words.tail import lines_of
from skylift.executors.last_words.words import Limit


class EcsExplainer(Explainer):
    """Asks ECS and CloudWatch Logs about one ECS task at a time; for worker threads.

    Args:
        endings: the calls on ECS.
        container: name of the container with Airflow in it.
        output: reads logs.
        most: how many of the last lines; 0 for none.
        pause: waits between two reads of a log that may not have arrived yet.
    """

    def __init__(
        self,
        endings: EcsEndings,
        container: str,
        output: LogReader,
        *,
        most: int,
        pause: Callable[[], None] | None = None,
    ) -> None:
        self._endings = endings
        self._container = container
        self._most = most
        self._pause = pause
        self._output = output

    def explain(self, ref: str) -> str:
        """More about an end, several lines. Raises ``Unavailable`` or ``Refused`` if ECS cannot be asked about it."""
        ending = self._endings.describe(ref, self._container)
        if ending is None:
            return ""
        stopped = ending.stop_code not in {"", "EssentialContainerExited"}
        memory = last_words.memory_words(ending.reason, ending.code, _limit(ending), stopped=stopped)
        link = last_words.ecs_link(ending.arn, ending.cluster) if ending.on_aws else ""
        parts = [memory, link and f"AWS console: {link}", self._lines(ending)]
        return "\n".join(filter(None, parts))

    def standing(self, ref: str) -> str:
        """Its state, in one line. Raises like ``explain``."""
        ending = self._endings.describe(ref, self._container)
        if ending is None:
            return f"ECS does not know {ref} (yet, or any more)."
        link = f" {last_words.ecs_link(ref, ending.cluster)}" if ending.on_aws else ""
        why = " ".join(filter(None, (ending.stop_code, ending.stopped_reason, ending.reason)))
        return f"ECS task {ref} is {ending.status} since {ending.since}{why and f': {why}'}{link}"

    def output(self, ref: str) -> StreamOutput | None:
        """What its container prints; ``None`` if that goes to no CloudWatch stream. Raises like ``explain``."""
        ending = self._endings.describe(ref, self._container)
        stream = self._stream(ending) if ending else None
        return self._output.of(stream) if stream else None

    def _lines(self, ending: EcsEnding) -> str:
        if not self._most or not ending.started:
            return ""
        try:
            stream = self._stream(ending)
            if stream is None:
                return last_words.unread_words(
                    f"container {ending.container} of {ending.definition} has no log driver awslogs with "
                    "awslogs-group and "
                    "awslogs-stream-prefix"
                )
            return lines_of(self._output, stream, self._most, ending.arn if ending.on_aws else "", pause=self._pause)
        except SkyliftError as error:
            # We know the end itself and must report it, with or without lines.
            return last_words.unread_words(str(error))

    def _stream(self, ending: EcsEnding) -> Stream | None:
        where = self._endings.output(ending.definition, ending.container)
        return where.stream(ending.arn.rpartition("/")[2])


def _limit(ending: EcsEnding) -> Limit | None:
    own, task = ending.container_memory, ending.task_memory
    if own and (not task or own <= task):
        return Limit(own, f"memory of container {ending.container}")
    return Limit(task, "memory of the ECS task") if task else None
