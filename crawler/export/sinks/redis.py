"""Items to a list or a stream of a Redis or Valkey server: `redis://host/0?list={spider}:items`, as users of
scrapy-redis have them, or `?stream=NAME`.

One script stores a batch and the position behind it, so neither can exist without the other. What a reader takes from
the list does not matter: the position is a key of its own, the hash `NAME:exported`, in which each job has a field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha1
from itertools import chain
from typing import Annotated, Any, Final, Literal

import structlog
from msgspec import Meta, Struct
from redis.exceptions import NoScriptError, ResponseError

from crawler.errors import BrokerUnavailable, ConfigError, OutputError, UnstorableItems
from crawler.export.sinks import position
from crawler.export.sinks.elsewhere import gone_to
from crawler.export.sinks.item_messages import id_of, with_id
from crawler.model import BadItem, Exported, Job, OutboxEntry
from crawler.parsing.url import host_of
from crawler.runtime.redis_client import server_errors

log = structlog.get_logger()

DEFAULT_LIST: Final = "{spider}:items"  # the key of scrapy-redis' pipeline
_BATCH_BYTES: Final = 4 * 1024 * 1024  # of items in one call of the script, unless one page has more
_PLACE: Final = re.compile(r"\{([^{}]*)\}|%\((\w*)\)s")  # {spider}, or as in Scrapy's words %(spider)s
_PLACES: Final = ("spider", "host", "job")

_Placed = tuple[str, tuple[bytes | str, ...]]  # the key for an item, and the values of its fields there

# Stores items and the position behind them: all in one step, or nothing.
#   KEYS   the hash of positions; then the lists or streams
#   ARGV   epoch, position before, position after, list or stream, maxlen (0: none), fields of an item; then for each
#          item the number of its key and the values of its fields
#   returns ok and how many old entries of streams were removed; or, with nothing changed, moved and the position that
#          was found, full and the key, or wrong, the key and its type
# All that can fail is tried before the first write. The position comes last: a user who may not write items cannot
# move it.
_STORE: Final = """
local names = {}
for name in string.gmatch(ARGV[6], '[^ ]+') do names[#names + 1] = name end
local maxlen = tonumber(ARGV[5])
local found = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if found ~= ARGV[2] then return {'moved', found} end
for place = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[place]).ok
  if kind ~= 'none' and kind ~= ARGV[4] then return {'wrong', KEYS[place], kind} end
  if ARGV[4] == 'list' and maxlen > 0 and redis.call('LLEN', KEYS[place]) >= maxlen then
    return {'full', KEYS[place]}
  end
