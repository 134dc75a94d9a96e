"""Operations on log groups and log streams: create, describe, delete, retention, tags, keys, protection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.localcloud.logs.operations import (
    MOST_DESCRIBED,
    LogOperations,
    Request,
    arn_of,
    name_of,
    paged,
    written,
)
from skylift.localcloud.logs.put_rules import invalid
from skylift.localcloud.logs.store import LogGroup, LogStream
from skylift.localcloud.logs.tokens import page_token, page_words
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

METRIC_FILTER = "metric-filter"
RETENTIONS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""API reference of PutRetentionPolicy."""
_MOST_TAGS = 50


class GroupOperations(LogOperations):
    """Groups and streams."""

    def create_log_group(self, _caller: Caller, request: Request) -> None:
        """Creates one."""
        name = request["logGroupName"]
        if self.store.group(name) is not None:
            raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists")
        more = {
            "tags": request.get("tags", {}),
            "logGroupClass": request.get("logGroupClass", "STANDARD"),
            "kmsKeyId": request.get("kmsKeyId"),
            "deletionProtectionEnabled": request.get("deletionProtectionEnabled", False),
        }
        with written("the log group"):
            self.store.add_group(name, more)

    def delete_log_group(self, _caller: Caller, request: Request) -> None:
        """Deletes one with everything in it."""
        group = self.group_named(request["logGroupName"])
        if group.more.get("deletionProtectionEnabled"):
            text = "The specified log group is protected from deletion. Disable its deletion protection first."
            raise AwsError("ValidationException", text)
        with written():
            self.store.remove_group(group)

    def describe_log_groups(self, caller: Caller, request: Request) -> Request:
        """All, by name, those with a prefix, or those with a text in their names."""
        prefix, pattern = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "")
        if prefix and pattern:
            raise invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
        identifiers = {name_of(one) for one in request.get("logGroupIdentifiers", ())}
        wanted_class = request.get("logGroupClass")
        found = [
            self._shown(caller, one)
            for one in self.store.groups(prefix)
            if (not pattern or pattern in one.name)
            and (not identifiers or one.name in identifiers)
            and wanted_class in {None, one.more.get("logGroupClass", "STANDARD")}
        ]
        return paged("logGroups", found, request, "logGroupName")

    def list_log_groups(self, caller: Caller, request: Request) -> Request:
        """The same, shorter."""
        found = [
            {
                "logGroupName": one.name,
                "logGroupArn": arn_of(caller, one.name),
                "logGroupClass": one.more.get("logGroupClass", "STANDARD"),
            }
            for one in self.store.groups()
            if request.get("logGroupNamePattern", "") in one.name
            and request.get("logGroupClass") in {None, one.more.get("logGroupClass", "STANDARD")}
        ]
        return paged("logGroups", found, request, "logGroupName")

    def create_log_stream(self, _caller: Caller, request: Request) -> None:
        """Creates one."""
        group = self.group_named(request["logGroupName"])
        if self.store.stream(group, request["logStreamName"]) is not None:
            raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")
        with written("the log stream"):
            self.store.add_stream(group, request["logStreamName"])

    def delete_log_stream(self, _caller: Caller, request: Request) -> None:
        """Deletes one with its events."""
        group = self.group_named(request["logGroupName"])
        with written():
            self.store.remove_stream(group, self.stream_named(group, request["logStreamName"]))

    def describe_log_streams(self, caller: Caller, request: Request) -> Request:
        """By name or by the time of the last event."""
        group = self.group_of(request)
        by_time, prefix = request.get("orderBy") == "LastEventTime", request.get("logStreamNamePrefix", "")
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        limit, token = request.get("limit", MOST_DESCRIBED), request.get("nextToken")
        question = ["logStreams", group.name, prefix, by_time, request.get("descending", False)]
        skip = int(page_words(token, question).get("skip", 0)) if token else 0
        found = self.store.streams(
            group,
            prefix=prefix,
            by_time=by_time,
            descending=request.get("descending", False),
            skip=skip,
            limit=limit + 1,
        )
        answer: Request = {"logStreams": [_stream(caller, group, one) for one in found[:limit]]}
        if len(found) > limit:
            answer["nextToken"] = page_token({"skip": skip + limit}, question)
        return answer

    # Settings of a group.

    def put_retention_policy(self, _caller: Caller, request: Request) -> None:
        """Sets the days."""
        days = request["retentionInDays"]
        if days not in RETENTIONS:
            raise invalid(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(map(str, RETENTIONS))}]"
            )
        with written():
            self.store.change_group(self.group_named(request["logGroupName"]), retention=days)

    def delete_retention_policy(self, _caller: Caller, request: Request) -> None:
        """Keeps events for ever."""
        with written():
            self.store.change_group(self.group_named(request["logGroupName"]), retention=0)

    def associate_kms_key(self, _caller: Caller, request: Request) -> None:
        """Remembers the key; nothing is encrypted here."""
        self._set(self._by_name_or_arn(request), kmsKeyId=request["kmsKeyId"])

    def disassociate_kms_key(self, _caller: Caller, request: Request) -> None:
        """Forgets it."""
        self._set(self._by_name_or_arn(request), kmsKeyId=None)

    def put_log_group_deletion_protection(self, _caller: Caller, request: Request) -> None:
        """Protects a group from DeleteLogGroup, or no longer."""
        group = self.group_named(name_of(request["logGroupIdentifier"]))
        self._set(group, deletionProtectionEnabled=request["deletionProtectionEnabled"])

    # Tags.

    def tag_log_group(self, _caller: Caller, request: Request) -> None:
        """Adds tags."""
        self._tag(self.group_named(request["logGroupName"]), request["tags"])

    def untag_log_group(self, _caller: Caller, request: Request) -> None:
        """Removes tags."""
        self._untag(self.group_named(request["logGroupName"]), request["tags"])

    def list_tags_log_group(self, _caller: Caller, request: Request) -> Request:
        """A group's tags."""
        return {"tags": dict(self.group_named(request["logGroupName"]).more.get("tags", {}))}

    def tag_resource(self, _caller: Caller, request: Request) -> None:
        """Adds tags, by ARN."""
        self._tag(self._tagged(request["resourceArn"]), request["tags"])

    def untag_resource(self, _caller: Caller, request: Request) -> None:
        """Removes tags, by ARN."""
        self._untag(self._tagged(request["resourceArn"]), request["tagKeys"])

    def list_tags_for_resource(self, _caller: Caller, request: Request) -> Request:
        """A group's tags, by ARN."""
        return {"tags": dict(self._tagged(request["resourceArn"]).more.get("tags", {}))}

    def _tagged(self, arn: str) -> LogGroup:
        if ":log-group:" not in arn:
            raise AwsError("ResourceNotFoundException", "The specified resource does not exist.")
        return self.group_named(name_of(arn))

    def _tag(self, group: LogGroup, tags: Mapping[str, str]) -> None:
        together = {**group.more.get("tags", {}), **tags}
        if len(together) > _MOST_TAGS:
            raise AwsError("TooManyTagsException", f"A resource can have at most {_MOST_TAGS} tags.")
        self._set(group, tags=together)

    def _untag(self, group: LogGroup, keys: list[str]) -> None:
        self._set(group, tags={key: value for key, value in group.more.get("tags", {}).items() if key not in keys})

    def _by_name_or_arn(self, request: Request) -> LogGroup:
        return self.group_named(name_of(request.get("logGroupName") or request.get("resourceIdentifier", "")))

    def _set(self, group: LogGroup, **values: Any) -> None:
        with written():
            self.store.change_group(group, more={**group.more, **values})

    def _shown(self, caller: Caller, group: LogGroup) -> Request:
        arn = arn_of(caller, group.name)
        return {
            "logGroupName": group.name,
            "creationTime": group.created,
            "retentionInDays": group.retention or None,
            "metricFilterCount": len(self.store.documents(METRIC_FILTER, group.name)),
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "storedBytes": group.stored,
            "kmsKeyId": group.more.get("kmsKeyId"),
            "logGroupClass": group.more.get("logGroupClass", "STANDARD"),
            "deletionProtectionEnabled": group.more.get("deletionProtectionEnabled", False),
        }


def _stream(caller: Caller, group: LogGroup, stream: LogStream) -> Request:
    return {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "firstEventTimestamp": stream.first,
        "lastEventTimestamp": stream.last,
        "lastIngestionTime": stream.ingested,
        "uploadSequenceToken": f"{stream.id:056d}",
        "arn": f"{arn_of(caller, group.name)}:log-stream:{stream.name}",
        "storedBytes": 0,
    }
