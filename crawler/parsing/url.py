"""URLs as text: the one spelling that is requested, the key that deduplicates it, and a page's links.

Three spellings are kept apart:

- the *canonical* URL is what is requested: parsed and serialised by the WHATWG URL standard, without
  userinfo and fragment, always ASCII;
- the *deduplication key* treats spellings alike that servers treat alike (``%7E`` and ``~``, the order of
  query arguments); it is never requested;
- the *fingerprint* is the key as a 64-bit integer.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from struct import Struct

from ada_url import join_url, normalize_url

from crawler.parsing.charset import clean

MAX_URL_LENGTH = 8_192
"""Longest canonical URL, in characters."""

_MAX_INPUT_LENGTH = 8 * MAX_URL_LENGTH  # not even parsed beyond this: inline data and attacks
_SHOWN_LENGTH = 200


class BadUrl(ValueError):
    """A URL that cannot be requested. Its text names the URL, without userinfo, and the reason."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = _shown(url)
        self.why = why

    def __str__(self) -> str:
        return f"{self.url}: {self.why}"


# ---------------------------------------------------------------------------------------------------------
# One URL


def canonical(url: str, base: str | None = None) -> str:
    """The URL to request: `url`, joined to `base` when given, as the WHATWG URL standard serialises it.

    Only http and https. Userinfo and fragment are removed. The result is ASCII (the host in punycode, the
    rest percent-encoded), has no control character, and always has a path. Raises `BadUrl`.
    """
    if base is None and _is_canonical(url):
        return url
    return _parsed(url, base)


def _parsed(url: str, base: str | None = None) -> str:
    if len(url) > _MAX_INPUT_LENGTH:
        raise BadUrl(url, f"longer than {_MAX_INPUT_LENGTH:,} characters")
    text = clean(url)
    try:
        href = normalize_url(text) if base is None else join_url(base, text)
    except ValueError:
        raise BadUrl(url, _why_invalid(text, base)) from None
    if not href.startswith(("http://", "https://")):
        raise BadUrl(url, _why_not_http(text, href))
    href = _without_userinfo(href.partition("#")[0])
    if '"' in href:  # the standard lets it stand in a host, but there is no such host, and messages quote URLs
        raise BadUrl(url, "a quotation mark in the host name")
    if len(href) > MAX_URL_LENGTH:
        raise BadUrl(url, f"longer than {MAX_URL_LENGTH:,} characters")
    return href


def host_of(url: str) -> str:
    """The host of a canonical URL, without the port; an IPv6 address keeps its brackets."""
    netloc = url.split("/", 3)[2]
    if netloc[0] == "[":
        return netloc[: netloc.index("]") + 1]
    return netloc.partition(":")[0]


def origin_of(url: str) -> str:
    """``scheme://host[:port]`` of a canonical URL."""
    return url[: url.index("/", 8)]


# ---------------------------------------------------------------------------------------------------------
# Deduplication


def dedup_key(url: str) -> str:
    """The spelling under which a canonical URL is remembered; equal for URLs that servers treat alike.

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
    """Percent-encoding as RFC 3986 §6.2.2 has it: hex digits upper-case, unreserved characters bare."""
    return _ESCAPE.sub(_normal_escape, text) if "%" in text else text


_SIGNED_64 = Struct(">q").unpack


def fingerprint(key: str, secret: bytes = b"") -> int:
    """A deduplication key as a signed 64-bit integer: BLAKE2b, keyed with `secret` (at most 64 bytes).

    With a secret nobody outside can build two URLs with one fingerprint and so hide a page.
    """
    hash_ = _keyed(secret).copy()
    hash_.update(key.encode())
    number: int = _SIGNED_64(hash_.digest())[0]
    return number


@lru_cache(maxsize=256)
def _keyed(secret: bytes) -> blake2b:
    return blake2b(digest_size=8, key=secret)  # to copy it is cheaper than to make it


# Not behind a stray "%": decoding "%%41B" would make a new escape, "%AB".
_ESCAPE = re.compile("(?<!%)(?<!%[0-9A-Fa-f])%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _normal_escape(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _name_then_value(argument: str) -> tuple[str, str, str]:
    return argument.partition("=")


# ---------------------------------------------------------------------------------------------------------
# All links of a page


def join_links(base: str, hrefs: Iterable[str], *, limit: int | None = None) -> list[str]:
    """The canonical URLs that `hrefs` of a page at `base` lead to, in first-seen order, each once.

    Equal to `canonical(href, base)` for each; those that raise `BadUrl` are left out. Stops at `limit` URLs.
    Raises `BadUrl` when `base` itself is none.
    """
    base = canonical(base)
    origin, page = origin_of(base), base.partition("?")[0]
    folder = page[: page.rindex("/") + 1]
    upwards: dict[str, str] = {}  # "../../" → that folder
    found: dict[str, None] = {}
    for name, ups, below, path, absolute, odd in _HREFS(_lines(hrefs)):
        if name:
            url = page + name if name[0] == "?" else folder + name
        elif ups:
            url = (upwards.get(ups) or upwards.setdefault(ups, _climb(folder, len(ups) // 3))) + below
        elif path:
            url = origin + path
        elif absolute:
            url = absolute.removesuffix("#")
            url = url if _is_canonical(url) else _parsed_or_empty(absolute, base)
        else:
            url = _parsed_or_empty(odd, base) if odd else base
        if 0 < len(url) <= MAX_URL_LENGTH:
            found[url] = None
            if len(found) == limit:
                break
    return list(found)


def _lines(hrefs: Iterable[str]) -> str:
    """Different links, each on a line, without what stands behind the mark of a fragment.

    A fragment never changes what is requested. Its mark stays: without it white space before it would stand at the
    end, where the standard strips it. Line breaks in a link are stripped by the standard, too.
    """
    different = dict.fromkeys(hrefs)
    text = "\n".join(different)
    if text.count("\n") >= len(different) > 0:
        text = "\n".join([href.replace("\n", "") for href in different])
    if "#" in text:
        text = "\n".join(dict.fromkeys(_FRAGMENT("#", text).split("\n")))
    return f"{text}\n" if different else ""


def _climb(folder: str, steps: int) -> str:
    """The folder so many steps above a canonical URL's; the root has none above it."""
    root = folder.index("/", 8) + 1
    for _ in range(steps):
        if len(folder) > root:
            folder = folder[: folder.rindex("/", 0, -1) + 1]
    return folder


