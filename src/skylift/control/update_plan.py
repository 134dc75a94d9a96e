"""What an update would do, before it is done. Pure: an environment as it is and as it is wanted in, a plan out.

The plan is derived from what really decides: a component restarts when the task definition that is rendered for it
differs. So a plan cannot promise what the update does not keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from skylift.control.airflow_config import OF_THE_CONTROL_PLANE, user_options, variable
from skylift.control.api.validation import LEAST_WORKERS
from skylift.control.blueprint import EXECUTOR_ROLE, blueprint, components, has_layer
from skylift.control.definitions import definition, digest_of
from skylift.control.part_context import PartContext
from skylift.control.parts.layer import layer_digest
from skylift.control.parts.proof import proof_digest
from skylift.control.parts.service import desired_count
from skylift.control.patches import WHY, is_older, outdated
from skylift.core.containers import Command
from skylift.core.environment import LogModule, S3Object, Spec

NEW = "(new)"
"""Stands for what only the update itself will know: the layer's address, the version of a secret."""


class StepEffect(StrEnum):
    """What happens to a part."""

    BUILD = "build"
    PROVE = "prove"
    REGISTER = "register"
    RESTART = "restart"
    SCALE = "scale"
    CHANGE = "change"


@dataclass(frozen=True)
class MemberChange:
    """One member of the API that becomes another; values of options are never told."""

    member: str
    before: str
    after: str


@dataclass(frozen=True)
class PlannedStep:
    """One thing that the update does.

    Attributes:
        part: name of the part, e.g. ``service/scheduler``.
        what: for people.
        why: members whose change needs it.
    """

    part: str
    effect: StepEffect
    what: str
    why: tuple[str, ...]


@dataclass(frozen=True)
class UpdatePlan:
    """The whole plan.

    Attributes:
        steps: in the order in which they happen; those that restart come last, one part beside the other.
        untouched: parts that nothing happens to.
        notes: what the plan alone does not say.
    """

    changes: tuple[MemberChange, ...]
    steps: tuple[PlannedStep, ...]
    untouched: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def restarts(self) -> tuple[str, ...]:
        """Components whose containers are replaced."""
        return tuple(step.part.partition("/")[2] for step in self.steps if step.effect is StepEffect.RESTART)


MEMBERS = {
    "execution_role": "ExecutionRoleArn",
    "bucket_arn": "SourceBucketArn",
    "dag_path": "DagS3Path",
    "security_groups": "NetworkConfiguration.SecurityGroupIds",
    "logging": "LoggingConfiguration",
    "requirements": "RequirementsS3Path",
    "plugins": "PluginsS3Path",
    "startup_script": "StartupScriptS3Path",
    "options": "AirflowConfigurationOptions",
    "environment_class": "EnvironmentClass",
    "min_workers": "MinWorkers",
    "max_workers": "MaxWorkers",
    "min_webservers": "MinWebservers",
    "max_webservers": "MaxWebservers",
    "schedulers": "Schedulers",
    "webserver_access_mode": "WebserverAccessMode",
    "maintenance_window": "WeeklyMaintenanceWindowStart",
}
"""Attributes of a Spec that an update can change, and the API's members."""


def plan_update(now: PartContext, wanted: PartContext) -> UpdatePlan:
    """The plan of an update.

    Args:
        now: the environment as it serves, S3 objects pinned.
        wanted: the same with the new Spec; facts ``source.*`` as a look at the bucket has found them.
    """
    then = foreseen(now, wanted)
    changed = [name for name in MEMBERS if getattr(now.spec, name) != getattr(wanted.spec, name)]
    each = {MEMBERS[name]: _with(now, wanted, name) for name in changed}
    steps = [*_before_the_swap(now, then, each), *_swap(now, then, each)]
    touched = {step.part for step in steps}
    untouched = tuple(part.name for part in blueprint(then.spec) if part.name not in touched)
    return UpdatePlan(tuple(_changes(now.spec, wanted.spec, changed)), tuple(steps), untouched, tuple(_notes(then)))


def foreseen(now: PartContext, wanted: PartContext) -> PartContext:
    """The wanted environment with stand-ins for what the update will make."""
    facts = dict(wanted.facts)
    if has_layer(wanted.spec) and layer_digest(wanted) != now.fact("layer.digest"):
        facts["layer.url"] = NEW
    if user_options(wanted) and user_options(wanted) != user_options(now):
        facts |= {"secrets.options": facts.get("secrets.options") or NEW, "secrets.options_version": NEW}
    return replace(wanted, facts=facts)


def _with(now: PartContext, wanted: PartContext, name: str) -> PartContext:
    """The environment as it is, with one attribute of the Spec as it is wanted."""
    spec: Spec = replace(now.spec, **{name: getattr(wanted.spec, name)})
    theirs = {key: value for key, value in wanted.facts.items() if key.startswith(f"source.{name}")}
    return foreseen(now, replace(now, spec=spec, facts={**now.facts, **theirs}))


