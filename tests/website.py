"""A generated web for tests: every page, link and item is known, and any of it can be made to misbehave.

The hosts are 127.0.1.1, 127.0.1.2 … on one port. Nothing here knows the crawler: what a `Site` says is the
truth that the crawler is judged by. `webserver.py` serves it.
"""

from __future__ import annotations

import hashlib
import mimetypes
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

HTML = "text/html; charset=utf-8"
ALLOW_ALL = "User-agent: *\nAllow: /\n"


# ---------------------------------------------------------------------------------------------------------
# What is asked, and what is answered


@dataclass(frozen=True)
class Hit:
    """One request, as it arrived. Times are seconds; `time` is the machine's monotonic clock."""

    time: float
    wall: float  # Unix time
    host: str
    path: str  # with the query
    url: str
    number: int  # how often this URL has been asked for, this time included
    concurrent: int  # requests in progress at this host, this one included
    agent: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)
    at_address: int = 0  # requests in progress at this host's address, this one included
    body: str = ""  # each character is a byte (Latin-1), so that the log can be JSON


@dataclass(frozen=True)
class Answer:
    """A response: `body` is sent `times` times, after `delay` seconds."""

    body: bytes = b""
    status: int = 200
    content_type: str = HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    times: int = 1
    missing: int = 0  # bytes at the end that are promised, but not sent
    surplus: bytes = b""  # sent behind what is promised


Handler = Callable[[Hit, Answer], Answer]
"""Changes what a site answers to a request; see `Site.on`."""


def slow(seconds: float) -> Handler:
    """The page, later."""
    return lambda hit, page: replace(page, delay=page.delay + seconds)


