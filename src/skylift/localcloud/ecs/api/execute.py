"""ECS's ExecuteCommand: opens a session in a container (``sessions.py``), also for the owner's own tools."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import partial

from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.api.sessions import Sessions
from skylift.localcloud.ecs.model.lifecycle import TaskState
from skylift.localcloud.ecs.model.shapes import invalid, last_word
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ports import Document
from skylift.wire.asgi import Answer, Receive, Scope, Send, read_body, send_answer
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

PREFIX = "/_skylift/exec"
_MOST_BYTES = 256 * 1024
_NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent "
    "isn't running. Wait and try again or run a new task with execute command enabled and try again."
)


class ExecuteOperations(EcsOperations):
    """ExecuteCommand.

    Attributes:
        sessions: those that it opened.
    """

    sessions: Sessions

    def execute_command(self, caller: Caller, request: Request) -> Document:
        """Opens a session for one command in a container of an ECS task that was run with ``enableExecuteCommand``."""
        cluster = self.cluster(request)
        if not request["interactive"]:
            raise invalid("Interactive is the only mode supported currently.")
        task = self.store.tasks.get(last_word(request["task"]))
        if task is None or task.document["clusterArn"] != cluster["clusterArn"]:
            raise invalid("The specified task was not found.")
        if not task.document["enableExecuteCommand"]:
            raise invalid(_NOT_ENABLED)
        container, session = self.enter(task, request.get("container", ""), _words(request["command"]))
        return {
            "clusterArn": cluster["clusterArn"],
            "containerArn": container["containerArn"],
            "containerName": container["name"],
            "interactive": True,
            "session": session,
            "taskArn": task.document["taskArn"],
        }

    def enter(self, task: EcsTask, name: str, words: Sequence[str]) -> tuple[Document, dict[str, str]]:
        """The container, and a session in it in ExecuteCommand's format.

        Raises:
            AwsError: ``InvalidParameterException`` or ``TargetNotConnectedException``.
        """
        containers = {item["name"]: item for item in task.document["containers"]}
        if not words:
            raise invalid("The command must not be empty.")
        if not name and len(containers) > 1:
            raise invalid("Container name must be specified for tasks with more than one container.")
        container = containers.get(name or next(iter(containers)))
        if container is None:
            raise invalid("The specified container was not found in the task.")
        run = self.engine.run(task)
        ended = run.ended(container["name"]) if run is not None else None
        if run is None or ended is None or task.state is not TaskState.RUNNING:
            raise AwsError(
                "TargetNotConnectedException",
                "The execute command failed due to an internal error. Try again later: the container does not run.",
            )
        begin = partial(run.enter, container["name"], words)
        return container, self.sessions.open(begin, ended)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise invalid(f"The command cannot be read: {error}.") from error


class ExecRoute:
    """``POST /_skylift/exec``, signed, for the owner: ``{"cluster", "task", "container", "command": [...]}``;
    any running container, with or without ``enableExecuteCommand``. Answers with the session."""

    def __init__(self, operations: ExecuteOperations) -> None:
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 200, or 400 with ``message``."""
        try:
            request = json.loads(await read_body(receive, _MOST_BYTES))
            words, container = request["command"], request.get("container") or ""
            if not (isinstance(words, list) and all(isinstance(word, str) for word in (container, *words))):
                raise TypeError
            task = self._operations.store.tasks.get(last_word(str(request.get("task", ""))))
            if task is None:
                raise invalid("There is no such ECS task.")
            _, session = self._operations.enter(task, container, words)
            status, value = 200, session
        except AwsError as error:
            status, value = 400, {"message": error.message}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            status, value = 400, {"message": 'the body must be JSON: {"task": ..., "container": ..., "command": [...]}'}
        await send_answer(send, Answer(status, {"content-type": "application/json"}, json.dumps(value).encode()))
