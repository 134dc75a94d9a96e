"""What a failure means, and what to do: AWS's own words to ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

DECISIVE = re.compile(r"CannotPullContainerError|ResourceInitializationError|exec format error|Unable to assume")
"""Reasons that will be the same at the next try."""

MEANS = (
    (
        r"CannotPullContainer.*(?:not found|manifest unknown|does not exist|no such)",
        "There is no such image. Check --image: the name, the tag, and for ECR the account and the region.",
    ),
    (
        r"CannotPullContainer.*(?:toomanyrequests|rate limit)",
        "The registry limits downloads without a sign-in. Copy the image to ECR and give that as --image.",
    ),
    (
        r"no matching manifest|exec format error|image Manifest does not contain",
        "The image is for another CPU. Leave out --arm (or give it), or take an image for both.",
    ),
    (r"CannotPullContainer", "ECS cannot fetch the image. Check --image, and that the subnets lead to the internet."),
    (
        r"OutOfMemory|exit code 137|exited with 137",
        "The container needed more memory than it has. Try again with more: --memory 4096.",
    ),
    (
        r"ResourceInitializationError.*(?:secret|asm)",
        "ECS cannot read the password. skylift fargate up again repairs the secret and the role; if not, an "
        "organization's policy forbids it.",
    ),
    (r"ResourceInitializationError", "ECS could not prepare the task: its roles, its log group or its network."),
    (
        r"[Cc]apacity is unavailable|RESOURCE:|unable to place a task",
        "AWS has no room for it just now and goes on trying. Without --spot, or in another region, there may be some.",
    ),
    (
        r"limit on the number of vCPUs|LimitExceeded|quota",
        "A quota of the account is reached. Raise it (Service Quotas), or remove something: skylift fargate list.",
    ),
    (
        r"failed container health checks",
        "Airflow runs but does not say that it is well. Its lines say why; a small --cpu makes it slow to start.",
    ),
    (r"Unable to assume|not authorized to perform", "A role may not do what it must. skylift fargate up repairs ours."),
    (r"Spot", "AWS took the Spot task back. Leave out --spot for one that stays."),
)


def meaning(text: str) -> str:
    """What to do about AWS's words; "" if we have no better ones."""
    return next((words for pattern, words in MEANS if re.search(pattern, text, re.IGNORECASE | re.DOTALL)), "")


def why_stopped(task: Mapping[str, Any]) -> str:
    """Why an ECS task ended, in ECS's words: its reason, its containers' reasons and exit codes."""
    words = [str(task.get("stoppedReason", ""))]
    for one in task.get("containers", ()):
        if one.get("reason"):
            words.append(str(one["reason"]))
        elif one.get("exitCode"):
            words.append(f"{one['name']}: exit code {one['exitCode']}")
    return "; ".join(dict.fromkeys(filter(None, words))) or "no reason told"


QUOTAS = (
    (
        r"VpcLimitExceeded|InternetGatewayLimitExceeded",
        "This account has as many VPCs as its quota allows. Use one that is there: --vpc vpc-…",
    ),
    (r"SecurityGroupLimitExceeded|RulesPerSecurityGroup", "The VPC has as many security groups as its quota allows."),
    (r"LimitExceeded|TooManyBuckets|quota", "A quota of the account is reached: see Service Quotas in AWS's console."),
    (r"InvalidVpcRange|CidrConflict|InvalidSubnet.Conflict", "Choose another network: --cidr 10.99.0.0/24"),
    (r"BucketAlreadyExists", "Somebody else has a bucket of this name. Choose another NAME."),
)


def of_refusal(text: str) -> str:
    """What to do about a call that AWS refused; "" if its words say it."""
    return next((words for pattern, words in QUOTAS if re.search(pattern, text)), "")
