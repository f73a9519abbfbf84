"""URLs as text: the spelling that is requested, the key that deduplicates it, and a page's links.

A URL has three forms:

- the *canonical* URL is requested: parsed and serialised by the WHATWG URL standard, without userinfo and
  fragment, always ASCII;
- the *deduplication key* is the same for spellings that servers treat alike (``%7E`` and ``~``, the order of
  query arguments); it is never requested;
- the *fingerprint* is the key as a 64-bit integer.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct

from ada_url import join_url, normalize_url

from crawler.parsing.charset import clean, percent_encoded
from crawler.parsing.limits import Cut, untold

MAX_URL_LENGTH = 8_192
"""Longest canonical URL, in characters."""

_MAX_INPUT_LENGTH = 8 * MAX_URL_LENGTH  # longer ones, inline data and attacks, are not parsed
_SHOWN_LENGTH = 200


class BadUrl(ValueError):
    """A URL that cannot be requested. Its text names the URL, without userinfo, and the reason."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = _shown(url)
        self.why = why

    def __str__(self) -> str:
        return f"{self.url}: {self.why}"


class LongUrl(BadUrl):
    """A URL that is longer than `MAX_URL_LENGTH`."""


# ---------------------------------------------------------------------------------------------------------
# One URL


def canonical(url: str, base: str | None = None, encoding: str = "utf-8") -> str:
    """The URL to request: `url`, joined to `base` if given, as the WHATWG URL standard serialises it.

    Only http and https are accepted. Userinfo and fragment are removed. The query is encoded in `encoding`, that of the
    page with the link; the rest always in UTF-8. The result is ASCII (the host in punycode, the rest percent-encoded),
    has no control character, and always has a path. Raises `BadUrl`.
    """
    if base is None and _is_canonical(url):
        return url
    return _parsed(url if encoding == "utf-8" else query_in(encoding, url), base)


def _parsed(url: str, base: str | None = None) -> str:
    if len(url) > _MAX_INPUT_LENGTH:
        raise LongUrl(url, f"longer than {_MAX_INPUT_LENGTH:,} characters")
    text = clean(url)
    try:
        href = normalize_url(text) if base is None else join_url(base, text)
    except ValueError:
        raise BadUrl(url, _why_invalid(text, base)) from None
    if not href.startswith(("http://", "https://")):
        raise BadUrl(url, _why_not_http(text, href))
    href = _without_userinfo(href.partition("#")[0])
    if '"' in href:  # the standard allows it in a host, but no such host exists, and messages quote URLs
        raise BadUrl(url, "a quotation mark in the host name")
    if len(href) > MAX_URL_LENGTH:
        raise LongUrl(url, f"longer than {MAX_URL_LENGTH:,} characters")
    return href


def query_in(encoding: str, url: str) -> str:
    """A URL as it is written in a page, with the letters of its query as bytes of the page's encoding."""
    path, mark, query = url.partition("?")
    if url.isascii() or "#" in path:
        return url
    query, hash_, fragment = query.partition("#")
    return f"{path}{mark}{percent_encoded(query, encoding)}{hash_}{fragment}"


def host_of(url: str) -> str:
    """The host of a canonical URL, without the port; an IPv6 address keeps its brackets."""
    netloc = url.split("/", 3)[2]
    if netloc[0] == "[":
        return netloc[: netloc.index("]") + 1]
    return netloc.partition(":")[0]


