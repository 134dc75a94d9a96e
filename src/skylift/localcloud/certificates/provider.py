"""Serves ``acm``: certificates that a load balancer's listener really shows, with keys that survive a restart.

A requested certificate is signed at once by the state folder's own authority: nobody's DNS can be asked here. Sources:
ACM API reference 2015-12-08; user guide, "Certificate characteristics" and "Quotas".
"""
# ruff: noqa: ARG002  # every operation gets its caller; few need it

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from skylift.core import names
from skylift.core.clock import Clock
from skylift.core.numbers import natural
from skylift.localcloud.certificates.authority import CURVES, Authority
from skylift.localcloud.certificates.imports import checked_pair, names_of, read_certificate, refused, utc
from skylift.localcloud.certificates.store import CertificateStore, StoredCertificate
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

Request = dict[str, Any]
Users = Callable[[str], Sequence[str]]
"""A certificate's ARN to the ARNs of the load balancers that show it."""
Changed = Callable[[str], None]

REQUESTED, IMPORTED = "AMAZON_ISSUED", "IMPORTED"
MOST_TAGS, MOST_NAMES, PAGE = 50, 100, 1000
SAME_SECONDS = 3600.0
"""How long an idempotency token is remembered (RequestCertificate)."""
_ALGORITHMS = ("RSA_2048", *CURVES)
_USUAL_ALGORITHMS = ("RSA_1024", "RSA_2048")
"""What ListCertificates shows when nothing else is asked for."""


class CertificateProvider:
    """One method per operation (see ``wire.provider``).

    Args:
        store: keeps the certificates.
        authority: signs what is requested.
        users: who shows a certificate.
        changed: called when another certificate stands behind an ARN.
        clock: seconds since the epoch.
    """

    service = "acm"
    blocking = False

    def __init__(
        self, store: CertificateStore, authority: Authority, users: Users, changed: Changed, clock: Clock
    ) -> None:
        self._store = store
        self._authority = authority
        self._users = users
        self._changed = changed
        self._clock = clock

    def request_certificate(self, caller: Caller, request: Request) -> Request:
        """Issues one at once; the same request with the same token within an hour returns the same one."""
        wanted = list(dict.fromkeys([request["DomainName"], *request.get("SubjectAlternativeNames", ())]))
        if "CertificateAuthorityArn" in request:
            raise refused("Private CAs are not supported by skylift's local cloud: leave CertificateAuthorityArn out.")
        if len(wanted) > MOST_NAMES:
            raise AwsError("LimitExceededException", f"A certificate can have at most {MOST_NAMES} names.")
        algorithm = request.get("KeyAlgorithm", "RSA_2048")
        if algorithm not in _ALGORITHMS:
            raise refused(f"The key algorithm '{algorithm}' is not supported: use {', '.join(_ALGORITHMS)}.")
        token = str(request.get("IdempotencyToken", ""))
        for one in self._store.certificates.values():
            if token and one.token == token and one.shown["CreatedAt"] > self._clock() - SAME_SECONDS:
                return {"CertificateArn": one.arn}
        now = self._clock()
        shown = {
            "DomainName": wanted[0],
            "SubjectAlternativeNames": wanted,
            "DomainValidationOptions": [_validation(name, request.get("ValidationMethod", "EMAIL")) for name in wanted],
            "CreatedAt": now,
            "IssuedAt": now,
            "Type": REQUESTED,
            "Options": _options(request.get("Options", {})),
        }
        pair = self._authority.issue(wanted, algorithm)
        made = StoredCertificate(_new_arn(caller), shown, pair, _tags(request.get("Tags", ())), token)
        self._store.save(made)
        return {"CertificateArn": made.arn}

    def import_certificate(self, caller: Caller, request: Request) -> Request:
        """Keeps one that people bring; with an ARN in place of what was there, which listeners show at once."""
        now = self._clock()
        pair = checked_pair(request["Certificate"], request["PrivateKey"], request.get("CertificateChain", b""), now)
        before = self._found(request["CertificateArn"]) if "CertificateArn" in request else None
        if before is not None and before.shown["Type"] != IMPORTED:
            raise refused("Only an imported certificate can be imported again.")
        if before is not None and request.get("Tags"):
            raise refused("Tagging is not permitted on re-import.")
        listed = names_of(pair.certificate)
        shown = {
            "DomainName": listed[0] if listed else "",
            "SubjectAlternativeNames": listed,
            "CreatedAt": before.shown["CreatedAt"] if before is not None else now,
            "ImportedAt": now,
            "Type": IMPORTED,
            "Options": _options({"CertificateTransparencyLoggingPreference": "DISABLED"}),
        }
        made = before or StoredCertificate(_new_arn(caller), shown, pair, _tags(request.get("Tags", ())))
        made.shown, made.pair = shown, pair
        self._store.save(made)
        self._changed(made.arn)
        return {"CertificateArn": made.arn}

    def describe_certificate(self, caller: Caller, request: Request) -> Request:
        """Everything but the certificate itself."""
        return {"Certificate": self._described(self._found(request["CertificateArn"]))}

    def get_certificate(self, caller: Caller, request: Request) -> Request:
        """The certificate and its chain."""
        pair = self._found(request["CertificateArn"]).pair
        return {"Certificate": pair.certificate, "CertificateChain": pair.chain or None}

    def list_certificates(self, caller: Caller, request: Request) -> Request:
        """Those with RSA keys of 1024 and 2048 bits, unless ``Includes`` says otherwise (as ACM)."""
        wanted = request.get("Includes", {}).get("keyTypes") or _USUAL_ALGORITHMS
        statuses = request.get("CertificateStatuses")
        found = [self._described(one) for one in self._store.certificates.values()]
        found = [one for one in found if one["KeyAlgorithm"] in wanted and (not statuses or one["Status"] in statuses)]
        if "SortBy" in request:
            found.sort(key=lambda one: one["CreatedAt"], reverse=request.get("SortOrder") == "DESCENDING")
        begin = natural(request.get("NextToken", "0"))
        if begin is None:
            raise refused("The next token is not valid: give the NextToken of an answer, or none.")
        end = begin + request.get("MaxItems", PAGE)
        more = {"NextToken": str(end)} if end < len(found) else {}
        return {"CertificateSummaryList": [_summary(one) for one in found[begin:end]], **more}

    def delete_certificate(self, caller: Caller, request: Request) -> Request:
        """Deletes it; refused while a load balancer shows it."""
        found = self._found(request["CertificateArn"])
        if self._users(found.arn):
            raise AwsError("ResourceInUseException", f"Certificate {found.arn} in account {caller.account} is in use.")
        self._store.remove(found.arn)
        return {}

    def update_certificate_options(self, caller: Caller, request: Request) -> Request:
        """Stores its options."""
        found = self._found(request["CertificateArn"])
        if found.shown["Type"] == IMPORTED:
            raise refused("The options of an imported certificate cannot be changed.")
        found.shown = {**found.shown, "Options": _options(request["Options"])}
        self._store.save(found)
        return {}

    def add_tags_to_certificate(self, caller: Caller, request: Request) -> Request:
        """Tags it."""
        found = self._found(request["CertificateArn"])
        found.tags = _tags([*_listed(found.tags), *request["Tags"]])
        self._store.save(found)
        return {}

    def remove_tags_from_certificate(self, caller: Caller, request: Request) -> Request:
        """Removes tags; one that is given with a value goes only if it has that value."""
        found = self._found(request["CertificateArn"])
        gone = {
            one["Key"] for one in request["Tags"] if "Value" not in one or found.tags.get(one["Key"]) == one["Value"]
        }
        found.tags = {key: value for key, value in found.tags.items() if key not in gone}
        self._store.save(found)
        return {}

    def list_tags_for_certificate(self, caller: Caller, request: Request) -> Request:
        """Its tags."""
        return {"Tags": _listed(self._found(request["CertificateArn"]).tags)}

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def _found(self, arn: str) -> StoredCertificate:
        found = self._store.certificates.get(arn)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"Could not find certificate {arn}.")
        return found

    def _described(self, one: StoredCertificate) -> Request:
        times: Request = {
            name: utc(one.shown[name]) for name in ("CreatedAt", "IssuedAt", "ImportedAt") if name in one.shown
        }
        read, users = read_certificate(one.pair.certificate), list(self._users(one.arn))
        late = read["NotAfter"].timestamp() <= self._clock()
        renewed = one.shown["Type"] == REQUESTED and users
        return {
            "CertificateArn": one.arn,
            **one.shown,
            **times,
            **read,
            "Status": "EXPIRED" if late else "ISSUED",
            "InUseBy": users,
            "RenewalEligibility": "ELIGIBLE" if renewed else "INELIGIBLE",
        }


