"""A watch sees the queue again and again, whatever happens to it in between."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from crawler.app import watching
from crawler.app.watching import Watch
from crawler.errors import FrontierReplaced, FrontierUnavailable


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.0)


class Queue:
    """What there is to see, one look after the other; errors are raised."""

    def __init__(self, *looks: int | Exception) -> None:
        self._looks = iter(looks)

    async def look(self) -> int:
        seen = next(self._looks)
        if isinstance(seen, Exception):
            raise seen
        return seen


async def test_an_outage_is_passed_over_and_logged_once() -> None:
    watch = Watch(Queue(1, FrontierUnavailable("gone"), FrontierUnavailable("gone"), 0).look)
    with capture_logs() as lines:
        assert [await watch.next(), await watch.next()] == [1, 0]  # 0 is something that was seen
    assert [line["event"] for line in lines] == ["queue_server_away", "queue_server_away_over"]


async def test_a_server_that_was_replaced_ends_the_watch() -> None:
    with pytest.raises(FrontierReplaced):
        await Watch(Queue(FrontierReplaced("another")).look).next()
