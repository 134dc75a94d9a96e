"""AWS's partitions: AWS itself, China, GovCloud, the European Sovereign Cloud, the isolated ones. A region is in one.

A test compares this with botocore's ``partitions.json``; this layer imports nothing. Service principals
(``ecs-tasks.amazonaws.com``) are the same in all partitions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AWS = "aws"


@dataclass(frozen=True)
class Partition:
    """One partition.

    Attributes:
        name: the second word of its ARNs.
        regions: a regular expression of its regions' names.
        suffix: the end of its host names.
        dual: the end of host names that also support IPv6.
        console: host of its console; ``{region}`` in it is replaced. "" if none is public.
    """

    name: str
    regions: str
    suffix: str
    dual: str
    console: str = ""


PARTITIONS = (
    Partition(
        AWS,
        r"^(us|eu|ap|sa|ca|me|af|il|mx)\-\w+\-\d+$",
        "amazonaws.com",
        "api.aws",
        "console.aws.amazon.com",
    ),
    Partition(
        "aws-cn",
        r"^cn\-\w+\-\d+$",
        "amazonaws.com.cn",
        "api.amazonwebservices.com.cn",
        "console.amazonaws.cn",
    ),
    Partition(
        "aws-eusc",
        r"^eusc\-(de)\-\w+\-\d+$",
        "amazonaws.eu",
        "api.amazonwebservices.eu",
        "{region}.console.amazonaws-eusc.eu",
    ),
    Partition("aws-iso", r"^us\-iso\-\w+\-\d+$", "c2s.ic.gov", "api.aws.ic.gov"),
    Partition("aws-iso-b", r"^us\-isob\-\w+\-\d+$", "sc2s.sgov.gov", "api.aws.scloud"),
    Partition("aws-iso-e", r"^eu\-isoe\-\w+\-\d+$", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    Partition("aws-iso-f", r"^us\-isof\-\w+\-\d+$", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    Partition(
        "aws-us-gov",
        r"^us\-gov\-\w+\-\d+$",
        "amazonaws.com",
        "api.aws",
        "console.amazonaws-us-gov.com",
    ),
)

BY_NAME = {one.name: one for one in PARTITIONS}

SUFFIXES = tuple(sorted({text for one in PARTITIONS for text in (one.suffix, one.dual)}))
"""How the names of AWS's own hosts end."""


def find(region: str) -> Partition | None:
    """The partition of a region; ``None`` for an unknown name."""
    return next((one for one in PARTITIONS if re.match(one.regions, region)), None)


def partition_of(region: str) -> str:
    """Name of a region's partition; ``aws`` for an unknown name, as in botocore."""
    found = find(region)
    return found.name if found else AWS
