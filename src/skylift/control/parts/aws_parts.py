"""All kinds of parts as one ``Parts``: a table, and the AWS clients that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skylift.aws.batch.resources import BatchPlaces
from skylift.aws.clients import client
from skylift.aws.ecs.services import EcsServices
from skylift.aws.ecs.tasks import EcsTasks
from skylift.aws.elb import Balancers
from skylift.aws.event_queues import EventQueues
from skylift.aws.logs import LogGroups
from skylift.aws.queues import Queues
from skylift.aws.s3 import S3
from skylift.aws.secrets import SecretsManager
from skylift.control.blueprint import Part, PartKind
from skylift.control.part_context import PartContext
from skylift.control.parts.balancer import BalancerParts
from skylift.control.parts.batch import BatchParts
from skylift.control.parts.broker import BrokerParts
from skylift.control.parts.database import DatabaseParts
from skylift.control.parts.definition import DefinitionParts
from skylift.control.parts.events import EventParts
from skylift.control.parts.health import HealthParts
from skylift.control.parts.heartbeat import AirflowHeartbeats, HeartbeatParts
from skylift.control.parts.layer import LayerParts
from skylift.control.parts.logs import LogParts
from skylift.control.parts.migrated_copy import MigratedCopies
from skylift.control.parts.migration import MigrationParts
from skylift.control.parts.one_off import Once
from skylift.control.parts.proof import ProofParts
from skylift.control.parts.seam import Parts
from skylift.control.parts.secrets import SecretParts
from skylift.control.parts.service import ServiceParts
from skylift.control.parts.source import SourceParts
from skylift.control.plan import Seen
from skylift.control.postgres import PostgresAdmin
from skylift.control.settings import ControlSettings

WORKLOAD_DAYS = 1
"""Most days that an executor's workload stays in the control-plane bucket: S3's minimum. It is read within minutes."""


class AwsParts:
    """The parts as AWS (or the local cloud) has them."""

    def __init__(self, settings: ControlSettings, postgres: PostgresAdmin) -> None:
        region = settings.region
        ecs = client("ecs", region=region)
        self._s3 = S3(region)
        self._settings = settings
        self._services = EcsServices(ecs, settings.cluster)
        tasks, logs, balancers, secrets = (
            EcsTasks(ecs, settings.cluster),
            LogGroups(region),
            Balancers(region),
            SecretsManager(region),
        )
        once = Once(tasks, logs)
        self._kinds: dict[PartKind, Parts] = {
            PartKind.SOURCE: SourceParts(self._s3),
            PartKind.LOGS: LogParts(logs),
            PartKind.SECRETS: SecretParts(secrets),
            PartKind.DATABASE: DatabaseParts(postgres, secrets),
            PartKind.BALANCER: BalancerParts(balancers),
            PartKind.BATCH: BatchParts(BatchPlaces(region)),
            PartKind.BROKER: BrokerParts(Queues(region)),
            PartKind.EVENTS: EventParts(EventQueues(region)),
            PartKind.DEFINITION: DefinitionParts(self._services, tasks),
            PartKind.LAYER: LayerParts(self._s3, once),
            PartKind.MIGRATION: MigrationParts(once, MigratedCopies(postgres)),
            PartKind.PROOF: ProofParts(self._s3, once),
            PartKind.SERVICE: ServiceParts(self._services, tasks, logs),
            PartKind.HEARTBEAT: HeartbeatParts(AirflowHeartbeats(postgres), self._services, tasks),
            PartKind.HEALTH: HealthParts(balancers),
        }

    def prepare(self) -> None:
        """Creates what all environments share: the control-plane bucket and the cluster."""
        if not self._s3.bucket_exists(self._settings.bucket):
            self._s3.make_bucket(self._settings.bucket)
        # Workloads contain tokens. Containers delete theirs; this rule is for those whose container never did.
        self._s3.expire(self._settings.bucket, "workloads/", WORKLOAD_DAYS)
        self._services.make_cluster(self._settings.container_insights)

    def forget_payloads(self, environment: str) -> None:
        """Deletes an environment's executor payloads from the control-plane bucket."""
        self._s3.delete_prefix(self._settings.bucket, f"workloads/{environment}/")

    def observe(self, context: PartContext, parts: Sequence[Part]) -> Mapping[str, Seen]:
        return self._kinds[parts[0].kind].observe(context, parts) if parts else {}

    def put(self, context: PartContext, part: Part) -> Mapping[str, str]:
        return self._kinds[part.kind].put(context, part)

    def remove(self, context: PartContext, part: Part) -> None:
        self._kinds[part.kind].remove(context, part)
