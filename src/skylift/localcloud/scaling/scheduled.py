"""Scheduled actions: new limits for a target at a time."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

import uuid

from skylift.localcloud.occurrences import InvalidSchedule, next_occurrence
from skylift.localcloud.ports import Document
from skylift.localcloud.scaling.operations import Request, ScalingOperations, invalid, policy_arn, shown
from skylift.localcloud.scaling.scaler import schedule_of
from skylift.localcloud.scaling.store import RecordKind, ScalingRecord
from skylift.localcloud.scaling.targets import check_limits
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

_MOST_ACTIONS = 200
"""Quota: scheduled actions of one target."""
_KEPT = ("Schedule", "Timezone", "ScalableTargetAction")


class ScheduledActionOperations(ScalingOperations):
    """PutScheduledAction and its like."""

    def put_scheduled_action(self, caller: Caller, request: Request) -> Document:
        """Makes or changes a scheduled action; of an existing one, what is not given stays."""
        target = self.target(request)
        name = request["ScheduledActionName"]
        found = self.store.named(RecordKind.ACTION, target.resource, "ScheduledActionName", name)
        if found is None and len(self.store.all(RecordKind.ACTION, target.resource)) >= _MOST_ACTIONS:
            text = f"A scalable target can have {_MOST_ACTIONS} scheduled actions at most"
            raise AwsError("LimitExceededException", text)
        arn = found.id if found else policy_arn(caller, "scheduledAction", str(uuid.uuid4()), target.resource, name)
        document: Document = {
            **(found.shown if found else {}),
            "ScheduledActionName": name,
            "ScheduledActionARN": arn,
            "ServiceNamespace": "ecs",
            "ResourceId": target.resource,
            "ScalableDimension": request["ScalableDimension"],
            "CreationTime": found.shown["CreationTime"] if found else self.clock(),
            **{member: request[member] for member in _KEPT if member in request},
            **{member: request[member].timestamp() for member in ("StartTime", "EndTime") if member in request},
        }
        state = {"put": self.clock()}
        _check(document)
        self._check_schedule(document, state)
        action = found or ScalingRecord(RecordKind.ACTION, arn, document)
        action.shown, action.state = document, state
        self.store.save(action)
        self.scaler.ring()
        return {}

    def describe_scheduled_actions(self, caller: Caller, request: Request) -> Document:
        """Scheduled actions, in the order in which they were made."""
        wanted = {"ScheduledActionName": request.get("ScheduledActionNames", [])}
        found, more = self.listed(RecordKind.ACTION, request, wanted)
        return {"ScheduledActions": [shown(one) for one in found], **more}

    def delete_scheduled_action(self, caller: Caller, request: Request) -> Document:
        """Forgets a scheduled action."""
        self.store.remove([self.one(RecordKind.ACTION, request, "ScheduledActionName", "Scheduled action")])
        return {}

    def _check_schedule(self, document: Document, state: Document) -> None:
        try:
            next_occurrence(schedule_of(document, state), self.scaler.cron)
        except InvalidSchedule as error:
            raise invalid(str(error)) from error


def _check(document: Document) -> None:
    if "Schedule" not in document:
        raise invalid("Schedule must be specified for a new scheduled action")
    wanted = document.get("ScalableTargetAction", {})
    if wanted.get("MinCapacity") is None and wanted.get("MaxCapacity") is None:
        raise invalid("At least one of MinCapacity and MaxCapacity must be specified in ScalableTargetAction")
    check_limits(wanted.get("MinCapacity"), wanted.get("MaxCapacity"))
    if document.get("EndTime", float("inf")) <= document.get("StartTime", 0.0):
        raise invalid("StartTime must be before EndTime")
