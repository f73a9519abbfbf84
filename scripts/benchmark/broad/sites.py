"""The hosts of a broad crawl: their names and addresses, robots.txt, and pages of about 10 kB made when asked for.

A page has 35 links: 20 within its host, 15 to random pages of other hosts. The pages of a host are a tree with four
children each, so that all are found from its first page.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from dataclasses import dataclass

DOMAIN = "broad.test"
_FIRST = int(ipaddress.IPv4Address("127.1.0.0"))

INSIDE, OUTSIDE = 20, 15
"""Links of a page within its host and to others."""

_CHILDREN = 4
_TEXTS = 64  # the pages' texts differ in so many ways
_WORDS = ("anchor", "basin", "cedar", "delta", "ember", "fjord", "gravel", "harbor", "island", "juniper", "kernel")

ROBOTS = tuple(
    text.encode()
    for text in (
        "User-agent: *\nDisallow: /private/\n",
        "User-agent: *\nDisallow: /wp-admin/\nAllow: /wp-admin/admin-ajax.php\n\nSitemap: /sitemap.xml\n",
        "User-agent: *\nDisallow:\n",
        "# All are welcome\n",
        "User-agent: BadBot\nDisallow: /\n\nUser-agent: *\nDisallow: /search\nDisallow: /*?sort=\nDisallow: /*.pdf$\n",
        "User-agent: *\n" + "".join(f"Disallow: /section-{n}/print/\n" for n in range(150)),
    )
)
"""The robots.txt files there are; each forbids none of the pages."""


@dataclass(frozen=True)
class Sites:
    """`hosts` hosts with `pages` pages each."""

    hosts: int
    pages: int
    scheme: str = "http"

    def name(self, host: int) -> str:
        """The host's name."""
        return f"h{host:07d}.{DOMAIN}"

    def seeds(self) -> Iterator[str]:
        """The first page of each host."""
        return (f"{self.scheme}://{self.name(host)}/" for host in range(self.hosts))

    def host(self, name: str) -> int | None:
        """The number of the host with this name; None if there is none."""
        number, _, domain = name.partition(".")
        is_ours = domain == DOMAIN and number[:1] == "h" and number[1:].isdecimal()
        return int(number[1:]) if is_ours and int(number[1:]) < self.hosts else None

    def page(self, path: str) -> int | None:
        """The number of the page at this path; None if there is none."""
        number = path.removeprefix("/page-").removesuffix(".html")
        if path == "/":
            return 0
        return (
            int(number) if number.isdecimal() and self.path(int(number)) == path and int(number) < self.pages else None
        )

    def path(self, page: int) -> str:
        """The path of a page."""
        return f"/page-{page}.html" if page else "/"

    def html(self, host: int, page: int) -> bytes:
        """The page's text."""
        start, end = _TEXT[(host * self.pages + page) % _TEXTS]
        links = [*self._inside(page), *self._outside(host, page)]
        items = "".join([f'<li class="entry"><a href="{link}">{link[-24:]}</a></li>\n' for link in links])
        return f"{start}{host} {page}</h1>\n<ul>\n{items}</ul>\n{end}".encode()

    def _inside(self, page: int) -> Iterator[str]:
        first = _CHILDREN * page + 1
        children = [child for child in range(first, first + _CHILDREN) if child < self.pages]
        yield from map(self.path, children)
        for number in range(INSIDE - len(children)):
            yield f"{self.path((page + number) % self.pages)}#part-{number}"

    def _outside(self, host: int, page: int) -> Iterator[str]:
        chance = 2_654_435_761 * (host * self.pages + page) + 1
        for _ in range(OUTSIDE):
            chance = (chance * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64  # Knuth's generator
            at = chance >> 24
            yield f"{self.scheme}://{self.name(at % self.hosts)}{self.path(at // self.hosts % self.pages)}"


def address(host: int) -> bytes:
    """The four bytes of the host's own loopback address."""
    return (_FIRST + host).to_bytes(4, "big")


def _text(number: int) -> tuple[str, str]:
    """The parts of a page before its number and after its links."""
    chance = random.Random(number)
    title = " ".join(chance.choices(_WORDS, k=5))
    paragraphs = "\n".join(f"<p>{' '.join(chance.choices(_WORDS, k=70))}.</p>" for _ in range(14))
    start = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="description" content="{title}"></head>\n<body>\n<main>\n<h1>{title} '
    )
    return start, f"{paragraphs}\n</main>\n</body>\n</html>\n"


_TEXT = [_text(number) for number in range(_TEXTS)]
