"""What a container is started with: its command, its environment, its folders. Pure decisions.

Nothing of the host leaks in: the environment is built here, from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skylift.core.containers import MWAA_HOME
from skylift.core.templates import wants_template
from skylift.localcloud.containers.mounts import MWAA_PATHS, Mount
from skylift.localcloud.containers.oci import OciImage
from skylift.localcloud.containers.runner import CannotStart, Launch
from skylift.localcloud.containers.ulimits import ulimits_of
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ports import CloudContext, Document, Image

CREDENTIALS = "/_skylift/credentials"
METADATA = "/_skylift/metadata/v4"
AGENT = "/_skylift/agent"
MEBIBYTE = 1024 * 1024
FOLDERS = ("work", "home", "tmp")
"""Folders of a container: private to it, deleted with it."""


@dataclass(frozen=True)
class Wanted:
    """One container of an ECS task: its definition and what the RunTask call overrides."""

    definition: Document
    override: Document

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.definition["name"])

    @property
    def essential(self) -> bool:
        """Whether its end ends the ECS task (ECS: true by default)."""
        return bool(self.definition.get("essential", True))

    @property
    def memory(self) -> int:
        """Bytes that it may use itself, 0 if only the ECS task is limited. Soft limits (reservations) never
        kill."""
        return int(self.override.get("memory") or self.definition.get("memory") or 0) * MEBIBYTE

    @property
    def stop_seconds(self) -> float:
        """Seconds between SIGTERM and SIGKILL (ECS: 30 by default)."""
        return float(self.definition.get("stopTimeout", 30))


@dataclass(frozen=True)
class Fetched:
    """Variables that ECS reads elsewhere for a container: from environment files, and its secrets."""

    files: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


def wanted_containers(definition: Document, overrides: Document) -> list[Wanted]:
    """The containers of an ECS task, each after those it depends on."""
    changes = {item.get("name"): item for item in overrides.get("containerOverrides", ())}
    left = {item["name"]: item for item in definition["containerDefinitions"]}
    ordered: list[Wanted] = []
    while left:
        ready = next(
            name
            for name, item in left.items()
            if not any(need["containerName"] in left for need in item.get("dependsOn", ()))
        )
        ordered.append(Wanted(left.pop(ready), changes.get(ready, {})))
    return ordered


def launch(
    place: CloudContext,
    task: EcsTask,
    wanted: Wanted,
    image: Image,
    fetched: Fetched,
    mounts: tuple[Mount, ...] = (),
) -> Launch:
    """Everything that the runner must know.

    Raises:
        CannotStart: no command, or a program that the image does not have.
    """
    folder = container_folder(place, task, wanted.name)
    words = command(wanted, image)
    executable = _executable(image, words[0])
    environment = container_environment(place, task, wanted, image, fetched)
    memory = wanted.memory or task_memory(task)
    ulimits, locked = ulimits_of(wanted.definition), bool(wanted.definition.get("readonlyRootFilesystem"))
    folder_in = str(wanted.definition.get("workingDirectory", ""))
    if isinstance(image, OciImage):
        cwd = Path(folder_in or image.cwd)
        user = str(wanted.definition.get("user", ""))
        return Launch(
            folder, executable, words, environment, cwd, memory, "", image.reference, user, ulimits, mounts, locked
        )
    if MWAA_PATHS.env in image.environment and all(mount.target != MWAA_HOME for mount in mounts):
        mounts = (*mounts, Mount(folder / "home" / "airflow", MWAA_HOME))
    mounted = any(Path(folder_in).is_relative_to(mount.target) for mount in mounts)
    cwd = Path(folder_in) if mounted else folder / "work" / folder_in.lstrip("/")
    template = image.template if wants_template(environment) and executable == image.executable("python") else ""
    return Launch(
        folder,
        executable,
        words,
        environment,
        cwd,
        memory,
        template,
        ulimits=ulimits,
        mounts=mounts,
        read_only_root=locked,
    )


def task_memory(task: EcsTask) -> int:
    """Bytes that the containers of an ECS task may use together, 0 for any."""
    return int(task.document["memory"]) * MEBIBYTE


def container_folder(place: CloudContext, task: EcsTask, name: str) -> Path:
    """The folder of one container."""
    return place.folder / "containers" / task.folders[name]


def command(wanted: Wanted, image: Image) -> tuple[str, ...]:
    """Entry point and command, combined as Docker does; an override replaces only the command.

    Raises:
        CannotStart: there is neither.
    """
    definition = wanted.definition
    entrypoint = definition.get("entryPoint")
    default = () if entrypoint else image.default_command  # the definition's entry point drops the image's CMD
    arguments = wanted.override.get("command") or definition.get("command") or default
    words = (*(entrypoint or image.entrypoint), *arguments)
    if not words:
        raise CannotStart("CannotCreateContainerError: Error response from daemon: No command specified")
    return words


def _executable(image: Image, word: str) -> Path:
    found = Path(word) if word.startswith("/") else image.executable(word)
    if found is None:
        text = f'exec: "{word}": executable file not found in $PATH: unknown'
        raise CannotStart(f"CannotStartContainerError: failed to create new container runtime task: {text}")
    return found


def container_environment(
    place: CloudContext, task: EcsTask, wanted: Wanted, image: Image, fetched: Fetched
) -> dict[str, str]:
    """The whole environment of a container; later entries win: image, ours, files, definition, secrets, override.

    What the definition sets is not affected by the environment files of an override.
    """
    folder = container_folder(place, task, wanted.name)
    pairs = (*wanted.definition.get("environment", ()),)
    changes = (*wanted.override.get("environment", ()),)
    return {
        **image.environment,
        **({} if isinstance(image, OciImage) else _private(folder, wanted)),
        "LANG": "C.UTF-8",
        "AWS_REGION": place.region,
        "AWS_DEFAULT_REGION": place.region,
        "AWS_ENDPOINT_URL": place.endpoint,
        # Some operations put a prefix (api., sync-, data-) before the host name of any endpoint; such a name does not
        # resolve here. And there is no instance whose metadata could give credentials.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{place.endpoint}{CREDENTIALS}/{task.id}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": task.credential,
        "ECS_CONTAINER_METADATA_URI_V4": f"{place.endpoint}{METADATA}/{task.container(wanted.name)['runtimeId']}",
        "ECS_AGENT_URI": f"{place.endpoint}{AGENT}/{task.container(wanted.name)['runtimeId']}",
        **fetched.files,
        **{pair["name"]: pair.get("value", "") for pair in pairs if "name" in pair},
        **fetched.secrets,
        **{pair["name"]: pair.get("value", "") for pair in changes if "name" in pair},
    }


def _private(folder: Path, wanted: Wanted) -> dict[str, str]:
    """A container whose root is read-only has no other place for temporary files than its real one would have."""
    home = {"HOME": str(folder / "home")}
    return home if wanted.definition.get("readonlyRootFilesystem") else {**home, "TMPDIR": str(folder / "tmp")}


@dataclass(frozen=True)
class LogTarget:
    """Where a container's output goes: CloudWatch Logs group and stream, and whether the group may be created."""

    group: str
    stream: str
    create_group: bool


def log_target(task: EcsTask, wanted: Wanted) -> LogTarget | None:
    """The ``awslogs`` options of a container; ``None`` if it has no log driver (its output stays on disk)."""
    configuration = wanted.definition.get("logConfiguration")
    if not configuration or configuration["logDriver"] != "awslogs":
        return None
    options = configuration.get("options", {})
    prefix = options.get("awslogs-stream-prefix", "")
    runtime_id = str(task.container(wanted.name)["runtimeId"])
    stream = f"{prefix}/{wanted.name}/{task.id}" if prefix else runtime_id
    return LogTarget(options["awslogs-group"], stream, options.get("awslogs-create-group") == "true")