end
local removed = 0
for at = 7, #ARGV, #names + 1 do
  local key = KEYS[tonumber(ARGV[at]) + 1]
  if ARGV[4] == 'list' then
    redis.call('RPUSH', key, ARGV[at + 1])
  else
    local entry = {key}
    if maxlen > 0 then
      entry = {key, 'MAXLEN', '~', maxlen}
      removed = removed + redis.call('XLEN', key) + 1
    end
    entry[#entry + 1] = '*'
    for number, name in ipairs(names) do
      entry[#entry + 1] = name
      entry[#entry + 1] = ARGV[at + number]
    end
    redis.call('XADD', unpack(entry))
    if maxlen > 0 then removed = removed - redis.call('XLEN', key) end
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {'ok', removed}
"""
_DIGEST: Final = sha1(_STORE.encode(), usedforsecurity=False).hexdigest()


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    list: str = ""  # the key of the list, with places for spider, host and job; without a list or stream: DEFAULT_LIST
    stream: str = ""  # the key of the stream, with the same places
    id: str = ""  # a field in which each item of a list gets its id
    maxlen: Annotated[int, Meta(ge=0)] = 0  # entries; a full list is waited for, a stream loses its oldest; 0: any

    def __post_init__(self) -> None:
        if self.list and self.stream:
            raise ValueError("write list= or stream=, not both")
        if self.stream and self.id:
            raise ValueError("the entries of a stream have a field id already: leave out id=")
        for place in _PLACE.finditer(self.key):
            if _name(place) not in _PLACES:
                raise ValueError(f"no place {place[0]}; there are {', '.join(f'{{{one}}}' for one in _PLACES)}")

    @property
    def kind(self) -> Literal["list", "stream"]:
        """What the key is."""
        return "stream" if self.stream else "list"

    @property
    def key(self) -> str:
        """The key, with its places."""
        return self.stream or self.list or DEFAULT_LIST


class RedisSink:
    """Implements `Sink`."""

    inode = 0

    def __init__(self, client: Any, url: str, words: Words, job: Job, *, append: bool = False, seconds: float) -> None:
        """`url`: the server's, for people. `append`: also without the job's earlier items. `seconds` bounds the wait
        for the server's disk."""
        self._client = client
        self._words = words
        self._job = job
        self._append = append
        self._milliseconds = int(seconds * 500)  # the answer must come before the client gives up
        self._stored = ""  # the position as the server has it
        self._is_learnt = False  # it was learnt from the server, so it may not be on its disk yet
        self._keeps = True  # the server has a file that it can wait for
        self._removed = 0
        self.location = f"{url}?{words.kind}={words.key}"

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Read the position, and try whether it may be written.

        Raises `ConfigError` if the server refuses the login or a permission, `OutputError` if it is away, has a key of
        another type, or lacks earlier items of the job.
        """
        try:
            await self._open(exported)
        except BaseException:
            await self._client.aclose()
            raise
        return _read(self._stored)

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Store the entries behind the position, and return the number of their items when the server's disk has them.

        Raises `OutputError`, `UnstorableItems` for an item that has a field of the id's name.
        """
        items = self._placed(entries)
        try:
            while todo := self._next(entries, items):
                await self._store(*todo)
            if self._is_learnt:  # what wrote it may not be on the disk yet: write after it, and wait
                await self._store([], _read(self._stored))
        except ConfigError as error:
            raise OutputError(f"{error}; the items stay in the outbox") from None
        return sum(map(len, items))

    async def finish(self) -> None:
        """Say how many entries the stream has lost to `maxlen`."""
        if self._removed:
            why = f"maxlen={self._words.maxlen}"
            log.warning("output_trimmed", output=self.location, entries=self._removed, why=why)

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()

    async def _open(self, exported: Exported) -> None:
        with self._errors():
            self._stored = (await self._client.hget(self._hash, self._job.epoch) or b"").decode()
        found = _read(self._stored)
        if not self._append and not position.reaches(found, exported.positions):
            raise OutputError(gone_to(exported.location, self.location))
        await self._store([], position.merged(found, exported.positions))

    @property
    def _hash(self) -> str:
        return f"{self._words.key}:exported"

    def _placed(self, entries: Sequence[OutboxEntry]) -> list[list[_Placed]]:
        """Return the items of each entry, with their keys. Raise `UnstorableItems`."""
        bad: list[BadItem] = []
        placed = [list(self._items(entry, bad)) for entry in entries]
        if bad:
            raise UnstorableItems(bad)
        return placed

    def _items(self, entry: OutboxEntry, bad: list[BadItem]) -> Iterator[_Placed]:
        host = host_of(entry.url) if entry.url else ""
        places = {"spider": entry.spider, "host": host, "job": self._job.name}
        key = _PLACE.sub(lambda place: places[_name(place)], self._words.key)
        for number, item in entry.numbered():
            its_id = id_of(self._job, entry, number)
            if self._words.stream:
                yield key, (its_id, item, entry.spider, entry.url, self._job.name)
                continue
            try:
                yield key, (with_id(item, self._words.id, its_id) if self._words.id else item,)
            except ValueError as error:
                bad.append(BadItem(entry.shard, entry.position, number, f"{self.location}: {error}"))

    def _next(
        self, entries: Sequence[OutboxEntry], items: Sequence[Sequence[_Placed]]
    ) -> tuple[list[_Placed], Mapping[int, str]] | None:
        """Return the items of the next entries behind the position, as many as one call should store, and the position
        after them; None if there are none."""
        positions = _read(self._stored)
        after, chosen, size = dict(positions), list[_Placed](), 0
        for entry, its in zip(entries, items, strict=True):
            if position.reaches(after, {entry.shard: entry.position}):
                continue
            if size > _BATCH_BYTES:
                break
            chosen += its
            size += sum(len(part) for _, parts in its for part in parts)
            after[entry.shard] = entry.position
        return (chosen, after) if after != positions else None

    async def _store(self, items: Sequence[_Placed], after: Mapping[int, str]) -> None:
        """Store the items if the server's position is the one that is known here; otherwise only learn it."""
        always = [] if _PLACE.search(self._words.key) else [self._words.key]
        keys = {key: number for number, key in enumerate(dict.fromkeys([*always, *(key for key, _ in items)]), 1)}
        fields = "id item spider url job" if self._words.stream else "item"
        text = _written(after)
        arguments = chain(
            (self._job.epoch, self._stored, text, self._words.kind, self._words.maxlen, fields),
            *((keys[key], *parts) for key, parts in items),
        )
        word, *said = await self._run([self._hash, *keys], list(arguments))
        if word == b"ok":
            self._stored, self._is_learnt = text, False
            self._removed += int(said[0])
        elif word == b"moved":
            self._learn(said[0].decode())
        elif word == b"full":
            key = said[0].decode(errors="replace")
            raise OutputError(f"{self.location}: the list {key} has {self._words.maxlen} entries: waiting for readers")
        else:
            key, kind = (part.decode(errors="replace") for part in said)
            raise OutputError(f"{self.location}: the key {key} is a {kind}, no {self._words.kind}; name another key")

    def _learn(self, stored: str) -> None:
        """Take over the position that the server has: another exporter, or a call whose answer was lost, moved it."""
        if not position.reaches(_read(stored), _read(self._stored)):
            raise OutputError(f"{self.location}: the server has lost items of this job; --fresh crawls them again")
        self._stored, self._is_learnt = stored, True

    async def _run(self, keys: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
        """Run the script, and wait until the server's disk has what it wrote."""
        with self._errors():
            try:
                replies = await self._call("evalsha", _DIGEST, keys, arguments)
            except NoScriptError:
                replies = await self._call("eval", _STORE, keys, arguments)
        if len(replies) > 1:
            self._check_disk(replies[1])
        return list(replies[0])

    async def _call(self, command: str, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        getattr(pipeline, command)(script, len(keys), *keys, *arguments)
        if self._keeps:
            pipeline.execute_command("WAITAOF", 1, 0, self._milliseconds)
        replies = await pipeline.execute(raise_on_error=False)
        if isinstance(replies[0], Exception):
            raise replies[0]
        return list(replies)

    def _check_disk(self, reply: Any) -> None:
        """Heed the answer to WAITAOF. A server without an append-only file, or older than the command, has nothing to
        wait for."""
        if isinstance(reply, ResponseError):
            self._keeps = False
            log.warning("output_may_lose", output=self.location, why=f"the server cannot say what is on disk: {reply}")
        elif isinstance(reply, Exception) or not reply[0]:
            raise OutputError(f"{self.location}: the server's disk is slow: {reply}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the client's errors into `ConfigError`, and `OutputError` for what may pass."""
        try:
            with server_errors(self.location):
                yield
        except BrokerUnavailable as error:
            raise OutputError(str(error)) from None


def _written(positions: Mapping[int, str]) -> str:
    return " ".join(f"{shard}:{entry_id}" for shard, entry_id in sorted(positions.items()))


def _read(text: str) -> dict[int, str]:
    pairs: Iterable[tuple[str, str, str]] = (pair.partition(":") for pair in text.split())
    return {int(shard): entry_id for shard, _, entry_id in pairs}


def _name(place: re.Match[str]) -> str:
    name = place[1] or place[2] or ""
    return "spider" if name == "name" else name
