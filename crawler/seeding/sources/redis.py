"""A list or a stream of a Redis or Valkey server as a source, as users of scrapy-redis have them.

A list: messages move from its left end to the list `NAME:taken`, and leave that when they are settled. A stream: its
consumer group does the same. After an error, at start and before the end, what was taken and not settled is taken
again. So two processes that share a source may both add a message, which the frontier then knows; none loses one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from msgspec import Meta, Struct
from redis.exceptions import ResponseError

from crawler.errors import BrokerUnavailable, ConfigError
from crawler.interfaces import Delivery
from crawler.runtime import url_words
from crawler.runtime.redis_client import client_of, server_errors
from crawler.runtime.safe_text import shown, without_password
from crawler.status import Backlog

_WAIT = 1.0  # seconds that `take` waits for a message
_GROUP = "crawler"  # also the consumer's name: whoever comes next takes what it left


class Words(Struct, frozen=True):
    """What the URL says after the `?`."""

    list: str = ""
    stream: str = ""  # entries of one field, whose value is the message
    prefetch: Annotated[int, Meta(ge=1, le=65_535)] = 1000  # messages taken and not settled, at most
    rejected: str = ""  # the list for bad messages; empty: they are dropped


class RedisSource:
    """What lists and streams have in common. Implements `Source`."""

    def __init__(self, client: Any, shown: str, words: Words) -> None:
        """`shown` is the URL for people."""
        self._client = client
        self._shown = shown
        self._name = words.list or words.stream
        self._prefetch = words.prefetch
        self._rejected = words.rejected
        self._doubtful = True  # messages may have been taken and not settled

    async def open(self) -> None:
        """Check that the server answers and has such a list or stream, or none yet."""
        await self.backlog()

    async def take(self) -> Sequence[Delivery]:
        """Return the next messages. What was left over before comes first."""
        with self._errors():
            if self._doubtful:
                await self.open()
                self._doubtful = False
                if found := await self._left_over():
                    return found
            return await self._next() or await self._left_over()

    async def settle(self, taken: Sequence[Delivery], rejected: Sequence[tuple[Delivery, str]]) -> None:
        """Move the bad messages to the list for them, as JSON objects with `why` and `message`; end the others."""
        pipeline = self._client.pipeline(transaction=True)
        if self._rejected:
            for message, why in rejected:
                bad = {"why": why, "message": message.body.decode(errors="backslashreplace")}
                pipeline.rpush(self._rejected, json.dumps(bad))
        self._end(pipeline, taken)
        with self._errors():
            await pipeline.execute()

    async def backlog(self) -> Backlog:
        """Ask the server how many messages wait."""
        with self._errors():
            return Backlog(self._shown, await self._waiting())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _left_over(self) -> list[Delivery]:
        raise NotImplementedError

    async def _next(self) -> list[Delivery]:
        raise NotImplementedError

    def _end(self, pipeline: Any, taken: Sequence[Delivery]) -> None:
        raise NotImplementedError

    async def _waiting(self) -> int:
        raise NotImplementedError

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with server_errors(self._shown):
                yield
        except BrokerUnavailable as error:
            if "WRONGTYPE" in str(error):
                raise ConfigError(f"{self._shown}: {self._name} is of another type; write list= or stream=") from None
            self._doubtful = True
            raise


class ListSource(RedisSource):
    """A list."""

    @property
    def _taken(self) -> str:
        return f"{self._name}:taken"

    async def _left_over(self) -> list[Delivery]:
        return [_of_list(body) for body in await self._client.lrange(self._taken, 0, self._prefetch - 1)]

    async def _next(self) -> list[Delivery]:
        waiting = min(await self._client.llen(self._name), self._prefetch)
        if not waiting:
            body = await self._client.blmove(self._name, self._taken, _WAIT, "LEFT", "RIGHT")
            return [_of_list(body)] if body is not None else []
        pipeline = self._client.pipeline(transaction=False)
        for _ in range(waiting):
            pipeline.lmove(self._name, self._taken, "LEFT", "RIGHT")
        return [_of_list(body) for body in await pipeline.execute() if body is not None]

    def _end(self, pipeline: Any, taken: Sequence[Delivery]) -> None:
        for message in taken:
            pipeline.lrem(self._taken, 1, message.body)

    async def _waiting(self) -> int:
        return int(await self._client.llen(self._name))


class StreamSource(RedisSource):
    """A stream."""

    async def open(self) -> None:
        """Make the consumer group, which begins with the oldest entry."""
        with self._errors():
            try:
                await self._client.xgroup_create(self._name, _GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def _left_over(self) -> list[Delivery]:
        return await self._read("0", None)

    async def _next(self) -> list[Delivery]:
        return await self._read(">", int(_WAIT * 1000))

    async def _read(self, after: str, wait: int | None) -> list[Delivery]:
        found = await self._client.xreadgroup(_GROUP, _GROUP, {self._name: after}, self._prefetch, wait)
        return [_of_stream(*entry) for _, entries in found for entry in entries]

    def _end(self, pipeline: Any, taken: Sequence[Delivery]) -> None:
        pipeline.xack(self._name, _GROUP, *(message.receipt for message in taken))

    async def _waiting(self) -> int:
        groups = await self._client.xinfo_groups(self._name)
        return next((one.get("lag") or 0 for one in groups if one["name"] == _GROUP.encode()), 0)


def _of_list(body: bytes) -> Delivery:
    return Delivery(body, None)


def _of_stream(receipt: bytes, fields: Mapping[bytes, bytes] | None) -> Delivery:
    """An entry of several fields becomes a JSON object of the same bytes; one that was deleted meanwhile is empty."""
    values = list((fields or {}).values())
    if len(values) < 2:
        return Delivery(b"".join(values), receipt)
    texts = {_text(name): _text(value) for name, value in (fields or {}).items()}
    return Delivery(json.dumps(texts, ensure_ascii=False).encode(errors="surrogateescape"), receipt)


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def redis_source(url: str, *, name: str, seconds: float, ca_file: str = "") -> RedisSource:
    """Return the source that the URL names: `redis://host:6379/0?list=news:start_urls`, or `?stream=…`. `name` shows
    in the server's list of clients; `seconds` bounds each answer. Raise `ConfigError`."""
    base, _, query = url.partition("?")
    words = url_words.read(query, without_password(base), Words)
    if bool(words.list) == bool(words.stream):
        raise ConfigError(f"{shown(url)}: write ?list=NAME or ?stream=NAME")
    client = client_of(url, name=name, seconds=max(seconds, 2 * _WAIT), ca_file=ca_file)
    kind = ListSource if words.list else StreamSource
    return kind(client, shown(url), words)
