"""What the running server has seen users and roles do, as the least policies that allow it."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from skylift.aws import signed
from skylift.cli.connection import connect
from skylift.cli.home import REGION
from skylift.core.errors import Refused
from skylift.localcloud.iam.mode import IamMode
from skylift.localcloud.iam.observed import Sighting, least_policy
from skylift.localcloud.iam.route import PREFIX

_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def observed(principal: str, since: str, *, calls: bool) -> Any:
    """What ``--observed`` prints: a policy if ``principal`` is named, otherwise one for each; or the calls themselves.

    Raises:
        Refused: nothing is noted, or nobody of that name was seen.
    """
    connect()
    query = urlencode({"since": moment(since, time.time()), "principal": principal})
    answer = signed.call("GET", f"{PREFIX}?{query}", region=REGION)
    if answer["mode"] == IamMode.OFF:
        raise Refused("skylift does not note who calls what. Start it so: skylift down && skylift up --observe-iam")
    if calls:
        return answer["calls"]
    seen = [Sighting(one["principal"], one["action"], one.get("resource", "")) for one in answer["calls"]]
    if principal and not seen:
        raise Refused(f"{principal} was not seen. Who was: skylift iam-policy --observed")
    names = sorted({one.principal for one in seen})
    policies = {name: least_policy([one for one in seen if one.principal == name]) for name in names}
    return policies[names[0]] if principal else policies


def moment(text: str, now: float) -> float:
    """Seconds since 1970 of ``10m`` (ago) or of a time like ``2026-11-30T18:00``; 0 for an empty text.

    Raises:
        Refused: it is neither.
    """
    if not text:
        return 0.0
    if ago := _AGO.fullmatch(text):
        return now - int(ago[1]) * _SECONDS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(f"--since {text!r}: give an age like 90s, 10m, 2h, or a time like 2026-11-30T18:00") from error
    return (found if found.tzinfo else found.astimezone(UTC)).timestamp()
