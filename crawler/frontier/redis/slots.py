"""Which node has which keys: the master that sentinels name has all, the masters of a cluster share the slots."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    ConnectionError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry

from crawler.errors import ConfigError
from crawler.frontier.redis import acl
from crawler.frontier.redis.address import Address
from crawler.frontier.redis.keys import SLOTS
from crawler.runtime.safe_text import shown as printed

ASK_SECONDS = 1.0  # longest wait for the answer of one node; the next one may know as well

Node = tuple[str, int]
"""Host and port."""

Pool = Callable[[Mapping[str, Any]], redis.ConnectionPool]
"""Makes a pool for threads from the library's options that say where a server is."""


class Map:
    """Which node is the master of which slots."""

    def __init__(self, ranges: Sequence[tuple[int, Node]], nodes: Sequence[Node]) -> None:
        """`ranges`: the last slot of each and its master; `nodes`: all that can be asked for the next map."""
        self._ranges = sorted(ranges)
        self._by_tag: dict[str, Node] = {}
        self.masters = list(dict.fromkeys(master for _, master in self._ranges))
        self.nodes = nodes

    def of_key(self, key: str) -> Node:
        """The master of a key that has a hash tag."""
        tag = key[: key.index("}") + 1]
        master = self._by_tag.get(tag)
        if master is None:
            master = self._by_tag[tag] = self.of_slot(key_slot(tag.encode()))
        return master

    def gained(self, before: Map) -> set[Node]:
        """The masters of keys that had another one before, of those keys that were used."""
        used = list(before._by_tag.items())  # a copy at one moment, because threads use it
        return {now for tag, node in used if (now := self.of_key(tag)) != node}

    def of_slot(self, slot: int) -> Node:
        """The master of a slot. For a slot that none has, another one, which will say so."""
        at = bisect_left(self._ranges, (slot,))
        return self._ranges[min(at, len(self._ranges) - 1)][1]


class Slots:
    """Asks for the map, and has the last one. Its methods block; any thread may call them."""

    def __init__(
        self, address: Address, pool: Pool, to_ask: Mapping[str, Any], moved: Callable[[], None] = lambda: None
    ) -> None:
        """`to_ask`: the library's options for the nodes that are asked, beside where they are. `moved` is called when
        keys have come to another node; then a connection to that node is made, which `pool` greets."""
        self._address = address
        self._pool = pool
        once = {"retry": Retry(NoBackoff(), 0), "socket_timeout": ASK_SECONDS, "socket_connect_timeout": ASK_SECONDS}
        self._to_ask = {**to_ask, **once, "redis_connect_func": None}
        self._moved = moved
        self.are_told_by_sentinels = address.kind == "sentinel"
        self.map = Map([(SLOTS - 1, address.nodes[0])], address.nodes)

    def look(self, failed: Node | None = None) -> None:
        """Ask the nodes in random order until one answers, because one of them may be cut off and wrong; the one that
        has `failed` comes last.

        Raises `ConfigError` and the library's errors.
        """
        read = self._read_sentinel if self.are_told_by_sentinels else self._read_cluster
        nodes = [*dict.fromkeys((*self.map.nodes, *self._address.nodes))]
        wrong: Exception = ConnectionError("no node is known")
        for node in sorted(random.sample(nodes, len(nodes)), key=lambda node: node == failed):
            try:
                with redis.Redis.from_pool(self._pool({**where(node), **self._to_ask})) as client:
                    found = read(client, node)
                self._meet(found)
                self.map = found
                return
            except AuthenticationError as error:
                if self.are_told_by_sentinels:
                    raise self._wrong(
                        f"the sentinel {named(node)} refuses the login: {error}; the sentinels' own is "
                        "?sentinel_username=NAME&sentinel_password=PASSWORD"
                    ) from None
                raise
            except (ConnectionError, TimeoutError, ClusterDownError, OSError) as error:
                wrong = error
        raise wrong

    def _meet(self, found: Map) -> None:
        """Greet the nodes to which keys have come, before any other command finds them by the new map."""
        for node in found.gained(self.map):
            self._moved()
            with suppress(RedisError, OSError), redis.Redis.from_pool(self._pool(where(node))) as client:
                client.ping()

    def try_to_look(self, failed: Node | None = None) -> str:
        """Do the same. Return why there is no new map, or nothing."""
        try:
            self.look(failed)
        except (RedisError, OSError, ConfigError) as error:
            return str(error)
        return ""

    def _wrong(self, why: str) -> ConfigError:
        return ConfigError(f"{self._address.shown}: {why}")

    def _read_sentinel(self, client: Any, node: Node) -> Map:
        name = self._address.master
        try:
            found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
            names = [] if found else [*client.sentinel_masters()]
        except NoPermissionError as error:
            raise self._wrong(f"sentinel {named(node)}: {error}; its user needs {acl.SENTINEL_RULE}") from None
        except ResponseError:
            raise self._wrong(f"{named(node)} is no sentinel; write redis://{named(node)}/0") from None
        if found is None:
            known = f"it watches {', '.join(names)}" if names else "it watches none"
            raise self._wrong(f"the sentinel {named(node)} watches no master named {printed(name)!r}; {known}")
        host, port = found
        return Map([(SLOTS - 1, (host.decode(), int(port)))], self._address.nodes)

    def _read_cluster(self, client: Any, node: Node) -> Map:
        try:
            found = client.execute_command("CLUSTER", "SLOTS")
        except NoPermissionError:
            raise
        except ResponseError as error:
            is_sentinel = "unknown command" in str(error)
            instead = f"redis+sentinel://{named(node)}/NAME/0" if is_sentinel else f"redis://{named(node)}/0"
            raise self._wrong(f"{named(node)} is not a node of a cluster; write {instead}") from None
        ranges, nodes = [], []
        for _, last, *servers in found:
            here = [((host or b"").decode() or node[0], int(port)) for host, port, *_ in servers]
            ranges.append((int(last), here[0]))
            nodes += here
        if not ranges:
            raise ClusterDownError("no slot has a node")
        return Map(ranges, nodes)


def where(node: Node) -> dict[str, Any]:
    """The library's options for a node."""
    host, port = node
    return {"host": host, "port": port}


def named(node: Node) -> str:
    """The node as text."""
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
