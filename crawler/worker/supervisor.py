"""One worker process a core: starts them, watches them, names the page that killed one, starts another.

A child that ends by itself with a documented exit code (bad configuration, server replaced …) ends all: its
siblings would fail the same way. One that dies any other way is replaced, its page blamed, the rest handed back.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from crawler import policy
from crawler.errors import Exit, FrontierError
from crawler.interfaces import Leases
from crawler.model import Dead, Failure, Lease, Retry
from crawler.runtime.patience import OUTAGE, Patience
from crawler.runtime.startup import FOR_THE_SUPERVISOR, STOP
from crawler.runtime.tasks import end
from crawler.worker.blame_slot import Page, Parsing, Slot
from crawler.worker.lease import LeaseClock, now

log = structlog.get_logger()

LOOK = 0.25  # seconds between looks at the slots
LATE = 10.0  # seconds beyond the grace time after which a child that does not end is killed
FINAL_CODES = (Exit.USAGE, Exit.BROKEN, Exit.CONFIG)  # of a child that another one would end with as well


class Child:
    """One worker process, and the slot and lease it shares with us."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, slot: Slot, lease: LeaseClock) -> None:
        self.name = name
        self.process = process
        self.slot = slot
        self.lease = lease
        self.killed_for: Parsing | None = None
        self.is_late = False  # killed because it did not end in time: when it was told to, or its requests when it must
        self.beating: asyncio.Task[None] | None = None  # the last beat that we sent for it
        self.started = time.monotonic()


