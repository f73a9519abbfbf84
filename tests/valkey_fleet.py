"""Real fleets of queue servers on 127.0.0.1: a master with replicas under three sentinels, and a cluster.

    with SentinelFleet() as fleet:          with ClusterFleet(masters=3, replicas=1) as fleet:
        master = fleet.master()                 master = fleet.master("{crawler:0}:id")
        master.kill()
        fleet.wait_for_promotion(master)
        master.start()                      # it comes back as a replica
        fleet.wait_until_healthy()

Both consist of `tests.valkey.Valkey`: each node can be killed, frozen and started again. All ends with the block.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from tests.ports import free_port
from tests.valkey import Valkey

NAME = "crawl"  # of the sentinels' master
DOWN_MS = 1000  # after this time without an answer a node counts as dead
WAIT_SECONDS = 30.0
SLOTS = 16_384


def ask(node: Valkey, *command: Any, replicas: int = 0) -> Any:
    """Run a command on one node, whatever its part in the fleet; wait until so many replicas have what it wrote.

    Raises the library's errors.
    """
    with redis.Redis(unix_socket_path=str(node.socket), socket_timeout=10, retry=Retry(NoBackoff(), 0)) as client:
        reply = client.execute_command(*command)
        if replicas and client.wait(replicas, 5000) < replicas:
            raise TimeoutError(f"{command}: fewer than {replicas} replicas have it")
        return reply


class Sentinel(Valkey):
    """A sentinel that watches one master."""

    def __init__(self, master: Valkey) -> None:
        super().__init__(tcp=True)
        watched = (
            f"sentinel monitor {NAME} 127.0.0.1 {master.port} 2",
            f"sentinel down-after-milliseconds {NAME} {DOWN_MS}",
            f"sentinel failover-timeout {NAME} 3000",
            f"sentinel parallel-syncs {NAME} 1",
        )
        own = [f"{name} {self.options[name]}" for name in ("port", "bind", "unixsocket", "dir")]
        (self.folder / "conf").write_text("\n".join([*own, *watched, ""]))

    def command(self) -> list[str]:
        """A sentinel keeps what it learns in its file."""
        return [self.program, str(self.folder / "conf"), "--sentinel"]


class _Fleet:
    """What both kinds share. `nodes` hold data, as masters or replicas."""

    def __init__(self, count: int, options: Mapping[str, str], appendonly: bool) -> None:
        quick = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", "repl-timeout": "5"}
        self.nodes = [
            Valkey(tcp=True, appendonly=appendonly, fsync="everysec", options={**quick, **self._own(), **options})
            for _ in range(count)
        ]

    def _own(self) -> Mapping[str, str]:
        return {}

    @property
    def processes(self) -> Sequence[Valkey]:
        """All of the fleet, also those that do not run."""
        return self.nodes

    @property
    def url(self) -> str:
        """Where clients find it."""
        raise NotImplementedError

    def masters(self) -> list[Valkey]:
        """The nodes that say so of themselves; for a while after a promotion, the old one may, too."""
        return [node for node in self._running() if ask(node, "ROLE")[0] == b"master"]

    def replicas(self, master: Valkey) -> list[Valkey]:
        """The nodes that replicate this one."""
        own = [b"slave", b"127.0.0.1", master.port]
        return [node for node in self._running() if node is not master and ask(node, "ROLE")[:3] == own]

    def offset(self, node: Valkey) -> int:
        """How far its data goes, in bytes of the replication stream."""
        said = ask(node, "INFO", "replication")
        return int(said["master_repl_offset" if said["role"] == "master" else "slave_repl_offset"])

    @contextlib.contextmanager
    def lagging(self, master: Valkey) -> Iterator[Sequence[Valkey]]:
        """Freeze the replicas of this master and cut their links: within the block nothing that it writes reaches them.

        A frozen replica alone does not lag, because what its socket holds is read afterwards. Kill the master within
        the block: behind it a replica is promoted that knows nothing of the block. Yields the replicas.
        """
        behind = self.replicas(master)
        with contextlib.ExitStack() as frozen:
            for replica in behind:
                frozen.enter_context(replica.frozen())
            ask(master, "CLIENT", "KILL", "TYPE", "replica")
            yield behind

    def wait_until_healthy(self) -> None:
        """Until all that run have found each other, and each replica has what its master has."""
        wait_for(self._healthy, "a healthy fleet")

    def _healthy(self) -> bool:
        running, masters = self._running(), self.masters()
        links = [ask(node, "INFO", "replication") for node in running if node not in masters]
        return len(running) == len(masters) + len(links) and all(
            link["role"] == "slave" and link["master_link_status"] == "up" and not link["master_sync_in_progress"]
            for link in links
        )

    def _running(self) -> list[Valkey]:
        return [node for node in self.nodes if node.answers]

    def _node(self, port: int) -> Valkey:
        return next(node for node in self.nodes if node.port == port)

    def _join(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            for node in self.processes:
                node.start()
            self._join()
            self.wait_until_healthy()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End all processes and remove their folders."""
        for process in self.processes:
            process.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SentinelFleet(_Fleet):
    """One master, its replicas, three sentinels. `options` are those of the data's servers."""

    def __init__(
        self, *, replicas: int = 1, options: Mapping[str, str] | None = None, appendonly: bool = False
    ) -> None:
        super().__init__(1 + replicas, options or {}, appendonly)
        for replica in self.nodes[1:]:  # as an option, because a server that is started again must not be a master
            replica.options["replicaof"] = f"127.0.0.1 {self.nodes[0].port}"
        self.sentinels = [Sentinel(self.nodes[0]) for _ in range(3)]

    @property
    def processes(self) -> Sequence[Valkey]:
        """The data's servers, and the sentinels."""
        return [*self.nodes, *self.sentinels]

    @property
    def url(self) -> str:
        """All sentinels, the name, the database."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{NAME}/0"

    def master(self) -> Valkey:
        """The master as most sentinels say."""
        ports = sorted(self._told(sentinel) for sentinel in self.sentinels if sentinel.answers)
        return self._node(ports[len(ports) // 2])

    def failover(self) -> Valkey:
        """Have the sentinels promote a replica in order. Return it when all follow it.

        A sentinel that has not heard of the promotion yet may turn the new master back into a replica. Then all promote
        the old one again, and they are asked once more.
        """
        before, first = self.master(), self.sentinels[0]

        def promoted() -> bool:
            if self._told(first) == before.port:
                ask(first, "SENTINEL", "FAILOVER", NAME)  # an error while no replica is good enough, or it is under way
            return self._follow_another(before)

        wait_for(promoted, "a promotion in order")
        return self.master()

    def wait_for_promotion(self, before: Valkey) -> Valkey:
        """Wait until all sentinels name another master, and return it."""
        wait_for(lambda: self._follow_another(before), "a promotion")
        return self.master()

    def _follow_another(self, before: Valkey) -> bool:
        ports = {self._told(sentinel) for sentinel in self.sentinels if sentinel.answers}
        return len(ports) == 1 and before.port not in ports and self.master() in self.masters()

    def _told(self, sentinel: Valkey) -> int:
        return int(ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def _healthy(self) -> bool:
        if not super()._healthy() or len(self.masters()) != 1:
            return False
        running = [sentinel for sentinel in self.sentinels if sentinel.answers]
        states = [ask(sentinel, "SENTINEL", "MASTER", NAME) for sentinel in running]
        return all(
            int(state[b"num-other-sentinels"]) == len(self.sentinels) - 1
            and int(state[b"num-slaves"]) == len(self.nodes) - 1
            and state[b"flags"] == b"master"
            for state in states
        )

    def _join(self) -> None:
        """They find each other through the master; by default they look every two and every ten seconds."""
        for sentinel in self.sentinels:
            ask(sentinel, "SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200)


class ClusterFleet(_Fleet):
    """Masters that share the slots evenly, each with its replicas. Masters are the first nodes."""

    def __init__(
        self,
        *,
        masters: int = 3,
        replicas: int = 1,
        options: Mapping[str, str] | None = None,
        appendonly: bool = False,
    ) -> None:
        self._masters = masters
        super().__init__(masters * (1 + replicas), options or {}, appendonly)

    def _own(self) -> Mapping[str, str]:
        return {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(DOWN_MS),
            "cluster-port": str(free_port()),
            "cluster-allow-replica-migration": "no",
        }

    @property
    def url(self) -> str:
        """All nodes."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def master(self, key: str) -> Valkey:
        """The master of this key as most nodes say."""
        slot = key_slot(key.encode())
        ports = sorted(port for node in self._running() for first, last, port in _slots(node) if first <= slot <= last)
        return self._node(ports[len(ports) // 2])

    def failover(self, master: Valkey) -> Valkey:
        """Have a replica of this master take over in order. Return it when all nodes know."""
        ask(self.replicas(master)[0], "CLUSTER", "FAILOVER")
        return self.wait_for_promotion(master)

    def wait_for_promotion(self, before: Valkey) -> Valkey:
        """Wait until a replica has the slots of this master in the eyes of all nodes, and return it."""
        own = self.nodes.index(before) % self._masters
        group = {node.port for node in self.nodes[own :: self._masters]}

        def owners() -> set[int]:
            return {port for node in self._running() for *_, port in _slots(node) if port in group}

        wait_for(lambda: len(found := owners()) == 1 and before.port not in found, "a promotion")
        wait_for(lambda: all(_state(node)["cluster_state"] == "ok" for node in self._running()), "a healthy cluster")
        return self._node(owners().pop())

    def move_slot(self, key: str, target: Valkey, *, pause: float = 0.0) -> None:
        """Move the key's slot key by key, as `valkey-cli --cluster reshard` does; `pause` seconds after each key."""
        slot, source = key_slot(key.encode()), self.master(key)
        theirs, ours = (ask(node, "CLUSTER", "MYID") for node in (target, source))
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ours)
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", theirs)
        while keys := ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1):
            ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *keys)
            time.sleep(pause)
        for node in (target, source, *self.masters()):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", theirs)

    def _join(self) -> None:
        first = self.nodes[0]
        for number, node in enumerate(self.nodes[: self._masters]):
            bounds = (number * SLOTS // self._masters, (number + 1) * SLOTS // self._masters - 1)
            ask(node, "CLUSTER", "ADDSLOTSRANGE", *bounds)
        for node in self.nodes[1:]:
            ask(node, "CLUSTER", "MEET", "127.0.0.1", first.port, first.options["cluster-port"])
        wait_for(lambda: all(_knows(node, len(self.nodes)) for node in self.nodes), "all nodes to meet")
        for number, node in enumerate(self.nodes[self._masters :]):
            ask(node, "CLUSTER", "REPLICATE", ask(self.nodes[number % self._masters], "CLUSTER", "MYID"))

    def _healthy(self) -> bool:
        states = [_state(node) for node in self._running()]
        return (
            len(self.masters()) == self._masters
            and super()._healthy()
            and all(
                state["cluster_state"] == "ok"
                and int(state["cluster_known_nodes"]) == len(self.nodes)
                and int(state["cluster_slots_ok"]) == SLOTS
                for state in states
            )
        )


def _state(node: Valkey) -> dict[str, str]:
    lines = ask(node, "CLUSTER", "INFO").decode().split()
    return dict(line.split(":", 1) for line in lines)


def _knows(node: Valkey, count: int) -> bool:
    return int(_state(node)["cluster_known_nodes"]) == count


def _slots(node: Valkey) -> Iterator[tuple[int, int, int]]:
    """Yield the first and the last slot of each range, and the port of its master, as this node says."""
    for first, last, (_, port, *_), *_ in ask(node, "CLUSTER", "SLOTS"):
        yield first, last, port


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Ask every 20 ms, because no server tells. Errors of nodes that start or end count as no."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with contextlib.suppress(redis.RedisError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WAIT_SECONDS:.0f} s for {what}")
        time.sleep(0.02)
