"""Verdicts on robots.txt as RFC 9309 gives them: a table of our own, for our reader and the one it is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SITE = "https://example.com"


class Case(NamedTuple):
    """May `agent` fetch `path` of a site with this robots.txt?"""

    kind: str
    robots: bytes
    path: str
    agent: str
    allowed: bool


MAX_BYTES = 500 * 1024

# kind → (rules that hold for everybody, path, allowed)
_RULES: dict[str, list[tuple[str, str, bool]]] = {
    "no rule matches: allowed": [
        ("", "/", True),
        ("Disallow:", "/x", True),
        ("Disallow: ", "/", True),
        ("Disallow: /x", "/", True),
        ("Disallow: /x", "/y", True),
        ("Disallow: x", "/x", True),
        ("Disallow: $", "/", True),
        ("Disallow: ?x", "/?x", True),
        ("Disallow: https://example.com/x", "/x", True),
        ("Allow: /x", "/y", True),
        ("Allow:", "/y", True),
    ],
    "a pattern is the beginning of a path": [
        ("Disallow: /", "/", False),
        ("Disallow: /", "/x/y?z", False),
        ("Disallow: /x", "/x", False),
        ("Disallow: /x", "/xy", False),
        ("Disallow: /x", "/x.html", False),
        ("Disallow: /x", "/x/y", False),
        ("Disallow: /x", "/x?y", False),
        ("Disallow: /x", "/x;y", False),
        ("Disallow: /x", "/y/x", True),
        ("Disallow: /x/", "/x", True),
        ("Disallow: /x/", "/x/", False),
        ("Disallow: /x/", "/x/y", False),
        ("Disallow: /x//y", "/x/y", True),
        ("Disallow: /x?", "/x", True),
        ("Disallow: /x?", "/x?", False),
        ("Disallow: /x?y", "/x?yz", False),
        ("Disallow: /x?y", "/x?z&y", True),
        ("Disallow: /x?y", "/x", True),
        ("Disallow: /x;y", "/x", True),
        ("Disallow: //", "//x", False),
    ],
    "case counts in paths": [
        ("Disallow: /X", "/x", True),
        ("Disallow: /x", "/X", True),
        ("Disallow: /x?Y", "/x?y", True),
        ("DISALLOW: /x", "/x", False),
        ("dIsAlLoW: /x\naLLow: /xy", "/xy", True),
    ],
    "the longest match wins": [
        ("Allow: /x/y\nDisallow: /x", "/x/y", True),
        ("Disallow: /x\nAllow: /x/y", "/x/y", True),
        ("Allow: /x\nDisallow: /x/y", "/x/y", False),
        ("Disallow: /x/y\nAllow: /x", "/x/z", True),
        ("Allow: /p\nDisallow: /", "/page", True),
        ("Allow: /p\nDisallow: /", "/x", False),
        ("Disallow: /a\nAllow: /a/b\nDisallow: /a/b/c\nAllow: /a/b/c/d", "/a/b/c/d/e", True),
        ("Disallow: /a\nAllow: /a/b\nDisallow: /a/b/c\nAllow: /a/b/c/d", "/a/b/c/e", False),
        ("Allow: /example/page/\nDisallow: /example/page/disallowed.gif", "/example/page/", True),
        ("Allow: /example/page/\nDisallow: /example/page/disallowed.gif", "/example/page/disallowed.gif", False),
        ("Disallow: /\nAllow: /index.html", "/", False),
        ("Disallow: /\nAllow: /index.html", "/index.html", True),
        ("Disallow: /x\nAllow: /x/index.htm", "/x/", False),
    ],
    "of equally long ones Allow wins": [
        ("Disallow: /x\nAllow: /x", "/x", True),
        ("Allow: /x\nDisallow: /x", "/x", True),
        ("Allow: /\nDisallow: /", "/x", True),
        ("Disallow: /*x\nAllow: /ax", "/ax", True),
        ("Disallow: /ax\nAllow: /*x", "/ax", True),
        ("Disallow: /a*\nAllow: /*b", "/ab", True),
        ("Disallow: /x$\nAllow: /*x", "/x", True),
        ("Disallow: /é\nAllow: /%C3%A9", "/%C3%A9", True),
    ],
    "length of patterns with stars": [
        ("Allow: /page\nDisallow: /*.htm", "/page.htm", False),
        ("Allow: /page\nDisallow: /*.ht", "/page.htm", True),
        ("Allow: /page\nDisallow: /*.h", "/page.htm", True),
        ("Allow: /$\nDisallow: /", "/", True),
        ("Allow: /$\nDisallow: /", "/x", False),
        ("Disallow: /*xy\nAllow: /ax", "/axy", False),
        ("Disallow: /*\nAllow: /a", "/ab", True),
        ("Disallow: /*/b\nAllow: /a/", "/a/b", False),
        ("Allow: /folder\nDisallow: /folder*page", "/folder/x/page", False),
    ],
    "* is any sequence": [
        ("Disallow: *", "/", False),
        ("Disallow: *", "/x?y", False),
        ("Disallow: *x", "/abx", False),
        ("Disallow: *.php", "/a.php5", False),
        ("Disallow: */x/", "/a/x/b", False),
        ("Disallow: /*.php", "/a/b.php?c", False),
        ("Disallow: /*.php", "/a.html", True),
        ("Disallow: /*.php", "/.php", False),
        ("Disallow: /*.php", "/windows.PHP", True),
        ("Disallow: /a*b", "/ab", False),
        ("Disallow: /a*b", "/a/x/b/c", False),
        ("Disallow: /a*b*c", "/a-b-c-d", False),
        ("Disallow: /a*b*c", "/a-c-b", True),
        ("Disallow: /a**b", "/a-b", False),
        ("Disallow: /x*", "/x", False),
        ("Disallow: /x*", "/y", True),
        ("Disallow: /fish*.php", "/fishheads/catfish.php?parameters", False),
        ("Disallow: /fish*.php", "/Fish.PHP", True),
        ("Disallow: /*?", "/x?y", False),
        ("Disallow: /*?", "/x", True),
        ("Disallow: /*?*sort=", "/x?page=1&sort=up", False),
        ("Disallow: /*?*sort=", "/sort=?page=1", True),
        ("Disallow: /*aab", "/aaab", False),
        ("Disallow: /*abab*ab", "/ababab", False),
        ("Disallow: /*abab*abab", "/ababab", True),
    ],
    "a final $ is the end": [
        ("Disallow: /x$", "/x", False),
        ("Disallow: /x$", "/xy", True),
        ("Disallow: /x$", "/x/", True),
        ("Disallow: /x$", "/x?y", True),
        ("Disallow: /*.php$", "/a.php", False),
        ("Disallow: /*.php$", "/a.php?x", True),
        ("Disallow: /*.php$", "/a.php/", True),
        ("Disallow: /*.php$", "/a.php.php", False),
        ("Disallow: /a*b$", "/ab-", True),
        ("Disallow: /a*ba$", "/aba", False),
        ("Disallow: /aba*ba$", "/aba", True),
        ("Disallow: /x*$", "/xyz", False),
        ("Disallow: *$", "/x", False),
        ("Disallow: /$", "/", False),
        ("Disallow: /$", "/?x", True),
    ],
    "another $ is a character": [
        ("Disallow: /a$b", "/a$b", False),
        ("Disallow: /a$b", "/a", True),
        ("Disallow: /a$*b", "/a$b", False),
        ("Disallow: /a$$", "/a$", False),
        ("Disallow: /a$$", "/a", True),
        ("Disallow: /foo-%24", "/foo-$", False),
        ("Disallow: /foo-%24", "/foo-", True),
    ],
    "one spelling for both": [
        ("Disallow: /foo/bar?baz=quz", "/foo/bar?baz=quz", False),
        ("Disallow: /foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar", False),
        ("Disallow: /foo/bar?baz=https%3a%2f%2ffoo.bar", "/foo/bar?baz=https://foo.bar", False),
        ("Disallow: /foo/bar/ツ", "/foo/bar/%E3%83%84", False),
        ("Disallow: /foo/bar/ツ", "/foo/bar/ツ", False),
        ("Disallow: /foo/bar/%E3%83%84", "/foo/bar/%e3%83%84", False),
        ("Disallow: /foo/bar/%e3%83%84", "/foo/bar/%E3%83%84", False),
        ("Disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", False),
        ("Disallow: /foo/bar/baz", "/foo/bar/%62%61%7A", False),
        ("Disallow: /%7Ejoe/", "/~joe/index.html", False),
        ("Disallow: /~joe/", "/%7ejoe/index.html", False),
        ("Disallow: /a%3cd.html", "/a%3Cd.html", False),
        ("Disallow: /à", "/%C3%A0x", False),
        ("Disallow: /a b", "/a%20b", False),
        ("Disallow: /a%20b", "/a b", False),
        ("Disallow: /a|b", "/a|b", False),
        ("Disallow: /*ツ$", "/a%E3%83%84", False),
        ("Disallow: /*%c3%a9*", "/caf%C3%A9/x", False),
    ],
    "what is encoded stays different": [
        ("Disallow: /a%2Fb", "/a/b", True),
        ("Disallow: /a%2Fb", "/a%2fb", False),
        ("Disallow: /a/b", "/a%2Fb", True),
        ("Disallow: /a%3Fb", "/a?b", True),
        ("Disallow: /a?b", "/a%3Fb", True),
        ("Disallow: /a%23b", "/a", True),
        ("Disallow: /file-with-a-%2A.html", "/file-with-a-*.html", False),
        ("Disallow: /file-with-a-%2A.html", "/file-with-a-b.html", True),
        ("Disallow: /%", "/%", False),
        ("Disallow: /%zz", "/%zz", False),
        ("Disallow: /a%2541", "/aA", True),
    ],
    "robots.txt itself": [
        ("Disallow: /", "/robots.txt", True),
        ("Disallow: /robots.txt", "/robots.txt", True),
        ("Disallow: /", "/robots.txt?x", True),
        ("Disallow: /", "/robots.txt2", False),
        ("Disallow: /", "/x/robots.txt", False),
    ],
    "lines that are no rules": [
        ("Unknown: y\nDisallow: /x", "/x", False),
        ("Sitemap: https://example.com/s\nDisallow: /x", "/x", False),
        ("Noindex: /x", "/x", True),
        ("Host: example.com\nClean-param: a /x\nDisallow: /x", "/x", False),
        ("Crawl-delay: 5\nDisallow: /x", "/x", False),
        ("Request-rate: 1/5\nDisallow: /x", "/x", False),
        ("# Disallow: /x", "/x", True),
        ("Disallow: /x # /xy", "/xz", False),
        ("Disallow: /x#y", "/x", False),
        ("Disallow: # /x", "/x", True),
        ("Disallow /x", "/x", False),
        ("Dissallow: /x", "/x", False),
        ("Disallow:/x", "/x", False),
        ("Disallow : /x", "/x", False),
        (" \tDisallow:\t /x \t", "/x", False),
        ("\n\n\nDisallow: /x", "/x", False),
        (": /x\nDisallow: /y", "/y", False),
        ("Disallow: /a: b", "/a:%20b", False),
    ],
}

# kind → (the whole robots.txt, agent, whether /x is allowed)
_GROUPS: dict[str, list[tuple[str, str, bool]]] = {
    "agents are compared without case": [
        ("User-agent: bot\nDisallow: /", "bot", False),
        ("User-agent: BOT\nDisallow: /", "Bot", False),
        ("user-agent: bOt\ndisallow: /", "BOT", False),
    ],
    "only the product token of an agent counts": [
        ("User-agent: bot\nDisallow: /", "bot/1.0 (+https://example.com/bot)", False),
        ("User-agent: bot/2.0\nDisallow: /", "bot/1.0", False),
        ("User-agent: bot extra\nDisallow: /", "bot", False),
        ("User-agent: Bot_x-y\nDisallow: /", "bot_x-y/3", False),
        ("User-agent: bot*\nDisallow: /", "bot", False),
    ],
    "it is compared as a whole": [
        ("User-agent: bot\nDisallow: /", "botany", True),
        ("User-agent: botany\nDisallow: /", "bot", True),
        ("User-agent: bot\nDisallow: /", "bot-news", True),
        ("User-agent: bot-news\nDisallow: /", "bot", True),
        ("User-agent: bot\nDisallow: /", "my-bot", True),
        ("User-agent: my-bot\nDisallow: /", "bot", True),
        ("User-agent: b\nDisallow: /", "bot", True),
        ("User-agent: bot*\nDisallow: /", "botany", True),
        ("User-agent: *bot\nDisallow: /", "my-bot", True),
        ("User-agent: bot\nDisallow: /", "Mozilla/5.0 (compatible; bot/1.0)", True),
        ("User-agent:\nDisallow: /", "bot", True),
        ("User-agent: bot\nDisallow:\nUser-agent: bot-news\nDisallow: /", "bot-news", False),
        ("User-agent: bot-news\nDisallow: /\nUser-agent: bot\nDisallow:", "bot", True),
    ],
    "* is for those that no group names": [
        ("User-agent: *\nDisallow: /", "bot", False),
        ("User-agent: * # all\nDisallow: /", "bot", False),
        ("User-agent: *\nDisallow: /\nUser-agent: bot\nAllow: /", "bot", True),
        ("User-agent: bot\nDisallow:\nUser-agent: *\nDisallow: /", "bot", True),
        ("User-agent: bot\nDisallow:\nUser-agent: *\nDisallow: /", "other", False),
        ("User-agent: *\nDisallow: /x\nUser-agent: bot", "bot", True),
        ("User-agent: *\nDisallow: /x\nUser-agent: bot\nDisallow: /y", "bot", True),
        ("User-agent: *\nDisallow: /x\nUser-agent: bot\nCrawl-delay: 1", "bot", True),
        ("User-agent: other\nDisallow: /", "bot", True),
        ("User-agent: *\nDisallow: /", "", False),
        ("User-agent: *\nDisallow: /", "*", False),
    ],
    "groups of one agent are one group": [
        ("User-agent: bot\nDisallow: /a\nUser-agent: y\nDisallow: /b\nUser-agent: bot\nDisallow: /x", "bot", False),
        ("User-agent: bot\nDisallow: /x\nUser-agent: y\nDisallow: /b\nUser-agent: bot\nDisallow: /a", "bot", False),
        ("User-agent: bot\nDisallow: /x\nUser-agent: bot\nAllow: /x", "bot", True),
        ("User-agent: bot\nAllow: /\nUser-agent: BOT/2\nDisallow: /x", "bot", False),
        ("User-agent: *\nDisallow: /a\nUser-agent: *\nDisallow: /x", "bot", False),
        ("User-agent: bot\nUser-agent: bot\nDisallow: /x", "bot", False),
    ],
    "several agents of one group": [
        ("User-agent: a\nUser-agent: bot\nDisallow: /x", "bot", False),
        ("User-agent: a\n\n# b\nUser-agent: bot\n\nDisallow: /x", "a", False),
        ("User-agent: a\nUser-agent: *\nDisallow: /x", "bot", False),
        ("User-agent: a\nDisallow: /\nUser-agent: bot\nAllow: /", "bot", True),
        ("User-agent: a\nDisallow:\nUser-agent: bot\nDisallow: /", "a", True),
        ("User-agent: a\nUser-agent: bot\nDisallow: /x\nUser-agent: bot\nAllow: /x", "a", False),
        ("User-agent: a\nUser-agent: bot\nDisallow: /x\nUser-agent: bot\nAllow: /x", "bot", True),
    ],
    "where a group begins and ends": [
        ("User-agent: bot\nSitemap: https://example.com/s\nDisallow: /x", "bot", False),
        ("User-agent: a\nSitemap: /s\nUser-agent: bot\nDisallow: /x", "a", False),
        ("User-agent: a\nCrawl-delay: 3\nUser-agent: bot\nDisallow: /x", "a", False),
        ("User-agent: a\nUnknown: 3\nUser-agent: bot\nDisallow: /x", "a", False),
        ("User-agent: a\nDisallow:\nUser-agent: bot\nDisallow: /x", "a", True),
        ("User-agent: bot\nUnknown: y\nDisallow: /x", "bot", False),
        ("User-agent: bot\n\n\nDisallow: /x", "bot", False),
        ("User-agent: bot\nDisallow: /a\n\nDisallow: /x", "bot", False),
        ("User-agent: bot\nDisallow: /a\nSitemap: /s\nCrawl-delay: 2\nDisallow: /x", "bot", False),
        ("Disallow: /x\nUser-agent: bot", "bot", True),
        ("Disallow: /x\nUser-agent: *\nDisallow: /y", "bot", True),
    ],
}

# the whole file, /x disallowed and /y not
_BYTES: list[bytes] = [
    b"User-agent: *\nDisallow: /x",
    b"User-agent: *\r\nDisallow: /x\r\n",
    b"User-agent: *\rDisallow: /x\r",
    b"User-agent: *\n\rDisallow: /x\n\r",
    b"\xef\xbb\xbfUser-agent: *\nDisallow: /x",
    b"\xef\xbb\xbf# first\nUser-agent: *\nDisallow: /x",
    b"USER-AGENT:*\nDISALLOW:/x",
    b"  User-agent :\t*  \n\t Disallow  : /x \t",
    b"User-agent: * # all\nDisallow: /x # that",
    b"# first\n\nUser-agent: *\n#\n\n\nDisallow: /x#y",
    b"User-agent *\nDisallow /x",
    b"useragent: *\ndisalow: /x",
    b"\xff\xfe\nUser-agent: *\n\xff: \xff\nDisallow: /x",
    b"<html>\nUser-agent: *\nDisallow: /x",
    b"\0\nUser-agent: *\nDisallow: /x\n\0",
    b"User-agent: *\nDisallow: /x\n" + b"#" * 100 + b"\n" * 100,
]

_HEAD = b"User-agent: *\nDisallow: /x\n"
_CUT = _HEAD + b"#" * (MAX_BYTES - len(_HEAD) - 11) + b"\nDisallow: /yyyyyyy\nDisallow: /z\n"

_OTHERS: list[tuple[str, bytes, str, bool]] = [
    ("line ends", "User-agent: *\nDisallow: /a\u2028Disallow: /b".encode(), "/b", True),
    ("line ends", b"User-agent: *\nDisallow: /a\x0cDisallow: /c", "/c", True),
    ("line ends", b"User-agent: *\nDisallow: /a\xc2\x85Disallow: /b", "/b", True),
    ("octets that are not UTF-8", "User-agent: *\nDisallow: /é".encode("latin-1"), "/%E9", False),
    ("octets that are not UTF-8", "User-agent: *\nDisallow: /é".encode("latin-1"), "/%C3%A9", True),
    ("octets that are not UTF-8", b"User-agent: *\nDisallow: /\xff*\xfe$", "/%FF/%fe", False),
    ("500 KiB, cut at a line", _CUT, "/x", False),
    ("500 KiB, cut at a line", _CUT, "/yyyyyyy", True),
    ("500 KiB, cut at a line", _CUT, "/", True),  # "Disallow: /" of the cut line is no rule
    ("500 KiB, cut at a line", _CUT, "/z", True),
    ("500 KiB, cut at a line", b"#" * MAX_BYTES + b"\n" + _HEAD, "/x", True),
    ("500 KiB, cut at a line", b"#" * (MAX_BYTES - len(_HEAD) - 1) + b"\n" + _HEAD, "/x", False),
]


def _cases() -> Iterator[Case]:
    for kind, rules in _RULES.items():
        for text, path, allowed in rules:
            yield Case(kind, f"User-agent: *\n{text}".encode(), path, "bot", allowed)
    for kind, groups in _GROUPS.items():
        for text, agent, allowed in groups:
            yield Case(kind, text.encode(), "/x", agent, allowed)
    for body in _BYTES:
        yield Case("lines are read with patience", body, "/x", "bot", False)
        yield Case("lines are read with patience", body, "/y", "bot", True)
    for kind, body, path, allowed in _OTHERS:
        yield Case(kind, body, path, "bot", allowed)


VERDICTS = tuple(_cases())