class Supervisor:
    """`orders(name, slot descriptor)` gives the line that a new child reads from its standard input."""

    def __init__(
        self,
        leases: Leases,
        orders: Callable[[str, int], bytes],
        *,
        callback_seconds: float,
        grace_seconds: float,
        lease_seconds: float,
    ) -> None:
        """A callback that holds its process longer than `callback_seconds` is killed with it."""
        self._leases = leases
        self._orders = orders
        self._callback_seconds = callback_seconds
        self._grace = grace_seconds
        self._lease_seconds = lease_seconds
        self._beat_every = lease_seconds / 5
        self._children: list[Child] = []
        self._stops = 0  # how often we were told
        self.code_of_signal = 0  # what a shell would call the signal that stopped us
        self._stopped = asyncio.Event()
        self._code = 0

    async def run(self, processes: int) -> int:
        """Until `stop()`. Returns the exit code: 0, or that of a child that could not go on."""
        keepers = [asyncio.create_task(self._keep_one()) for _ in range(processes)]
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.gather(*keepers)
        finally:
            for child in self._children:
                _signal(child, signal.SIGKILL)
            await end(watching, *keepers)
            await asyncio.gather(*(child.process.wait() for child in self._children))
        return self._code

    def stop(self, code: int = 0) -> None:
        """Tell the children to drain; called again: to hand back at once."""
        self._stops += 1
        self._code = self._code or code
        self._stopped.set()
        for child in self._children:
            _send(child, STOP)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stops > 0

    async def _keep_one(self) -> None:
        """Keep one child alive until we stop."""
        slot = Slot()
        delay = 0.0
        while not self.stopping:
            child = await self._start(slot)
            code = await self._wait_for(child)
            self._children.remove(child)
            if self.stopping and code in (Exit.DONE, Exit.UNREACHABLE):
                return  # as it was told, or before it had begun
            if code in FINAL_CODES:
                self.stop(code)
                return
            await self._clean_up(child, code)
            # A child that dies at once is not started again at once.
            delay = 0.0 if time.monotonic() - child.started > 5 else min(5.0, delay * 2 + 0.2)
            await _first(self._stopped.wait(), delay)

    async def _start(self, slot: Slot) -> Child:
        slot.clear()
        name = worker_name()
        process = await _process(slot.descriptor)
        child = Child(name, process, slot, LeaseClock(self._lease_seconds, slot.lease))
        self._children.append(child)
        _send(child, self._orders(name, slot.descriptor) + b"\n" + self._stops * STOP)
        return child

    async def _wait_for(self, child: Child) -> int:
        """Its exit code. One that does not end after being told to, grace and all, is killed."""
        waiting = asyncio.ensure_future(child.process.wait())
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not waiting.done() and not await _first(asyncio.shield(waiting), self._grace + LATE):
            log.error("worker_does_not_end", worker=child.name)
            child.is_late = True
            _signal(child, signal.SIGKILL)
        return await waiting

    async def _watch(self) -> None:
        """Kill a child whose callback never returns, and until then keep its lease.

        A regular expression may hold the interpreter for as long as it runs, so that the child's own heartbeat is
        silent. Others would reap what it holds, and the page that is to blame would go to the next worker, unblamed.
        When we cannot keep the lease either, killing it is what ends its requests in time.
        """
        while True:
            await asyncio.sleep(LOOK)
            for child in list(self._children):
                parsing = child.slot.read()
                if parsing is None or child.killed_for:
                    continue
                if parsing.seconds >= self._callback_seconds:
                    self._kill_for(child, parsing)
                elif parsing.seconds >= self._beat_every:
                    self._keep_lease(child)

    def _kill_for(self, child: Child, parsing: Parsing) -> None:
        child.killed_for = parsing
        log.error("callback_never_returned", url=parsing.page.lease.request.url, seconds=round(parsing.seconds, 1))
        _signal(child, signal.SIGKILL)

    def _keep_lease(self, child: Child) -> None:
        if child.lease.left <= 0 and not child.is_late:
            child.is_late = True
            log.error("worker_does_not_yield", worker=child.name, why="busy with a page, its lease not renewed: killed")
            _signal(child, signal.SIGKILL)
        elif child.beating is None or child.beating.done():
            child.beating = asyncio.create_task(self._beat(child))  # it may take long, and others must be watched

    async def _beat(self, child: Child) -> None:
        began = now()
        with suppress(FrontierError):  # the queue server is away; the lease says for how long
            await asyncio.to_thread(self._leases.beat, child.name, {})
            child.lease.renewed(began)
        await asyncio.sleep(self._beat_every)

    async def _clean_up(self, child: Child, code: int) -> None:
        """Hand back what the dead child held: the page it died of by its spider's rules, the others unharmed."""
        # A page that was still at work when we had to stop is no poison.
        parsing = None if child.is_late else child.killed_for or child.slot.read()
        how = _how(code) if child.killed_for is None else f"its callback ran for {self._callback_seconds:g} s"
        url = parsing.page.lease.request.url if parsing else None
        log.error("worker_died", worker=child.name, how=how, while_parsing=url)
        failure = Failure("crash", f"killed its worker process {child.name}: {how}")
        blame = _judged(parsing.page, failure) if parsing else None
        with suppress(*OUTAGE):  # we stop during an outage: the child's lease expires by itself
            await Patience().until_done(lambda: self._leases.reap(child.name, blame=blame), self._stopped)


def _judged(page: Page, failure: Failure) -> tuple[Lease, Retry | Dead]:
    """The page that killed its process, and what becomes of it: the same as of a page that fails in any other way."""
    return page.lease, policy.after(failure, page.lease.attempt, page.retry, chance=random.random())


def worker_name() -> str:
    """Unique in the fleet, and new for each start."""
    return f"{sibling_names()}{secrets.token_hex(3)}"


def sibling_names() -> str:
    """How the names of all workers begin that this process has started."""
    return f"{socket.gethostname()}:{os.getpid()}:"


async def _process(slot: int) -> asyncio.subprocess.Process:
    """A process that waits for its orders. It inherits the blocked signals, and unblocks them when it ignores them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_SUPERVISOR)
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crawler.app.child", stdin=asyncio.subprocess.PIPE, pass_fds=(slot,)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_SUPERVISOR)


def _send(child: Child, words: bytes) -> None:
    """If it is gone its exit code will say why."""
    if child.process.stdin is not None and child.process.returncode is None:
        child.process.stdin.write(words)


def _signal(child: Child, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        child.process.send_signal(number)


def _how(code: int) -> str:
    if code < 0:
        return f"signal {-code} ({signal.strsignal(-code)})"
    return f"exit code {code}"


async def _first(waiting: Awaitable[object], seconds: float) -> bool:
    """Whether it came to an end within that time."""
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True
