"""Shared values that are asked for in one turn of the event loop are read by one command."""

from __future__ import annotations

import asyncio

from redis.exceptions import ConnectionError as Lost

from crawler.errors import FrontierError
from crawler.frontier.memory.server import MemoryServer
from crawler.frontier.redis.asking import RedisAsking


class Watched(MemoryServer):
    """Notes its commands; fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[str] = []
        self.is_away = False

    async def execute(self, *command: object) -> object:
        self.commands.append(str(command[0]))
        if self.is_away:
            raise Lost
        return await super().execute(*command)


async def test_one_command_for_each_shard() -> None:
    server = Watched()
    asking = RedisAsking(server, ["{a}:", "{b}:"])
    for number in range(9):
        await asking.put_shared(f"k{number}", b"%d" % number, 60.0)
    server.commands.clear()
    values = await asyncio.gather(*(asking.get_shared(f"k{number}") for number in range(9)))
    assert values == [b"%d" % number for number in range(9)]
    assert server.commands == ["MGET", "MGET"]
    assert await asking.get_shared("k1") == b"1"
    assert server.commands == ["MGET"] * 3


async def test_all_hear_of_an_outage_and_the_next_ask_again() -> None:
    server = Watched()
    asking = RedisAsking(server, ["{a}:"])
    server.is_away = True
    answers = await asyncio.gather(*(asking.get_shared(f"k{n}") for n in range(3)), return_exceptions=True)
    assert len(answers) == 3
    assert all(isinstance(answer, FrontierError) for answer in answers)
    server.is_away = False
    assert await asking.get_shared("k1") is None
