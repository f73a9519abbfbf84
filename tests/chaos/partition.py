"""A queue server's machine that can be cut off: a network namespace of its own, in which commands run, too.

Two links lead there. One can be cut, and behind it are the other queue servers; the other leads to the web that is
crawled. So who is cut off goes on with what its own queue server hands out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.valkey import Valkey
from tests.valkey_fleet import NAME, Sentinel, ask, wait_for

HERE, THERE = "10.213.0.1", "10.213.0.2"
WEB = "10.214.1.{}"  # the hosts of the site

is_possible = os.geteuid() == 0 and shutil.which("ip") is not None


@dataclass(frozen=True)
class Partition:
    """The namespace."""

    name: str

    @property
    def wrapper(self) -> Sequence[str]:
        """Of commands that run there."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """Nothing arrives on either side, and nothing is refused."""
        _ip("link", "set", f"{self.name}a", "down")

    def heal(self) -> None:
        """As before."""
        _ip("link", "set", f"{self.name}a", "up")


@contextmanager
def partition(hosts: int) -> Iterator[Partition]:
    """Make the namespace; the site has so many hosts."""
    name = f"cut{os.getpid()}"
    with ExitStack() as undo:
        _ip("netns", "add", name)
        undo.callback(_ip, "netns", "del", name)
        # a bridge, because a link that is down takes its addresses with it
        for letter, here, there in (("a", f"{HERE}/24", f"{THERE}/24"), ("b", "10.214.1.254/24", "10.214.1.253/24")):
            bridge, link, far = f"{name}{letter}0", f"{name}{letter}", f"{name}{letter}1"
            _ip("link", "add", bridge, "type", "bridge")
            undo.callback(_ip, "link", "del", bridge)
            _ip("link", "add", link, "type", "veth", "peer", "name", far, "netns", name)
            undo.callback(_ip, "link", "del", link)  # a namespace takes its time to go, and keeps the link until then
            _ip("link", "set", link, "master", bridge, "up")
            _ip("link", "set", bridge, "up")
            _ip("addr", "add", here, "dev", bridge)
            _ip("-n", name, "addr", "add", there, "dev", far)
            _ip("-n", name, "link", "set", far, "up")
        for number in range(1, hosts + 1):
            _ip("addr", "add", f"{WEB.format(number)}/32", "dev", f"{name}b0")
        _ip("-n", name, "link", "set", "lo", "up")
        yield Partition(name)


class _There(Valkey):
    """A server in the namespace."""

    def __init__(self, there: Partition, options: dict[str, str]) -> None:
        super().__init__(tcp=True, appendonly=True, options={**options, "bind": THERE})
        self._wrapper = there.wrapper

    def command(self) -> list[str]:
        """By way of the namespace."""
        return [*self._wrapper, *super().command()]


class _SentinelHere(Sentinel):
    """A sentinel on our side, of a master on the other."""

    def __init__(self, master: Valkey) -> None:
        super().__init__(master)
        conf = self.folder / "conf"
        conf.write_text(
            conf.read_text().replace(f"monitor {NAME} 127.0.0.1", f"monitor {NAME} {THERE}").replace("127.0.0.1", HERE)
            + "protected-mode no\n"
        )


class CutOff:
    """A master on the other side; its two replicas and three sentinels on ours. What `Theatre` needs of a fleet."""

    def __init__(self, there: Partition) -> None:
        options = {"repl-diskless-sync-delay": "0", "repl-timeout": "5", "protected-mode": "no"}
        self.master = _There(there, options)
        replicaof = {"bind": HERE, "replicaof": f"{THERE} {self.master.port}"}
        self.replicas = [Valkey(tcp=True, appendonly=True, options={**options, **replicaof}) for _ in range(2)]
        self.sentinels = [_SentinelHere(self.master) for _ in range(3)]
        self.nodes = [self.master, *self.replicas]

    @property
    def url(self) -> str:
        """All sentinels, the name, the database."""
        return f"redis+sentinel://{','.join(f'{HERE}:{one.port}' for one in self.sentinels)}/{NAME}/0"

    def wait_for_promotion(self) -> None:
        """Wait until a replica is the master, though the old one says so, too."""
        wait_for(lambda: any(ask(replica, "ROLE")[0] == b"master" for replica in self.replicas), "a promotion")

    def wait_for_demotion(self) -> None:
        """Wait until the old master is a replica."""
        wait_for(lambda: ask(self.master, "ROLE")[0] == b"slave", "a demotion")

    def __enter__(self) -> CutOff:
        for server in (*self.nodes, *self.sentinels):
            server.start()
        for sentinel in self.sentinels:
            ask(sentinel, "SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200)
        wait_for(self._is_ready, "a replica and three sentinels")
        return self

    def _is_ready(self) -> bool:
        states = [ask(sentinel, "SENTINEL", "MASTER", NAME) for sentinel in self.sentinels]
        links = [ask(replica, "INFO", "replication")["master_link_status"] for replica in self.replicas]
        return links == ["up", "up"] and all(
            (int(state[b"num-other-sentinels"]), int(state[b"num-slaves"])) == (2, 2) for state in states
        )

    def __exit__(self, *error: object) -> None:
        for server in (*self.nodes, *self.sentinels):
            server.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
