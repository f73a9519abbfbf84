"""The clients of the servers behind one address: one server, the master that sentinels name, or a cluster's nodes.

redis-py's own cluster client is not used: it fails when a node's connections are all in use, sends ASKING over another
connection than the command, has no hook for a new connection, and repeats a command many times while its caller waits.
Here each node has the client and the bounded pool that a single server has. After an error that another server may
explain, the map of the slots is asked for anew, and the caller's own loop repeats the call. Only what found its slot
moved is sent again at once, because it has not run.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.client
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from crawler.frontier.redis.slots import Map, Node, Pool, Slots, named, where

_ELSEWHERE = (ConnectionError, TimeoutError, MovedError, ReadOnlyError, ClusterDownError)
"""Errors after which another server may have the key."""


class OneNode:
    """The client of one server, which has all keys."""

    def __init__(self, client: Any, client_in_thread: Callable[[], Any] = redis.Redis) -> None:
        self._client = client
        self._client_in_thread = client_in_thread
        self._in_thread: Any = None

    def at(self, key: str) -> Any:
        """The client."""
        return self._client

    def pipeline(self) -> Any:
        """The library's pipeline, without a transaction."""
        return self._client.pipeline(transaction=False)

    def split(self, keys: Sequence[str]) -> list[list[str]]:
        """All of them."""
        return [list(keys)]

    def masters(self) -> list[Any]:
        """The client."""
        return [self._client]

    def in_thread(self, key: str) -> Any:
        """A client for the one thread that calls this."""
        if self._in_thread is None:
            self._in_thread = self._client_in_thread()
        return self._in_thread

    async def open(self) -> None:
        """Do nothing: there is no other server to find."""

    async def confirm(self, connection: Any) -> None:
        """Do nothing: a new connection leads to the same server."""

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        if self._in_thread is not None:
            self._in_thread.close()


class ManyNodes:
    """The clients of all nodes, made when they are needed."""

    def __init__(
        self, slots: Slots, pool: Callable[[Mapping[str, Any]], redis.asyncio.ConnectionPool], pool_in_thread: Pool
    ) -> None:
        """`pool` makes one from the library's options that say where a server is."""
        self._slots = slots
        self._pool = pool
        self._pool_in_thread = pool_in_thread
        self._clients: dict[Node, _Client] = {}
        self._clients_in_thread: dict[Node, _ClientInThread] = {}
        self._looking = asyncio.Lock()

    @property
    def map(self) -> Map:
        """The last one."""
        return self._slots.map

    def at(self, key: str) -> _Client:
        """The client of the master that has the key."""
        return self.client(self.map.of_key(key))

    def client(self, node: Node) -> _Client:
        """The client of a node."""
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = _Client(self, node, self._pool(where(node)))
        return client

    def masters(self) -> list[_Client]:
        """The clients of all masters."""
        return [self.client(node) for node in self.map.masters]

    def pipeline(self) -> _Pipelines:
        """A pipeline for keys of any node."""
        return _Pipelines(self)

    def split(self, keys: Sequence[str]) -> list[list[str]]:
        """The keys of each node that has some of them."""
        found: dict[Node, list[str]] = defaultdict(list)
        for key in keys:
            found[self.map.of_key(key)].append(key)
        return list(found.values())

    def in_thread(self, key: str) -> _ClientInThread:
        """The client of the master that has the key, for the one thread that calls this."""
        return self.client_in_thread(self.map.of_key(key))

    def client_in_thread(self, node: Node) -> _ClientInThread:
        """The client of a node, for that thread."""
        client = self._clients_in_thread.get(node)
        if client is None:
            client = self._clients_in_thread[node] = _ClientInThread(self, node, self._pool_in_thread(where(node)))
        return client

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()
        for blocking in self._clients_in_thread.values():
            blocking.close()

    async def open(self) -> None:
        """Ask for the map. Raises `ConfigError` and the library's errors."""
        await asyncio.to_thread(self._slots.look)

    async def look_again(self, seen: Map, failed: Node | None = None) -> str:
        """Ask for the map, unless that has been done since `seen`. Return why there is no new one, or nothing."""
        async with self._looking:
            return await asyncio.to_thread(self._slots.try_to_look, failed) if self.map is seen else ""

    async def confirm(self, connection: Any) -> None:
        """Check that a new connection leads to the master. Raises the library's `ConnectionError`.

        A failed server that comes back takes itself for a master, and only the sentinels know better. A node of a
        cluster waits until it knows its role."""
        if self._slots.are_told_by_sentinels:
            await self.look_again(self.map)
            node = connection.host, connection.port
            if node not in self.map.masters:
                raise ConnectionError(f"{named(node)} is no longer the master")

    def look_in_thread(self, failed: Node) -> str:
        """Ask for the map, in any case. Return why there is no new one, or nothing."""
        return self._slots.try_to_look(failed)


