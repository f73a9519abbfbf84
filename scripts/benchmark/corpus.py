"""The sites to crawl: files on disk, and the pages that a crawl must fetch, found without the crawler."""

from __future__ import annotations

import json
import random
import re
from collections import deque
from collections.abc import Container, Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

PAGES = (".html", "/")
"""The path endings of the links to follow, shared by every contender and the walk that checks them."""

_SECTIONS = 40
_WORDS = [
    "anchor",
    "basin",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "gravel",
    "harbor",
    "island",
    "juniper",
    "kernel",
    "lantern",
    "meadow",
    "nectar",
    "orchard",
    "pebble",
    "quarry",
    "ridge",
    "saddle",
    "timber",
    "upland",
    "valley",
    "willow",
    "yonder",
    "zephyr",
]


@dataclass(frozen=True)
class Corpus:
    """Sites to crawl. `roots`: host → folder served. `pages`: exactly the URLs that a crawl must fetch."""

    name: str
    port: int
    roots: dict[str, Path]
    seeds: tuple[str, ...]
    pages: frozenset[str]
    bytes: int
    links: int


# ---------------------------------------------------------------------------------------------------------
# A generated site


def generated(
    folder: Path, *, pages: int = 20_000, hosts: int = 16, port: int = 18_080, seed: int = 1, scheme: str = "http"
) -> Corpus:
    """Write, once, pages of about 10 KB with 20 to 50 links, one in seven of them to another host."""
    site = _Site(pages, hosts, port, seed, scheme)
    folder = folder / f"generated-{pages}-{hosts}-{port}-{seed}{_of(scheme)}"
    roots = {host: folder / host for host in site.hosts}
    if not (folder / "complete").exists():
        for host, root in roots.items():
            for section in range(_SECTIONS):
                (root / f"section-{section}").mkdir(parents=True, exist_ok=True)
            (root / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
            (root / "index.html").write_text(site.html(site.hosts.index(host)))
        for n in range(hosts, pages):
            (roots[site.host(n)] / site.path(n)[1:]).write_text(site.html(n))
        (folder / "complete").touch()
    return _walked("generated", folder, port, roots, scheme)


class _Site:
    """Names and contents of the pages of a generated site. The same arguments give the same site."""

    def __init__(self, pages: int, hosts: int, port: int, seed: int, scheme: str) -> None:
        self.pages = pages
        self.hosts = [f"127.0.2.{number}" for number in range(1, hosts + 1)]
        self.port = port
        self.seed = seed
        self.scheme = scheme

    def host(self, n: int) -> str:
        return self.hosts[n % len(self.hosts)]

    def path(self, n: int) -> str:
        if n < len(self.hosts):
            return "/"
        return f"/section-{n % _SECTIONS}/{_WORDS[n % 25]}-{_WORDS[n // 25 % 25]}-{n}.html"

    def html(self, n: int) -> str:
        chance = random.Random(f"{self.seed} {n}")
        title = f"Page {n}: {' '.join(chance.choices(_WORDS, k=5))}"
        links = [f'<li class="entry"><a href="{href}">{label}</a></li>' for href, label in self._links(n, chance)]
        text = [f"<p>{' '.join(chance.choices(_WORDS, k=70))}.</p>" for _ in range(14)]
        for at, link in enumerate(links):
            text[at % len(text)] += f"\n<ul>{link}</ul>" if at % 3 == 0 else f"\n{link}"
        body = "\n".join(text)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
            f'<meta name="description" content="{title}">\n<link rel="stylesheet" href="/style.css"></head>\n'
            f'<body>\n<nav><a href="/">Home</a> <a href="#content">Skip</a></nav>\n<main id="content">\n'
            f"<h1>{title}</h1>\n{body}\n</main>\n"
            f'<footer><a href="mailto:me@example.com">Write</a> <a href="/style.css">Style</a></footer>\n'
            f"</body>\n</html>\n"
        )

    def _links(self, n: int, chance: random.Random) -> Iterable[tuple[str, str]]:
        """20 to 50 links: four to children in the host's tree, so that a crawl reaches every page, the rest random."""
        width, place = len(self.hosts), n // len(self.hosts)
        targets = dict.fromkeys((4 * place + child) * width + n % width for child in range(1, 5))
        wanted = chance.randint(20, 50)
        for _ in range(wanted - 4):
            far = chance.randrange(self.pages)
            near = far - far % width + n % width
            targets[far if chance.random() < 1 / 7 else near] = None
        for target in targets:
            if target < self.pages:
                yield self._href(n, target, chance), f"{_WORDS[target % 25]} {target}"

    def _href(self, n: int, target: int, chance: random.Random) -> str:
        path = self.path(target)
        if self.host(target) != self.host(n):
            return f"{self.scheme}://{self.host(target)}:{self.port}{path}"
        spelling = chance.randrange(4)
        if spelling == 0 and n >= len(self.hosts):
            return f"..{path}"
        return f"{path}#part-{target % 5}" if spelling == 1 else path