def _parsed_or_empty(href: str, base: str) -> str:
    if href.startswith(_NEVER_FOLLOWED):
        return ""
    try:
        return canonical(href, base)
    except BadUrl:
        return ""


_NEVER_FOLLOWED = ("mailto:", "javascript:", "tel:", "data:")  # `canonical` refuses them, too, and says at length why

_FRAGMENT = re.compile(r"#[^\n]++").sub

# Plain are characters that the standard's path (query) state copies as they are. "%" is copied too, but "%2e" is a
# dot, which may be a dot segment; and a colon may end a scheme.
_BELOW = r"(?!\.)(?:[A-Za-z0-9_~!$&()*+,;=:@.-]++|/(?!\.)|%(?!2[eE]))*+"
_QUERY = r"(?:\?[A-Za-z0-9_~!$&()*+,;=:@/?.%-]*+)?+"
_NAME = r"(?![/.])(?:[A-Za-z0-9_~!$&()*+,;=@.-]++|/(?!\.)|%(?!2[eE]))*+(?:\?[A-Za-z0-9_~!$&()*+,;=@/?.%-]*+)?+"
_PLAIN = re.compile(_BELOW + _QUERY).fullmatch
_HREFS = re.compile(
    rf"""(?:({_NAME})                    # name/name, ?query: behind the folder, behind the page
          |((?:\.\./)++)({_BELOW}{_QUERY})  # ../../name: up as many folders
          |(/(?!/){_BELOW}{_QUERY})      # /path, but not //host: behind the origin
          )\#?\n
       |(https?://[^\n]*+)\n           # as it is, when it is canonical
       |([^\n]*+)\n                     # all else: a case for the parser""",
    re.VERBOSE,
).findall

_MAX_ORIGIN = 300  # characters; a host's name has 253 at most


def _is_canonical(url: str) -> bool:
    """Whether the parser surely leaves an absolute URL as it is: a plain path behind an origin that is canonical."""
    end = url.find("/", 8)
    return (
        8 < end < _MAX_ORIGIN
        and len(url) <= MAX_URL_LENGTH
        and url[-1] != "#"
        and url.startswith(("http://", "https://"))
        and _PLAIN(url, end) is not None
        and _is_origin(url[:end])
    )


# Names of hosts that the standard's parser leaves as they are, punycode apart. One whose last part begins with a digit
# may be an address.
_PLAIN_ORIGIN = re.compile(r"https?://(?:[a-z0-9_-]+\.)*+[a-z][a-z0-9_-]*+").fullmatch


@lru_cache(maxsize=4096)
def _is_origin(text: str) -> bool:
    """Whether the parser leaves ``scheme://host[:port]`` as it is; links of a crawl lead to few origins."""
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
    """A URL for people: userinfo masked, shortened, control characters visible."""
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
    if "." in scheme or scheme == "localhost" or rest[:1].isdigit():
        return f"no scheme; {_proposal(url)}"
    return f"scheme {scheme[:20]!r} is not supported, only http and https are"


def _proposal(url: str) -> str:
    guess = url.strip()
    try:
        return f"write {canonical('https:' + '//' * (not guess.startswith('//')) + guess)}"
    except BadUrl:
        return "write it with https:// in front"
