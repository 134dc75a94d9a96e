"""The control plane's calls to S3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from skylift.aws.clients import client
from skylift.aws.errors import calling, code_of

ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchVersion"})
"""Codes that HEAD and GET answer for what is not there. HEAD has no body, so its code is the status."""


@dataclass(frozen=True)
class Found:
    """An object as it stands: version ("" in a bucket without versions) and etag without quotes."""

    version: str
    etag: str


class S3:
    """Buckets and objects. Every method raises ``Refused`` or ``Unavailable``."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._s3 = client("s3", region=region)

    def bucket_exists(self, bucket: str) -> bool:
        """Whether the bucket is there and ours to read."""
        with calling(f"s3 HeadBucket {bucket}"):
            try:
                self._s3.head_bucket(Bucket=bucket)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return False
                raise
        return True

    def make_bucket(self, bucket: str) -> None:
        """Makes a bucket; one that is ours already is not an error."""
        place = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
        request: dict[str, Any] = {"CreateBucketConfiguration": place} if place else {}
        with calling(f"s3 CreateBucket {bucket}"):
            try:
                self._s3.create_bucket(Bucket=bucket, **request)
            except ClientError as error:
                if code_of(error) != "BucketAlreadyOwnedByYou":
                    raise

    def expire(self, bucket: str, prefix: str, days: int) -> None:
        """Lets S3 itself delete what has been below a prefix for some days. The bucket's other rules stay."""
        rule = {
            "ID": f"skylift {prefix}",
            "Filter": {"Prefix": prefix},
            "Status": "Enabled",
            "Expiration": {"Days": days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": days},
        }
        with calling(f"s3 PutBucketLifecycleConfiguration {bucket}"):
            found = self._rules(bucket)
            if rule not in found:
                others = [one for one in found if one.get("ID") != rule["ID"]]
                self._s3.put_bucket_lifecycle_configuration(
                    Bucket=bucket, LifecycleConfiguration={"Rules": [*others, rule]}
                )

    def find(self, bucket: str, key: str, version: str = "") -> Found | None:
        """An object, or None if it (or that version of it) is not there."""
        request = {"VersionId": version} if version else {}
        with calling(f"s3 HeadObject s3://{bucket}/{key}"):
            try:
                answer = self._s3.head_object(Bucket=bucket, Key=key, **request)
            except ClientError as error:
                if code_of(error) in ABSENT or (version and self._unreadable(error, bucket, key, version)):
                    return None
                raise
        found = str(answer.get("VersionId", "") or "")
        return Found("" if found == "null" else found, str(answer["ETag"]).strip('"'))

    def read_json(self, bucket: str, key: str) -> dict[str, Any] | None:
        """A small JSON object's value, or None if it does not exist."""
        with calling(f"s3 GetObject s3://{bucket}/{key}"):
            try:
                body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
        value: dict[str, Any] = json.loads(body)
        return value

    def write_json(self, bucket: str, key: str, value: Mapping[str, Any]) -> None:
        """Puts a JSON object."""
        with calling(f"s3 PutObject {bucket}/{key}"):
            self._s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(value).encode())

    def delete_prefix(self, bucket: str, prefix: str) -> None:
        """Deletes every object below a prefix, a thousand a call."""
        with calling(f"s3 delete s3://{bucket}/{prefix}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                keys = [{"Key": one["Key"]} for one in page.get("Contents", ())]
                if keys:
                    self._s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})

    def _unreadable(self, error: ClientError, bucket: str, key: str, version: str) -> bool:
        """Whether a HEAD's 400 is for a version id that S3 cannot parse. It may be an expired token; GET's body
        tells."""
        if code_of(error) != "400":
            return False
        try:
            self._s3.get_object(Bucket=bucket, Key=key, VersionId=version, Range="bytes=0-0")
        except ClientError as told:
            if code_of(told) in {"InvalidArgument", *ABSENT}:
                return True
            raise
        return False

    def _rules(self, bucket: str) -> list[dict[str, Any]]:
        try:
            return list(self._s3.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", ()))
        except ClientError as error:
            if code_of(error) == "NoSuchLifecycleConfiguration":
                return []
            raise
