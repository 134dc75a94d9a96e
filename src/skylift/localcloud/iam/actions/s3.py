"""S3's actions and resources: they follow from method, path, query and headers, not from the operation's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

from skylift.core.iam.patterns import ContextValues
from skylift.core.partitions import partition_of
from skylift.localcloud.iam.actions.call import Need
from skylift.wire.asgi import Head
from skylift.wire.signing.forms import is_upload, key_of, read_fields

DELETE_MANY = "delete"
"""The parameter of DeleteObjects, whose body names the objects."""

_LOCAL = "localhost"
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_BUCKET_PLAIN = {
    "GET": "ListBucket",
    "HEAD": "ListBucket",
    "PUT": "CreateBucket",
    "DELETE": "DeleteBucket",
    "POST": "PutObject",
}
_OBJECT_PLAIN = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}


def _configured(name: str, *, deletes: str = "") -> dict[str, str]:
    """A configuration of a bucket, whose removal needs the right to write it (or a right of its own)."""
    return {"GET": f"Get{name}", "PUT": f"Put{name}", "DELETE": deletes or f"Put{name}"}


_BUCKET: Mapping[str, Mapping[str, str]] = {
    "accelerate": _configured("AccelerateConfiguration"),
    "acl": _configured("BucketAcl"),
    "analytics": _configured("AnalyticsConfiguration"),
    "cors": _configured("BucketCORS"),
    DELETE_MANY: {"POST": "DeleteObject"},
    "encryption": _configured("EncryptionConfiguration"),
    "intelligent-tiering": _configured("IntelligentTieringConfiguration"),
    "inventory": _configured("InventoryConfiguration"),
    "lifecycle": _configured("LifecycleConfiguration"),
    "location": {"GET": "GetBucketLocation"},
    "logging": _configured("BucketLogging"),
    "metrics": _configured("MetricsConfiguration"),
    "notification": _configured("BucketNotification"),
    "object-lock": _configured("BucketObjectLockConfiguration"),
    "ownershipControls": _configured("BucketOwnershipControls"),
    "policy": _configured("BucketPolicy", deletes="DeleteBucketPolicy"),
    "policyStatus": {"GET": "GetBucketPolicyStatus"},
    "publicAccessBlock": _configured("BucketPublicAccessBlock"),
    "replication": _configured("ReplicationConfiguration"),
    "requestPayment": _configured("BucketRequestPayment"),
    "tagging": _configured("BucketTagging"),
    "uploads": {"GET": "ListBucketMultipartUploads"},
    "versioning": _configured("BucketVersioning"),
    "versions": {"GET": "ListBucketVersions"},
    "website": _configured("BucketWebsite", deletes="DeleteBucketWebsite"),
}
_OBJECT: Mapping[str, Mapping[str, str]] = {
    "acl": {"GET": "GetObjectAcl", "PUT": "PutObjectAcl"},
    "attributes": {"GET": "GetObjectAttributes"},
    "legal-hold": {"GET": "GetObjectLegalHold", "PUT": "PutObjectLegalHold"},
    "restore": {"POST": "RestoreObject"},
    "retention": {"GET": "GetObjectRetention", "PUT": "PutObjectRetention"},
    "select": {"POST": "GetObject"},
    "tagging": {"GET": "GetObjectTagging", "PUT": "PutObjectTagging", "DELETE": "DeleteObjectTagging"},
    "torrent": {"GET": "GetObjectTorrent"},
    "uploadId": {
        "GET": "ListMultipartUploadParts",
        "PUT": "PutObject",
        "POST": "PutObject",
        "DELETE": "AbortMultipartUpload",
    },
    "uploads": {"POST": "PutObject"},
}
_VERSIONED = {
    "GetObject": "GetObjectVersion",
    "DeleteObject": "DeleteObjectVersion",
    "GetObjectAcl": "GetObjectVersionAcl",
    "PutObjectAcl": "PutObjectVersionAcl",
    "GetObjectAttributes": "GetObjectVersionAttributes",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectTagging": "PutObjectVersionTagging",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
    "GetObjectTorrent": "GetObjectVersionTorrent",
}
_LIST_KEYS = {"prefix": "s3:prefix", "delimiter": "s3:delimiter", "max-keys": "s3:max-keys"}
_HEADER_KEYS = {
    "x-amz-acl": "s3:x-amz-acl",
    "x-amz-copy-source": "s3:x-amz-copy-source",
    "x-amz-metadata-directive": "s3:x-amz-metadata-directive",
    "x-amz-server-side-encryption": "s3:x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class": "s3:x-amz-storage-class",
    "x-amz-content-sha256": "s3:x-amz-content-sha256",
    "if-none-match": "s3:if-none-match",
    "if-match": "s3:if-match",
}
_LISTS = frozenset({"ListBucket", "ListBucketVersions", "ListBucketMultipartUploads"})


def s3_needs(head: Head, body: bytes, region: str) -> list[Need]:
    """What a request to S3 needs. ``body`` is read only of DeleteObjects, and the fields of a form that uploads."""
    bucket, key = _place(head)
    query = dict(parse_qsl(head.query, keep_blank_values=True))
    prefix = f"arn:{partition_of(region)}:s3:::"
    if not bucket:
        return [Need("s3:ListAllMyBuckets")]
    context = _context(head, query)
    if not key and is_upload(head):
        fields = read_fields(head, body)
        beside = Head("PUT", head.path, "", {**head.headers, **_as_headers(fields)})
        needs = [_object("PutObject", prefix, bucket, key_of(fields), _context(beside, query))]
        return [*needs, *_beside(beside, prefix, bucket, key_of(fields), _context(beside, query))]
    if not key:
        action = _action(_BUCKET, _BUCKET_PLAIN, head.method, query)
        if DELETE_MANY in query and head.method == "POST":
            return [
                _object(_versioned(action, version), prefix, bucket, name, context) for name, version in _named(body)
            ]
        listing = {word: query[name] for name, word in _LIST_KEYS.items() if name in query}
        return [Need(f"s3:{action}", prefix + bucket, {**context, **(listing if action in _LISTS else {})})]
    action = _versioned(_action(_OBJECT, _OBJECT_PLAIN, head.method, query), query.get("versionId", ""))
    needs = [_object(action, prefix, bucket, key, context)]
    if action.startswith("GetObject") and action.endswith("Attributes"):
        needs.append(_object(action.removesuffix("Attributes"), prefix, bucket, key, context))
    return [*needs, *_beside(head, prefix, bucket, key, context)]


def bucket_in_host(head: Head) -> str:
    """The bucket that the host's name begins with (``bucket.s3.amazonaws.com``, ``bucket.localhost``); mostly empty.
    ministack looks there first, whatever service the request is signed for."""
    host = head.headers.get("host", "").strip().lower()
    host = host.rsplit(":", 1)[0] if ":" in host else host
    bucket, dot, base = host.partition(".")
    first = base.partition(".")[0]
    s3 = first == "s3" or first.startswith(("s3-", "s3express-")) or base == _LOCAL or base.endswith(f".{_LOCAL}")
    return bucket if dot and s3 and _BUCKET_NAME.fullmatch(bucket) else ""


def _place(head: Head) -> tuple[str, str]:
    """Bucket and key."""
    path = unquote(head.path).removeprefix("/")
    if bucket := bucket_in_host(head):
        return bucket, path
    bucket, _, key = path.partition("/")
    return bucket, key


def _action(
    table: Mapping[str, Mapping[str, str]], plain: Mapping[str, str], method: str, query: Mapping[str, str]
) -> str:
    found = next((by_method[method] for word, by_method in table.items() if word in query and method in by_method), "")
    return found or plain.get(method, f"{method.capitalize()}Unknown")


def _versioned(action: str, version: str) -> str:
    return _VERSIONED.get(action, action) if version else action


def _object(action: str, prefix: str, bucket: str, key: str, context: Mapping[str, ContextValues]) -> Need:
    return Need(f"s3:{action}", f"{prefix}{bucket}/{key}", context)


def _beside(head: Head, prefix: str, bucket: str, key: str, context: Mapping[str, ContextValues]) -> Iterable[Need]:
    """What a PUT needs besides: the source of a copy, tags, an ACL."""
    if head.method != "PUT" or not key:
        return
    source, _, version = head.headers.get("x-amz-copy-source", "").partition("?versionId=")
    from_bucket, _, from_key = unquote(source).removeprefix("/").partition("/")
    if from_key:
        yield _object(_versioned("GetObject", version), prefix, from_bucket, from_key, context)
    if head.headers.get("x-amz-tagging"):
        yield _object("PutObjectTagging", prefix, bucket, key, context)
    if head.headers.get("x-amz-acl"):
        yield _object("PutObjectAcl", prefix, bucket, key, context)


def _as_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """A form's fields, as the headers that mean the same."""
    named = {name: value for name, value in fields.items() if name.startswith("x-amz-")}
    return named | ({"x-amz-acl": fields["acl"]} if "acl" in fields else {})


def _context(head: Head, query: Mapping[str, str]) -> dict[str, ContextValues]:
    found: dict[str, ContextValues] = {
        word: head.headers[name] for name, word in _HEADER_KEYS.items() if name in head.headers
    }
    found["s3:authType"] = "REST-QUERY-STRING" if "X-Amz-Signature" in query else "REST-HEADER"
    found["s3:signatureversion"] = "AWS4-HMAC-SHA256"
    if version := query.get("versionId"):
        found["s3:VersionId"] = version
    tags = dict(parse_qsl(head.headers.get("x-amz-tagging", ""), keep_blank_values=True))
    if tags:
        found |= {f"s3:RequestObjectTag/{name}": value for name, value in tags.items()}
        found["s3:RequestObjectTagKeys"] = tuple(tags)
    return found


def _named(body: bytes) -> list[tuple[str, str]]:
    """Keys and versions of a DeleteObjects request; ministack reads it in the same way."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - as ministack reads it after us
    except ElementTree.ParseError:
        return []
    objects = (one for one in root.iter() if _tag(one) == "Object")
    texts = [{_tag(child): child.text or "" for child in one} for one in objects]
    return [(one["Key"], one.get("VersionId", "")) for one in texts if one.get("Key")]


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]
