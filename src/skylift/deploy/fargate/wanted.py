"""What ``skylift fargate up`` was asked for, and the names and tags of what it makes. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from skylift.core.errors import Refused

TAG = "skylift:fargate"
"""The tag of everything that belongs to a NAME; its value is the NAME. Only what has it is ever deleted."""

NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
IMAGE = "apache/airflow:3.3.2"
"""The default on AWS: Airflow's own, from Docker Hub."""
LOCAL_IMAGE = "skylift/airflow:3.3.2"
"""The default in the local cloud, which cannot pull."""
CIDR = "10.24.0.0/24"
PORT = 8080
CONTAINER = "airflow"
SIZES: Mapping[int, range] = {
    256: range(512, 2049, 512),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
"""CPU units to the MiB that Fargate offers with them."""


@dataclass(frozen=True)
class AirflowWanted:
    """One Airflow on Fargate.

    Attributes:
        name: of all that belongs to it.
        image: any image with Airflow 3.
        allow: the only addresses that reach port 8080, as a CIDR.
        cpu: CPU units, 1024 for one vCPU.
        memory: MiB.
        vpc: an existing VPC whose public subnets are used; "" makes one.
        cidr: of the VPC that is made.
        subnets: existing subnets; empty: the public ones of ``vpc``.
        security_groups: more groups for the task, which are somebody else's.
        role: ARN of an existing task role; "" makes one.
        execution_role: name or ARN of an existing execution role; "" makes one.
        spot: whether AWS may take it back (Fargate Spot).
        arm: whether it runs on Graviton.
        variables: more environment variables of the container.
        command: replaces our program; empty: Airflow with all its components.
        public: whether the task has a public address.
        keep_logs: days that its log is kept.

    Raises:
        Refused: something is not possible; the text says what is.
    """

    name: str
    image: str
    allow: str
    cpu: int = 1024
    memory: int = 3072
    vpc: str = ""
    cidr: str = CIDR
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    role: str = ""
    execution_role: str = ""
    spot: bool = False
    arm: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    public: bool = True
    keep_logs: int = 14

    def __post_init__(self) -> None:
        check_name(self.name)
        offered = SIZES.get(self.cpu)
        if offered is None:
            raise Refused(f"--cpu {self.cpu}: Fargate offers {', '.join(map(str, SIZES))} (1024 is one vCPU).")
        if self.memory not in offered:
            raise Refused(
                f"--memory {self.memory}: with --cpu {self.cpu}, Fargate offers {offered.start} to {offered[-1]} MiB "
                f"in steps of {offered.step}."
            )
        try:
            network = ipaddress.ip_network(self.cidr)
        except ValueError as error:
            raise Refused(f"--cidr {self.cidr}: {error}. Give a network such as {CIDR}.") from error
        if not self.vpc and not 16 <= network.prefixlen <= 27:
            raise Refused(f"--cidr {self.cidr}: a VPC for two subnets has a prefix from /16 to /27.")
        try:
            ipaddress.ip_network(self.allow)
        except ValueError as error:
            raise Refused(f"--allow {self.allow}: {error}. Give a network such as 203.0.113.7/32.") from error

    @property
    def halves(self) -> tuple[str, str]:
        """The networks of the two subnets."""
        one, two = ipaddress.ip_network(self.cidr).subnets(prefixlen_diff=1)
        return str(one), str(two)


@dataclass(frozen=True)
class Named:
    """The names of what belongs to a NAME in one account and region.

    Attributes:
        typed: the options that lead to that account and region, as they were typed; commands that we print have them.
    """

    name: str
    account: str
    region: str
    typed: str = ""

    def command(self, verb: str) -> str:
        """What to type to do something with it."""
        return " ".join(filter(None, ("skylift fargate", verb, self.name, self.typed)))

    @property
    def whole(self) -> str:
        """Cluster, service, task definition family, security group, and the beginning of others."""
        return f"skylift-fargate-{self.name}"

    @property
    def bucket(self) -> str:
        """S3 names are the whole world's, so it has the account and the region."""
        return f"{self.whole}-{self.account}-{self.region}"

    @property
    def secret(self) -> str:
        """Holds the password of the user admin."""
        return f"skylift/fargate/{self.name}/admin"

    @property
    def log_group(self) -> str:
        """The container's output."""
        return f"/skylift/fargate/{self.name}"

    @property
    def roles(self) -> tuple[str, str]:
        """The execution role and the task role."""
        return f"{self.whole}-{self.region}-execution", f"{self.whole}-{self.region}-task"

    @property
    def dags(self) -> str:
        """Where the DAG folder is copied to."""
        return f"s3://{self.bucket}/dags"

    @property
    def state(self) -> str:
        """Where the container copies Airflow's database to."""
        return f"s3://{self.bucket}/state/airflow.db.gz"


def check_name(name: str) -> None:
    """Raises ``Refused`` for a NAME from which names of AWS's resources cannot be made."""
    if not NAME.fullmatch(name):
        raise Refused(f"The name {name!r} must be 1 to 20 lower-case letters, digits and hyphens, a letter first.")


def tags(name: str) -> dict[str, str]:
    """The tags of everything that is made."""
    return {TAG: name}


def upper_tags(name: str) -> list[dict[str, str]]:
    """As most services want them."""
    return [{"Key": key, "Value": value} for key, value in tags(name).items()]


def lower_tags(name: str) -> list[dict[str, str]]:
    """As ECS wants them."""
    return [{"key": key, "value": value} for key, value in tags(name).items()]


def tagged(found: list[Mapping[str, str]] | None) -> str:
    """The NAME that a resource belongs to, by its tags in either spelling; "" for somebody else's."""
    pairs = ((one.get("Key") or one.get("key"), one.get("Value") or one.get("value")) for one in found or ())
    return next((str(value) for key, value in pairs if key == TAG), "")


def foreign(what: str, name: str) -> str:
    """Why something that has our name but not our tag is left alone."""
    return (
        f"The {what} is there already and does not have the tag {TAG}={name}, so it is somebody else's and stays as it "
        "is. Choose another NAME."
    )
