"""Whether this home's server enforces IAM's policies: chosen by option or variable, and remembered."""

from __future__ import annotations

import os
from collections.abc import Mapping

from skylift.cli.home import Home
from skylift.core.errors import Refused
from skylift.localcloud.iam.mode import IAM_MODE, IamMode

OPTION = {IamMode.ENFORCE: "--enforce-iam", IamMode.OBSERVE: "--observe-iam", IamMode.OFF: "--no-enforce-iam"}


def chosen_mode(home: Home, environ: Mapping[str, str] = os.environ) -> IamMode:
    """For a server that starts: what the variable says, otherwise the last choice. Remembers it.

    Raises:
        Refused: an unknown word.
    """
    mode = IAM_MODE.read(environ) if environ.get(IAM_MODE.env) else mode_of(home)
    path = home.folder / "iam-mode"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(f"{mode}\n")
    return mode


def mode_of(home: Home) -> IamMode:
    """The last choice; off for a new home. Raises ``Refused`` if the file says something else."""
    path = home.folder / "iam-mode"
    try:
        return IamMode(path.read_text().strip())
    except FileNotFoundError:
        return IamMode.OFF
    except ValueError as error:
        words = f"{path} must contain one of {', '.join(IamMode)}. Write it there, or start with an option: "
        raise Refused(words + ", ".join(OPTION.values())) from error
