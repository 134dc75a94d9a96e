"""Run as ``python -m skylift.runtime.checks REPORT LAYER NAME...``: can everything in the layer be imported?

It is a separate process because it runs the user's code, which may exit, hang or crash. The report (a JSON file) is
written before each step, so that the step that killed the process is known.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path

from skylift.runtime.layer import PLUGINS, SITE_PACKAGES
from skylift.runtime.requirements import canonical

NOT_THE_PACKAGE = frozenset({"test", "tests", "docs", "doc", "examples", "example", "scripts", "bin"})


@dataclass
class Report:
    """The errors, by requirement name or plugin file; ``now`` is the current step."""

    now: str = ""
    requirements: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
    done: bool = False


def main(report_file: Path, layer: Path, names: list[str]) -> None:
    """Imports each named requirement that is in the layer, then all plugins with Airflow's own loader."""
    report = Report()

    def note(now: str) -> None:
        report.now = now
        report_file.write_text(json.dumps(asdict(report)))

    for dist in distributions(path=[str(layer / SITE_PACKAGES)]):
        name = canonical(dist.metadata["Name"])
        for module in modules_of(dist) if name in names else ():
            note(f"requirement {name}")
            try:
                importlib.import_module(module)
            except ImportError as error:
                report.requirements[name] = f"import {module}: {error}"
            except Exception as error:  # noqa: BLE001  # the user's to judge: it may need configuration to import
                report.warnings[name] = f"import {module}: {type(error).__name__}: {error}"
    if (layer / PLUGINS).is_dir():
        note("plugins")
        from airflow import plugins_manager  # lazy: two seconds, only with plugins

        plugins_manager.ensure_plugins_loaded()
        report.plugins = {str(key): str(text) for key, text in plugins_manager.get_import_errors().items()}
    report.done = True
    note("")


def modules_of(dist: Distribution) -> list[str]:
    """The modules to import for a distribution: the one with its name, otherwise all top-level ones (at most five)."""
    listed = (dist.read_text("top_level.txt") or "").split()
    if not listed:
        tops = {path.parts[0] for path in dist.files or () if path.suffix == ".py" and ".." not in path.parts}
        listed = sorted(top.removesuffix(".py") for top in tops)
    usable = [top for top in listed if top.isidentifier() and not top.startswith("_") and top not in NOT_THE_PACKAGE]
    same = [top for top in usable if canonical(top) == canonical(dist.metadata["Name"])]
    return same or usable[:5]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
