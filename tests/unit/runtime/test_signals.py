"""Which signals drain, which is the second one, and which is none of ours: real signals to this very process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence

import pytest

from crawler.errors import ConfigError
from crawler.runtime.signals import Interrupted, draining, run

HUP, INT, TERM = signal.SIGHUP, signal.SIGINT, signal.SIGTERM


class Crew:
    """Stands in for a supervisor, and counts."""

    def __init__(self) -> None:
        self.stops: list[int] = []
        self.code_of_signal = 0

    @property
    def stopping(self) -> bool:
        return bool(self.stops)

    def stop(self, code: int = 0) -> None:
        self.stops.append(code)


@pytest.fixture(autouse=True)
def survived() -> Iterator[None]:
    """These tests outlive a signal that nobody heeds, and leave all as it was."""
    before = {number: signal.signal(number, lambda *_: None) for number in (HUP, INT, TERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


async def told(crew: Crew, numbers: Sequence[signal.Signals]) -> None:
    """Send them one after the other."""
    with draining(crew):
        for number in numbers:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)  # through the loop's own pipe: a round or two


@pytest.mark.parametrize(
    ("numbers", "stops", "code"),
    [
        ([TERM], [0], 143),
        ([HUP], [0], 129),
        ([TERM, TERM], [0, 143], 143),
        ([INT, TERM], [0, 143], 130),
        ([TERM, HUP], [0], 143),
        ([HUP, HUP], [0], 129),
        ([HUP, TERM], [0], 129),
        ([HUP, TERM, TERM], [0, 143], 129),
        ([TERM, HUP, INT], [0, 130], 143),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else str(value),
)
async def test_the_first_drains_and_a_second_hands_back_but_sighup_is_never_the_second(
    numbers: list[signal.Signals], stops: list[int], code: int
) -> None:
    crew = Crew()
    await told(crew, numbers)
    assert (crew.stops, crew.code_of_signal) == (stops, code)


async def test_who_was_started_to_ignore_sighup_goes_on_ignoring_it() -> None:
    signal.signal(HUP, signal.SIG_IGN)
    crew = Crew()
    await told(crew, [HUP])
    assert crew.stops == []
    assert signal.getsignal(HUP) is signal.SIG_IGN


@pytest.mark.parametrize(("number", "code"), [(HUP, 129), (INT, 130), (TERM, 143)])
def test_where_nothing_drains_a_signal_ends_all_tasks_also_those_that_lose_a_cancellation(
    number: signal.Signals, code: int
) -> None:
    cancelled = []

    async def deaf() -> None:
        for time in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(time)
                if time:
                    raise

    async def main() -> None:
        aside = asyncio.create_task(deaf())
        os.kill(os.getpid(), number)
        await asyncio.wait({aside})

    with pytest.raises(Interrupted) as interrupted:
        run(main())
    assert interrupted.value.exit_code == code
    assert cancelled == [0, 1]


def test_what_was_run_to_its_end_is_returned() -> None:
    async def main() -> str:
        return "done"

    assert run(main()) == "done"


def test_a_task_that_ends_the_process_does_not_choose_the_exit_code_of_the_command() -> None:
    async def leave() -> None:
        sys.exit(0)

    async def main() -> None:
        leaving = asyncio.create_task(leave())
        try:
            await asyncio.wait({leaving})
        finally:
            leaving.exception()  # otherwise it is logged when the task is freed, in the midst of another test

    with pytest.raises(ConfigError, match=r"SystemExit: 0 \(.*test_signals.py:\d+\)"):
        run(main())
