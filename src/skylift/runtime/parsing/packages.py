"""``python -m skylift.runtime.parsing.packages PROJECT TARGET``: installs a project's requirements as an environment's
layer has them, into a folder of this machine. Its last line is the reason if they cannot be installed."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from skylift.core.errors import Refused
from skylift.core.file_paths import PLACES
from skylift.runtime import layer, requirements
from skylift.runtime.archive import ArchiveFailed, unpack_zip


def main(project: Path, target: Path) -> None:
    """Makes ``TARGET/site-packages``, and ``TARGET/plugins`` if the project has its plugins as ``plugins.zip``.

    Raises:
        Refused: the reason, for people.
    """
    with tempfile.TemporaryDirectory(prefix="skylift-check-") as name:
        workspace = Path(name)
        for folder in ("dags", "plugins"):
            if (project / folder).is_dir():
                (workspace / folder).symlink_to(project / folder)
        packages = target / layer.SITE_PACKAGES
        packages.mkdir(parents=True)
        if (project / "plugins.zip").is_file():
            try:
                unpack_zip(project / "plugins.zip", target / layer.PLUGINS)
            except ArchiveFailed as error:
                raise Refused(f"plugins.zip: {error}") from error
            (workspace / "plugins").symlink_to(target / layer.PLUGINS)
        files = [project / place for place in PLACES["requirements.txt"] if (project / place).is_file()]
        text = files[0].read_text(encoding="utf-8-sig") if files else ""
        if text.strip():
            requirements.install(text, workspace, packages, os.environ)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (Refused, UnicodeDecodeError) as wrong:
        shutil.rmtree(sys.argv[2], ignore_errors=True)
        print(str(wrong))  # noqa: T201
        sys.exit(1)
