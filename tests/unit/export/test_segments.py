"""The names of segments in an object store: they are the position, and they make a chain."""

from __future__ import annotations

import pytest

from crawler.export.sinks.segments import Segment, chain, named, read

POSITIONS = [{}, {0: "0-1"}, {0: "1732280000000-3", 1: "5-17"}, {3: f"{2**63}-{2**63}", 12: "1-0"}]
ENDINGS = [".jsonl", ".jsonl.gz", ".parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("positions", POSITIONS[1:])
def test_a_name_says_all(positions: dict[int, str], ending: str) -> None:
    segment = named(7, "6f1c2a9d0b3e4f58", {}, positions, ending)
    assert read(segment.name) == segment
    assert segment.name.endswith(ending)
    assert segment.positions == positions


def test_names_grow_in_their_order() -> None:
    names = [named(number, "e", {}, {0: f"{number}-0"}, ".jsonl").name for number in (1, 2, 10, 999_999)]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "name", ["", "part-000001-e1.parquet", "mine.jsonl", "part-1-e-12345678-0.1.1.jsonl", "_SUCCESS"]
)
def test_other_names_are_none_of_ours(name: str) -> None:
    assert read(name) is None


def follow(number: int, before: Segment | None, end: int) -> Segment:
    return named(number, "e", before.positions if before else {}, {0: f"{end}-0"}, ".jsonl")


def test_the_chain_has_one_segment_of_each_number() -> None:
    first, late = follow(1, None, 10), follow(1, None, 7)
    second = follow(2, first, 20)
    for several in ([first, late, second], [late, second, first]):
        assert chain(several, {}) == [second, first]
        assert chain(several, {0: "15-0"}) == [second, first]
    assert chain([late, first], {0: "10-0"}) == [first]
    assert chain([late, first], {0: "7-0"})[0] in (late, first)
    assert chain([], {}) == []


def test_an_end_that_nobody_has_reached_ends_the_chain_all_the_same() -> None:
    assert chain([follow(1, None, 7)], {0: "10-0"}) == [follow(1, None, 7)]
