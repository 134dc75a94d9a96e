"""Amazon MWAA's API: the operations on environments, their metrics and their tags.

A request ends with one committed row and wakes the reconciler, which does the rest.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from skylift.aws.metrics import CloudWatch
from skylift.aws.secrets import SecretsManager
from skylift.control.api.access import AccessJudge, AccessRules
from skylift.control.api.answers import environment
from skylift.control.api.entry import EnvironmentEntry
from skylift.control.api.publish_metrics import publish
from skylift.control.api.tokens import TokenSigner
from skylift.control.api.updates import LOOKED_UP, pinned, updated
from skylift.control.api.validation import Invalid, spec_of
from skylift.control.part_context import environment_arn
from skylift.control.settings import ControlSettings
from skylift.control.store import EnvironmentStore, Row, ServedState
from skylift.core.environment import Status
from skylift.core.errors import Unavailable
from skylift.wire.checks import Checks
from skylift.wire.errors import AwsError
from skylift.wire.models import model_of
from skylift.wire.provider import Caller

UPDATABLE = frozenset({Status.AVAILABLE, Status.UPDATE_FAILED, Status.UNAVAILABLE})
DELETABLE = UPDATABLE | {Status.CREATE_FAILED, Status.PENDING}
CHANGED = "The environment was changed at the same time; try again"

MOST_TAGS = 50
MOST_RESULTS = 25


class MwaaProvider:
    """Serves ``mwaa`` on the wire.

    Args:
        ring: wakes the reconciler.
        judge: decides by IAM who may do what.
    """

    service = "mwaa"
    blocking = True

    def __init__(
        self,
        store: EnvironmentStore,
        settings: ControlSettings,
        ring: Callable[[], None],
        judge: AccessJudge,
    ) -> None:
        self._access = AccessRules(judge, settings)
        self._entry = EnvironmentEntry(self._access, TokenSigner(SecretsManager(settings.region), time.time))
        self._store = store
        self._settings = settings
        self._ring = ring
        self._cloudwatch = CloudWatch(settings.region)

    def create_environment(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Creates one row. Bucket, role and objects are checked later (see ``validation``)."""
        self._access.require(caller, "CreateEnvironment", request["Name"])
        _refuse_nul(request)
        try:
            spec = spec_of(request, self._settings)
        except Invalid as error:
            raise AwsError("ValidationException", str(error)) from error
        with _serving():
            if not self._store.create(spec, request.get("Tags", {})):
                raise AwsError("ValidationException", f"Environment with name {spec.name} already exists")
        self._ring()
        return {"Arn": environment_arn(spec.name, self._settings)}

    def get_environment(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """The environment's current state; 404 once it is deleted."""
        self._access.require(caller, "GetEnvironment", request["Name"])
        return {"Environment": environment(self._row(request["Name"]), self._settings)}

    def list_environments(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Names, alphabetically."""
        self._access.require(caller, "ListEnvironments")
        most = min(int(request.get("MaxResults", MOST_RESULTS)), MOST_RESULTS)
        with _serving():
            names = self._store.names(_read_token(request.get("NextToken", "")), most + 1)
        more = {"NextToken": _token(names[most - 1])} if len(names) > most else {}
        return {"Environments": names[:most], **more}

    def delete_environment(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Starts the deletion."""
        self._access.require(caller, "DeleteEnvironment", request["Name"])
        row = self._row(request["Name"])
        _refuse_status(row, DELETABLE, "deleted")
        with _serving():
            if not self._store.request_delete(row):
                raise AwsError("ValidationException", CHANGED)
        self._ring()
        return {}

    def list_tags_for_resource(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """All tags."""
        self._access.require(caller, "ListTagsForResource", self._name(request["ResourceArn"]))
        return {"Tags": dict(self._tagged(request["ResourceArn"]).tags)}

    def tag_resource(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Adds tags, or gives them new values."""
        self._access.require(caller, "TagResource", self._name(request["ResourceArn"]))
        _refuse_nul(request)
        row = self._tagged(request["ResourceArn"])
        added: Mapping[str, str] = request["Tags"]
        if len({*row.tags, *added}) > MOST_TAGS:
            raise AwsError("ValidationException", f"An environment can have at most {MOST_TAGS} tags")
        with _serving():
            self._store.tag(row.name, added, ())
        return {}

    def untag_resource(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Removes tags; missing ones are no error."""
        self._access.require(caller, "UntagResource", self._name(request["ResourceArn"]))
        row = self._tagged(request["ResourceArn"])
        with _serving():
            self._store.tag(row.name, {}, request["tagKeys"])
        return {}

    def publish_metrics(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Sends values of an existing environment to CloudWatch."""
        self._access.require(caller, "PublishMetrics", request["EnvironmentName"])
        with _serving():
            known = self._store.get(request["EnvironmentName"])
        if known is None:  # the operation has no other error for it
            raise AwsError("ValidationException", f"Environment with name {request['EnvironmentName']} does not exist")
        publish(request, self._cloudwatch)
        return {}

    def update_environment(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Changes an environment. A failure after this call is reported in ``LastUpdate.Error``."""
        self._access.require(caller, "UpdateEnvironment", request["Name"])
        _refuse_nul(request)
        row = self._row(request["Name"])
        _refuse_status(row, UPDATABLE, "updated")
        replacement = request.get("WorkerReplacementStrategy", "FORCED")
        with _serving():
            wanted = update_of(row, request, self._settings)
            what = ", ".join(sorted(set(request) - {"Name"})) or "nothing"
            told = f"UpdateEnvironment was asked for: {what}"
            if not self._store.request_update(wanted, "UpdateEnvironment", told, replacement):
                raise AwsError("ValidationException", CHANGED)
        self._ring()
        return {"Arn": environment_arn(row.name, self._settings)}

    def create_cli_token(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """A token for Airflow's command line over HTTP."""
        self._access.require(caller, "CreateCliToken", request["Name"])
        with _serving():
            return self._entry.cli_token(caller, self._row(request["Name"]))

    def create_web_login_token(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """A token for signing in to Airflow's UI, with the role that the caller's policies allow."""
        with _serving():
            return self._entry.web_login_token(caller, self._row(request["Name"]))

    def invoke_rest_api(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Calls Airflow's REST API, with the role that the caller's policies allow."""
        with _serving():
            row = self._row(request["Name"])
            return self._entry.invoke_rest_api(caller, row, request)

    def _row(self, name: str) -> Row:
        with _serving():
            row = self._store.get(name)
        if row is None:
            raise AwsError("ResourceNotFoundException", f"Environment with name {name} does not exist", 404)
        return row

    def _tagged(self, resource: str) -> Row:
        return self._row(self._name(resource))

    def _name(self, resource: str) -> str:
        name = resource.partition(":environment/")[2]
        if resource != environment_arn(name, self._settings):
            raise AwsError("ResourceNotFoundException", f"There is no environment {resource}", 404)
        return name


def check_update(request: Mapping[str, Any]) -> None:
    """The model's rules for UpdateEnvironment, for a request that does not come through the wire.

    Raises:
        AwsError: one is broken.
    """
    shape = model_of("mwaa").operation_model("UpdateEnvironment").input_shape
    unknown = sorted(set(request) - set(shape.members))
    if unknown:
        raise AwsError("ValidationException", f"UpdateEnvironment has no member {', '.join(unknown)}")
    if failures := list(Checks().of(shape)(request, "")):
        raise AwsError("ValidationException", "; ".join(failures))


def update_of(row: Row, request: Mapping[str, Any], settings: ControlSettings) -> Row:
    """The row that an UpdateEnvironment request asks for; ``served`` has the configuration until now.

    Raises:
        AwsError: a rule is broken.
    """
    try:
        spec = updated(row.spec, row.facts, request, settings)
    except Invalid as error:
        raise AwsError("ValidationException", str(error)) from error
    served = ServedState(pinned(row.spec, row.facts), row.facts)
    # Objects that the request names are looked up again: without a version, the current one is used.
    anew = any(name in request for name in LOOKED_UP)
    facts = {name: value for name, value in row.facts.items() if not (anew and name == "source.checked")}
    return replace(row, spec=spec, facts=facts, served=served)


def _refuse_status(row: Row, allowed: frozenset[Status], done: str) -> None:
    """MWAA's two texts: for an operation in progress, and for a failed environment."""
    if row.status in allowed:
        return
    if row.status is Status.CREATE_FAILED:
        raise AwsError("ValidationException", f"Environments with {row.status} status cannot be {done}")
    raise AwsError(
        "ValidationException",
        f"Environments with {row.status} status must complete previous operation before initiating a new operation",
    )


@contextmanager
def _serving() -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        raise AwsError(
            "ServiceUnavailableException", "The control plane's database does not answer. Try again.", 503
        ) from error


def _refuse_nul(value: Any) -> None:
    """PostgreSQL cannot store the character with code 0, but the model's patterns allow it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_nul(key)
            _refuse_nul(inner)
    elif isinstance(value, list):
        for inner in value:
            _refuse_nul(inner)
    elif isinstance(value, str) and "\x00" in value:
        raise AwsError("ValidationException", "A text of the request has the character of code 0 in it")


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _read_token(token: str) -> str:
    try:
        name = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode("ascii")
        if not name.isprintable():
            raise binascii.Error
        return name
    except (binascii.Error, UnicodeError) as error:
        raise AwsError("ValidationException", "NextToken is not one that ListEnvironments has given") from error
