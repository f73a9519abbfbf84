"""An event loop in a thread of its own, for code that cannot await: an interactive shell."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines one after the other, in one loop until the end of the `with`. Ctrl-C cancels the one that runs.

    It works where a loop runs already, as in IPython. Connections stay alive between two coroutines.
    """

    def __enter__(self) -> LoopThread:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="event loop", daemon=True)
        self._thread.start()
        return self

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run the coroutine to its end; return or raise what it does."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
