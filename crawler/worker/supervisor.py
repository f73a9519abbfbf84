"""Starts and watches the worker processes, names the page that killed one, and starts another.

When a child ends by itself with a documented exit code (bad configuration, server replaced …), the supervisor stops
all children, because they would fail the same way. It replaces a child that ends in order, after RECYCLE_PAGES. When a
child dies in any other way, the supervisor blames its page, hands back its other requests, and starts a new child.
Children that die while they make a spider would go on for ever: after the third for one job, no child makes it again.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import structlog

from crawler import policy
from crawler.errors import Exit, FrontierError
from crawler.interfaces import Leases
from crawler.model import Dead, Failure, Lease, Retry
from crawler.runtime.patience import OUTAGE, Patience
from crawler.runtime.startup import STOP
from crawler.runtime.tasks import end
from crawler.runtime.tracebacks import told_stack
from crawler.worker.blame_slot import STACK_SIGNAL, Making, Page, Slot, Work
from crawler.worker.lease import LeaseClock, now
from crawler.worker.process import Preforked, Process, start_python

log = structlog.get_logger()

POLL_SECONDS = 0.25  # between checks of the slots
STACK_SECONDS = 0.5  # longest wait for the stack of a child that will be killed
STACK_POLLS = 10
LATE = 10.0  # seconds beyond the grace time after which the supervisor kills a child that has not ended
AWAITING = 1.0  # seconds more, in which the worker cancels a callback that only awaits
DEADLY = 3  # children that may die while they make a job's spider; then no child makes it again
FINAL_CODES = (Exit.USAGE, Exit.BROKEN, Exit.CONFIG)  # exit codes with which a new child would also end


class Child:
    """One worker process, with the slot and the lease that it shares with the supervisor."""

    def __init__(self, name: str, process: Process, slot: Slot, lease: LeaseClock) -> None:
        self.name = name
        self.process = process
        self.slot = slot
        self.lease = lease
        self.killed_for: Work | None = None
        self.is_late = False  # killed because it did not stop in time, or not end its requests before its lease ended
        self.beating: asyncio.Task[None] | None = None  # the last heartbeat that the supervisor sent for it
        self.started = time.monotonic()


class Supervisor:
    """Keeps worker processes running. `instructions(name, slot descriptor, deadly)` returns the line that a new
    child reads first; `deadly`: the spiders that it must not make, and why. The first children are the `preforked`."""

    def __init__(
        self,
        leases: Leases,
        instructions: Callable[[str, int, Mapping[Making, str]], bytes],
        preforked: Preforked,
        *,
        callback_seconds: float,
        grace_seconds: float,
        lease_seconds: float,
    ) -> None:
        """A callback that runs longer than `callback_seconds` is killed with its process; the worker itself cancels one
        that awaits."""
        self._leases = leases
        self._instructions = instructions
        self._preforked = preforked
        self._callback_seconds = callback_seconds
        self._grace = grace_seconds
        self._lease_seconds = lease_seconds
        self._beat_every = lease_seconds / 5
        self._children: list[Child] = []
        self._stops = 0  # number of calls of `stop`
        self.code_of_signal = 0  # the shell's exit code for the signal that stopped this process
        self._stopped = asyncio.Event()
        self._code = 0
        self._died_making: Counter[Making] = Counter()
        self._deadly: dict[Making, str] = {}

    async def run(self, processes: int) -> int:
        """Run until `stop()`. Returns the exit code: 0, or that of a child that could not go on."""
        self._preforked.keep(processes)
        keepers: list[asyncio.Task[None]] = []
        watching = asyncio.create_task(self._watch())
        try:
            while len(keepers) < processes and not self.stopping:
                keepers.append(asyncio.create_task(self._keep_one()))
                await asyncio.sleep(0)  # starting a process blocks: hear signals in between
            await asyncio.gather(*keepers)
        finally:
            for child in self._children:
                _signal(child, signal.SIGKILL)
            await end(watching, *keepers)
            await asyncio.gather(*(child.process.wait() for child in self._children))
        return self._code

    def stop(self, code: int = 0) -> None:
        """Tell the children to drain; the second call tells them to hand back at once."""
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
        """Keep one child running until `stop()`."""
        slot = Slot()
        delay = 0.0
        while not self.stopping:
            child = await self._start(slot)
            code = await self._wait_for(child)
            self._children.remove(child)
            if slot.has_ended:
                if self.stopping and code in (Exit.DONE, Exit.UNREACHABLE):
                    return  # it drained, or could not reach the server to begin
                if code in FINAL_CODES:
                    self.stop(code)
                    return
                if code == Exit.DONE:
                    log.info("worker_replaced", worker=child.name, why="it has visited RECYCLE_PAGES pages")
                    continue
            await self._clean_up(child, code)
            # After a child that died at once, wait before the next start.
            delay = 0.0 if time.monotonic() - child.started > 5 else min(5.0, delay * 2 + 0.2)
            await _first(self._stopped.wait(), delay)

    async def _start(self, slot: Slot) -> Child:
        slot.clear()
        name = worker_name()
        process = await self._preforked.take(slot.descriptor) or await start_python(slot.descriptor)
        child = Child(name, process, slot, LeaseClock(self._lease_seconds, slot.lease))
        self._children.append(child)
        _send(child, self._instructions(name, slot.descriptor, self._deadly) + self._stops * STOP)
        return child

    async def _wait_for(self, child: Child) -> int:
        """Wait for the child and return its exit code. Kill it if it does not end after `stop()` and the grace time."""
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
        """Kill a child whose callback does not return, and renew its lease until then.

        A regular expression may hold the interpreter for as long as it runs, which silences the child's own heartbeat.
        Other workers would reap its requests, and the guilty page would go to the next worker without blame. If the
        supervisor cannot renew the lease either, it kills the child, which ends the child's requests in time.
        """
        while True:
            await asyncio.sleep(POLL_SECONDS)
            for child in list(self._children):
                work = child.slot.read()
                if work is None or child.killed_for:
                    continue
                if work.seconds >= self._callback_seconds + AWAITING:
                    await self._kill_for(child, work)
                elif work.seconds >= self._beat_every:
                    self._keep_lease(child)

    async def _kill_for(self, child: Child, work: Work) -> None:
        child.killed_for = work
        _signal(child, STACK_SIGNAL)
        for _ in range(STACK_POLLS):
            await asyncio.sleep(STACK_SECONDS / STACK_POLLS)
            if child.slot.read_stack():
                break
        line, stack = told_stack(child.slot.read_stack())
        on = work.on
        what = {"url": on.lease.request.url} if isinstance(on, Page) else {"spider": on.spider}
        log.error("callback_never_returned", **what, seconds=round(work.seconds, 1), line=line, stack=stack)
        _signal(child, signal.SIGKILL)

    def _keep_lease(self, child: Child) -> None:
        if child.lease.left <= 0 and not child.is_late:
            child.is_late = True
            log.error("worker_does_not_yield", worker=child.name, why="killed: a page blocks it, lease not renewed")
            _signal(child, signal.SIGKILL)
        elif child.beating is None or child.beating.done():
            child.beating = asyncio.create_task(self._beat(child))  # as a task, because it may take long

    async def _beat(self, child: Child) -> None:
        began = now()
        with suppress(FrontierError):  # the queue server is away; the child lives on until its lease ends
            await asyncio.to_thread(self._leases.beat, child.name, {})
            child.lease.renewed(began)
        await asyncio.sleep(self._beat_every)

    async def _clean_up(self, child: Child, code: int) -> None:
        """Hand back the dead child's requests: the page that killed it by its spider's retry rules, the others
        unharmed."""
        # A page that was being parsed when a late child was killed is not to blame.
        work = None if child.is_late else child.killed_for or child.slot.read()
        on = work.on if work else None
        ran = "its making" if isinstance(on, Making) else "its callback"
        how = _how(code) if child.killed_for is None else f"{ran} ran for {self._callback_seconds:g} s"
        line, stack = told_stack(child.slot.read_stack())
        blame = None
        if isinstance(on, Making):
            log.error("worker_died", worker=child.name, how=how, while_making=on.spider, line=line)
            self._count_deadly(on, how, line)
        else:
            log.error("worker_died", worker=child.name, how=how, while_parsing=on.lease.request.url if on else None)
            failure = Failure("crash", f"killed its worker process {child.name}: {how}", traceback=stack, line=line)
            blame = _judged(on, failure) if on else None
        with suppress(*OUTAGE):  # stopped during an outage: the child's lease expires by itself
            await Patience().until_done(lambda: self._leases.reap(child.name, blame=blame), self._stopped)

    def _count_deadly(self, made: Making, how: str, line: str) -> None:
        self._died_making[made] += 1
        if self._died_making[made] >= DEADLY:
            at = f" at {line}" if line else ""
            self._deadly[made] = (
                f"spider {made.spider} ended {DEADLY} worker processes while it was made ({how}{at}); "
                "correct what its __init__ or open_spider does, then start this command again"
            )


def _judged(page: Page, failure: Failure) -> tuple[Lease, Retry | Dead]:
    """The page that killed its process, and its outcome: the same as for any other failure."""
    return page.lease, policy.after(failure, page.lease.attempt, page.retry, chance=random.random())


def worker_name() -> str:
    """A name that is unique in the fleet, and new for each start."""
    return f"{sibling_names()}{secrets.token_hex(3)}"


def sibling_names() -> str:
    """The prefix of the names of all workers that this process has started."""
    return f"{socket.gethostname()}:{os.getpid()}:"


def _send(child: Child, words: bytes) -> None:
    """Send words to the child, unless it has ended: then its exit code says why."""
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
    """Wait, and return whether the awaitable ended within that time."""
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True
