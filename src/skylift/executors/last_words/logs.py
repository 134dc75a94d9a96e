"""Where the executor writes its text so that Airflow's UI shows it in the log of one try: the remote log, or the local
file.

After a task instance has ended, FileTaskHandler (Airflow 3.3.2, ``_read``) reads the remote log, or, if there is none,
the local files whose names begin like the log's own. So it depends on ``[logging] remote_logging``:

* CloudWatch: events in the same stream, in the format that ``CloudWatchRemoteLogIO`` reads (JSON with ``event``).
* Other remote logs (S3): a second object whose name begins like the log's own. The reader lists by that prefix, and
  what the container may still be writing is not touched. Airflow's own ``upload`` of a local file puts it there.
* None: that local file. It is visible only if scheduler and API server share their log folder; the task
  instance's event log has the text in any case.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skylift.aws import output
from skylift.core.errors import Refused, SkyliftError, Unavailable

SUFFIX = ".executor.log"
"""Like Airflow's own ``FileTaskHandler.set_context(identifier="executor")`` would name it."""

LOGGER = "skylift.executor"
"""What the UI shows as the source of the lines."""


def write(log_path: str, lines: Sequence[tuple[str, str]], when: float, *, remote: Any, conf: Any) -> None:
    """Adds lines to the log of a try.

    Args:
        log_path: relative, as Airflow renders ``[logging] log_filename_template``.
        lines: level (``error``, ``warning``, ``info``) and text.
        when: seconds since 1970, of the first line; at most a few seconds later than the task instance's
            end.
        remote: Airflow's ``RemoteLogIO``; ``None`` without a remote log.
        conf: Airflow's configuration.

    Raises:
        Refused, Unavailable: it cannot be written; the text says where.
    """
    # The reader sorts by time, to the millisecond.
    stamped = [(when + number / 1000, _entry(*line)) for number, line in enumerate(lines)]
    if hasattr(remote, "log_group"):
        _to_cloudwatch(remote, log_path, stamped)
        return
    folder = Path(os.path.expanduser(conf.get("logging", "base_log_folder")))
    text = "".join(json.dumps({"timestamp": _iso(moment), **entry}) + "\n" for moment, entry in stamped)
    try:
        file = _append(folder, log_path + SUFFIX, text)
        if remote is not None:
            remote.upload(log_path + SUFFIX, None)
            # Some uploads leave an empty file, some the whole folder unchanged; the remote one is the log now.
            file.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"{folder / log_path}{SUFFIX}: {error}") from error


def _to_cloudwatch(remote: Any, log_path: str, entries: Sequence[tuple[float, dict[str, str]]]) -> None:
    events = [(int(moment * 1000), json.dumps(entry)) for moment, entry in entries]
    try:
        logs = remote.hook.get_conn()
    except SkyliftError:
        raise
    except Exception as error:  # Airflow's connection, its hook or boto3: whoever set remote_log_conn_id can act
        raise Unavailable(f"no client for the remote log {remote.log_group}: {error}") from error
    # The reader replaces colons in the same way: CloudWatch does not allow them in a stream's name.
    output.append(logs, remote.log_group, log_path.replace(":", "_"), events)


def _append(folder: Path, name: str, text: str) -> Path:
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise Refused(f"the log's name leads out of [logging] base_log_folder: {name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as log:
        log.write(text)
    return file


def _entry(level: str, line: str) -> dict[str, str]:
    return {"event": line, "level": level, "logger": LOGGER}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