def _summary(described: Request) -> Request:
    listed = described["SubjectAlternativeNames"]
    return {
        **described,
        "SubjectAlternativeNameSummaries": listed,
        "HasAdditionalSubjectAlternativeNames": False,
        "InUse": bool(described["InUseBy"]),
        "KeyUsages": [one["Name"] for one in described["KeyUsages"]],
        "ExtendedKeyUsages": [one["Name"] for one in described["ExtendedKeyUsages"]],
        "ExportOption": "DISABLED",
    }


def _validation(name: str, method: str) -> Request:
    domain = name.removeprefix("*.")
    one: Request = {
        "DomainName": name,
        "ValidationDomain": domain,
        "ValidationStatus": "SUCCESS",
        "ValidationMethod": method,
    }
    if method == "DNS":
        mark = hashlib.sha256(domain.encode()).hexdigest()
        value = f"_{mark[32:]}.acm-validations.aws."
        one["ResourceRecord"] = {"Name": f"_{mark[:32]}.{domain}.", "Type": "CNAME", "Value": value}
    return one


def _options(given: Request) -> Request:
    return {"CertificateTransparencyLoggingPreference": "ENABLED", "Export": "DISABLED", **given}


def _tags(tags: Sequence[Request]) -> dict[str, str]:
    found = {one["Key"]: str(one.get("Value", "")) for one in tags}
    if len(found) > MOST_TAGS:
        raise AwsError("TooManyTagsException", f"A certificate can have at most {MOST_TAGS} tags.")
    if any(key.startswith("aws:") for key in found):
        raise AwsError("InvalidTagException", "The prefix aws: is reserved.")
    return found


def _listed(tags: dict[str, str]) -> list[Request]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _new_arn(caller: Caller) -> str:
    return names.arn("acm", caller.region, caller.account, f"certificate/{uuid.uuid4()}")
