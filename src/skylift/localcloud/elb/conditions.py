"""The conditions of listener rules: which AWS accepts, and whether a request meets them.

Sources: "Condition types for listener rules" and "Quotas for your Application Load Balancers", user guide of
Application Load Balancers; RuleCondition in the API reference 2015-12-01.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from skylift.localcloud.elb.requests import HttpRequest
from skylift.localcloud.elb.shapes import invalid, not_here

Condition = Mapping[str, Any]

CONFIGS = {
    "host-header": "HostHeaderConfig",
    "http-header": "HttpHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "path-pattern": "PathPatternConfig",
    "query-string": "QueryStringConfig",
    "source-ip": "SourceIpConfig",
}
"""By field: the member with its values."""
MOST_VALUES, MOST_WILDCARDS = 5, 6
"""In all conditions of a rule."""
_MANY_TIMES = frozenset({"http-header", "query-string"})
_SHORT = frozenset({"host-header", "path-pattern"})
"""Fields whose values may also stand in ``Values``."""
_FORMS = {
    "host-header": re.compile(r"[A-Za-z0-9.*?_-]{1,128}"),
    "path-pattern": re.compile(r"[A-Za-z0-9_.$/~\"'@:+&*?%=!,;()\[\]-]{1,128}"),
    "http-header": re.compile(r"[ -~]{1,128}"),
    "http-request-method": re.compile(r"[A-Z_-]{1,40}"),
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}")


def checked_conditions(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """The conditions of a rule as DescribeRules shows them. Raises ``AwsError``: AWS, or the local cloud, does not
    accept them."""
    if not conditions:
        raise invalid("A condition must be specified")
    shown = [_checked(one) for one in conditions]
    fields = [one["Field"] for one in shown]
    for field in set(fields) - _MANY_TIMES:
        if fields.count(field) > 1:
            raise invalid(f"A rule can only have one '{field}' condition")
    texts = [text for one in shown for text in _texts(one)]
    if sum(len(one[CONFIGS[one["Field"]]]["Values"]) for one in shown) > MOST_VALUES:
        raise invalid(f"A rule can only have '{MOST_VALUES}' condition values")
    if sum(text.count("*") + text.count("?") for text in texts) > MOST_WILDCARDS:
        raise invalid(f"A rule can only have '{MOST_WILDCARDS}' condition wildcards")
    return shown


def meets(conditions: Sequence[Condition], request: HttpRequest) -> bool:
    """Whether a request meets all conditions (as ``checked_conditions`` returns them)."""
    return all(_MEETS[one["Field"]](one[CONFIGS[one["Field"]]], request) for one in conditions)


def _checked(condition: Condition) -> dict[str, Any]:
    field = condition.get("Field", "")
    if field not in CONFIGS:
        raise invalid(f"Condition field '{field}' must be one of '[{', '.join(CONFIGS)}]'")
    member = CONFIGS[field]
    config: dict[str, Any] = dict(condition.get(member, {}))
    if config.get("RegexValues") or condition.get("RegexValues"):
        raise not_here("Regular expressions in conditions are not supported: use values with * and ?")
    strange = set(condition) - {"Field", "Values", "RegexValues", member}
    if strange or (condition.get("Values") and (config or field not in _SHORT)):
        raise invalid(f"A condition with the field '{field}' has its values in '{member}', and there only")
    config["Values"] = list(config.get("Values") or condition.get("Values") or ())
    if not config["Values"]:
        raise invalid(f"A value must be specified for the condition field '{field}'")
    _CHECKS.get(field, _check_texts)(field, config)
    short = {"Values": config["Values"]} if field in _SHORT else {}
    return {"Field": field, **short, member: config}


def _check_texts(field: str, config: Mapping[str, Any]) -> None:
    for text in config["Values"]:
        if not _FORMS[field].fullmatch(text):
            raise invalid(f"The value '{text}' of the condition field '{field}' is too long, empty or not valid")
    if field == "http-header" and not _HEADER_NAME.fullmatch(config.get("HttpHeaderName", "")):
        raise invalid("The HTTP header name of the condition field 'http-header' must have 1 to 40 valid characters")


def _check_queries(field: str, config: Mapping[str, Any]) -> None:
    for pair in config["Values"]:
        if not pair.get("Value") or len(pair["Value"]) > 128 or len(pair.get("Key", "")) > 128:
            raise invalid(
                f"A value of the condition field '{field}' must have 1 to 128 characters, its key at most 128"
            )


def _check_networks(field: str, config: Mapping[str, Any]) -> None:
    for text in config["Values"]:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise invalid(f"The value '{text}' of the condition field '{field}' must be a CIDR block") from None


_CHECKS: Mapping[str, Callable[[str, Mapping[str, Any]], None]] = {
    "query-string": _check_queries,
    "source-ip": _check_networks,
}


def _texts(condition: Condition) -> list[str]:
    """The texts in which ``*`` and ``?`` mean something."""
    field = condition["Field"]
    values = condition[CONFIGS[field]]["Values"]
    if field == "query-string":
        return [text for pair in values for text in (pair.get("Key", ""), pair["Value"])]
    return [] if field in {"source-ip", "http-request-method"} else values


@dataclass(frozen=True)
class _Segment:
    """What stands between two ``*``: characters and ``?``."""

    pattern: re.Pattern[str]
    width: int


@lru_cache(maxsize=1024)
def _segments(text: str, *, any_case: bool) -> tuple[_Segment, ...]:
    """``*``: any characters, ``?``: one, ``\\*`` and ``\\?``: themselves."""
    segments: list[list[str]] = [[]]
    for piece in re.findall(r"\\[*?]|.", text, re.DOTALL):
        if piece == "*":
            segments.append([])
        else:
            segments[-1].append("." if piece == "?" else re.escape(piece[-1]))
    flags = re.DOTALL | (re.IGNORECASE if any_case else 0)
    return tuple(_Segment(re.compile("".join(one), flags), len(one)) for one in segments)


def _fits(text: str, found: str, *, any_case: bool) -> bool:
    """Whether a text with ``*`` and ``?`` fits what was found: segment by segment, each at its first place. One regular
    expression for all would try all places together, which takes for ever on a long header."""
    first, *rest = _segments(text, any_case=any_case)
    if not rest:
        return first.pattern.fullmatch(found) is not None
    if first.pattern.match(found) is None:
        return False
    at = first.width
    for one in rest[:-1]:
        hit = one.pattern.search(found, at)
        if hit is None:
            return False
        at = hit.end()
    end = len(found) - rest[-1].width
    return end >= at and rest[-1].pattern.match(found, end) is not None


def _any(texts: Sequence[str], found: Sequence[str], *, any_case: bool = True) -> bool:
    return any(_fits(text, one, any_case=any_case) for text in texts for one in found)


def _query(config: Mapping[str, Any], request: HttpRequest) -> bool:
    sent = parse_qsl(request.query, keep_blank_values=True)
    return any(
        _any([pair["Value"]], [value]) and ("Key" not in pair or _any([pair["Key"]], [key]))
        for pair in config["Values"]
        for key, value in sent
    )


def _source(config: Mapping[str, Any], request: HttpRequest) -> bool:
    address = ipaddress.ip_address(request.source)
    return any(address in ipaddress.ip_network(text, strict=False) for text in config["Values"])


_MEETS: Mapping[str, Callable[[Mapping[str, Any], HttpRequest], bool]] = {
    "host-header": lambda config, request: _any(config["Values"], [request.host]),
    "http-header": lambda config, request: _any(config["Values"], request.values(config["HttpHeaderName"].lower())),
    "http-request-method": lambda config, request: request.method in config["Values"],
    "path-pattern": lambda config, request: _any(config["Values"], [request.path], any_case=False),
    "query-string": _query,
    "source-ip": _source,
}
