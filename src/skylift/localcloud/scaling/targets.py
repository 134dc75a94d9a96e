"""Scalable targets, their tags and activities."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import uuid

from skylift.localcloud.ports import Document
from skylift.localcloud.scaling.operations import Request, ScalingOperations, check_resource, invalid, shown
from skylift.localcloud.scaling.store import RecordKind, ScalingRecord
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

_SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_MOST_TAGS = 50
_ROLE = "role/aws-service-role/ecs.application-autoscaling.amazonaws.com"


class TargetOperations(ScalingOperations):
    """RegisterScalableTarget and its like."""

    def register_scalable_target(self, caller: Caller, request: Request) -> Document:
        """Makes or changes a target; a service outside the limits is changed at once."""
        check_resource(request)
        resource = request["ResourceId"]
        if self.scaler.services.desired(resource) is None:
            raise invalid(f"ECS service doesn't exist: {resource}")
        found = self.store.named(RecordKind.TARGET, resource)
        least, most = (
            request.get(member, found.shown[member] if found else None) for member in ("MinCapacity", "MaxCapacity")
        )
        if least is None or most is None:
            raise invalid("Both MinCapacity and MaxCapacity must be specified to register a new scalable target")
        check_limits(least, most)
        target = found or self._new(caller, request)
        target.shown |= {"MinCapacity": least, "MaxCapacity": most}
        if "RoleARN" in request:
            target.shown["RoleARN"] = request["RoleARN"]
        target.shown["SuspendedState"] |= request.get("SuspendedState", {})
        if request.get("Tags"):
            if found is not None:
                raise invalid("Tags can only be specified when a scalable target is registered. Use TagResource.")
            target.state["tags"] = dict(request["Tags"])
        self.store.save(target)
        self.scaler.keep_within(target)
        self.scaler.ring()
        return {"ScalableTargetARN": target.id}

    def deregister_scalable_target(self, caller: Caller, request: Request) -> Document:
        """Forgets a target with its policies and scheduled actions; the service stays as it is."""
        target = self.target(request)
        kinds = RecordKind.POLICY, RecordKind.ACTION
        self.store.remove([target, *(one for kind in kinds for one in self.store.all(kind, target.resource))])
        return {}

    def describe_scalable_targets(self, caller: Caller, request: Request) -> Document:
        """Targets, in the order of their registration."""
        wanted = {"ResourceId": request.get("ResourceIds", [])}
        found, more = self.listed(RecordKind.TARGET, request, wanted)
        return {"ScalableTargets": [{**shown(one), "ScalableTargetARN": one.id} for one in found], **more}

    def describe_scaling_activities(self, caller: Caller, request: Request) -> Document:
        """What was scaled, and why; the newest first."""
        found, more = self.listed(RecordKind.ACTIVITY, request, {}, newest_first=True)
        return {"ScalingActivities": [shown(one) for one in found], **more}

    def tag_resource(self, caller: Caller, request: Request) -> Document:
        """Adds tags to a target."""
        target = self._by_arn(request)
        tags = {**target.state["tags"], **request["Tags"]}
        if len(tags) > _MOST_TAGS:
            raise AwsError("TooManyTagsException", f"A scalable target can have {_MOST_TAGS} tags at most")
        target.state["tags"] = tags
        self.store.save(target)
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Document:
        """Removes tags from a target."""
        target = self._by_arn(request)
        target.state["tags"] = {
            name: value for name, value in target.state["tags"].items() if name not in request["TagKeys"]
        }
        self.store.save(target)
        return {}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Document:
        """The tags of a target."""
        return {"Tags": self._by_arn(request).state["tags"]}

    def _by_arn(self, request: Request) -> ScalingRecord:
        arn = request["ResourceARN"]
        found = next((one for one in self.store.all(RecordKind.TARGET) if one.id == arn), None)
        if found is None:
            text = f"The scalable target was not found: {arn}"
            raise AwsError("ResourceNotFoundException", text, members={"ResourceName": arn})
        return found

    def _new(self, caller: Caller, request: Request) -> ScalingRecord:
        place = f"{caller.region}:{caller.account}"
        role = f"arn:aws:iam::{caller.account}:{_ROLE}/AWSServiceRoleForApplicationAutoScaling_ECSService"
        document = {
            "ServiceNamespace": "ecs",
            "ResourceId": request["ResourceId"],
            "ScalableDimension": request["ScalableDimension"],
            "RoleARN": role,
            "CreationTime": self.clock(),
            "SuspendedState": dict.fromkeys(_SUSPENDED, False),
        }
        arn = f"arn:aws:application-autoscaling:{place}:scalable-target/{uuid.uuid4().hex}"
        return ScalingRecord(RecordKind.TARGET, arn, document, {"tags": {}})


def check_limits(least: int | None, most: int | None) -> None:
    """Raises ``AwsError`` for limits that cannot be kept."""
    if min(least or 0, most or 0) < 0:
        raise invalid("Minimum and maximum capacity must be greater than or equal to 0")
    if least is not None and most is not None and least > most:
        raise invalid("Maximum capacity cannot be less than minimum capacity")
