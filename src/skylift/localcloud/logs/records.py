"""Operations that only keep a record: resource policies, destinations, query definitions."""

from __future__ import annotations

import json
import uuid

from skylift.localcloud.logs.operations import LogOperations, Request, paged, written
from skylift.localcloud.logs.put_rules import invalid
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

POLICY, DESTINATION, DEFINITION = "resource-policy", "destination", "query-definition"
MOST_POLICIES = 10
_MISMATCH = "The expected revision does not match the current one."


class RecordOperations(LogOperations):
    """Kept, shown, and without effect here."""

    # Resource policies: of the account by name, of a group by its ARN.

    def put_resource_policy(self, _caller: Caller, request: Request) -> Request:
        """Adds or replaces one."""
        arn, name = request.get("resourceArn", ""), request.get("policyName", "")
        if bool(arn) == bool(name):
            raise invalid("Exactly one of policyName and resourceArn must be specified.")
        try:
            json.loads(request.get("policyDocument", ""))
        except ValueError:
            raise invalid("Policy document is not valid JSON.") from None
        known, key = self.store.documents(POLICY), arn or name
        before = next((one for one in known if one["key"] == key), None)
        _check_revision(before, request)
        if before is None and not arn and sum("policyName" in one for one in known) >= MOST_POLICIES:
            raise AwsError("LimitExceededException", "Resource limit exceeded.")
        policy = {
            "policyDocument": request["policyDocument"],
            "lastUpdatedTime": self.store.now(),
            "policyScope": "RESOURCE" if arn else "ACCOUNT",
            "revisionId": uuid.uuid4().hex,
            **({"resourceArn": arn} if arn else {"policyName": name}),
        }
        with written("the policy"):
            self.store.put_document(POLICY, key, {**policy, "key": key})
        return {"resourcePolicy": policy, "revisionId": policy["revisionId"]}

    def describe_resource_policies(self, _caller: Caller, request: Request) -> Request:
        """The account's, or those of groups."""
        scope, arn = request.get("policyScope", "RESOURCE" if "resourceArn" in request else "ACCOUNT"), None
        arn = request.get("resourceArn")
        found = [
            one
            for one in self.store.documents(POLICY)
            if one["policyScope"] == scope and arn in {None, one.get("resourceArn")}
        ]
        return paged("resourcePolicies", found, request, "key")

    def delete_resource_policy(self, _caller: Caller, request: Request) -> None:
        """Deletes one."""
        key = request.get("resourceArn") or request.get("policyName", "")
        before = self.store.document(POLICY, key)
        if before is None:
            raise AwsError("ResourceNotFoundException", f"Policy with name [{key}] does not exist.")
        _check_revision(before, request)
        with written():
            self.store.remove_document(POLICY, key)

    # Destinations.

    def put_destination(self, caller: Caller, request: Request) -> Request:
        """Adds or replaces one."""
        name = request["destinationName"]
        before = self.store.document(DESTINATION, name) or {}
        made = {
            "destinationName": name,
            "targetArn": request["targetArn"],
            "roleArn": request["roleArn"],
            "accessPolicy": before.get("accessPolicy"),
            "arn": f"arn:aws:logs:{caller.region}:{caller.account}:destination:{name}",
            "creationTime": before.get("creationTime", self.store.now()),
        }
        with written("the destination"):
            self.store.put_document(DESTINATION, name, made)
        return {"destination": made}

    def put_destination_policy(self, _caller: Caller, request: Request) -> None:
        """Sets its policy."""
        found = self._destination(request)
        with written("the policy"):
            self.store.put_document(
                DESTINATION, found["destinationName"], {**found, "accessPolicy": request["accessPolicy"]}
            )

    def describe_destinations(self, _caller: Caller, request: Request) -> Request:
        """All, or those with a prefix."""
        prefix = request.get("DestinationNamePrefix", "")
        found = [one for one in self.store.documents(DESTINATION) if one["destinationName"].startswith(prefix)]
        return paged("destinations", found, request, "destinationName")

    def delete_destination(self, _caller: Caller, request: Request) -> None:
        """Deletes one."""
        found = self._destination(request)
        with written():
            self.store.remove_document(DESTINATION, found["destinationName"])

    def _destination(self, request: Request) -> Request:
        found = self.store.document(DESTINATION, request["destinationName"])
        if found is None:
            raise AwsError("ResourceNotFoundException", "The specified destination does not exist.")
        return found

    # Query definitions.

    def put_query_definition(self, _caller: Caller, request: Request) -> Request:
        """Adds one, or replaces the one with the id."""
        number = request.get("queryDefinitionId")
        if number is not None and self.store.document(DEFINITION, number) is None:
            raise AwsError("ResourceNotFoundException", "The specified query definition does not exist.")
        number = number or str(uuid.uuid4())
        made = {
            "queryLanguage": request.get("queryLanguage", "CWLI"),
            "queryDefinitionId": number,
            "name": request["name"],
            "queryString": request["queryString"],
            "lastModified": self.store.now(),
            "logGroupNames": request.get("logGroupNames", []),
            "parameters": request.get("parameters"),
        }
        with written("the query definition"):
            self.store.put_document(DEFINITION, number, made)
        return {"queryDefinitionId": number}

    def describe_query_definitions(self, _caller: Caller, request: Request) -> Request:
        """All, or those with a prefix."""
        prefix = request.get("queryDefinitionNamePrefix", "")
        found = [one for one in self.store.documents(DEFINITION) if one["name"].startswith(prefix)]
        return paged("queryDefinitions", found, request, "queryDefinitionId", 1000)

    def delete_query_definition(self, _caller: Caller, request: Request) -> Request:
        """Deletes one."""
        with written():
            return {"success": self.store.remove_document(DEFINITION, request["queryDefinitionId"])}


def _check_revision(before: Request | None, request: Request) -> None:
    expected = request.get("expectedRevisionId")
    if expected is not None and (before is None or before["revisionId"] != expected):
        raise invalid(_MISMATCH)