def _before_the_swap(now: PartContext, then: PartContext, each: Mapping[str, PartContext]) -> list[PlannedStep]:
    steps = []
    if then.fact("layer.url") == NEW:
        why = tuple(member for member, one in each.items() if one.fact("layer.url") == NEW)
        steps.append(
            PlannedStep("layer", StepEffect.BUILD, "resolve, install and import requirements and plugins", why)
        )
    before, patched = proof_digest(now), outdated(now)
    if proof_digest(then) != before or patched:
        why = tuple(member for member, one in each.items() if proof_digest(one) != before)
        why += (WHY,) if patched else ()
        what = "start Airflow once in a container of its own, load the plugins, parse every DAG"
        steps.append(PlannedStep("proof", StepEffect.PROVE, what, why))
    return steps


def _swap(now: PartContext, then: PartContext, each: Mapping[str, PartContext]) -> list[PlannedStep]:
    steps = []
    if then.fact("secrets.options_version") == NEW:
        steps.append(PlannedStep("secrets", StepEffect.CHANGE, "store the options", (MEMBERS["options"],)))
    if now.spec.security_groups != then.spec.security_groups:
        what = "other security groups for the load balancer"
        steps.append(PlannedStep("balancer", StepEffect.CHANGE, what, (MEMBERS["security_groups"],)))
    if why := _differing(now, then, each, EXECUTOR_ROLE):
        what = "Airflow tasks that start from now on; those that run go on as they are"
        steps.append(PlannedStep(f"definition/{EXECUTOR_ROLE}", StepEffect.REGISTER, what, why))
    for role in components(then.spec):
        count, old = desired_count(then, role), desired_count(now, role)
        part = f"service/{role}"
        if why := _differing(now, then, each, role):
            # Only a load balancer tells ECS more of a container than that it runs.
            well = "answer" if role == Command.API_SERVER else "run"
            what = f"{count} new beside the old, which stop once the new {well}"
            steps.append(PlannedStep(part, StepEffect.RESTART, what, why))
        elif count != old:
            why = tuple(member for member, one in each.items() if desired_count(one, role) != old)
            steps.append(PlannedStep(part, StepEffect.SCALE, f"{old} become {count}; none restarts", why))
    return steps


def _differing(now: PartContext, then: PartContext, each: Mapping[str, PartContext], role: str) -> tuple[str, ...]:
    """What makes a role's containers others (members that change, a newer skylift); () when they stay."""
    before, patched = _containers(now, role), (WHY,) if is_older(now, role) else ()
    if _containers(then, role) == before:
        return patched
    why = tuple(member for member, one in each.items() if _containers(one, role) != before)
    return (why or tuple(each)) + patched


def _containers(context: PartContext, role: str) -> tuple[str, tuple[str, ...]]:
    return digest_of(definition(context, role)), tuple(sorted(context.spec.security_groups))


def _changes(before: Spec, after: Spec, changed: Sequence[str]) -> list[MemberChange]:
    found = []
    for name in changed:
        if name == "options":
            options = sorted({*before.options, *after.options})
            differ = [one for one in options if before.options.get(one) != after.options.get(one)]
            found += [MemberChange(f"{MEMBERS[name]}.{one}", _there(before, one), _there(after, one)) for one in differ]
        elif name == "logging":
            modules = [one for one in after.logging if before.logging[one] != after.logging[one]]
            shown = [(one, _shown(before.logging[one]), _shown(after.logging[one])) for one in modules]
            found += [MemberChange(f"{MEMBERS[name]}.{one}", was, becomes) for one, was, becomes in shown]
        else:
            found.append(MemberChange(MEMBERS[name], _shown(getattr(before, name)), _shown(getattr(after, name))))
    return found


def _there(spec: Spec, name: str) -> str:
    # Never the value: it may be a password.
    return "set" if name in spec.options else "not set"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, S3Object):
        return f"{value.key} version {value.version}" if value.version else f"{value.key} as it is now"
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)
    if isinstance(value, LogModule):
        return value.level if value.enabled else f"{value.level}, off"
    return str(value)


def _notes(then: PartContext) -> list[str]:
    theirs = user_options(then)
    reserved = sorted(
        name
        for name in then.spec.options
        if variable(name) not in theirs
        and variable(name) not in OF_THE_CONTROL_PLANE
        and name.lower() not in {"core.executor", "celery.worker_autoscale", LEAST_WORKERS}
    )
    if not reserved:
        return []
    return [
        f"{', '.join(reserved)}: reserved, as on MWAA; skylift sets {'it' if len(reserved) == 1 else 'them'} itself"
    ]
