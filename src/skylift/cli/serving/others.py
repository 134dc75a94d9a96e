"""Which endpoint stands behind this home's server: chosen by option or variable, and remembered."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from skylift.cli.home import Home, write_private
from skylift.core.errors import Refused
from skylift.localcloud.behind.setting import NOBODY, OTHERS, Behind, behind


def _choose(_command: click.Context, _option: click.Parameter, said: str | None) -> None:
    try:
        behind(said or NOBODY)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if said is not None:
        os.environ[OTHERS.env] = said  # the server inherits it


others_option = click.option(
    "--others",
    metavar="URL",
    envvar=OTHERS.env,
    callback=_choose,
    expose_value=False,
    help="Forward services that skylift does not need itself to another AWS endpoint: "
    f"http://[KEY:SECRET@]HOST:PORT, or {NOBODY} (or ${OTHERS.env}). Remembered.",
)


def chosen_others(home: Home, environ: Mapping[str, str] = os.environ) -> Behind | None:
    """For a server that starts: what the variable says, otherwise the last choice. Remembers it, with its key, in a
    file that only the owner can read.

    Raises:
        Refused: not such an address.
    """
    said = environ.get(OTHERS.env)
    if not said:
        return others_of(home)
    found = OTHERS.read({OTHERS.env: said})
    write_private(home.folder / "others", f"{said.strip() if found else NOBODY}\n")
    return found


def others_of(home: Home) -> Behind | None:
    """The last choice; nobody for a new home. Raises ``Refused`` if the file says something else."""
    try:
        said = (home.folder / "others").read_text().strip()
    except FileNotFoundError:
        return None
    return OTHERS.read({OTHERS.env: said})


def refuse_others(home: Home, environ: Mapping[str, str] = os.environ) -> None:
    """Raises ``Refused`` when another endpoint is asked for than the running server has behind it."""
    present = others_of(home)
    if environ.get(OTHERS.env) and OTHERS.read(environ) != present:
        raise Refused(
            f"skylift runs already, with {present.url if present else 'nobody'} behind it (--others). "
            "To change that: skylift down, then skylift up with the new one"
        )
