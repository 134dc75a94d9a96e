"""What MWAA's API has no members for, as JSON over ``/_skylift/environments/{name}``.

``GET`` tells what is being done, ``GET .../plan`` what would be done next, ``GET .../events`` what happened. ``POST
.../plan`` with UpdateEnvironment's request tells what that update would do. ``DELETE`` deletes the environment, also
while it is being created, which MWAA refuses.

A route of its own rather than a tag or a member of an answer: SDKs parse what they know, and tags belong to the user.
It stands behind the gate (``wire.app``: signed routes).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from skylift.control.api.access import AccessRules
from skylift.core.errors import Refused, Unavailable
from skylift.wire.app import CALLER
from skylift.wire.asgi import Answer, BodyTooLong, Receive, Scope, Send, read_body, send_answer
from skylift.wire.errors import AwsError

Tell = Callable[[str], dict[str, Any] | None]
"""Environment's name -> JSON object, or None if there is no such environment. Raises ``Unavailable`` or
``Refused``."""


Foresee = Callable[[str, dict[str, Any]], dict[str, Any] | None]
"""As ``Tell``, with UpdateEnvironment's request."""

LOOK = "GetEnvironment"
OPERATIONS = {"POST": "UpdateEnvironment", "DELETE": "DeleteEnvironment"}
"""The operation of the MWAA API whose right a method needs; the others need ``LOOK``'s."""

MOST_BODY = 8 * 1024 * 1024
"""Bytes; options alone may be 65,536 characters each."""


class ProgressRoute:
    """An ASGI app over functions that tell of an environment.

    Args:
        tells: what ``GET`` answers, by the path behind the name.
        prefix: the route's path.
        cancel: what ``DELETE`` does.
        plan_update: what ``POST .../plan`` answers.
        access: whether a caller may use an operation of the MWAA API: looking is GetEnvironment, the plan of an update
            UpdateEnvironment, deleting DeleteEnvironment.
    """

    def __init__(
        self,
        tells: Mapping[str, Tell],
        prefix: str,
        cancel: Tell | None = None,
        plan_update: Foresee | None = None,
        access: AccessRules | None = None,
    ) -> None:
        self._access = access
        self._tells = {("GET", rest): tell for rest, tell in tells.items()}
        if cancel is not None:
            self._tells["DELETE", ""] = cancel
        self._plan_update = plan_update
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 200, 400 (not JSON), 403, 404, 409 (a rule is broken, or AWS refuses the looking) or 503."""
        name, _, rest = unquote(str(scope["path"]).removeprefix(self._prefix)).strip("/").partition("/")
        method = str(scope["method"])
        tell = self._tells.get((method, rest), _nothing)
        try:
            if self._access is not None:
                await asyncio.to_thread(self._access.require, scope[CALLER], OPERATIONS.get(method, LOOK), name)
            if self._plan_update is not None and (method, rest) == ("POST", "plan"):
                request = json.loads(await read_body(receive, MOST_BODY))
                if not isinstance(request, dict):
                    raise ValueError("not a JSON object")
                found = await asyncio.to_thread(self._plan_update, name, request)
            else:
                found = await asyncio.to_thread(tell, name)
        except AwsError as error:
            await _answer(send, error.status, {"message": error.message})
            return
        except (ValueError, BodyTooLong) as error:
            await _answer(send, 400, {"message": f"The body must be UpdateEnvironment's request as JSON: {error}"})
            return
        except Unavailable:
            await _answer(send, 503, {"message": "The control plane's database, or AWS, does not answer. Try again."})
            return
        except Refused as error:
            await _answer(send, 409, {"message": str(error)})
            return
        missing = {"message": f"Environment with name {name} does not exist"}
        await _answer(send, 200 if found else 404, found or missing)


def _nothing(_name: str) -> None:
    return None


async def _answer(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    await send_answer(send, Answer(status, {"content-type": "application/json"}, body))
