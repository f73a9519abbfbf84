"""What aiohttp and the system raise, as our `FetchError`: a stable kind, plain words, transient or not."""

from __future__ import annotations

import socket
import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from crawler.errors import FetchError

# What the network and its libraries raise; anything else is a mistake of ours and stays what it is.
# TimeoutError and ssl.SSLError are kinds of OSError.
NETWORK_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)

_NO_SUCH_NAME = {
    1,  # ARES_ENODATA: the name exists, without an address
    4,  # ARES_ENOTFOUND
    socket.EAI_NONAME,
    socket.EAI_NODATA,
}


def as_fetch_error(error: Exception, url: str) -> FetchError:
    """The `FetchError` for one of `NETWORK_ERRORS`. Its message begins with the URL."""
    kind, why, transient = _judge(error)
    return FetchError(kind, f"{url}: {why}", transient=transient)


def _judge(error: Exception) -> tuple[str, str, bool]:
    """Kind, reason, transient. Derived classes come before their bases."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "timeout", "no connection in time (CONNECT_TIMEOUT)", True
        case aiohttp.SocketTimeoutError():
            return "timeout", "the host fell silent (READ_TIMEOUT)", True
        case TimeoutError():
            return "timeout", "the answer took too long (DOWNLOAD_TIMEOUT)", True
        case aiohttp.ClientConnectorCertificateError():
            return "tls", f"its certificate is not accepted: {_certificate_reason(error)}", False
        case aiohttp.ClientConnectorSSLError():
            return "tls", f"TLS failed: {_words(error)}", isinstance(error.os_error, ssl.SSLEOFError)
        case aiohttp.ClientConnectorDNSError():
            return (
                "dns",
                f"the name {error.host} does not resolve: {_words(error)}",
                _may_resolve_later(error),
            )
        case aiohttp.ClientConnectorError():
            return "connect", f"cannot connect: {_words(error)}", True
        case aiohttp.ClientPayloadError():
            return "truncated", f"the answer is cut off: {_words(error.__cause__ or error)}", True
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return "malformed", f"the answer is not usable HTTP: {_words(error)}", False
        case aiohttp.InvalidURL() | ValueError():
            return "malformed", f"cannot be asked for: {_words(error)}", False
        case _:
            return "reset", f"the connection ended before the answer: {_words(error)}", True


def _words(error: BaseException) -> str:
    """The innermost reason in its own words, on one line: no numbers, no repetition of the host."""
    error = getattr(error, "os_error", error)
    words = getattr(error, "strerror", "") or getattr(error, "message", "") or error
    return str(words).partition("\n")[0].strip(" :.") or type(error).__name__


def _certificate_reason(error: aiohttp.ClientConnectorCertificateError) -> str:
    reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
    return f"{reason} (authorities of your own: -s TLS_CA_FILE=…)"


def _may_resolve_later(error: aiohttp.ClientConnectorDNSError) -> bool:
    """False when the name is known not to exist. aiodns hides its code in the cause."""
    reason = error.os_error.__cause__ or error.os_error
    return next(iter(reason.args), None) not in _NO_SUCH_NAME
