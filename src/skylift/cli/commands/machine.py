"""``skylift doctor`` and ``skylift shellenv``: about this machine and this shell."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict, replace

import click

from skylift.cli.called import as_typed
from skylift.cli.doctor import Level, examine, measure
from skylift.cli.home import Home, endpoint, find_home, foreign_variables
from skylift.cli.serving.server import recorded, running
from skylift.cli.terminal import out
from skylift.core.errors import Refused

MARKS = {Level.OK: "[green]ok  [/]", Level.WARN: "[yellow]warn[/]", Level.BAD: "[red]bad [/]"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def doctor(as_json: bool) -> int:
    """Check whether skylift can run on this machine: one line per finding, and what to do. Exit code 1 if it cannot."""
    found = examine(measure(find_home(os.environ), os.environ))
    findings = [replace(one, advice=as_typed(one.advice)) for one in found]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = out()
        for finding in findings:
            advice = f" — {finding.advice}" if finding.advice else ""
            text = f"{finding.subject}: {finding.found}{advice}".replace("[", r"\[")
            console.print(f"{MARKS[finding.level]} {text}")
    return 1 if any(finding.level is Level.BAD for finding in findings) else 0


@click.command()
@click.option("--https", is_flag=True, help="With an https endpoint, and the certificate authority to trust.")
@click.option("--shell", type=click.Choice(["bash", "zsh", "fish"]), default="bash", help="Syntax; default: bash.")
def shellenv(shell: str, https: bool) -> None:
    """Print the settings that make boto3, the AWS CLI and Terraform talk to this skylift.

    Use it as: eval "$(skylift shellenv)". It prints no secrets: keys stay in a file that only you can read.
    """
    home = find_home(os.environ)
    server = running(home, patience=0) or recorded(home)
    if server is None:
        raise Refused("skylift does not run here, so it has no address yet. Start it with: skylift up")
    click.echo(render(home, server.port, shell, os.environ, https=https))


def render(home: Home, port: int, shell: str, environ: Mapping[str, str], *, https: bool = False) -> str:
    """The shell's lines. Variables that would lead to a real account (AWS_PROFILE, AWS_ACCESS_KEY_ID ...) are unset.

    Args:
        environ: the shell's, to find the variables whose names are not known beforehand.
        https: with an https endpoint; the server understands both on its port.
    """
    fish = shell == "fish"
    erase, put = ("set -e {0}", "set -gx {0} {1}") if fish else ("unset {0}", "export {0}={1}")
    lines = [erase.format(name) for name in foreign_variables(environ)]
    variables = home.variables(port) | (_encrypted(home, port) if https else {})
    lines += [put.format(name, shlex.quote(value)) for name, value in variables.items()]
    return "\n".join([*lines, *_terraform_notes(port)])


def _encrypted(home: Home, port: int) -> dict[str, str]:
    from skylift.localcloud.certificates.authority import AUTHORITY, Authority  # lazy: it loads OpenSSL, 0.1 s

    trusted = str(Authority(home.folder / AUTHORITY, time.time).certificate_file)
    return {
        "AWS_ENDPOINT_URL": endpoint(port).replace("http:", "https:", 1),
        "AWS_CA_BUNDLE": trusted,
        "NODE_EXTRA_CA_CERTS": trusted,
    }


def _terraform_notes(port: int) -> list[str]:
    return [
        "# Terraform: its SDK always puts api. before MWAA's host name, and such a name does not resolve here.",
        f'# In the provider block: endpoints {{ mwaa = "http://mwaa.test:{port}" }}, and run it with',
        f"#   HTTP_PROXY=http://127.0.0.1:{port} terraform apply",
        "# (only plain http goes that way; downloads over https are untouched).",
    ]
