"""Items to a class of the user's own, in the exporter: `python:module:Class`.

It is a pipeline in Scrapy's shape (`open_spider`, `process_item`, `close_spider`), or has `write(items)`, and if it
likes `open` and `close`. All its methods run in one thread of their own. At least once: after a crash some items come
again, with the ids that they had.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from crawler.errors import ConfigError, OutputError, UnstorableItems
from crawler.export.sinks.elsewhere import check_here
from crawler.export.sinks.item_messages import id_of, with_id
from crawler.model import BadItem, Exported, Job, OutboxEntry
from crawler.runtime.components import takes_number
from crawler.runtime.safe_text import without_password
from crawler.runtime.tracebacks import error_in_words, told

log = structlog.get_logger()

_PASSING: Final = ("OperationalError", "InterfaceError")  # PEP 249: of the database's operation, of its interface


class Words(Struct, frozen=True):
    """The words behind a `?`."""

    id: str = ""  # a field in which each item gets its id


class Own(Struct, frozen=True):
    """What the project gives."""

    make: Callable[[], Any]  # makes the object; raises what the user's code raises, or `ConfigError` with that as cause
    spider: Callable[[str], Any]  # name → the spider, for methods that take one
    dropped: type[Exception]  # raised by `process_item` for an item that is not wanted


class UserClass:
    """Implements `Sink`. It keeps no position: the outbox does."""

    inode = 0

    def __init__(self, name: str, own: Own, words: Words, job: Job, *, append: bool = False) -> None:
        """`name`: as the user wrote it. `append`: also if earlier items of the job went elsewhere."""
        self.location = name
        self._own = own
        self._words = words
        self._job = job
        self._append = append
        self._object: Any = None
        self._done: set[str] = set()  # ids of a batch of which not all are written yet
        self._dropped = 0
        self._thread: ThreadPoolExecutor | None = None  # while it is open
        self._loop: asyncio.Runner | None = None  # for methods that are async

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Make the object and call its `open_spider` or `open`. Return no positions.

        Raises `ConfigError` if that raises, `OutputError` if what it raised may pass by itself or earlier items went
        elsewhere.
        """
        if not self._append:
            check_here(exported, self.location)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="output")
        await self._in_thread(self._open)
        log.info("output_at_least_once", output=self.location, why="after a crash some items come again")
        return {}

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Hand over the items, and return their number when the class has returned for all.

        Raises `OutputError` if it raised what may pass by itself: the rest is handed to a new object at the next call.
        Raises `ConfigError`, with the traceback, for any other exception.
        """
        number: int = await self._in_thread(self._write, entries)
        return number

    async def finish(self) -> None:
        """Say how many items the class has dropped."""
        if self._dropped:
            log.info("output_dropped", output=self.location, items=self._dropped, why="process_item raised DropItem")

    async def close(self) -> None:
        """Call `close_spider` or `close`; log what it raises."""
        if self._thread is None:
            return
        try:
            await self._in_thread(self._end)
        finally:
            self._thread.shutdown(wait=False)
            self._thread = None

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    # -----------------------------------------------------------------------------------------------------
    # in the thread

    def _open(self) -> None:
        try:
            self._object = self._own.make()
            self._call(("open_spider", "open"), self._own.spider(self._job.spider))
        except (Exception, SystemExit) as error:  # a user's code may fail in any way
            raise self._wrong(error) from error

    def _end(self) -> None:
        self._close()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _close(self) -> None:
        if self._object is None:
            return
        try:
            self._call(("close_spider", "close"), self._own.spider(self._job.spider))
        except (Exception, SystemExit) as error:
            line, trace = told(error)
            log.error("close_spider_failed", output=self.location, line=line, exception=without_password(trace))
        finally:
            self._object = None

    def _write(self, entries: Sequence[OutboxEntry]) -> int:
        items = list(self._items(entries))
        if self._object is None:
            self._open()
        try:
            if hasattr(self._object, "process_item"):
                for its_id, item, spider in items:
                    self._process(its_id, item, spider)
            elif items:
                self._settled(self._object.write([item for _, item, _ in items]))
        except (Exception, SystemExit) as error:
            wrong = self._wrong(error)
            self._close()
            raise wrong from error
        self._done.clear()
        return sum(1 for entry in entries for _ in entry.numbered())

    def _process(self, its_id: str, item: dict[str, Any], spider: str) -> None:
        method = self._object.process_item
        try:
            self._settled(method(item, self._own.spider(spider)) if takes_number(method, 2) else method(item))
        except self._own.dropped:
            self._dropped += 1
        self._done.add(its_id)

    def _call(self, names: Sequence[str], spider: Any) -> None:
        method = next((found for name in names if (found := getattr(self._object, name, None))), None)
        if method is not None:
            self._settled(method(spider) if takes_number(method, 1) else method())

    def _settled(self, given: Any) -> None:
        """Wait for what an async method gave."""
        if inspect.isawaitable(given):
            self._loop = self._loop or asyncio.Runner()
            self._loop.run(_awaited(given))

    def _items(self, entries: Sequence[OutboxEntry]) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Yield id, item and spider of those that are not done. Raise `UnstorableItems`."""
        bad = []
        for entry in entries:
            for number, item in entry.numbered():
                its_id = id_of(self._job, entry, number)
                try:
                    line = with_id(item, self._words.id, its_id) if self._words.id else item
                except ValueError as error:
                    bad.append(BadItem(entry.shard, entry.position, number, f"{self.location}: {error}"))
                    continue
                if its_id not in self._done:
                    yield its_id, msgspec.json.decode(line), entry.spider
        if bad:
            raise UnstorableItems(bad)

    def _wrong(self, error: BaseException) -> OutputError | ConfigError:
        """Return what to raise for an exception of the user's code."""
        cause = error.__cause__ if isinstance(error, ConfigError) and error.__cause__ else error
        rest = "what is not written stays in the outbox"
        words = without_password(str(error) if cause is not error else error_in_words(error))
        if _may_pass(cause):
            return OutputError(f"{self.location}: {words}; {rest}")
        if isinstance(cause, ConfigError):  # no bug, and it names its place
            return ConfigError(f"{self.location}: {without_password(str(cause))}; {rest}")
        _, trace = told(cause)
        return ConfigError(f"{self.location}: {words}; {rest}\n{without_password(trace).rstrip()}")


def _may_pass(error: BaseException) -> bool:
    """Return whether the same call may succeed later: the disk, the network, a database that is away or locked."""
    return isinstance(error, OSError) or any(one.__name__ in _PASSING for one in type(error).__mro__)


async def _awaited(given: Any) -> None:
    await given
