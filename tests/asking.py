"""Ask gates whose backend is the memory of this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from crawler.robots.gate import RobotsGate, Verdict
from crawler.testing.contract import asking
from tests.memory import MemoryFrontier


async def ask_all(gates: Sequence[RobotsGate], url: str, job: str | None = None) -> list[Verdict]:
    """What each gate says of the page at the same moment; then their leases end."""
    return await asking.ask_all(cast(MemoryFrontier, gates[0]._asking).backend, gates, url, job)


async def ask(gate: RobotsGate, url: str, job: str | None = None) -> Verdict:
    """What one gate says."""
    return (await ask_all([gate], url, job))[0]
