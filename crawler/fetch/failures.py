"""Turns errors of aiohttp and the system into `FetchError`: a stable kind, plain words, transient or not."""

from __future__ import annotations

import socket
import ssl
from typing import Literal

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from crawler.errors import FetchError

# The errors of the network and its libraries. Any other error is a bug of the crawler and passes unchanged.
# TimeoutError and ssl.SSLError are subclasses of OSError.
NETWORK_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)

_NO_SUCH_NAME = {
    1,  # ARES_ENODATA: the name exists, without an address
    4,  # ARES_ENOTFOUND
    socket.EAI_NONAME,
    socket.EAI_NODATA,
}
_NO_ANSWER = {
    2,  # ARES_EFORMERR: the server did not understand
    3,  # ARES_ESERVFAIL
    5,  # ARES_ENOTIMP
    6,  # ARES_EREFUSED
    10,  # ARES_EBADRESP
    12,  # ARES_ETIMEOUT
    13,  # ARES_EOF
    socket.EAI_AGAIN,
    socket.EAI_FAIL,
}
_CLOSED = {
    16,  # ARES_EDESTRUCTION
    24,  # ARES_ECANCELLED
}
_NO_SERVER = {
    11,  # ARES_ECONNREFUSED: no DNS server could be reached
    14,  # ARES_EFILE: the list of DNS servers cannot be read
    15,  # ARES_ENOMEM
    21,  # ARES_ENOTINITIALIZED
    26,  # ARES_ENOSERVER: the list is empty
    socket.EAI_MEMORY,
}


_KEEP_PART = "to read what came: -s DOWNLOAD_FAIL_ON_DATALOSS=False"


def as_fetch_error(error: Exception, url: str) -> FetchError:
    """The `FetchError` for one of `NETWORK_ERRORS`. Its message begins with the URL."""
    kind, why, transient = _judge(error)
    return FetchError(kind, f"{url}: {why}", transient=transient)


def _judge(error: Exception) -> tuple[str, str, bool]:
    """Return kind, reason and whether it is transient. Derived classes come before their bases."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "timeout", "no connection in time (CONNECT_TIMEOUT)", True
        case aiohttp.SocketTimeoutError():
            return "timeout", "the host stopped sending (READ_TIMEOUT)", True
        case TimeoutError():
            return "timeout", "the answer took too long (DOWNLOAD_TIMEOUT)", True
        case aiohttp.ClientConnectorCertificateError():
            return "tls", f"its certificate is not accepted: {_certificate_reason(error)}", False
        case aiohttp.ClientConnectorSSLError():
            return "tls", f"TLS failed: {words(error)}", isinstance(error.os_error, ssl.SSLEOFError)
        case aiohttp.ClientConnectorDNSError():
            return (
                "dns",
                f"the name {error.host} does not resolve: {words(error)}",
                dns_verdict(error.os_error) != "answered",
            )
        case aiohttp.ClientConnectorError():
            return "connect", f"cannot connect: {words(error)}", True
        case aiohttp.ClientPayloadError():
            return "truncated", f"the answer is cut off: {words(error.__cause__ or error)} ({_KEEP_PART})", True
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "malformed", f"the answer is not usable HTTP: {words(error)}", False
        case aiohttp.InvalidURL() | ValueError():
            return "malformed", f"cannot be requested: {words(error)}", False
        case _:
            return "reset", f"the connection ended before the answer: {words(error)}", True


def words(error: BaseException) -> str:
    """The innermost reason in its own words, on one line, without error numbers or the host."""
    error = getattr(error, "os_error", error)
    words = getattr(error, "strerror", "") or getattr(error, "message", "") or error
    return str(words).partition("\n")[0].strip(" :.") or type(error).__name__


def _certificate_reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
    return f"{reason} (to add your own authorities: -s TLS_CA_FILE=…)"


def dns_verdict(error: BaseException) -> Literal["answered", "silent", "broken", "closed", "other"]:
    """Say what a failed look-up shows about the resolver: it answered that the name has no address; it gave no usable
    answer for this name; it does not work at all; it was closed meanwhile; or none of these. aiodns hides its code in
    the error's cause."""
    reason = error.__cause__ or error
    if isinstance(reason, OSError) and not isinstance(reason, socket.gaierror):
        return "other"  # its number is an errno, not a code of the resolver
    code = next(iter(reason.args), None)
    if code in _NO_SUCH_NAME:
        return "answered"
    if code in _NO_SERVER:
        return "broken"
    if code in _CLOSED:
        return "closed"
    return "silent" if code in _NO_ANSWER else "other"
