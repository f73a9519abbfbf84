"""A thread that renews a worker's lease: an event loop busy with a page must not lose the worker's requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from crawler.incident import Incident


class Heartbeat:
    """Calls `beat(worker, info())` every `seconds` until stopped."""

    def __init__(
        self,
        beat: Callable[[str, Mapping[str, Any]], None],
        worker: str,
        seconds: float,
        info: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._beat = beat
        self._worker = worker
        self._seconds = seconds
        self._info = info
        self._stopped = threading.Event()
        self._away = Incident("heartbeat_fails")
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first beat comes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for a beat that is under way."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            try:
                self._beat(self._worker, self._info())
                self._away.over()
            except Exception as error:
                # Whatever it is: a thread that ends here would hand a living worker's requests to others.
                self._away.met(error)
            if self._stopped.wait(self._seconds):
                return
