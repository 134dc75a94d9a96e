"""A user's requirements.txt: resolved against the image, installed next to it, and explained when that fails.

The image's own packages are the constraints, as Airflow's constraints file is on MWAA. A ``-c`` line in the user's file
replaces them (MWAA's rule, also for a commented line), except for the few packages without which the environment would
not be this Airflow. Only what the image lacks is installed, so a layer stays small and cannot shadow the image.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from skylift.core.containers import MWAA_HOME
from skylift.core.errors import Broken, Refused
from skylift.core.secrecy import hide_in

SECONDS = 540
"""Time limit for resolving and installing (on MWAA pip may take 9 minutes)."""

GUARDED = frozenset(
    [
        "apache-airflow",
        "apache-airflow-core",
        "apache-airflow-task-sdk",
        "sqlalchemy",
        "alembic",
        "watchtower",
        "flask",
        "gunicorn",
        "flask-appbuilder",
        "apache-airflow-providers-fab",
        "celery",
        "kombu",
        "billiard",
        "vine",
        "gevent",
        "greenlet",
        "statsd",
    ]
)
"""Packages that a user's own constraints cannot change (MWAA's second constraints file, and what our task SDK pins)."""

OWN_CONSTRAINT = re.compile(r"-c |--constraint[ =]")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
REFUSED_BY_REGISTRY = re.compile(r"HTTP status client error \((?!407|429)4\d\d")
"""The registry answered: the package does not exist, or we have no access."""
UNREACHABLE = ("Failed to fetch", "Request failed after", "error sending request", "dns error", "tcp connect error")
LONGEST_REASON = 1500
NO_REGISTRY = (
    "the package registry cannot be reached. Check the network, the proxy (HTTPS_PROXY) and the index (PIP_INDEX_URL, "
    "or "
    "--index-url in requirements.txt), then try again. The installer says"
)


class RequirementsFailed(Refused):
    """The requirements cannot be installed; the text is the resolver's reason, with the line."""


class RegistryUnreachable(RequirementsFailed):
    """The package registry did not answer: this says nothing about the requirements."""


@dataclass(frozen=True)
class Requirement:
    """One line of the file: its number (from 1), its text without comment, and the package's canonical name."""

    line: int
    text: str
    name: str


def read(text: str) -> list[Requirement]:
    """The packages that the file lists, without options (``-r``, ``--index-url`` ...) and comments."""
    found = []
    for number, line in logical_lines(text):
        bare = re.sub(r"(^|\s)#.*", "", line).strip()
        match = NAME.match(bare)
        if match:
            found.append(Requirement(number, bare, canonical(match[0])))
    return found


def logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines as pip reads them (``join_lines`` of its ``req_file.py``), each with the number of its first: one that ends
    with a backslash goes on in the next, unless it is a comment, and a comment ends what goes on."""
    found, begun, first = list[tuple[int, str]](), "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first if begun else number
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            begun += line.strip("\\")
            continue
        found.append((first, f"{begun} {line}" if begun and comment else begun + line))
        begun = ""
    return [*found, (first, begun)] if begun else found


def canonical(name: str) -> str:
    """The name in the form that registries compare: lower case, ``-`` for any run of ``-_.`` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def image_packages(found: Iterable[Distribution] | None = None) -> dict[str, str]:
    """The packages of this Python, version by canonical name, without those installed from a folder (skylift
    itself)."""
    return {
        canonical(dist.metadata["Name"]): dist.version
        for dist in (distributions() if found is None else found)
        if not (dist.read_text("direct_url.json") or "").strip()
    }


def constraints_for(text: str, image: Mapping[str, str]) -> str:
    """The constraints file for a requirements file (see the file's docstring)."""
    own = any(OWN_CONSTRAINT.search(line) for line in text.splitlines())
    return "".join(f"{name}=={version}\n" for name, version in sorted(image.items()) if not own or name in GUARDED)


def localised(text: str, folder: Path) -> str:
    """The file with MWAA's paths (``/usr/local/airflow/plugins``, ``.../dags``) replaced by ``folder``, and
    each line that went on in the next ones in one; line numbers stay the same."""

    def turn(line: str) -> str:
        if line.lstrip().startswith("#"):
            return line
        line = line.replace("${AIRFLOW_HOME}", MWAA_HOME).replace("$AIRFLOW_HOME", MWAA_HOME)
        line = line.replace(MWAA_HOME, str(folder))
        option = line.lstrip().startswith("-")
        return line.replace('"', "").replace("'", "") if option else line  # a requirement's marker needs its quotes

    lines = [""] * len(text.splitlines())
    for number, line in logical_lines(text):
        lines[number - 1] = turn(line)
    return "\n".join(lines) + "\n"


