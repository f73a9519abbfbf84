"""What a process keeps of the robots.txt files of many origins: of each distinct file what concerns its agent, once."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from crawler.robots.file import AgentRules, Robots
from crawler.robots.patterns import RobotsRules

FILE_BYTES: Final = 250
"""Memory that a distinct file takes besides its text: the entries of two tables, and the strings' heads."""

STRING_BYTES: Final = 60
"""Memory that a string takes besides its characters."""


def bytes_of(strings: tuple[str, ...]) -> int:
    """Bytes of memory that the strings take."""
    return sum(map(len, strings)) + STRING_BYTES * len(strings)


class Rules(Struct, gc=False):
    """The rules of one or more files: most differ only in their Sitemap line."""

    text: str
    users: int = 0


class File(Struct, gc=False):
    """A robots.txt as one agent reads it. A user may hold it from `take` to `release`."""

    mark: bytes  # hash of its bytes
    rules: Rules
    delay: float | None  # seconds, as it asks for
    sitemaps: tuple[str, ...]  # the values of its Sitemap lines
    users: int = 0

    @property
    def size(self) -> int:
        """Bytes of memory, without those of the rules."""
        return FILE_BYTES + bytes_of(self.sitemaps)


class Files:
    """The files that are in use, and the rules of the last few ready for verdicts."""

    def __init__(self, agent: str, ready_bytes: int) -> None:
        """`agent`: the product token whose rules are kept. `ready_bytes`: of the texts of rules that are ready."""
        self.size = 0
        """Bytes of all files in use."""
        self._agent = agent
        self._files: dict[bytes, File] = {}
        self._rules: dict[str, Rules] = {}
        self._ready: OrderedDict[str, RobotsRules] = OrderedDict()  # by their texts, the last used last
        self._ready_bytes = ready_bytes
        self._ready_size = 0

    def take(self, body: bytes) -> File:
        """The file with these bytes, for one more user."""
        mark = blake2b(body, digest_size=16).digest()
        file = self._files.get(mark)
        if file is None:
            file = self._files[mark] = self._read(mark, body)
            self.size += file.size
        file.users += 1
        return file

    def release(self, file: File) -> None:
        """End one use of the file. The file is forgotten after its last use."""
        file.users -= 1
        if file.users:
            return
        del self._files[file.mark]
        self.size -= file.size
        file.rules.users -= 1
        if not file.rules.users:
            del self._rules[file.rules.text]
            self.size -= len(file.rules.text)

    def ready(self, file: File) -> RobotsRules:
        """The rules of a file, prepared for verdicts."""
        text = file.rules.text
        rules = self._ready.get(text)
        if rules is not None:
            self._ready.move_to_end(text)
            return rules
        rules = self._ready[text] = RobotsRules(text)
        self._ready_size += len(text)
        while self._ready_size > self._ready_bytes and len(self._ready) > 1:
            self._ready_size -= len(self._ready.popitem(last=False)[0])
        return rules

    def _read(self, mark: bytes, body: bytes) -> File:
        robots = Robots.parse(body)
        agent_rules = robots.rules_of(self._agent)
        return File(mark, self._shared(agent_rules), agent_rules.delay, robots.sitemaps)

    def _shared(self, agent_rules: AgentRules) -> Rules:
        rules = self._rules.get(agent_rules.rules)
        if rules is None:
            rules = self._rules[agent_rules.rules] = Rules(agent_rules.rules)
            self.size += len(rules.text)
        rules.users += 1
        return rules
