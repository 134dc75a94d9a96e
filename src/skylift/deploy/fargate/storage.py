"""What is kept: the bucket with DAGs and the database's copy, the password, and the log group."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from skylift.aws.account_calls import AccountCalls
from skylift.core import file_paths
from skylift.core.errors import Refused
from skylift.deploy.fargate.wanted import Named, foreign, tagged, tags, upper_tags

NO_BUCKET = frozenset({"404", "NoSuchBucket", "NotFound"})
NO_TAGS = frozenset({"NoSuchTagSet"})
NO_GROUP = frozenset({"ResourceNotFoundException"})
NO_SECRET = frozenset({"ResourceNotFoundException"})
DAGS = "dags/"
MARKER = "dags/.skylift"
"""Keeps the prefix there when no DAG is; Airflow's own S3 bundle does not start without it."""
PASSWORD_BYTES = 18
MOST_DELETED = 1000
SKIPPED = frozenset({"__pycache__", ".git", ".venv", ".DS_Store"})


def ensure_bucket(calls: AccountCalls, named: Named) -> None:
    """Makes the bucket, private and encrypted (S3's default). Raises ``Refused`` for somebody else's."""
    place = {} if calls.region == "us-east-1" else {"LocationConstraint": calls.region}
    request: dict[str, Any] = {"CreateBucketConfiguration": place} if place else {}
    whose = bucket_owner(calls, named)
    if whose not in {"", "half-made", named.name}:
        raise Refused(foreign(f"bucket {named.bucket}", named.name))
    if not whose:
        calls.call("s3", "create_bucket", absent={"BucketAlreadyOwnedByYou"}, Bucket=named.bucket, **request)
    calls.call("s3", "put_bucket_tagging", Bucket=named.bucket, Tagging={"TagSet": upper_tags(named.name)})
    block = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    calls.call(
        "s3",
        "put_public_access_block",
        Bucket=named.bucket,
        PublicAccessBlockConfiguration=dict.fromkeys(block, True),
    )


def bucket_owner(calls: AccountCalls, named: Named) -> str:
    """The NAME in its tag; "" if there is none; "half-made" without tags and empty; otherwise "somebody"."""
    with_owner = {"Bucket": named.bucket, "ExpectedBucketOwner": calls.account}
    if not calls.call("s3", "head_bucket", absent=NO_BUCKET, **with_owner):
        return ""
    found = calls.call("s3", "get_bucket_tagging", absent=NO_TAGS | NO_BUCKET, **with_owner)
    if whose := tagged(found.get("TagSet")):
        return whose
    first = calls.call("s3", "list_objects_v2", absent=NO_BUCKET, Bucket=named.bucket, MaxKeys=1)
    return "somebody" if found or first.get("KeyCount") else "half-made"


def sync(calls: AccountCalls, named: Named, folder: Path | None) -> int:
    """Makes the bucket's DAGs equal to the folder's files. Returns how many objects were written or deleted.

    Raises:
        Refused: the folder is not there.
    """
    there = {
        str(one["Key"]): str(one["ETag"]).strip('"')
        for one in calls.pages("s3", "list_objects_v2", "Contents", Bucket=named.bucket, Prefix=DAGS)
    }
    # Without a folder, what is there stays.
    wanted = {} if folder is not None else dict.fromkeys(there, "")
    bodies = {} if folder is None else dict(_files(folder))
    done = 0
    for key, body in {MARKER: b"", **bodies}.items():
        wanted[key] = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if there.get(key) != wanted[key]:
            calls.call("s3", "put_object", Bucket=named.bucket, Key=key, Body=body)
            done += 1
    for key in there.keys() - wanted.keys():
        calls.call("s3", "delete_object", Bucket=named.bucket, Key=key)
        done += 1
    return done


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        raise Refused(f"--dags {folder}: there is no such folder.")
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not SKIPPED & set(relative.parts) and not file_paths.unfit(relative.as_posix()):
            yield DAGS + relative.as_posix(), path.read_bytes()


def bucket_size(calls: AccountCalls, named: Named) -> int:
    """Bytes in the bucket."""
    found = calls.pages("s3", "list_objects_v2", "Contents", Bucket=named.bucket)
    return sum(int(one["Size"]) for one in found)


