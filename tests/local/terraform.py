"""Terraform for tests: the real program and the real AWS provider, from this machine's folders, on a copy of an
example."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "terraform"
PLUGINS = Path(os.environ.get("SKYLIFT_TEST_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
PROVIDER = "registry.terraform.io/hashicorp/aws"
SECONDS = 900
_REPEATED = ("retrying request", "request send failed", "connection reset", "EOF", "http.response.status_code=5")


@dataclass(frozen=True)
class Terraform:
    """One working folder with its state."""

    folder: Path
    environ: Mapping[str, str]

    def apply(self) -> None:
        """Makes or changes what the folder describes, and then there is nothing left to change."""
        self.must("apply", "-auto-approve", "-no-color", "-input=false")
        left = self.run("plan", "-detailed-exitcode", "-no-color", "-input=false")
        assert left.returncode == 0, f"the plan is not empty after apply:\n{left.stdout}\n{left.stderr}"

    def destroy(self) -> None:
        self.must("destroy", "-auto-approve", "-no-color", "-input=false")

    def outputs(self) -> dict[str, Any]:
        return {name: one["value"] for name, one in json.loads(self.must("output", "-json")).items()}

    def must(self, *words: str) -> str:
        done = self.run(*words)
        told = f"terraform {words[0]}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        assert done.returncode == 0, f"{told}\n{self._repeated()}"
        return done.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [terraform(), *words],
            cwd=self.folder,
            env={**self.environ, "TF_LOG_PROVIDER": "DEBUG", "TF_LOG_PATH": str(self._log)},
            text=True,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )

    @property
    def _log(self) -> Path:
        return self.folder / "provider.log"

    def _repeated(self) -> str:
        """Why the provider's SDK repeated calls: a call whose answer was lost is done twice."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        found = [line[:1000] for line in lines if any(word in line for word in _REPEATED)]
        return "\n".join(["what the provider's SDK repeated:", *found[-20:]])


def ready(example: str, folder: Path, environ: Mapping[str, str]) -> Terraform:
    """A copy of an example, initialised without the network. Skips the test where the tools are not on this machine."""
    if not shutil.which("terraform"):
        pytest.skip("no terraform on this machine")
    if not (PLUGINS / PROVIDER).is_dir():
        pytest.skip(f"no AWS provider for Terraform in {PLUGINS} (SKYLIFT_TEST_TERRAFORM_PLUGINS names another folder)")
    shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns(".terraform*", "terraform.tfstate*"))
    quiet = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    made = Terraform(folder, {**environ, **quiet})
    made.must("init", f"-plugin-dir={PLUGINS}", "-no-color", "-input=false")
    return made


def terraform() -> str:
    return str(shutil.which("terraform"))