def flaky(times: int, status: int = 503, retry_after: str = "") -> Handler:
    """An error the first `times` times, then the page."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    return lambda hit, page: Answer(b"not now", status, headers=headers) if hit.number <= times else page


def truncated(times: int = 1) -> Handler:
    """The first `times` times only half of what Content-Length says, then the page."""
    return lambda hit, page: replace(page, missing=len(page.body) // 2) if hit.number <= times else page


def huge(size: int) -> Handler:
    """A page of `size` bytes, without links."""
    block = b"<p>" + b"x" * 65_533
    return lambda hit, page: Answer(block, times=max(1, size // len(block)))


def redirect(to: str, status: int = 302) -> Handler:
    """Elsewhere: a URL or a path."""
    return lambda hit, page: Answer(status=status, headers={"Location": to})


# ---------------------------------------------------------------------------------------------------------
# Sites


class Website(Protocol):
    """What can be served."""

    hosts: list[str]
    port: int

    def address(self, host: str) -> str:
        """Where a host is served."""

    def answer(self, hit: Hit) -> Answer:
        """The response to a request."""

    @property
    def seeds(self) -> list[str]:
        """Where a crawl may start."""


class Site:
    """Pages 0 … `pages` - 1, spread over the hosts, all reachable from each host's first page.

    The same `seed` gives the same site. `port` is set when it is served. With `names` the hosts are names, all of one
    address: who asks for them needs the lines of `hosts_file`. In a `tree` each page has two children and no other
    links: one link that is lost is never found again. `addresses` are those of the hosts.
    """

    def __init__(
        self,
        pages: int = 200,
        hosts: int = 4,
        seed: int = 1,
        *,
        size: int = 2_000,
        names: bool = False,
        tree: bool = False,
        addresses: str = "127.0.1.{}",
    ) -> None:
        self.pages = pages
        self.hosts = [f"n{number}.example" if names else addresses.format(number) for number in range(1, hosts + 1)]
        self.seed = seed
        self.size = size  # of a page's text, in characters
        self.tree = tree
        self.port = 80
        self.robots = ALLOW_ALL
        self._handlers: defaultdict[str, list[tuple[str, Handler]]] = defaultdict(list)
        self._lengths: list[int] = []  # of the prefixes: many handlers cost no more than one
        self._targets = cache(self._draw_targets)

    def address(self, host: str) -> str:
        """Where a host is served."""
        return "127.0.1.1" if host.endswith(".example") else host

    @property
    def hosts_file(self) -> str:
        """What /etc/hosts must say."""
        return "127.0.0.1 localhost\n" + "".join(f"{self.address(host)} {host}\n" for host in self.hosts)

    def on(self, prefix: str, handler: Handler, host: str = "") -> None:
        """Let `handler` change the answers to paths that begin with `prefix`, on one host or all.

        Of several, those of shorter prefixes come first, then those given first.
        """
        self._handlers[prefix].append((host, handler))
        self._lengths = sorted({*self._lengths, len(prefix)})

    def some(self, share: float, why: str) -> list[int]:
        """About that share of all pages but the seeds, by chance; `why` tells one choice from another."""
        chance = random.Random(f"{self.seed} {why}")
        return [n for n in range(self.pages) if chance.random() < share and n >= len(self.hosts)]

    # --- the truth

    @property
    def seeds(self) -> list[str]:
        """The first page of each host."""
        return [self.url(n) for n in range(min(self.pages, len(self.hosts)))]

    def truth(self) -> set[str]:
        """The URLs of all pages."""
        return {self.url(n) for n in range(self.pages)}

    def host(self, n: int) -> str:
        """The host that page `n` is on."""
        return self.hosts[n % len(self.hosts)]

    def path(self, n: int) -> str:
        """The path of page `n`."""
        return f"/s{n % 7}/p{n}.html"

    def url(self, n: int) -> str:
        """The URL of page `n`."""
        port = "" if self.port == 80 else f":{self.port}"
        return f"http://{self.host(n)}{port}{self.path(n)}"

    def page(self, url: str) -> int | None:
        """The number of the page at that URL; None: there is none."""
        name = urlsplit(url).path.rpartition("/p")[2].removesuffix(".html")
        n = int(name) if name.isdecimal() and name.isascii() else -1
        return n if 0 <= n < self.pages and self.url(n) == url else None

    def links(self, url: str) -> list[str]:
        """The pages that the page links to, in order, each once."""
        return [self.url(target) for target in self._targets(self._number(url))]

    def item(self, url: str) -> dict[str, Any]:
        """What the page says: `url`, `title`, `token` (unlike any other page's, in its text), `links`."""
        n = self._number(url)
        return {"url": url, "title": self._title(n), "token": self.token(n), "links": self.links(url)}

    def token(self, n: int) -> str:
        """A word that stands on page `n` alone."""
        return "token" + hashlib.blake2b(f"{self.seed} {n}".encode(), digest_size=8).hexdigest()

    # --- what is answered

    def answer(self, hit: Hit) -> Answer:
        """The page (or robots.txt, or 404) as the handlers want it."""
        answer = self._plain_answer(hit)
        for length in self._lengths:
            for host, handler in self._handlers.get(hit.path[:length], ()):
                if host in ("", hit.host):
                    answer = handler(hit, answer)
        return answer

    def _plain_answer(self, hit: Hit) -> Answer:
        if hit.path == "/robots.txt":
            return Answer(self.robots.encode(), content_type="text/plain")
        if hit.path.startswith("/images/"):
            return Answer(b"\x89PNG\r\n\x1a\n", content_type="image/png")
        n = self.page(hit.url)
        return Answer(b"<h1>Not here</h1>", status=404) if n is None else Answer(self._html(n).encode())

    def _number(self, url: str) -> int:
        n = self.page(url)
        if n is None:
            raise KeyError(f"no page of this site: {url}")
        return n

    def _title(self, n: int) -> str:
        return f"Page {n} of host {n % len(self.hosts) + 1}"

    def _draw_targets(self, n: int) -> list[int]:
        """5 to 30: four children in a tree, so that every page is reachable, the others by chance."""
        if self.tree:
            return [child for child in (2 * n + 1, 2 * n + 2) if child < self.pages]
        chance = random.Random(f"{self.seed} links {n}")
        first = 4 * n + 1
        targets = dict.fromkeys(child for child in range(first, first + 4) if child < self.pages)
        wanted = min(chance.randint(5, 30), self.pages)
        while len(targets) < wanted:
            targets[chance.randrange(self.pages)] = None
        drawn = list(targets)
        chance.shuffle(drawn)
        return drawn

    def _html(self, n: int) -> str:
        chance = random.Random(f"{self.seed} text {n}")
        links = [f'<li><a href="{self._href(n, to, chance)}">{self._title(to)}</a>' for to in self._targets(n)]
        words = chance.choices(_WORDS, k=self.size // 7)
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{self._title(n)}</title></head>\n"
            f"<body><h1>{self._title(n)}</h1>\n<p>{self.token(n)} {' '.join(words)}</p>\n"
            f'<ul>{chr(10).join(links)}</ul>\n<a href="/images/{n}.png"><img src="/images/{n}.png"></a>\n'
            f'<a href="mailto:me@example.com">write</a> <a href="#top">top</a></body></html>\n'
        )

    def _href(self, n: int, target: int, chance: random.Random) -> str:
        """A link in one of the spellings that pages use."""
        spellings = [self.url(target)]
        if self.host(n) == self.host(target):
            path = self.path(target)
            spellings += [path, f"..{path}", f"{path}#part", f"./..{path}", f"//{self.url(target)[7:]}"]
        return chance.choice(spellings)


_WORDS = [
    "aether",
    "borough",
    "cipher",
    "drumlin",
    "erratic",
    "fathom",
    "gambit",
    "hollow",
    "isthmus",
    "juniper",
]


def expected(
    site: Site, seeds: Iterable[str] = (), hosts: Iterable[str] = (), depth: int | None = None
) -> dict[str, int]:
    """URL → links from a seed, by a breadth-first walk of the graph: what a crawl must fetch, and no more."""
    within = set(hosts) or set(site.hosts)
    found = dict.fromkeys(seeds or site.seeds, 0)
    queue = deque(found)
    while queue:
        url = queue.popleft()
        for link in site.links(url) if depth is None or found[url] < depth else ():
            if link not in found and urlsplit(link).hostname in within:
                found[link] = found[url] + 1
                queue.append(link)
    return found


class Folder:
    """A folder's files; a folder without its slash is redirected, with it its `index.html`."""

    def __init__(self, folder: Path, hosts: int = 1) -> None:
        self.folder = folder.resolve()
        self.hosts = [f"127.0.1.{number}" for number in range(1, hosts + 1)]
        self.port = 80

    def address(self, host: str) -> str:
        """Where a host is served."""
        return host

    @property
    def seeds(self) -> list[str]:
        """The top of each host."""
        port = "" if self.port == 80 else f":{self.port}"
        return [f"http://{host}{port}/" for host in self.hosts]

    def answer(self, hit: Hit) -> Answer:
        """The file, 301 or 404."""
        path = unquote(hit.path.partition("?")[0])
        file = (self.folder / path.lstrip("/")).resolve()
        if file.is_dir():
            if not path.endswith("/"):
                return Answer(status=301, headers={"Location": f"{path}/"})
            file = file / "index.html"
        if not file.is_relative_to(self.folder) or not file.is_file():
            return Answer(b"<h1>Not here</h1>", status=404)
        kind, encoding = mimetypes.guess_type(file.name)
        kind = "application/gzip" if encoding else kind or "application/octet-stream"
        return Answer(file.read_bytes(), content_type=HTML if kind == "text/html" else kind)
