"""A thread that renews a worker's lease, also while a page occupies the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from crawler.runtime.incident import Incident
from crawler.worker.lease import now


class Heartbeat:
    """Calls `beat(worker, info())` every `seconds` until stopped, and `renewed(began)` after each success."""

    def __init__(
        self,
        beat: Callable[[str, Mapping[str, Any]], None],
        worker: str,
        seconds: float,
        info: Callable[[], Mapping[str, Any]],
        renewed: Callable[[float], None],
    ) -> None:
        """`began` is the time of the call by `lease.now`. The server renewed the lease at that time or later."""
        self._beat = beat
        self._worker = worker
        self._seconds = seconds
        self._info = info
        self._renewed = renewed
        self._stopped = threading.Event()
        self._away = Incident("heartbeat_fails")
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread; it sends the first heartbeat at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, after at most ten seconds for a heartbeat under way."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            began = now()
            try:
                self._beat(self._worker, self._info())
                self._renewed(began)
                self._away.over()
            except Exception as error:
                # Any error: if the thread ended, other workers would get the requests of a living worker.
                self._away.met(error)
            if self._stopped.wait(self._seconds):
                return
