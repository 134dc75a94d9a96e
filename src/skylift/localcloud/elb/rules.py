"""The operations of listener rules. ``balancer.py`` routes by them."""
# ruff: noqa: ARG002  # every operation gets its caller; few need it

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from skylift.localcloud.elb import shapes
from skylift.localcloud.elb.conditions import checked_conditions
from skylift.localcloud.elb.operations import ElbOperations, Request, new_id, paged, pairs_of
from skylift.localcloud.elb.store import Listener, ListenerRule, LoadBalancer
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

MOST_RULES = 100
"""Of a load balancer, without the default ones."""


class RuleOperations(ElbOperations):
    """One method per operation (see ``wire.provider``)."""

    def create_rule(self, caller: Caller, request: Request) -> Request:
        """Creates one; it has effect at once."""
        listener = self.listener(request["ListenerArn"])
        balancer = self._balancer_with_rules(listener)
        _check_transforms(request)
        shown: Request = {
            "RuleArn": f"{_rule_arn(listener.arn)}/{new_id()}",
            "Priority": str(request["Priority"]),
            "Conditions": checked_conditions(request["Conditions"]),
            "Actions": self.actions(request["Actions"], balancer),
            "IsDefault": False,
        }
        self._check_priorities(listener.arn, {shown["RuleArn"]: request["Priority"]})
        every = [rule for one in self.store.listeners_of(balancer.arn) for rule in self.store.rules_of(one.arn)]
        if len(every) >= MOST_RULES:
            raise AwsError("TooManyRules", f"A load balancer can have at most {MOST_RULES} rules")
        rule = ListenerRule(shown, listener.arn, pairs_of(request.get("Tags", [])))
        self.store.save(rule)
        self.traffic_changed(rule.groups)
        return {"Rules": [shown]}

    def describe_rules(self, caller: Caller, request: Request) -> Request:
        """Those of a listener, by priority, its default rule last; or the named ones."""
        if bool(request.get("ListenerArn")) == bool(request.get("RuleArns")):
            raise shapes.invalid("You must specify either listener rule ARNs or a listener ARN")
        if request.get("ListenerArn"):
            listener = self.listener(request["ListenerArn"])
            rules = [one.shown for one in self.store.rules_of(listener.arn)]
            return paged("Rules", [*rules, _default_rule(listener)], request)
        defaults = {_default_arn(one.arn): _default_rule(one) for one in self.store.listeners.values()}
        found = [defaults.get(arn) or self._rule(arn).shown for arn in request["RuleArns"]]
        return paged("Rules", found, request)

    def modify_rule(self, caller: Caller, request: Request) -> Request:
        """Changes conditions, actions or both, each as a whole."""
        rule = self._rule(request["RuleArn"], "modified")
        balancer = self._balancer_with_rules(self.listener(rule.listener))
        _check_transforms(request)
        before, shown = rule.groups, dict(rule.shown)
        if "Conditions" in request:
            shown["Conditions"] = checked_conditions(request["Conditions"])
        if "Actions" in request:
            shown["Actions"] = self.actions(request["Actions"], balancer)
        rule.shown = shown
        self.store.save(rule)
        self.traffic_changed([*before, *rule.groups])
        return {"Rules": [shown]}

    def delete_rule(self, caller: Caller, request: Request) -> Request:
        """Deletes it; the default rule stays as long as its listener."""
        rule = self._rule(request["RuleArn"], "deleted")
        self.store.remove(rule.arn)
        self.traffic_changed(rule.groups)
        return {}

    def set_rule_priorities(self, caller: Caller, request: Request) -> Request:
        """Changes the priorities of several rules of a listener, all or none."""
        wanted: dict[str, int] = {}
        for pair in request["RulePriorities"]:
            if "RuleArn" not in pair or "Priority" not in pair or pair["RuleArn"] in wanted:
                raise shapes.invalid("You must specify a rule ARN, once, and a priority for each rule")
            wanted[pair["RuleArn"]] = pair["Priority"]
        rules = [self._rule(arn, "given a priority") for arn in wanted]
        if not rules or len({one.listener for one in rules}) > 1:
            raise shapes.invalid("You must specify rules of one listener")
        self._check_priorities(rules[0].listener, wanted)
        for one in rules:
            one.shown = {**one.shown, "Priority": str(wanted[one.arn])}
        self.store.save(*rules)
        return {"Rules": [one.shown for one in rules]}

    def _rule(self, arn: str, verb: str = "") -> ListenerRule:
        """A rule; the default one is refused, because it cannot be ``verb``."""
        found = self.store.rules.get(arn)
        if found is not None:
            return found
        if verb and any(arn == _default_arn(one) for one in self.store.listeners):
            raise AwsError("OperationNotPermitted", f"Default rule '{arn}' cannot be {verb}")
        raise AwsError("RuleNotFound", "One or more rules not found")

    def _balancer_with_rules(self, listener: Listener) -> LoadBalancer:
        balancer = self.balancer(listener.shown["LoadBalancerArn"])
        if balancer.shown["Type"] != "application":
            text = f"Rules are not supported for listeners with the protocol '{listener.shown['Protocol']}'"
            raise AwsError("UnsupportedProtocol", text)
        return balancer

    def _check_priorities(self, listener: str, wanted: Mapping[str, int]) -> None:
        """Whether each rule of a listener still has a priority of its own."""
        kept = {one.arn: int(one.shown["Priority"]) for one in self.store.rules_of(listener)} | dict(wanted)
        for arn, priority in wanted.items():
            if any(other != arn and taken == priority for other, taken in kept.items()):
                raise AwsError("PriorityInUse", f"Priority '{priority}' is currently in use")


def _check_transforms(request: Request) -> None:
    if request.get("Transforms"):
        raise shapes.not_here("Transforms of a rule are not supported: rewrite the request behind the load balancer")


def _rule_arn(listener: str) -> str:
    return listener.replace(":listener/", ":listener-rule/", 1)


def _default_arn(listener: str) -> str:
    return f"{_rule_arn(listener)}/{hashlib.blake2b(listener.encode(), digest_size=8).hexdigest()}"


def _default_rule(listener: Listener) -> Request:
    return {
        "RuleArn": _default_arn(listener.arn),
        "Priority": "default",
        "Conditions": [],
        "Actions": listener.shown["DefaultActions"],
        "IsDefault": True,
    }
