"""What ECS fetches for a container before it starts: the values of secrets, and files of environment variables."""

from __future__ import annotations

from skylift.localcloud.ecs.model.environment_files import files_of, merged, place_of, variables_of
from skylift.localcloud.ecs.tasks.launch import Fetched, Wanted
from skylift.localcloud.ecs.tasks.role_checks import ENV_FILES, INIT, NoResources
from skylift.localcloud.ports import Secrets
from skylift.wire.errors import AwsError


async def fetch(source: Secrets, wanted: Wanted) -> Fetched:
    """Everything that a container's definition names. Raises ``NoResources`` with ECS's reason."""
    files = [await _file(source, value) for value in files_of(wanted.definition, wanted.override)]
    secrets = {}
    for secret in wanted.definition.get("secrets", ()):
        try:
            secrets[secret["name"]] = await source.value(secret["valueFrom"])
        except AwsError as error:
            raise NoResources(
                f"{INIT}unable to pull secrets or registry auth: execution resource retrieval "
                f"failed: unable to retrieve secret {secret['valueFrom']}: {error.code}: {error.message}"
            ) from error
    return Fetched(merged(files), secrets)


async def _file(source: Secrets, value: str) -> dict[str, str]:
    try:
        return variables_of((await source.file(*place_of(value))).decode())
    except AwsError as error:
        raise NoResources(f"{ENV_FILES}{value}: {error.code}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise NoResources(f"{ENV_FILES}{value}: it is not UTF-8 text") from error
