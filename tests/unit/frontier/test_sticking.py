"""How long a host is left to the process that asked it last."""

from __future__ import annotations

import pytest

from crawler.frontier.redis.sticking import AskedHosts
from crawler.interfaces import Pace
from crawler.model import Done, Lease, Request, Visit

PACE = Pace(delay=1.0, jitter=0.0)


@pytest.mark.parametrize(
    ("seconds", "named"), [(0.99, False), (1.0, True), (1.24, True), (1.26, False)], ids=lambda value: str(value)
)
def test_a_host_is_named_for_a_quarter_of_a_second_after_its_turn(seconds: float, named: bool) -> None:
    asked = AskedHosts()
    lease = Lease("news", Request("http://a.example/"), b"", "a.example")
    asked.note(0, [(lease, Visit(Done(), asked_at=100.0))], PACE)
    assert asked.due(0, PACE, 100.0 + seconds, 9) == ({"news": ["a.example"]} if named else {})
