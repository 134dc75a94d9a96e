"""How AWS refuses a request before any operation: the same errors have different names in JSON, Query and S3."""

from __future__ import annotations

from enum import Enum, auto
from urllib.parse import unquote

from skylift.wire.asgi import Answer, Head
from skylift.wire.errors import AwsError
from skylift.wire.query_shapes import xml_text

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
_BAD_TOKEN = "The security token included in the request is invalid."  # noqa: S105 -- a message, not a token
_OLD_TOKEN = "The security token included in the request is expired"  # noqa: S105 -- a message, not a token


_INTERNAL = "The request processing has failed because of an unknown error, exception or failure."


class Dialect(Enum):
    """Whose words."""

    JSON = auto()
    QUERY = auto()
    S3 = auto()


class SignatureFault(Enum):
    """What is wrong with a request, or with us."""

    UNSIGNED = auto()
    INCOMPLETE = auto()
    UNKNOWN_KEY = auto()
    EXPIRED_KEY = auto()
    MISMATCH = auto()
    SKEWED = auto()
    EXPIRED_URL = auto()
    HEADER_NOT_SIGNED = auto()
    WRONG_REGION = auto()
    WRONG_BODY = auto()
    TOO_LONG = auto()
    BROKEN = auto()


_WORDS: dict[SignatureFault, dict[Dialect, tuple[str, int, str]]] = {
    SignatureFault.UNSIGNED: {
        Dialect.JSON: ("MissingAuthenticationTokenException", 403, "Missing Authentication Token"),
        Dialect.QUERY: ("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
        Dialect.S3: ("AccessDenied", 403, "Access Denied"),
    },
    SignatureFault.INCOMPLETE: {
        Dialect.JSON: ("IncompleteSignatureException", 400, ""),
        Dialect.QUERY: ("IncompleteSignature", 400, ""),
        Dialect.S3: ("AuthorizationHeaderMalformed", 400, ""),
    },
    SignatureFault.UNKNOWN_KEY: {
        Dialect.JSON: ("UnrecognizedClientException", 403, _BAD_TOKEN),
        Dialect.QUERY: ("InvalidClientTokenId", 403, _BAD_TOKEN),
        Dialect.S3: ("InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."),
    },
    SignatureFault.EXPIRED_KEY: {
        Dialect.JSON: ("ExpiredTokenException", 403, _OLD_TOKEN),
        Dialect.QUERY: ("ExpiredToken", 403, _OLD_TOKEN),
        Dialect.S3: ("ExpiredToken", 400, "The provided token has expired."),
    },
    SignatureFault.MISMATCH: {
        Dialect.JSON: ("InvalidSignatureException", 403, _MISMATCH),
        Dialect.QUERY: ("SignatureDoesNotMatch", 403, _MISMATCH),
        Dialect.S3: (
            "SignatureDoesNotMatch",
            403,
            "The request signature we calculated does not match the signature you provided. Check your key and "
            "signing method.",
        ),
    },
    SignatureFault.SKEWED: {
        Dialect.JSON: ("InvalidSignatureException", 403, "Signature expired: "),
        Dialect.QUERY: ("SignatureDoesNotMatch", 403, "Signature expired: "),
        Dialect.S3: (
            "RequestTimeTooSkewed",
            403,
            "The difference between the request time and the current time is too large. ",
        ),
    },
    SignatureFault.EXPIRED_URL: {
        Dialect.JSON: ("InvalidSignatureException", 403, "Signature expired: "),
        Dialect.QUERY: ("RequestExpired", 400, "Request has expired. "),
        Dialect.S3: ("AccessDenied", 403, "Request has expired. "),
    },
    SignatureFault.HEADER_NOT_SIGNED: {
        Dialect.JSON: (
            "InvalidSignatureException",
            403,
            "There were headers present in the request which were not signed: ",
        ),
        Dialect.QUERY: (
            "SignatureDoesNotMatch",
            403,
            "There were headers present in the request which were not signed: ",
        ),
        Dialect.S3: ("AccessDenied", 403, "There were headers present in the request which were not signed: "),
    },
    SignatureFault.WRONG_REGION: {
        Dialect.JSON: ("InvalidSignatureException", 403, "Credential should be scoped to a valid region. "),
        Dialect.QUERY: ("SignatureDoesNotMatch", 403, "Credential should be scoped to a valid region. "),
        Dialect.S3: ("AuthorizationHeaderMalformed", 400, "The authorization header is malformed; "),
    },
    SignatureFault.WRONG_BODY: {
        Dialect.JSON: ("InvalidSignatureException", 403, _MISMATCH),
        Dialect.QUERY: ("SignatureDoesNotMatch", 403, _MISMATCH),
        Dialect.S3: (
            "XAmzContentSHA256Mismatch",
            400,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ),
    },
    SignatureFault.TOO_LONG: {
        Dialect.JSON: ("RequestEntityTooLargeException", 413, "The request is too long."),
        Dialect.QUERY: ("RequestEntityTooLarge", 413, "The request is too long."),
        Dialect.S3: ("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size"),
    },
    SignatureFault.BROKEN: {
        Dialect.JSON: ("InternalFailure", 500, _INTERNAL),
        Dialect.QUERY: ("InternalFailure", 500, _INTERNAL),
        Dialect.S3: ("InternalError", 500, "We encountered an internal error. Please try again."),
    },
}


class Rejection(AwsError):
    """An error before any operation, with the dialect that it must be written in."""

    def __init__(self, code: str, message: str, status: int, dialect: Dialect) -> None:
        super().__init__(code, message, status)
        self.dialect = dialect


def refusal(fault: SignatureFault, dialect: Dialect, detail: str = "") -> Rejection:
    """The error for a fault. ``detail`` follows the message that AWS has for it, or is the message where it has
    none."""
    code, status, message = _WORDS[fault][dialect]
    return Rejection(code, message + detail, status, dialect)


def refuse_s3(error: AwsError, head: Head, request_id: str) -> Answer:
    """An error as S3 writes it: bare XML without a namespace."""
    resource = xml_text(unquote(head.path))
    inner = f"<Code>{xml_text(error.code)}</Code><Message>{xml_text(error.message)}</Message>"
    inner += f"<Resource>{resource}</Resource>"
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}<RequestId>{request_id}</RequestId></Error>'
    headers = {"content-type": "application/xml", "x-amz-request-id": request_id, "x-amz-id-2": request_id}
    return Answer(error.status, headers, xml.encode("utf-8", "replace"))
