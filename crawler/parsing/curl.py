"""Reads a command line of curl, as browsers copy it ("Copy as cURL"), as the arguments of a request."""

from __future__ import annotations

import argparse
import base64
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from crawler.parsing.cookies import cookies_in
from crawler.parsing.request_headers import FRAMING


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"curl: {message}")


_parser = _Parser(prog="curl", add_help=False, allow_abbrev=False)
_parser.add_argument("place", nargs="?")
_parser.add_argument("--url")
_parser.add_argument("-X", "--request", dest="method")
_parser.add_argument("-H", "--header", dest="headers", action="append", default=[])
_parser.add_argument("-A", "--user-agent", dest="agent")
_parser.add_argument("-e", "--referer")
_parser.add_argument("-b", "--cookie", dest="cookies", action="append", default=[])
_parser.add_argument("-u", "--user", dest="login")
_parser.add_argument(
    *("-d", "--data", "--data-raw", "--data-ascii", "--data-binary"), dest="data", action="append", default=[]
)
for _names in (
    *(["--compressed"], ["-s", "--silent"], ["-S", "--show-error"], ["-v", "--verbose"], ["-#", "--progress-bar"]),
    *(["-i", "--include"], ["-L", "--location"], ["-g", "--globoff"], ["--http1.1"], ["--http2"]),
):
    _parser.add_argument(*_names, action="store_true")  # they change nothing that the crawler does


def request_fields(command: str, *, ignore_unknown_options: bool) -> dict[str, Any]:
    """The URL, method, headers, cookies and body of the command. Raises `ValueError` for what is no such command, and
    for an option that would change the request and is not known, unless those are to be ignored."""
    line = command.replace("\\\n", " ")
    words = shlex.split(_ANSI_QUOTED.sub(lambda quoted: shlex.quote(_ESCAPE.sub(_unescaped, quoted[1])), line))
    if words[:1] != ["curl"]:
        raise ValueError('a command begins with "curl"')
    given, unknown = _parser.parse_known_args(words[1:])
    if unknown and not ignore_unknown_options:
        raise ValueError(
            f"curl: {' '.join(unknown)} is not understood; leave it out, or set ignore_unknown_options=True"
        )
    url = given.url or given.place
    if not url:
        raise ValueError("curl: there is no URL")
    headers = [*_headers(given)]
    in_headers = "; ".join(value for name, value in headers if name.lower() == "cookie")
    cookies = cookies_in(in_headers) | dict(_cookies(given.cookies))
    if any(one.startswith("@") for one in given.data):
        raise ValueError("curl: a body from a file; read the file, and give body=")
    fields = {
        "url": url if "://" in url else f"http://{url}",
        "method": (given.method or ("POST" if given.data else "GET")).upper(),
        "headers": [(name, value) for name, value in headers if name.lower() != "cookie"],
        "cookies": cookies,
        "body": "&".join(given.data),
    }
    return {name: value for name, value in fields.items() if value}


# $'…' of bash, in which browsers put what has a quote, a line break or a "!"
_ANSI_QUOTED = re.compile(r"(?<=\s)\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "r": "\r", "t": "\t"}


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _LETTERS.get(code, code)


def _headers(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for line in given.headers:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"curl: the header {line[:80]!r} has no colon")
        if name.strip().lower() not in FRAMING:  # which the crawler sets itself
            yield name.strip(), value.strip()
    for name, value in (("User-Agent", given.agent), ("Referer", given.referer)):
        if value is not None:
            yield name, value
    if given.login:
        yield "Authorization", f"Basic {base64.b64encode(given.login.encode()).decode()}"


def _cookies(fields: Iterable[str]) -> Iterator[tuple[str, str]]:
    for field in fields:
        if "=" not in field:
            raise ValueError(f"curl: cookies from the file {field!r}; write them as name=value")
        yield from cookies_in(field).items()