def address_in(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the host of a canonical URL is; None if it is a name. An address is in brackets, or ends in a
    digit, as few names do (WHATWG URL, "ends in a number")."""
    if not host.startswith("[") and not host[-1:].isdigit():
        return None
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def origin_of(url: str) -> str:
    """``scheme://host[:port]`` of a canonical URL."""
    return url[: url.index("/", 8)]


# ---------------------------------------------------------------------------------------------------------
# Deduplication


def dedup_key(url: str) -> str:
    """The deduplication key of a canonical URL, equal for URLs that servers treat alike.

    Percent-encoding is normalised, query arguments are sorted by name, then value; empty arguments and an
    empty query are dropped.
    """
    url = normal_escapes(url)
    path, mark, query = url.partition("?")
    if not mark:
        return url
    arguments = sorted(filter(None, query.split("&")), key=_name_then_value)
    return f"{path}?{'&'.join(arguments)}" if arguments else path


def normal_escapes(text: str) -> str:
    """Normalise percent-encoding (RFC 3986 §6.2.2): hex digits in upper case, unreserved characters unencoded."""
    return _ESCAPE.sub(_normal_escape, text) if "%" in text else text


_SIGNED_64 = Struct(">q").unpack


def fingerprint(key: str, secret: bytes = b"") -> int:
    """A deduplication key as a signed 64-bit integer: BLAKE2b, keyed with `secret` (at most 64 bytes).

    The secret keeps an outsider from building two URLs with one fingerprint, which would hide a page.
    """
    hash_ = _keyed(secret).copy()
    hash_.update(key.encode())
    number: int = _SIGNED_64(hash_.digest())[0]
    return number


@lru_cache(maxsize=256)
def _keyed(secret: bytes) -> blake2b:
    return blake2b(digest_size=8, key=secret)  # copying it is cheaper than creating it


# Not after a stray "%": decoding "%%41B" would make a new escape, "%AB".
_ESCAPE = re.compile("(?<!%)(?<!%[0-9A-Fa-f])%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _normal_escape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _name_then_value(argument: str) -> tuple[str, str, str]:
    return argument.partition("=")


# ---------------------------------------------------------------------------------------------------------
# All links of a page


def join_links(
    base: str, hrefs: Iterable[str], *, limit: int | None = None, encoding: str = "utf-8", cut: Cut = untold
) -> list[str]:
    """The canonical URLs that `hrefs` of the page at `base` lead to, in first-seen order, each once.

    Each equals `canonical(href, base, encoding)`; an href for which that raises `BadUrl` is left out, and told to `cut`
    if it is too long. Stops at `limit` URLs. Raises `BadUrl` if `base` is invalid.
    """
    if encoding != "utf-8":
        hrefs = (query_in(encoding, href) for href in hrefs)
    base = canonical(base)
    origin, page = origin_of(base), base.partition("?")[0]
    folder = page[: page.rindex("/") + 1]
    lines = _lines(hrefs)
    may_be_long = len(base) + len(lines) > MAX_URL_LENGTH
    upwards: dict[str, str] = {}  # "../../" → that folder
    found: dict[str, None] = {}
    for name, ups, below, path, other, its_path, odd in _HREFS(lines):
        if name:
            url = page + name if name[0] == "?" else folder + name
        elif path:
            url = origin + path
        elif other:
            url = other + its_path if _is_origin(other) else fetchable(other + its_path, base, cut)
        elif ups:
            url = (upwards.get(ups) or upwards.setdefault(ups, _climb(folder, len(ups) // 3))) + below
        else:
            url = fetchable(odd, base, cut) if odd else base
        if may_be_long and len(url) > MAX_URL_LENGTH:
            cut("long_urls", _LONG)
        elif url:
            found[url] = None
            if limit and len(found) == limit:
                break
    return list(found)


def _lines(hrefs: Iterable[str]) -> str:
    """The distinct links, one per line, each cut after the "#" of its fragment.

    A fragment never changes what is requested. The "#" stays: without it, white space before it would be at the end,
    where the standard strips it. Line breaks within a link are removed, as the standard does.
    """
    different = dict.fromkeys(hrefs)
    text = "\n".join(different)
    if text.count("\n") >= len(different) > 0:
        text = "\n".join([href.replace("\n", "") for href in different])
    if "#" in text:
        text = "\n".join(dict.fromkeys(_FRAGMENT("#", text).split("\n")))
    return f"{text}\n" if different else ""


def _climb(folder: str, steps: int) -> str:
    """The folder `steps` levels above `folder`; the root is above itself."""
    root = folder.index("/", 8) + 1
    for _ in range(steps):
        if len(folder) > root:
            folder = folder[: folder.rindex("/", 0, -1) + 1]
    return folder


def fetchable(href: str, base: str | None = None, cut: Cut = untold) -> str:
    """The canonical URL; empty if nobody can fetch it, such as one with a malformed host. `cut` is called with one that
    is too long."""
    if href.startswith(_NEVER_FOLLOWED):
        return ""
    try:
        return canonical(href, base)
    except LongUrl:
        cut("long_urls", _LONG)
        return ""
    except BadUrl:
        return ""


_LONG = f"URLs longer than {MAX_URL_LENGTH:,} characters are not followed"
_NEVER_FOLLOWED = ("mailto:", "javascript:", "tel:", "data:")  # `canonical` would refuse them, more slowly

_FRAGMENT = re.compile(r"#[^\n]++").sub

# The characters that the standard's path and query states copy unchanged. Exceptions: "%2e" is a dot and may make a dot
# segment, and a colon may end a scheme.
_BELOW = r"(?!\.)(?:[A-Za-z0-9_~!$&()*+,;=:@.-]++|/(?!\.)|%(?!2[eE]))*+"
_QUERY = r"(?:\?[A-Za-z0-9_~!$&()*+,;=:@/?.%-]*+)?+"
_NAME = r"(?![/.])(?:[A-Za-z0-9_~!$&()*+,;=@.-]++|/(?!\.)|%(?!2[eE]))*+(?:\?[A-Za-z0-9_~!$&()*+,;=@/?.%-]*+)?+"
_PLAIN = re.compile(_BELOW + _QUERY).fullmatch
_HREFS = re.compile(
    rf"""(?:({_NAME})                    # name/name: after the folder; ?query: after the page
          |((?:\.\./)++)({_BELOW}{_QUERY})  # ../../name: up as many folders
          |(/(?!/){_BELOW}{_QUERY})      # /path, but not //host: after the origin
          |(https?://[a-z0-9_.:-]{{1,280}}+)(/{_BELOW}{_QUERY})  # unchanged if the origin is canonical
          )\#?\n
       |([^\n]*+)\n                     # all else goes to the parser""",
    re.VERBOSE,
).findall

_MAX_ORIGIN = 300  # characters; a host name has at most 253


def _is_canonical(url: str) -> bool:
    """Whether a quick test shows that the parser leaves an absolute URL unchanged: a canonical origin, a plain path."""
    end = url.find("/", 8)
    return (
        8 < end < _MAX_ORIGIN
        and len(url) <= MAX_URL_LENGTH
        and url[-1] != "#"
        and url.startswith(("http://", "https://"))
        and _PLAIN(url, end) is not None
        and _is_origin(url[:end])
    )


# Host names that the standard's parser leaves unchanged, except punycode. A name whose last label begins with a digit
# may be an address.
_PLAIN_ORIGIN = re.compile(r"https?://(?:[a-z0-9_-]+\.)*+[a-z][a-z0-9_-]*+").fullmatch


@lru_cache(maxsize=4096)
def _is_origin(text: str) -> bool:
    """Whether the parser leaves ``scheme://host[:port]`` unchanged. Cached: a crawl's links lead to few origins."""
    if _PLAIN_ORIGIN(text) and "xn--" not in text:
        return True
    try:
        return _parsed(f"{text}/") == f"{text}/"
    except BadUrl:
        return False


# ---------------------------------------------------------------------------------------------------------
# Parts


def _without_userinfo(href: str) -> str:
    start = href.index("//") + 2
    at = href.rfind("@", start, href.index("/", start))
    return href if at < 0 else href[:start] + href[at + 1 :]


_SECRET = re.compile(r"^(\s*(?:https?:[/\\]*|[a-z][a-z0-9+.-]*://|//)?)[^/\\?#]*@", re.IGNORECASE)


def _shown(url: str) -> str:
    """A URL for messages: userinfo masked, shortened, control characters escaped."""
    url = _SECRET.sub(r"\1…@", url[: 2 * _SHOWN_LENGTH])
    return repr(url if len(url) <= _SHOWN_LENGTH else url[:_SHOWN_LENGTH] + "…")


def _why_invalid(url: str, base: str | None) -> str:
    if base is not None:
        return "not a valid URL"
    if not url.strip():
        return "an empty URL"
    if re.match(r"\s*[a-z][a-z0-9+.-]*:", url, re.IGNORECASE):
        return "not a valid URL"
    return f"no scheme; {_proposal(url)}"


def _why_not_http(url: str, href: str) -> str:
    scheme, _, rest = href.partition(":")
    is_port = rest[:1].isdigit() and f"{scheme}:" not in _NEVER_FOLLOWED
    if "." in scheme or scheme == "localhost" or is_port:
        return f"no scheme; {_proposal(url)}"
    return f"scheme {scheme[:20]!r} is not supported, only http and https are"


_QUOTES = "\"'`<>“”‘’«»"  # around a URL in a text


def _proposal(url: str) -> str:
    guess = url.strip().strip(_QUOTES)
    try:
        if guess.lower().startswith(("http://", "https://")):
            return f"write {canonical(guess)}"
        return f"write {canonical('https:' + '//' * (not guess.startswith('//')) + guess)}"
    except BadUrl:
        return "write it with https:// in front"