def remove_bucket(calls: AccountCalls, named: Named, say: Callable[[str], None]) -> bool:
    """Empties and deletes the bucket, with all versions and unfinished uploads. Whether there was one of ours."""
    whose = bucket_owner(calls, named)
    if whose not in {named.name, "half-made"}:
        return False
    uploads = calls.call("s3", "list_multipart_uploads", absent=NO_BUCKET, Bucket=named.bucket)
    for one in uploads.get("Uploads", ()):
        calls.call("s3", "abort_multipart_upload", Bucket=named.bucket, Key=one["Key"], UploadId=one["UploadId"])
    while found := _versions(calls, named):
        say(f"emptying the bucket {named.bucket}")
        calls.call("s3", "delete_objects", Bucket=named.bucket, Delete={"Objects": found, "Quiet": True})
    calls.call("s3", "delete_bucket", absent=NO_BUCKET, Bucket=named.bucket)
    return True


def _versions(calls: AccountCalls, named: Named) -> list[dict[str, str]]:
    found = calls.call("s3", "list_object_versions", absent=NO_BUCKET, Bucket=named.bucket, MaxKeys=MOST_DELETED)
    both = [*found.get("Versions", ()), *found.get("DeleteMarkers", ())]
    return [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in both]


def ensure_secret(calls: AccountCalls, named: Named) -> str:
    """The secret with the password of the user admin, made once. Returns its ARN."""
    found = calls.call("secretsmanager", "describe_secret", absent=NO_SECRET, SecretId=named.secret)
    if found and tagged(found.get("Tags")) != named.name:
        raise Refused(foreign(f"secret {named.secret}", named.name))
    if found.get("DeletedDate"):
        calls.call("secretsmanager", "restore_secret", SecretId=named.secret)
    if not found:
        found = calls.call(
            "secretsmanager",
            "create_secret",
            Name=named.secret,
            Description=f"Password of Airflow's user admin: {named.name} (skylift fargate)",
            SecretString=secrets.token_urlsafe(PASSWORD_BYTES),
            Tags=upper_tags(named.name),
        )
    return str(found["ARN"])


def password(calls: AccountCalls, named: Named) -> str:
    """The password of the user admin; "" if there is none."""
    found = calls.call("secretsmanager", "get_secret_value", absent=NO_SECRET, SecretId=named.secret)
    return str(found.get("SecretString", ""))


def remove_secret(calls: AccountCalls, named: Named) -> bool:
    """Deletes the secret at once, so that its name is free. Whether there was one of ours."""
    found = calls.call("secretsmanager", "describe_secret", absent=NO_SECRET, SecretId=named.secret)
    if tagged(found.get("Tags")) != named.name:
        return False
    request = {"SecretId": named.secret, "ForceDeleteWithoutRecovery": True}
    calls.call("secretsmanager", "delete_secret", absent=NO_SECRET, **request)
    return True


def ensure_log_group(calls: AccountCalls, named: Named, days: int) -> None:
    """The log group, with retention."""
    found = _log_group(calls, named)
    if found is None:
        calls.call(
            "logs",
            "create_log_group",
            absent={"ResourceAlreadyExistsException"},
            logGroupName=named.log_group,
            tags=tags(named.name),
        )
    elif log_group_owner(calls, named) != named.name:
        raise Refused(foreign(f"log group {named.log_group}", named.name))
    if found is None or found.get("retentionInDays") != days:
        calls.call("logs", "put_retention_policy", logGroupName=named.log_group, retentionInDays=days)


def log_group_owner(calls: AccountCalls, named: Named) -> str:
    """The NAME in the log group's tag; "" if there is none."""
    found = calls.call("logs", "list_tags_log_group", absent=NO_GROUP, logGroupName=named.log_group)
    return tagged([{"Key": key, "Value": value} for key, value in found.get("tags", {}).items()])


def remove_log_group(calls: AccountCalls, named: Named) -> bool:
    """Deletes the log group. Whether there was one of ours."""
    if log_group_owner(calls, named) != named.name:
        return False
    calls.call("logs", "delete_log_group", absent=NO_GROUP, logGroupName=named.log_group)
    return True


def _log_group(calls: AccountCalls, named: Named) -> dict[str, Any] | None:
    found = calls.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=named.log_group)
    return next((one for one in found if one["logGroupName"] == named.log_group), None)
