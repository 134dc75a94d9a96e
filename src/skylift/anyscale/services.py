"""``RolloutAnyscaleService`` deploys a service and waits for it; ``AnyscaleServiceSensor`` waits for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator

import skylift.anyscale.submitting as submitting
import skylift.anyscale.wire as wire
from skylift.anyscale.client import AnyscaleClient
from skylift.anyscale.hook import AnyscaleHook, undo_rollout
from skylift.anyscale.jobs import END_SECONDS, workload_of
from skylift.anyscale.links import SERVICE_PAGE, AnyscaleServiceLink
from skylift.anyscale.refusals import AnyscaleRefused, AnyscaleUnavailable
from skylift.anyscale.watching import PATIENCE_SECONDS, REFUSED, TIMED_OUT, UNREACHABLE, Pace, WatchEnd, watch_service
from skylift.anyscale.workload import ServiceRequest, number, truth, whole

_LATE = timedelta(minutes=5)


class RolloutAnyscaleService(BaseOperator):
    """Deploys a version of a service, and waits until it serves.

    The parameters are those of the operator of this name in ``astro-provider-anyscale``; the last two are new. If the
    Airflow task is killed, the rollout is undone (a new service is terminated); a version that served before goes on.
    """

    template_fields: Sequence[str] = (
        "conn_id",
        "name",
        "image_uri",
        "compute_config",
        "applications",
        "working_dir",
        "excludes",
        "requirements",
        "env_vars",
        "py_modules",
        "cloud",
        "project",
        "in_place",
        "canary_percent",
        "max_surge_percent",
        "service_rollout_timeout_seconds",
        "poll_interval",
        "wait_for_completion",
    )
    operator_extra_links = (AnyscaleServiceLink(),)
    ui_color = "#e6eeff"

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
        request = self._request()
        waits = truth("wait_for_completion", self.wait_for_completion)
        limit = number("service_rollout_timeout_seconds", self.service_rollout_timeout_seconds)
        interval = max(0.2, number("poll_interval", self.poll_interval))
        hook = AnyscaleHook(self.conn_id)
        record = hook.call(lambda client: self._deployed(client, request))
        version = str(((record.get("canary_version") or record.get("primary_version")) or {}).get("id") or "")
        context["ti"].xcom_push("service_id", self.service_id)
        context["ti"].xcom_push("service_was_there", self._was_there)
        page = wire.service_page(hook.host(), self.service_id)
        context["ti"].xcom_push(SERVICE_PAGE, page)
        self.log.info("Service %s (%s): %s", self.name, self.service_id, page)
        if not waits:
            return self.service_id
        pace = Pace(interval, time.time() + limit, float(self.api_patience_seconds))
        # A new service has no second version for a part of the traffic.
        canary = self._was_there and request.canary_percent not in {None, 100}
        if self.deferrable:
            self._defer(pace, version, canary)
        found = hook.call(lambda client: watch_service(client, self.service_id, version, canary, pace, self._tell))
        return self._result(found)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:  # noqa: ARG002 - Airflow's signature
        """After the triggerer."""
        self.service_id = str(event["service_id"])
        return self._result(WatchEnd(str(event["state"]), str(event.get("message", ""))))

    def on_kill(self) -> None:
        """Undoes the rollout."""
        if not self.service_id:
            return
        undoing = threading.Thread(target=self._undo, name="anyscale-undo", daemon=True)
        undoing.start()
        undoing.join(END_SECONDS)

    def _undo(self) -> None:
        try:
            AnyscaleHook(self.conn_id).call(
                lambda client: undo_rollout(client, self.service_id, was_there=self._was_there)
            )
            self.log.info("Service %s: asked Anyscale to undo the rollout", self.name)
        except Exception as error:  # noqa: BLE001 - the Airflow task ends anyway; say what it leaves behind
            self.log.error("The rollout of service %s was not undone: %s. Look at its page.", self.name, error)

    def _request(self) -> ServiceRequest:
        if self.containerfile or not isinstance(self.compute_config, str | None):
            raise AnyscaleRefused(
                "containerfile, and a compute_config that is not a name, are not supported. Build the image and make "
                "the compute config once, and give image_uri and compute_config='name:version'."
            )
        if self.ray_gcs_external_storage_config is not None:
            raise AnyscaleRefused("ray_gcs_external_storage_config is not supported: set it in Anyscale.")
        canary = None if self.canary_percent is None else whole("canary_percent", self.canary_percent)
        surge = None if self.max_surge_percent is None else whole("max_surge_percent", self.max_surge_percent)
        in_place = truth("in_place", self.in_place)
        if in_place and (canary is not None or surge is not None):
            raise AnyscaleRefused("in_place replaces all at once: leave out canary_percent and max_surge_percent.")
        options = {
            "http_options": self.http_options,
            "grpc_options": self.grpc_options,
            "logging_config": self.logging_config,
        }
        serve = {"applications": self.applications, **{name: one for name, one in options.items() if one}}
        enabled = truth("query_auth_token_enabled", self.query_auth_token_enabled)
        return ServiceRequest(self.name, workload_of(self), serve, enabled, in_place, canary, surge)

    async def _deployed(self, client: AnyscaleClient, request: ServiceRequest) -> dict[str, Any]:
        before = await submitting.find_service(client, request.name)
        self._was_there = before is not None and before.get("current_state") != "TERMINATED"
        record = await submitting.deploy(client, request)
        self.service_id = str(record["id"])
        return record

    def _defer(self, pace: Pace, version: str, canary: bool) -> None:
        from skylift.anyscale.triggers import AnyscaleServiceTrigger  # lazy: as in jobs

        trigger = AnyscaleServiceTrigger(
            self.conn_id,
            self.service_id,
            version,
            canary,
            self._was_there,
            pace.poll_seconds,
            pace.deadline,
            pace.patience_seconds,
        )
        limit = timedelta(seconds=max(0.0, pace.deadline - time.time())) + _LATE
        self.defer(trigger=trigger, method_name="execute_complete", timeout=limit)

    def _result(self, found: WatchEnd) -> str:
        why = f": {found.message.rstrip('.')}" if found.message else ""
        if found.state == "RUNNING":
            self.log.info("Service %s serves", self.name)
            return self.service_id
        if found.state == TIMED_OUT:
            raise AnyscaleUnavailable(
                f"Service {self.name} did not serve within service_rollout_timeout_seconds "
                f"({self.service_rollout_timeout_seconds}). The rollout goes on; its page says what it waits for."
            )
        if found.state == UNREACHABLE:
            raise AnyscaleUnavailable(f"Nothing is known of service {self.name} any more{why}. The rollout goes on.")
        if found.state == REFUSED:
            raise AnyscaleRefused(f"Service {self.name} cannot be watched{why}.")
        raise AnyscaleRefused(f"Service {self.name} does not serve ({found.state}){why}. Its page has its log.")

    def _tell(self, line: str) -> None:
        self.log.info("%s", line)


class AnyscaleServiceSensor(BaseSensorOperator):
    """Waits until a service is in a state.

    Args:
        conn_id: connection of type Anyscale.
        service_name: the service.
        state: to wait for; a state from which it cannot be reached fails at once.
    """

    template_fields: Sequence[str] = ("conn_id", "service_name", "state")
    ui_color = "#e6eeff"

    def __init__(self, *, conn_id: str, service_name: str, state: str = "RUNNING", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.service_name = service_name
        self.state = state

    def poke(self, context: Any) -> bool:  # noqa: ARG002 - Airflow's signature
        """Looks once; an API that does not answer is asked again at the next look."""
        try:
            found = AnyscaleHook(self.conn_id).get_service_status(self.service_name)
        except AnyscaleUnavailable as error:
            self.log.warning("%s", error)
            return False
        present = str(found.get("current_state", ""))
        self.log.info("Service %s: %s", self.service_name, present)
        if present in wire.SERVICE_FAILED and present != self.state:
            why = found.get("error_message")
            raise AnyscaleRefused(f"Service {self.service_name} is {present}{f': {why}' if why else ''}.")
        return present == self.state
