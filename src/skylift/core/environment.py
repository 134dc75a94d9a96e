"""One managed Airflow: the Spec (what is wanted), the Generation (which version of it), and the Status in MWAA's words.

Pure data. The members of ``Spec`` are those of MWAA's CreateEnvironment in snake case, with every default filled in, so
that no other code needs the defaults. Values stay as they were given, because GetEnvironment returns them
and Terraform compares them; what is derived from them is a property.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, NewType

from skylift.core.lifecycle import Lifecycle

Generation = NewType("Generation", int)
"""Which request this is: 1 for create, one more for every update and for delete. What is learnt for an older one is
dropped."""


class Status(StrEnum):
    """EnvironmentStatus of the MWAA API (botocore model ``mwaa/2020-07-01``)."""

    CREATING = "CREATING"
    CREATE_FAILED = "CREATE_FAILED"
    AVAILABLE = "AVAILABLE"
    UPDATING = "UPDATING"
    UPDATE_FAILED = "UPDATE_FAILED"
    ROLLING_BACK = "ROLLING_BACK"
    CREATING_SNAPSHOT = "CREATING_SNAPSHOT"
    MAINTENANCE = "MAINTENANCE"
    PENDING = "PENDING"
    UNAVAILABLE = "UNAVAILABLE"
    DELETING = "DELETING"
    DELETED = "DELETED"


ENVIRONMENT_LIFE: Lifecycle[Status] = Lifecycle(
    "environment",
    {
        # We reach DELETING only by our own route: DeleteEnvironment refuses, as in MWAA, until the previous operation
        # has ended.
        Status.CREATING: frozenset({Status.AVAILABLE, Status.CREATE_FAILED, Status.PENDING, Status.DELETING}),
        # Waits for VPC endpoints of the customer (EndpointManagement=CUSTOMER).
        Status.PENDING: frozenset({Status.CREATING, Status.DELETING}),
        Status.CREATE_FAILED: frozenset({Status.DELETING}),
        Status.AVAILABLE: frozenset({Status.UPDATING, Status.MAINTENANCE, Status.UNAVAILABLE, Status.DELETING}),
        Status.UPDATING: frozenset(
            {Status.AVAILABLE, Status.CREATING_SNAPSHOT, Status.ROLLING_BACK, Status.UPDATE_FAILED, Status.DELETING}
        ),
        Status.CREATING_SNAPSHOT: frozenset({Status.UPDATING, Status.ROLLING_BACK}),
        Status.ROLLING_BACK: frozenset({Status.UPDATE_FAILED, Status.UNAVAILABLE, Status.DELETING}),
        # The old configuration serves on, so another update may begin.
        Status.UPDATE_FAILED: frozenset({Status.UPDATING, Status.MAINTENANCE, Status.UNAVAILABLE, Status.DELETING}),
        Status.MAINTENANCE: frozenset({Status.AVAILABLE, Status.ROLLING_BACK, Status.DELETING}),
        # An update may be what repairs it.
        Status.UNAVAILABLE: frozenset({Status.AVAILABLE, Status.UPDATING, Status.DELETING}),
        Status.DELETING: frozenset({Status.DELETED}),
        # The API never shows it: a deleted environment is not found (Terraform's destroy fails on DELETED).
        Status.DELETED: frozenset(),
    },
)


CELERY_EXECUTOR = "CeleryExecutor"
ECS_EXECUTOR = "skylift.executors.ecs.AwsEcsExecutor"
BATCH_EXECUTOR = "skylift.executors.batch.AwsBatchExecutor"


@dataclass(frozen=True)
class S3Object:
    """An object in the environment's bucket: key, and the pinned version ("" = the current one when it is found)."""

    key: str
    version: str = ""


@dataclass(frozen=True)
class LogModule:
    """One of MWAA's five log modules: whether its logs are kept for the user, and the lowest level."""

    enabled: bool
    level: str


@dataclass(frozen=True)
class Spec:
    """What is wanted of an environment.

    Attributes:
        bucket_arn: the bucket with DAGs, requirements, plugins and startup script.
        dag_path: where the DAGs are in it, as given (``dags``, ``dags/``); ``dag_prefix`` is the key prefix.
        options: the user's Airflow options, ``section.key`` -> value. Sensitive: never put into a task definition.
        logging: by the API's member name (``SchedulerLogs`` ...), all five.
        default_executors: the executors if ``core.executor`` names none; decided when the environment is created.
    """

    name: str
    airflow_version: str
    execution_role: str
    bucket_arn: str
    dag_path: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    logging: Mapping[str, LogModule]
    requirements: S3Object | None = None
    plugins: S3Object | None = None
    startup_script: S3Object | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment_class: str = "mw1.small"
    min_workers: int = 1
    max_workers: int = 10
    min_webservers: int = 2
    max_webservers: int = 2
    schedulers: int = 2
    webserver_access_mode: str = "PRIVATE_ONLY"
    endpoint_management: str = "SERVICE"
    maintenance_window: str = ""
    kms_key: str = ""
    default_executors: tuple[str, ...] = (ECS_EXECUTOR,)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.bucket_arn.rpartition(":::")[2]

    @property
    def dag_prefix(self) -> str:
        """The key prefix of the DAGs, without slashes at its ends."""
        return self.dag_path.strip("/")

    def as_json(self) -> dict[str, Any]:
        """As plain lists, dicts and strings, for the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Spec:
        """The inverse of ``as_json``. Drops unknown members (from a newer skylift)."""
        known = {one.name: stored[one.name] for one in fields(cls) if one.name in stored}
        if "bucket" in stored:  # of a skylift that kept the name alone
            known.setdefault("bucket_arn", f"arn:aws:s3:::{stored['bucket']}")
        for name in ("requirements", "plugins", "startup_script"):
            known[name] = S3Object(**known[name]) if known.get(name) else None
        known["subnets"] = tuple(known["subnets"])
        known["security_groups"] = tuple(known["security_groups"])
        if "default_executors" in known:  # not in rows of a skylift that had no workers
            known["default_executors"] = tuple(known["default_executors"])
        known["logging"] = {module: LogModule(**value) for module, value in known["logging"].items()}
        return cls(**known)
