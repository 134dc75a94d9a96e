"""The user's resources: bucket, execution role, requirements, plugins, startup script. Checked, never changed.

An object without a version is pinned here to its current one, as MWAA does.
"""

from __future__ import annotations

from skylift.aws.network import role_exists
from skylift.aws.s3 import S3
from skylift.control.part_context import PartContext, digest
from skylift.control.parts.seam import LookedAtParts
from skylift.control.plan import Failure, PartPhase, Seen
from skylift.core.environment import S3Object
from skylift.core.names import s3_url

CODE = "INCORRECT_CONFIGURATION"
"""MWAA's code for what the user has to correct."""


class SourceParts(LookedAtParts):
    """Parts of kind SOURCE: the user's resources."""

    def __init__(self, s3: S3) -> None:
        self._s3 = s3

    def look(self, context: PartContext) -> Seen:
        """Resources that passed the check for this generation are not checked again."""
        spec = context.spec
        checked = digest(spec.bucket, spec.execution_role, *(repr(one) for one in _objects(context).values() if one))
        if context.fact("source.checked") == checked:
            return Seen(PartPhase.READY)
        again = "update the environment" if context.served else "create the environment"
        if not self._s3.bucket_exists(spec.bucket):
            return _failed(
                f"The bucket {spec.bucket} does not exist. Create it, put the DAGs below {spec.dag_prefix}/ in "
                f"it, and {again} again."
            )
        if context.settings.check_role and not role_exists(spec.execution_role, context.settings.region):
            return _failed(f"The execution role {spec.execution_role} does not exist. Create it and {again} again.")
        facts = {"source.checked": checked}
        for name, one in _objects(context).items():
            if one is None:
                facts |= {f"source.{name}{end}": "" for end in ("", ".version", ".etag")}
                continue
            found = self._s3.find(spec.bucket, one.key, one.version)
            if found is None:
                wanted = f"{s3_url(spec.bucket, one.key)}" + (f" version {one.version}" if one.version else "")
                return _failed(f"There is no {wanted}. Upload it, or leave the member out of the request.")
            version = one.version or found.version
            facts[f"source.{name}"] = s3_url(spec.bucket, one.key) + (f"?versionId={version}" if version else "")
            facts[f"source.{name}.version"] = version
            facts[f"source.{name}.etag"] = found.etag
        return Seen(PartPhase.READY, facts)


def _objects(context: PartContext) -> dict[str, S3Object | None]:
    spec = context.spec
    return {"requirements": spec.requirements, "plugins": spec.plugins, "startup_script": spec.startup_script}


def _failed(text: str) -> Seen:
    return Seen(PartPhase.FAILED, fault=Failure(CODE, text))
