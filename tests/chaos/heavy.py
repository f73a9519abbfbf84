"""Pages that cost a parser most, served by a process of its own: its work must not look like the crawler's.

python -m tests.chaos.heavy p li links
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tests.webserver import Answer, Hit, serve

LARGEST = 15_900_000  # bytes; nearly DOWNLOAD_MAXSIZE
PARSED = 7_900_000  # nearly PARSE_MAXSIZE
NODES = 380_000  # nearly PARSE_MAXNODES

# What the pages are made of, by name.
SHAPES: Mapping[str, str] = {
    "p": "<p>",
    "li": "<li>x",
    "cells": "<tr><td>1<td>2<td>3",
    "br": "<br>",
    "links": '<a href="/next">x</a>',
    "values": "<p {}>".format(" ".join(f"a{n}=1" for n in range(400))),
    "names": "<p {}>".format(" ".join(f"a{n}" for n in range(400))),
    "fields": "<input name=x value=y>",
    "comments": "<!---->",
    "words": "lorem ipsum dolor ",
}


class Heavy:
    """A host a shape: one page of `LARGEST` bytes, one of `PARSED`, and the largest that is parsed: `NODES` at most."""

    def __init__(self, shapes: Sequence[str]) -> None:
        self.hosts = [f"127.0.2.{number}" for number in range(1, len(shapes) + 1)]
        self.port = 80
        self._shape = dict(zip(self.hosts, shapes, strict=True))

    @property
    def seeds(self) -> list[str]:
        """Both pages of each host: a page that is not parsed leads nowhere."""
        return [f"http://{host}:{self.port}/{path}" for host in self.hosts for path in _SIZES]

    def address(self, host: str) -> str:
        """Where a host is served."""
        return host

    def answer(self, hit: Hit) -> Answer:
        """The shape, so many times."""
        if hit.path == "/robots.txt":
            return Answer(status=404)
        shape = SHAPES[self._shape[hit.host]]
        block = (shape * (65_536 // len(shape) + 1)).encode()
        return Answer(block, times=_SIZES[hit.path[1:]](shape) // len(block))


def _with_nodes(shape: str) -> int:
    """Bytes of so much of it that it has `NODES` elements and attributes, as far as it is parsed at all."""
    nodes = shape.count("<") - shape.count("</") + shape.count(" a") + shape.count("=") * ("<p" not in shape)
    return min(PARSED, NODES * len(shape) // max(1, nodes))


_SIZES: Mapping[str, Callable[[str], int]] = {
    "largest": lambda _: LARGEST,
    "parsed": lambda _: PARSED,
    "most": _with_nodes,
}


@asynccontextmanager
async def serve_heavy(shapes: Sequence[str]) -> AsyncIterator[list[str]]:
    """Serve a host a shape; gives the URLs of their pages."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.heavy", *shapes, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()


async def _serve(shapes: Sequence[str]) -> None:
    async with serve(Heavy(shapes)) as running:
        print(json.dumps(running.seeds), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
