"""``RolloutAnyscaleService`` deploys a service and waits for it; ``AnyscaleServiceSensor`` waits for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseSensorOperator

import skylift.anyscale.submitting as submitting
import skylift.anyscale.wire as wire
from skylift.anyscale.hook import AnyscaleHook, undo_rollout
from skylift.anyscale.links import SERVICE_PAGE, AnyscaleServiceLink
from skylift.anyscale.operator import AnyscaleOperator
from skylift.anyscale.parameters import service_request, text, truth
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable
from skylift.anyscale.watching import PATIENCE_SECONDS, REFUSED, TIMED_OUT, UNREACHABLE, WatchEnd, watch_service

_PARAMETERS = (
    *("name", "applications", "image_uri", "containerfile", "compute_config", "working_dir", "excludes"),
    *("requirements", "env_vars", "py_modules", "cloud", "project", "query_auth_token_enabled", "http_options"),
    *("grpc_options", "logging_config", "ray_gcs_external_storage_config"),
)
"""What goes to Anyscale under its own name."""


class RolloutAnyscaleService(AnyscaleOperator):
    """Deploys a version of a service, and waits until it serves.

    The parameters are those of the operator of this name in ``astro-provider-anyscale``; the last two are new. If the
    Airflow task is killed, the rollout is undone (a new service is terminated); a version that served before goes on.
    """

    template_fields: Sequence[str] = (
        "conn_id",
        *_PARAMETERS,
        "in_place",
        "canary_percent",
        "max_surge_percent",
        "service_rollout_timeout_seconds",
        "poll_interval",
        "wait_for_completion",
    )
    operator_extra_links = (AnyscaleServiceLink(),)

    def __init__(
        self,
        *,
        conn_id: str,
        name: str,
        applications: list[dict[str, Any]],
        image_uri: str | None = None,
        containerfile: str | None = None,
        compute_config: Any = None,
        working_dir: str | None = None,
        excludes: list[str] | None = None,
        requirements: str | list[str] | None = None,
        env_vars: dict[str, str] | None = None,
        py_modules: list[str] | None = None,
        cloud: str | None = None,
        project: str | None = None,
        query_auth_token_enabled: bool = True,
        http_options: Mapping[str, Any] | None = None,
        grpc_options: Mapping[str, Any] | None = None,
        logging_config: Mapping[str, Any] | None = None,
        ray_gcs_external_storage_config: Any = None,
        in_place: bool | str = False,
        canary_percent: float | str | None = None,
        max_surge_percent: float | str | None = None,
        service_rollout_timeout_seconds: float | str = 900,
        poll_interval: float | str = 60,
        wait_for_completion: bool | str = True,
        deferrable: bool = True,
        api_patience_seconds: float = PATIENCE_SECONDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.name = name
        self.applications = applications
        self.image_uri = image_uri
        self.containerfile = containerfile
        self.compute_config = compute_config
        self.working_dir = working_dir
        self.excludes = excludes
        self.requirements = requirements
        self.env_vars = env_vars
        self.py_modules = py_modules
        self.cloud = cloud
        self.project = project
        self.query_auth_token_enabled = query_auth_token_enabled
        self.http_options = http_options
        self.grpc_options = grpc_options
        self.logging_config = logging_config
        self.ray_gcs_external_storage_config = ray_gcs_external_storage_config
        self.in_place = in_place
        self.canary_percent = canary_percent
        self.max_surge_percent = max_surge_percent
        self.service_rollout_timeout_seconds = service_rollout_timeout_seconds
        self.poll_interval = poll_interval
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.api_patience_seconds = api_patience_seconds
        self.service_id = ""
        self._was_there = False

    def execute(self, context: Any) -> str:
        """Deploys and waits. Returns the service's id. Raises ``AnyscaleRefused`` or ``AnyscaleUnavailable``."""
        given = {name: vars(self)[name] for name in _PARAMETERS}
        request = service_request(given, self.in_place, self.canary_percent, self.max_surge_percent)
        waits = truth("wait_for_completion", self.wait_for_completion)
        pace = self._pace("service_rollout_timeout_seconds", self.service_rollout_timeout_seconds)
        hook = AnyscaleHook(self.conn_id)
        cloud, project = request.workload.cloud, request.workload.project
        before = hook.call(lambda client: submitting.find_service(client, request.name, cloud, project))
        self._was_there = before is not None and before.get("current_state") != "TERMINATED"
        record = hook.deploy(request)
        self.service_id = str(record["id"])
        version = str(((record.get("canary_version") or record.get("primary_version")) or {}).get("id") or "")
        context["ti"].xcom_push("service_id", self.service_id)
        page = wire.service_page(hook.account.host, self.service_id)
        context["ti"].xcom_push(SERVICE_PAGE, page)
        self.log.info("Service %s (%s): %s", self.name, self.service_id, page)
        if not waits:
            return self.service_id
        # A new service has no second version for a part of the traffic.
        canary = self._was_there and request.canary_percent not in {None, 100}
        if self.deferrable:
            from skylift.anyscale.triggers import AnyscaleServiceTrigger  # lazy: as in jobs

            waiting = (pace.poll_seconds, pace.deadline, pace.patience_seconds)
            trigger = AnyscaleServiceTrigger(
                self.conn_id, self.service_id, version, canary, self._was_there, *waiting
            )  # fmt: skip
            self._wait_in_triggerer(trigger, pace)
        found = hook.call(lambda client: watch_service(client, self.service_id, version, canary, pace, self._tell))
        return self._result(found)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:  # noqa: ARG002 - Airflow's signature
        """After the triggerer. The rollout is over: from here on, nothing is undone."""
        return self._result(WatchEnd(str(event["state"]), str(event.get("message", ""))), str(event["service_id"]))

    def on_kill(self) -> None:
        """Undoes the rollout."""
        if self.service_id:
            self._in_thread(self._undo)

    def _undo(self) -> None:
        try:
            AnyscaleHook(self.conn_id).call(
                lambda client: undo_rollout(client, self.service_id, was_there=self._was_there)
            )
            self.log.info("Service %s: asked Anyscale to undo the rollout", self.name)
        except Exception as error:  # noqa: BLE001 - the Airflow task ends anyway; say what it leaves behind
            self.log.error("The rollout of service %s was not undone: %s. Look at its page.", self.name, error)

    def _result(self, found: WatchEnd, service_id: str = "") -> str:
        why = f": {found.message.rstrip('.')}" if found.message else ""
        if found.state == "RUNNING":
            self.log.info("Service %s serves", self.name)
            return service_id or self.service_id
        if found.state == TIMED_OUT:
            raise AnyscaleUnavailable(
                f"Service {self.name} did not serve within service_rollout_timeout_seconds "
                f"({self.service_rollout_timeout_seconds}): at last it was {found.message or 'never seen'}. The "
                "rollout goes on; its page says what it waits for."
            )
        if found.state == UNREACHABLE:
            raise AnyscaleUnavailable(f"Nothing is known of service {self.name} any more{why}. The rollout goes on.")
        if found.state == REFUSED:
            raise AnyscaleRefused(f"Service {self.name} cannot be watched{why}.")
        raise AnyscaleRefused(f"Service {self.name} does not serve ({found.state}){why}. Its page has its log.")