# ---------------------------------------------------------------------------------------------------------
# Real documentation


def documentation(folder: Path, roots: Iterable[Path], *, port: int = 18_081, scheme: str = "http") -> Corpus:
    """Serve installed folders of HTML documentation, one host each."""
    served = {f"127.0.3.{number}": root.resolve() for number, root in enumerate(roots, 1)}
    cache = folder / f"documentation-{port}{_of(scheme)}-{'-'.join(root.parent.name for root in served.values())}"[:200]
    cache.mkdir(parents=True, exist_ok=True)
    return _walked("documentation", cache, port, served, scheme)


# ---------------------------------------------------------------------------------------------------------
# The pages that a crawl must fetch


def _of(scheme: str) -> str:
    """The end of the name of a folder: files of http and https sites lie apart."""
    return "" if scheme == "http" else f"-{scheme}"


def _walked(name: str, folder: Path, port: int, roots: dict[str, Path], scheme: str) -> Corpus:
    """Return the corpus with its pages, found by a walk that shares no code with the crawler; cached."""
    seeds = tuple(f"{scheme}://{host}:{port}/" for host in roots)
    memory = folder / "reachable.json"
    if not memory.exists():
        memory.write_text(json.dumps(_walk(seeds, roots)))
    found: dict[str, list[int]] = json.loads(memory.read_text())
    size, links = (sum(numbers) for numbers in zip(*found.values(), strict=True))
    return Corpus(name, port, roots, seeds, frozenset(found), size, links)


def _walk(seeds: Iterable[str], roots: dict[str, Path]) -> dict[str, tuple[int, int]]:
    """URL → (bytes, links) of each page, breadth first."""
    pages: dict[str, tuple[int, int]] = {}
    queue = deque(seeds)
    seen = set(queue)
    while queue:
        url = queue.popleft()
        body = _read(url, roots)
        if body is None:
            continue
        links = _Links(url)
        links.feed(body.decode("utf-8", "replace"))
        pages[url] = len(body), len(links.found)
        for link in links.found:
            if link not in seen and is_followed(link, roots):
                seen.add(link)
                queue.append(link)
    return pages


def is_followed(url: str, hosts: Container[str]) -> bool:
    """Whether a contender follows the link. All share this rule."""
    parts = urlsplit(url)
    return (parts.hostname or "") in hosts and parts.path.endswith(PAGES)


def _read(url: str, roots: dict[str, Path]) -> bytes | None:
    """The body that the web server answers with status 200; None if it has no such file, or refuses the URL."""
    parts = urlsplit(url)
    if _BARE_PERCENT(parts.path):  # a crawler asks for it as it is, as browsers do (WHATWG URL), and nginx answers 400
        return None
    path = unquote(parts.path).lstrip("/")
    file = roots[parts.hostname or ""] / (path + "index.html" if parts.path.endswith("/") else path)
    return file.read_bytes() if file.is_file() else None


_BARE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})").search


class _Links(HTMLParser):
    """The targets of a page's links, absolute, without fragments."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._base = url
        self.found: dict[str, None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the link out of `a` and `area`, the base out of `base`."""
        href = dict(attrs).get("href")
        if href is None or tag not in ("a", "area", "base"):
            return
        if tag == "base":
            self._base = urljoin(self._base, href)
            return
        try:
            url = urldefrag(urljoin(self._base, href.strip())).url
        except ValueError:
            return
        if url.startswith(("http://", "https://")):
            self.found[url] = None
