"""ECS's account settings: stored, and shown with their defaults. They change nothing here, except tags and
long ARNs, which always behave as with the new setting."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from skylift.core.names import arn
from skylift.localcloud.ecs.api.operations import EcsOperations, Request
from skylift.localcloud.ecs.model.shapes import invalid, page
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

_SWITCH = ("enabled", "disabled")
_VALUES = {
    "serviceLongArnFormat": ("enabled", *_SWITCH),
    "taskLongArnFormat": ("enabled", *_SWITCH),
    "containerInstanceLongArnFormat": ("enabled", *_SWITCH),
    "awsvpcTrunking": ("disabled", *_SWITCH),
    "containerInsights": ("disabled", *_SWITCH, "enhanced"),
    "fargateFIPSMode": ("disabled", *_SWITCH, "on", "off"),
    "tagResourceAuthorization": ("off", "on", "off"),
    "fargateTaskRetirementWaitPeriod": ("7", "0", "7", "14"),
    "guardDutyActivate": ("off", "on", "off"),
    "defaultLogDriverMode": ("non-blocking", "blocking", "non-blocking"),
    "fargateEventWindows": ("disabled", *_SWITCH),
}
"""Name -> default, then the values that PutAccountSetting accepts (API reference, PutAccountSetting; "Amazon ECS
account settings")."""


class AccountOperations(EcsOperations):
    """Put, list and delete account settings."""

    def put_account_setting(self, caller: Caller, request: Request) -> Document:
        """Sets one for a user or role; without a principal, for the caller."""
        return self._put(request, request.get("principalArn") or caller.principal)

    def put_account_setting_default(self, caller: Caller, request: Request) -> Document:
        """Sets the default for all principals without their own setting (it belongs to the root user)."""
        return self._put(request, self._root)

    def list_account_settings(self, caller: Caller, request: Request) -> Document:
        """The settings of a principal, or (``effectiveSettings``) those that apply to it."""
        principal = request.get("principalArn") or caller.principal
        found = []
        for name, (default, *_) in _VALUES.items():
            own = self.store.settings.get(_key(name, principal))
            if own is None and request.get("effectiveSettings"):
                own = self.store.settings.get(_key(name, self._root)) or self._setting(name, default, principal)
            if own is not None and request.get("name") in {None, name} and request.get("value") in {None, own["value"]}:
                found.append({**own, "principalArn": principal} if request.get("effectiveSettings") else own)
        shown, more = page(found, request, most=10 if not request.get("maxResults") else 100)
        return {"settings": shown, **more}

    def delete_account_setting(self, caller: Caller, request: Request) -> Document:
        """Removes one."""
        name, principal = request["name"], request.get("principalArn") or caller.principal
        found = self.store.settings.get(_key(name, principal))
        self.store.remove_thing("setting", _key(name, principal))
        return {"setting": found or self._setting(name, _VALUES[name][0], principal)}

    @property
    def _root(self) -> str:
        return arn("iam", "", self.cloud.account, "root")

    def _put(self, request: Request, principal: str) -> Document:
        name, value = request["name"], request["value"]
        allowed = _VALUES.get(name, ("",))[1:]
        if value not in allowed:
            raise invalid(f"Invalid value for {name}: {value}. It can be one of: {', '.join(sorted(set(allowed)))}.")
        setting = self._setting(name, value, principal)
        self.store.save_thing("setting", _key(name, principal), setting)
        return {"setting": setting}

    @staticmethod
    def _setting(name: str, value: str, principal: str) -> Document:
        kind = "aws_managed" if name == "guardDutyActivate" else "user"
        return {"name": name, "value": value, "principalArn": principal, "type": kind}


def _key(name: str, principal: str) -> str:
    return f"{name} {principal}"