class AnyscaleServiceSensor(BaseSensorOperator):
    """Waits until a service is in a state.

    Args:
        conn_id: connection of type Anyscale.
        service_name: the service.
        state: to wait for; a state from which it cannot be reached fails at once.
        cloud: by name, if several clouds have a service of this name.
        project: by name, likewise.
    """

    template_fields: Sequence[str] = ("conn_id", "service_name", "state", "cloud", "project")
    ui_color = "#e6eeff"

    def __init__(
        self,
        *,
        conn_id: str,
        service_name: str,
        state: str = "RUNNING",
        cloud: str | None = None,
        project: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.service_name = service_name
        self.state = state
        self.cloud = cloud
        self.project = project

    def poke(self, context: Any) -> bool:  # noqa: ARG002 - Airflow's signature
        """Looks once; an API that does not answer is asked again at the next look."""
        hook = AnyscaleHook(self.conn_id)
        try:
            found = hook.get_service_status(self.service_name, text(self.cloud), text(self.project))
        except AnyscaleUnavailable as error:
            self.log.warning("%s", error)
            return False
        self.log.info("Service %s: %s", self.service_name, found.state)
        if found.state in wire.SERVICE_FAILED and found.state != self.state:
            why = f": {found.message}" if found.message else ""
            raise AnyscaleRefused(f"Service {self.service_name} is {found.state}{why}.")
        return found.state == self.state
