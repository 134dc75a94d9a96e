"""The control plane as one object: a provider for the wire, a reconciler in a thread, and questions about both."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from skylift.aws.clients import client
from skylift.aws.ecs.services import EcsServices
from skylift.aws.ecs.tasks import EcsTasks
from skylift.aws.metrics import CloudWatch
from skylift.aws.queues import Queues
from skylift.aws.s3 import S3
from skylift.aws.secrets import SecretsManager
from skylift.control.airflow_database import MetadataDatabase
from skylift.control.api.access import AccessRules, AdministratorJudge
from skylift.control.api.judges import judge_of
from skylift.control.api.provider import MwaaProvider, check_update, update_of
from skylift.control.api.routes import ProgressRoute
from skylift.control.blueprint import PartKind, blueprint
from skylift.control.bucket_watch import BucketWatch
from skylift.control.judge import SERVING
from skylift.control.monitoring import EnvironmentMonitor
from skylift.control.one_pass import look
from skylift.control.parts.aws_parts import AwsParts
from skylift.control.plan import Step, plan, plan_removal
from skylift.control.postgres import PostgresAdmin
from skylift.control.reconcile import ATTENDED, Reconciler, parts_of
from skylift.control.settings import ControlSettings
from skylift.control.store import EnvironmentStore, Row, ServedState
from skylift.control.update_plan import plan_update
from skylift.control.worker_ends import WorkerEnds
from skylift.control.workers import Announcements, WorkerFleet, WorkerScaler
from skylift.core.clock import Clock
from skylift.core.environment import Status
from skylift.core.errors import Refused
from skylift.wire.asgi import Asgi
from skylift.wire.errors import AwsError

PROGRESS_ROUTE = "/_skylift/environments"
"""``GET /_skylift/environments/{name}``: name, status, doing and parts as JSON (see ``routes``). ``.../{name}/plan``:
name, status, steps."""


class ControlPlane:
    """Connects everything in ``control``.

    Credentials, region and endpoint of the AWS calls come from the usual places (``AWS_ENDPOINT_URL`` and so on), so
    the same object manages the local cloud and AWS.
    """

    def __init__(self, settings: ControlSettings, clock: Clock = time.time) -> None:
        self._settings = settings
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        postgres = PostgresAdmin(SecretsManager(settings.region), settings.database_secret)
        self._store = EnvironmentStore(postgres, settings.control_database, clock)
        self._parts = AwsParts(settings, postgres)
        self._reconciler = Reconciler(self._store, self._parts, settings, clock, self._bell)
        self._scaler = self._scaling(postgres, clock)
        self._monitor = self._monitoring(clock)
        self._bucket_watch = BucketWatch(self._store, S3(settings.region), settings, self._bell.set)
        judge = AdministratorJudge(settings.administrators, judge_of(settings, clock))
        self.provider = MwaaProvider(self._store, settings, self._bell.set, judge)
        self.signed_routes: dict[str, Asgi] = {
            PROGRESS_ROUTE: ProgressRoute(
                {"": self.progress, "plan": self.planned, "events": self.events},
                PROGRESS_ROUTE,
                self.cancel,
                self.planned_update,
                AccessRules(judge, settings),
            )
        }

    def start(self) -> None:
        """Starts the reconciler. AWS and PostgreSQL may still be starting: it waits for them."""
        self._thread = threading.Thread(
            target=self._reconciler.run, args=(self._stopping,), name="skylift-reconciler", daemon=True
        )
        self._thread.start()
        threading.Thread(target=self._scaler.run, args=(self._stopping,), name="skylift-workers", daemon=True).start()
        threading.Thread(
            target=self._bucket_watch.run, args=(self._stopping,), name="skylift-buckets", daemon=True
        ).start()
        if self._settings.service_metrics_namespace:
            threading.Thread(
                target=self._monitor.run, args=(self._stopping,), name="skylift-monitor", daemon=True
            ).start()

    def stop(self) -> None:
        """Ends the reconciler after its current pass. Environments keep running."""
        self._stopping.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def progress(self, name: str) -> dict[str, Any] | None:
        """An environment's status, what is being done, and each part; None if there is no such environment.

        Keys: name, status, doing (one sentence), condition (what is wrong, in a few words; empty if nothing is),
        parts [{name, doing, phase, note}], told (the last notes on what was replaced: [{at, text, seconds}]).
        """
        row = self._store.get(name)
        if row is None:
            return None
        return {
            "name": row.name,
            "status": str(row.status),
            "doing": row.progress.get("doing") or self._reconciler.doing(name),
            "condition": self._condition(row),
            "parts": row.progress.get("parts", []),
            "told": row.progress.get("told", []),
        }

    def cancel(self, name: str) -> dict[str, Any] | None:
        """Deletes an environment, also one that is still being created; None if there is no such environment.

        MWAA refuses this until the creation has ended. Here nobody has to wait for that.

        Raises:
            Refused: it was changed at the same time.
        """
        row = self._store.get(name)
        if row is None:
            return None
        if row.status is not Status.DELETING and not self._store.request_delete(row):
            raise Refused(f"environment {name} was changed at the same time; try again")
        self._bell.set()
        return {"name": name, "status": str(Status.DELETING)}

    def planned(self, name: str) -> dict[str, Any] | None:
        """The dry run for people: name, status, condition, steps [{verb, part, why}]; None if there is no such
        environment.

        An environment that failed has no steps: it stays unchanged until somebody deletes it.
        """
        row = self._store.get(name)
        if row is None:
            return None
        steps = self.plan_of(name) if row.status in ATTENDED else ()
        shown = [{"verb": str(step.verb), "part": step.part.name, "why": step.why} for step in steps]
        return {"name": row.name, "status": str(row.status), "condition": self._condition(row), "steps": shown}

    def planned_update(self, name: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """What an UpdateEnvironment request would do: looks, and changes nothing. None when there is no such
        environment.

        Keys: name, status, changes [{member, before, after}], steps [{part, effect, what, why}], untouched, restarts,
        notes.

        Raises:
            Refused: the request breaks a rule, or what it names is not there.
        """
        row = self._store.get(name)
        if row is None:
            return None
        try:
            check_update({**request, "Name": name})
            wanted = update_of(row, request, self._settings)
        except AwsError as error:
            raise Refused(error.message) from error
        served = wanted.served or ServedState(row.spec, row.facts)
        now = replace(self._reconciler.context(row), spec=served.spec)
        context = self._reconciler.context(wanted)
        source = next(part for part in blueprint(wanted.spec) if part.kind is PartKind.SOURCE)
        seen = self._parts.observe(context, [source])[source.name]
        if seen.fault is not None:
            raise Refused(seen.fault.message)
        plan = plan_update(now, replace(context, facts={**wanted.facts, **seen.facts}))
        return {"name": name, "status": str(row.status), "restarts": plan.restarts, **asdict(plan)}

    def events(self, name: str) -> dict[str, Any]:
        """What happened to environments of a name, also when it is gone: events [{id, at, status, text, seconds}],
        oldest first."""
        return {"name": name, "events": [one.as_json() for one in self._store.events(name)]}

    def _monitoring(self, clock: Clock) -> EnvironmentMonitor:
        settings = self._settings
        ecs = client("ecs", region=settings.region)
        return EnvironmentMonitor(
            lambda: [row.name for row in self._store.all()],
            EcsServices(ecs, settings.cluster),
            EcsTasks(ecs, settings.cluster),
            CloudWatch(settings.region),
            settings.cluster,
            settings.service_metrics_namespace,
            clock,
            self._scaler.work,
        )

    def _scaling(self, postgres: PostgresAdmin, clock: Clock) -> WorkerScaler:
        settings = self._settings
        ecs, logs = client("ecs", region=settings.region), client("logs", region=settings.region)

        def fleet(row: Row) -> WorkerFleet:
            return WorkerFleet(MetadataDatabase(postgres, row.facts["database.name"]), WorkerEnds(logs, clock))

        return WorkerScaler(
            lambda: self._reconciler.rows,
            EcsServices(ecs, settings.cluster),
            EcsTasks(ecs, settings.cluster),
            Queues(settings.region),
            Announcements(S3(settings.region), settings.bucket),
            fleet,
            settings,
            clock,
        )

    def _condition(self, row: Row) -> str:
        # The state from before a restart says nothing: containers have ended since.
        if row.status in SERVING and not self._reconciler.has_looked(row.name):
            return "not looked at yet"
        return str(row.progress.get("condition", ""))

    def plan_of(self, name: str) -> tuple[Step, ...]:
        """The dry run: what the next pass would do. It only observes.

        Raises:
            Refused: there is no such environment.
        """
        row = self._store.get(name)
        if row is None:
            raise Refused(f"there is no environment {name}; see skylift env list")
        parts = parts_of(row)
        leaving = row.status is Status.DELETING
        context = self._reconciler.context(row, leaving)
        seen, _, _ = look(context, parts, self._parts)
        return (plan_removal if leaving else plan)(parts, seen)