class _Client(redis.asyncio.Redis):
    """The library's client of one node. If the node fails, it has the map renewed for the calls that follow."""

    def __init__(self, nodes: ManyNodes, node: Node, pool: redis.asyncio.ConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.nodes = nodes
        self.node = node

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        seen = self.nodes.map
        try:
            return await self.execute_here(*args, **options)
        except RedisError as error:
            other = await self.after(error, seen)
        return await other.execute_here(*args, **options)

    async def execute_here(self, *args: Any, **options: Any) -> Any:
        """Run a command on this node; errors pass as they are."""
        execute: Any = super().execute_command
        return await execute(*args, **options)

    async def after(self, error: RedisError, seen: Map) -> _Client:
        """The client of the node that an error points to. Raises the error if it points to none."""
        if isinstance(error, _ELSEWHERE):
            why = await self.nodes.look_again(seen, self.node)
            if isinstance(error, MovedError):
                return self.nodes.client(self.nodes.map.of_slot(error.slot_id))
            _note(error, self.node, why)
        raise _note(error, self.node)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> redis.asyncio.client.Pipeline:
        return _Pipeline(self)


class _Pipeline(redis.asyncio.client.Pipeline):
    """The library's pipeline without a transaction, to one node."""

    def __init__(self, client: _Client) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, False, None)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        seen, stack = self._client.nodes.map, list(self.command_stack)
        try:
            replies = await super().execute(raise_on_error=False)
        except RedisError as error:
            await self._client.after(error, seen)
            raise
        failed = [_note(reply, self._client.node) for reply in replies if isinstance(reply, RedisError)]
        if failed and isinstance(failed[0], _ELSEWHERE):
            other = await self._client.after(failed[0], seen)
            if replies[0] is failed[0]:  # nothing has run
                again = redis.asyncio.client.Pipeline(other.connection_pool, other.response_callbacks, False, None)
                again.command_stack = stack
                return list(await again.execute(raise_on_error))
        if failed and raise_on_error:
            raise failed[0]
        return list(replies)


_Command = tuple[str, str, tuple[Any, ...], dict[str, Any]]
"""Its name, key, the other arguments, options."""


class _Pipelines:
    """Looks like the library's pipeline, and sends each node its part. The first argument of a command is its key.

    If one of the keys was moved, it sends all of the commands again, so they must be such as may run twice."""

    def __init__(self, nodes: ManyNodes) -> None:
        self._nodes = nodes
        self._commands: list[_Command] = []

    def __getattr__(self, command: str) -> Callable[..., _Pipelines]:
        def add(key: str, *arguments: Any, **options: Any) -> _Pipelines:
            self._commands.append((command, key, arguments, options))
            return self

        return add

    async def execute(self) -> list[Any]:
        """Return the replies in the order of the commands."""
        commands, self._commands = self._commands, []
        try:
            return await self._replies(commands)
        except MovedError:
            return await self._replies(commands)

    async def _replies(self, commands: Sequence[_Command]) -> list[Any]:
        parts: dict[_Client, tuple[Any, list[int]]] = {}
        for number, (command, key, arguments, options) in enumerate(commands):
            client = self._nodes.at(key)
            if client not in parts:
                parts[client] = client.pipeline(transaction=False), []
            pipeline, numbers = parts[client]
            getattr(pipeline, command)(key, *arguments, **options)
            numbers.append(number)
        found = await asyncio.gather(*(pipeline.execute() for pipeline, _ in parts.values()))
        replies = {
            number: reply
            for (_, numbers), its in zip(parts.values(), found, strict=True)
            for number, reply in zip(numbers, its, strict=True)
        }
        return [replies[number] for number in range(len(commands))]


class _ClientInThread(redis.Redis):
    """The same as `_Client`, for a thread."""

    def __init__(self, nodes: ManyNodes, node: Node, pool: redis.ConnectionPool) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._nodes = nodes
        self._node = node

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return self.execute_here(*args, **options)
        except RedisError as error:
            why = self._nodes.look_in_thread(self._node) if isinstance(error, _ELSEWHERE) else ""
            if not isinstance(error, MovedError):
                raise _note(error, self._node, why) from None
            other = self._nodes.client_in_thread(self._nodes.map.of_slot(error.slot_id))
        return other.execute_here(*args, **options)

    def execute_here(self, *args: Any, **options: Any) -> Any:
        """Run a command on this node; errors pass as they are."""
        execute: Any = super().execute_command
        return execute(*args, **options)


def _note(error: RedisError, node: Node, why: str = "") -> RedisError:
    """Note in the error which node it came from, and why no other is known, for the text that `errors` makes."""
    vars(error)["node"] = named(node) + (f"; {why}" if why else "")
    return error
