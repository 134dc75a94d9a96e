"""``/_skylift/state``: which state is damaged, and which services keep nothing over a restart, as JSON. Needs a signed
request."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from skylift.localcloud.damage import Damage
from skylift.localcloud.emulators.table import forgetful
from skylift.wire.asgi import Answer, Receive, Scope, Send, send_answer

STATE = "/_skylift/state"


class StateRoute:
    """An ASGI app: ``{"damaged": [text], "forgetful": [service]}``."""

    def __init__(self, damage: Callable[[], Sequence[Damage]]) -> None:
        self._damage = damage

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Answers 200."""
        value = {"damaged": [str(one) for one in self._damage()], "forgetful": forgetful()}
        await send_answer(send, Answer(200, {"content-type": "application/json"}, json.dumps(value).encode()))
