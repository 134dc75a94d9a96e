"""What an exit code of the container with Airflow in it means, in words for people. Pure."""

from __future__ import annotations

import signal

from skylift.core.attempt import Exit

API = "[core] execution_api_server_url of the container"

WORDS = {
    Exit.DONE: "",
    Exit.NOT_OURS: "Airflow's API did not let it start: Airflow does not want this task instance to run (any more)",
    Exit.NEVER_BEGAN: "it could not get or read its workload, so Airflow did not begin in it: its log says why",
    Exit.UNREACHABLE: (
        f"Airflow's API server did not answer at {API} (the container's log has the URL and what refused it): start "
        "the API server, let the container's network reach it (security groups), or set that URL"
    ),
    Exit.NOT_TLS: (
        f"{API} begins with https://, and what listens there does not speak TLS: write http://, or another port"
    ),
    Exit.IS_TLS: f"{API} begins with http://, and what listens there wants TLS: write https://",
    Exit.NO_EXECUTION_API: (
        f"what answered at {API} is not Airflow's execution API: the URL ends in /execution/, after [api] base_url if "
        "that has a path"
    ),
    Exit.NO_ACCESS: (
        "Airflow's API did not take the workload's token: [api_auth] jwt_secret must be the same for scheduler and API "
        "server, their clocks too, and the URL must be that of this Airflow"
    ),
    Exit.STOPPED_OUTSIDE: "it was stopped, and not by Airflow: the Airflow task failed, and its retries apply",
    Exit.NOT_TRUSTED: (
        f"the certificate at {API} is not trusted there: set [api] ssl_cert or ssl_ca_file in the container, or "
        "correct it"
    ),
}


def words(code: int | None, reason: str = "", *, more: str = "give the container more") -> str:
    """What a code means; "" if there is nothing to say.

    Args:
        reason: the container's reason from ECS or Batch.
        more: how to get more memory.
    """
    if code is None:
        return ""
    if "OutOfMemory" in reason or (code == 128 + signal.SIGKILL and "memory" in reason.lower()):
        return f"it was out of memory: {more}"
    if code in WORDS:
        return WORDS[Exit(code)]
    if 128 < code <= 128 + max(signal.valid_signals()):
        number = code - 128
        name = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
        done = "killed" if number == signal.SIGKILL else "stopped" if number == signal.SIGTERM else "ended"
        return f"the container, or the Airflow task's process in it, was {done} ({name})"
    return ""
