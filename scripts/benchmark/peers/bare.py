"""A bare loop: aiohttp, parsel, urllib and a set; no queue, no robots.txt, no politeness, no storage.

`python bare.py links OUTPUT SEEDS`. Its cost is the minimum for any crawler made of these parts.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import aiohttp
import parsel
import uvloop

PAGES = (".html", "/")
SEEDS = Path(sys.argv[3]).read_text().split()
HOSTS = frozenset(urlsplit(seed).hostname for seed in SEEDS)
AT_ONCE, PER_HOST = int(os.environ["AT_ONCE"]), int(os.environ["PER_HOST"])
TLS = ssl.create_default_context(cafile=os.environ.get("TLS_CA_FILE"))


async def main() -> None:
    """Crawl until the queue is empty."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    seen = set(SEEDS)
    for seed in SEEDS:
        queue.put_nowait(seed)

    async def work(session: aiohttp.ClientSession) -> None:
        while True:
            url = await queue.get()
            try:
                async with session.get(url) as answer:
                    body = await answer.read()
                    if answer.status == 200:
                        for link in _links(body.decode("utf-8", "replace"), url):
                            if link not in seen:
                                seen.add(link)
                                queue.put_nowait(link)
            finally:
                queue.task_done()

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_ONCE, limit_per_host=PER_HOST, ssl=TLS)
    ) as session:
        workers = [asyncio.create_task(work(session)) for _ in range(AT_ONCE)]
        await queue.join()
        for worker in workers:
            worker.cancel()


def _links(text: str, url: str) -> list[str]:
    found = []
    for href in parsel.Selector(text, type="html").css("a::attr(href), area::attr(href)").getall():
        link = urldefrag(urljoin(url, href)).url
        parts = urlsplit(link)
        if parts.hostname in HOSTS and parts.path.endswith(PAGES):
            found.append(link)
    return found


uvloop.run(main())