def missing_only(resolved: str, image: Mapping[str, str]) -> str:
    """The resolver's lines without those that the image already satisfies; options stay."""

    def lacking(line: str) -> bool:
        name, separator, version = line.partition("==")
        version = version.split(";")[0].strip()
        return not separator or image.get(canonical(name.split("[")[0].strip())) != version

    return "".join(line + "\n" for line in resolved.splitlines() if lacking(line))


def install(text: str, workspace: Path, target: Path, environ: Mapping[str, str]) -> None:
    """Resolves ``text`` and installs what the image lacks into ``target``, with bytecode.

    Args:
        text: the user's file.
        workspace: folder with ``plugins`` and ``dags`` to which the file may point.

    Raises:
        RegistryUnreachable: the registry did not answer.
        RequirementsFailed: the reason, for people.
    """
    image = image_packages()
    wanted, pins, resolved = (workspace / name for name in ("requirements.txt", "image.txt", "resolved.txt"))
    wanted.write_text(localised(text, workspace))
    pins.write_text(constraints_for(text, image))
    network = uv_environment(environ)
    emit = ("--no-header", "--no-annotate", "--emit-index-url", "--emit-find-links", "--emit-build-options")
    _uv(["pip", "compile", *emit, "-c", str(pins), "-o", str(resolved), str(wanted)], network, text)
    lacking = missing_only(resolved.read_text(), image)
    if not any(line and not line.startswith("-") for line in lacking.splitlines()):
        return
    resolved.write_text(lacking)
    into = ("--target", str(target), "--no-deps", "--compile-bytecode")
    _uv(["pip", "install", *into, "-r", str(resolved)], network, text)
    (target / ".lock").unlink(missing_ok=True)


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for uv: settings for pip apply too, and waiting for a dead registry ends after 30 seconds."""
    same = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}
    from_pip = {ours: environ[theirs] for theirs, ours in same.items() if environ.get(theirs)}
    if environ.get("PIP_FIND_LINKS"):
        from_pip["UV_FIND_LINKS"] = ",".join(environ["PIP_FIND_LINKS"].split())
    return {
        "UV_HTTP_TIMEOUT": "15",
        "UV_HTTP_RETRIES": "1",
        **from_pip,
        **{name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        # This bytecode is not checked against its source: all files in an archive get the same time.
        "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
    }


def explain(output: str, text: str) -> str:
    """uv's reason in one line, with the requirement and its line.

    Args:
        output: what uv wrote to stderr.
        text: the user's file.
    """
    told = output[max(output.find("error:"), 0) :]  # the text before reports successes
    lines = [re.sub(r"^\s*(error:|cause:|[×╰─▶│]+)\s*", "", line).strip() for line in told.splitlines()]
    reason = hide_in(" ".join(line for line in lines if line and not line.startswith("^")))
    if unreachable(output):
        return f"{NO_REGISTRY}: {reason}"[:LONGEST_REASON]
    position = re.search(r"requirements\.txt` at position (\d+)", output)
    if position:
        return f"line {text[: int(position[1])].count(chr(10)) + 1}: {reason}"[:LONGEST_REASON]
    words = {canonical(word.rstrip(".-_")) for word in NAME.findall(re.sub(r"[=<>~!]=?.*?(?=\s|$)", " ", reason))}
    guilty = next((requirement for requirement in read(text) if requirement.name in words), None)
    return (f"line {guilty.line}: {hide_in(guilty.text)}: {reason}" if guilty else reason)[:LONGEST_REASON]


def unreachable(output: str) -> bool:
    """Whether uv's output means that a registry did not answer."""
    return any(sign in output for sign in UNREACHABLE) and not REFUSED_BY_REGISTRY.search(output)


def _uv(arguments: list[str], environ: Mapping[str, str], text: str) -> None:
    program = _uv_program(environ)
    command = [program, *arguments, "--python", sys.executable, "--color", "never", "--no-progress"]
    try:
        done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise RequirementsFailed(f"installing took longer than {SECONDS} s") from error
    sys.stderr.write(hide_in(done.stderr))
    if done.returncode != 0:
        failure = RegistryUnreachable if unreachable(done.stderr) else RequirementsFailed
        raise failure(explain(done.stderr, text))


def _uv_program(environ: Mapping[str, str]) -> str:
    """uv of this image: beside its Python, or on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("uv", path=environ.get("PATH"))
    if not found:
        raise Broken("this image has no uv: layers cannot be built in it")
    return found
