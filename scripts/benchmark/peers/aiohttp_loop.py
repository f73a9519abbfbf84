"""The parts that a page needs, and no more: `python aiohttp_loop.py links|lean OUTPUT SEEDS`.

links: aiohttp and selectolax (lexbor). lean: the links by one expression instead of a parser. With REDIS_URL set, the
queue and the known URLs are on that server, asked for 16 URLs at a time; otherwise both are in memory. No robots.txt,
no politeness, no limits, and nothing survives a crash.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
from collections import deque
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
import uvloop
from redis.asyncio import Redis
from selectolax.lexbor import LexborHTMLParser

PAGES = (".html", "/")
MODE = sys.argv[1]
SEEDS = Path(sys.argv[3]).read_text().split()
HOSTS = frozenset(urlsplit(seed).netloc for seed in SEEDS)
AT_ONCE = int(os.environ["AT_ONCE"])
PER_HOST = int(os.environ["PER_HOST"])
REDIS_URL = os.environ.get("REDIS_URL", "")
TLS = ssl.create_default_context(cafile=os.environ.get("TLS_CA_FILE"))
BATCH = 16
_HREF = re.compile(r"""<(?:a|area)\s[^>]*?href\s*=\s*["']?([^"'>\s#]+)""", re.IGNORECASE)


class Memory:
    """Queue and known URLs in this process."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._waiting: deque[str] = deque()

    async def add(self, urls: set[str]) -> None:
        """Add those that are not known."""
        new = urls - self._known
        self._known |= new
        self._waiting.extend(new)

    async def take(self) -> list[str]:
        """Take up to a batch."""
        return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]


class Server:
    """The same on a server; URLs that this process has added are not sent again."""

    def __init__(self) -> None:
        self._redis = Redis.from_url(REDIS_URL, decode_responses=True)
        self._sent: set[str] = set()

    async def add(self, urls: set[str]) -> None:
        new = list(urls - self._sent)
        if not new:
            return
        self._sent.update(new)
        pipeline = self._redis.pipeline(transaction=False)
        for url in new:
            pipeline.sadd("known", url)
        unknown = [url for url, is_new in zip(new, await pipeline.execute(), strict=True) if is_new]
        if unknown:
            await self._redis.rpush("queue", *unknown)

    async def take(self) -> list[str]:
        return await self._redis.lpop("queue", BATCH) or []


def links_of(body: bytes, url: str) -> set[str]:
    """The links to pages of the seeds' hosts."""
    if MODE == "lean":
        found = _HREF.findall(body.decode("utf-8", "replace"))
    else:
        nodes = LexborHTMLParser(body).css("a[href], area[href]")
        found = [node.attributes["href"] or "" for node in nodes]
    links = set()
    for link in {href.partition("#")[0].strip() for href in found}:
        try:
            absolute = urljoin(url, link)
            if absolute.endswith(PAGES) and urlsplit(absolute).netloc in HOSTS:
                links.add(absolute)
        except ValueError:
            continue
    return links


class Loop:
    """As many visits at once as there may be; what they find goes to the queue when few URLs are left."""

    def __init__(self) -> None:
        self._queue = Server() if REDIS_URL else Memory()
        self._waiting: deque[str] = deque()
        self._found = set(SEEDS)
        self._visits = 0
        self._is_asking = self._is_dry = False  # dry: the queue had no more when it was last asked
        self._ended = asyncio.Event()  # a visit, or a question to the queue

    async def run(self) -> None:
        """Crawl until nothing is waiting or on its way."""
        connector = aiohttp.TCPConnector(limit=AT_ONCE, limit_per_host=PER_HOST, ssl=TLS)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work(session))

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while not self._is_over():
            if len(self._waiting) < BATCH and not self._is_asking and (self._found or not self._is_dry):
                await self._ask()
            if self._waiting:
                await self._visit(session, self._waiting.popleft())
            elif not self._is_over():
                self._ended.clear()
                await self._ended.wait()
        self._ended.set()

    def _is_over(self) -> bool:
        return self._is_dry and not (self._waiting or self._visits or self._found or self._is_asking)

    async def _ask(self) -> None:
        self._is_asking = True
        found, self._found = self._found, set()
        await self._queue.add(found)
        taken = await self._queue.take()
        self._is_dry = not taken
        self._waiting.extend(taken)
        self._is_asking = False
        self._ended.set()

    async def _visit(self, session: aiohttp.ClientSession, url: str) -> None:
        self._visits += 1
        async with session.get(url) as answer:
            body = await answer.read()
            if answer.status == 200:
                self._found |= links_of(body, url)
        self._visits -= 1
        self._ended.set()


uvloop.run(Loop().run())
