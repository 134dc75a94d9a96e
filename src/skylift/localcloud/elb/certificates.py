"""The operations of listeners' certificates and security policies."""
# ruff: noqa: ARG002  # every operation gets its caller; few need it

from __future__ import annotations

from skylift.localcloud.elb import tls
from skylift.localcloud.elb.operations import ElbOperations, Request, paged
from skylift.localcloud.elb.store import Listener
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller


class CertificateOperations(ElbOperations):
    """One method per operation (see ``wire.provider``)."""

    def add_listener_certificates(self, caller: Caller, request: Request) -> Request:
        """Adds certificates, which clients see that name one of their hosts; existing ones stay."""
        listener = self._encrypted(request["ListenerArn"])
        given = [str(one.get("CertificateArn", "")) for one in request["Certificates"]]
        for arn in given:
            tls.check_certificate(arn, self.certificates)
        wanted = list(dict.fromkeys([*listener.certificates, *given]))
        if len(wanted) > tls.MOST_CERTIFICATES:
            text = f"A listener can have at most {tls.MOST_CERTIFICATES} certificates beside its default one"
            raise AwsError("TooManyCertificates", text)
        self._show(listener, wanted)
        return {"Certificates": [{"CertificateArn": arn, "IsDefault": False} for arn in given]}

    def remove_listener_certificates(self, caller: Caller, request: Request) -> Request:
        """Removes certificates; the default one stays until ModifyListener names another."""
        listener = self._encrypted(request["ListenerArn"])
        gone = {one.get("CertificateArn") for one in request["Certificates"]}
        default = listener.all_certificates[0]
        if default in gone and default not in listener.certificates:
            raise AwsError("OperationNotPermitted", f"Default certificate '{default}' cannot be removed")
        self._show(listener, [one for one in listener.certificates if one not in gone])
        return {}

    def describe_listener_certificates(self, caller: Caller, request: Request) -> Request:
        """All certificates of a listener, the default one first."""
        listener = self.listener(request["ListenerArn"])
        found = [
            {"CertificateArn": arn, "IsDefault": place == 0} for place, arn in enumerate(listener.all_certificates)
        ]
        return paged("Certificates", found, request)

    def describe_ssl_policies(self, caller: Caller, request: Request) -> Request:
        """All policies, or the named ones."""
        wanted = request.get("Names") or list(tls.POLICIES)
        for name in wanted:
            if name not in tls.POLICIES:
                raise AwsError("SSLPolicyNotFound", f"SSL policy '{name}' not found")
        return paged("SslPolicies", [tls.described_policy(name) for name in wanted], request)

    def _encrypted(self, arn: str) -> Listener:
        listener = self.listener(arn)
        if not listener.all_certificates:
            text = f"Certificates are not supported for listeners with the protocol '{listener.shown['Protocol']}'"
            raise AwsError("UnsupportedProtocol", text)
        return listener

    def _show(self, listener: Listener, certificates: list[str]) -> None:
        listener.certificates = certificates
        self.store.save(listener)
        self.traffic.show_certificates(listener)
