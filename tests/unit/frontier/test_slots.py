"""Which node has which slots, and where the shards of a cluster lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError

from crawler.frontier.redis.address import read
from crawler.frontier.redis.keys import SLOTS, absent_beside, several, spread
from crawler.frontier.redis.slots import Map, Node, Slots, named

A, B, C = (("10.0.0.1", 1), ("10.0.0.1", 2), ("::1", 3))


def of(*masters: Node) -> Map:
    """Equal ranges."""
    ranges = [(SLOTS * number // len(masters) - 1, master) for number, master in enumerate(masters, 1)]
    return Map(ranges, masters)


def test_a_slot_has_the_master_of_its_range() -> None:
    found = of(A, B)
    half = SLOTS // 2
    assert [found.of_slot(slot) for slot in (0, half - 1, half, SLOTS - 1)] == [A, A, B, B]
    assert found.masters == [A, B]


def test_a_slot_of_nobody_leads_to_some_master_which_will_say_so() -> None:
    assert Map([(99, A)], [A]).of_slot(SLOTS - 1) == A


def test_all_keys_of_a_shard_have_the_master_of_their_tag() -> None:
    found = of(A, B, C)
    for number in range(50):
        tag = f"{{crawler:{number}}}"
        masters = {found.of_key(f"{tag}:{rest}") for rest in ("", "id", "host:a{b}c", "job:news:stats")}
        assert masters == {found.of_slot(key_slot(tag.encode()))}


def test_masters_gain_what_others_had() -> None:
    before, after = of(A, B), of(C, B)
    assert after.gained(before) == set(), "no key was used yet"
    used = {before.of_key(f"{{crawler:{number}}}:") for number in range(20)}
    assert used == {A, B}
    assert after.gained(before) == {C}
    assert before.gained(before) == set()


@pytest.mark.parametrize("masters", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("each", [1, 2, 4])
@pytest.mark.parametrize("prefix", ["crawler", "t12", "shop"])
def test_masters_have_equally_many_shards(masters: int, each: int, prefix: str) -> None:
    shards = spread(prefix, masters * each)
    nodes = [("10.0.0.1", number) for number in range(masters)]
    found = of(*nodes)
    assert len(set(shards)) == masters * each
    assert Counter(map(found.of_key, shards)) == dict.fromkeys(nodes, each)


def test_the_first_shard_is_found_before_their_number_is_known() -> None:
    assert {spread("crawler", shards)[0] for shards in (1, 6, 40)} == {"{crawler:0}:"} == {several("crawler", 3)[0]}


def test_the_absent_key_lies_beside_its_key() -> None:
    assert absent_beside("{crawler:7}:job:news:host:a}b") == "{crawler:7}:absent"


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_a_node_that_failed_is_asked_last_for_the_map(kind: str) -> None:
    """It may be cut off from the others, and wrong about who is the master."""
    asked: list[int] = []

    def pool(options: Mapping[str, Any]) -> NoReturn:
        asked.append(options["port"])
        raise ConnectionError("nobody is there")

    slots = Slots(read(f"redis+{kind}://h:1,h:2,h:3,h:4/{'name' * (kind == 'sentinel')}"), pool, {})
    for _ in range(20):
        assert slots.try_to_look(("h", 3)) == "nobody is there"
        assert sorted(asked) == [1, 2, 3, 4]
        assert asked.pop() == 3
        asked.clear()


def test_nodes_are_named_as_in_a_url() -> None:
    assert (named(A), named(C)) == ("10.0.0.1:1", "[::1]:3")
