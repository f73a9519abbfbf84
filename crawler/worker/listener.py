"""Side task of a worker process: receives broadcasts, obeys the rules for the process, and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from crawler.interfaces import Broadcasts
from crawler.model import Broadcast
from crawler.runtime.patience import Patience

log = structlog.get_logger()

OK = "OK"


class Listener:
    """Answers broadcasts, and sets the log level: the one rule that no claim applies."""

    def __init__(
        self,
        broadcasts: Broadcasts,
        worker: str,
        answers: Mapping[str, Callable[[], Any]],
        set_level: Callable[[str], None],
    ) -> None:
        """`answers`: question → function that returns the answer, to be sent as JSON. `set_level("")` restores the
        level of the settings."""
        self._broadcasts = broadcasts
        self._worker = worker
        self._answers = answers
        self._set_level = set_level
        self._level = ""
        self._heard = ""  # id of the last broadcast that it answered

    async def run(self) -> None:
        """Listen until cancelled."""
        patience = Patience()
        while True:
            await patience.until_done(self._listen)

    async def _listen(self) -> None:
        if not self._heard:
            heard = await self._broadcasts.last_broadcast()
            await self._obey()  # rules that were set before this process started
            self._heard = heard
        for broadcast in await self._broadcasts.hear(self._heard):
            await self._broadcasts.answer(broadcast.id, self._worker, await self._reply(broadcast))
            self._heard = broadcast.id

    async def _reply(self, broadcast: Broadcast) -> str:
        if broadcast.word == "rule":
            await self._obey()
            return OK
        if broadcast.word in self._answers:
            return msgspec.json.encode(self._answers[broadcast.word]()).decode()
        return f"does not know {broadcast.word!r}"  # the command is newer than this worker

    async def _obey(self) -> None:
        levels = [rule.value for rule in await self._broadcasts.rules() if rule.action == "log-level"]
        level = levels[0] if levels else ""
        if level != self._level:
            self._level = level
            self._set_level(level)
            log.info("log_level", level=level or "as in the settings")
