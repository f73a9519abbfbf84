"""What a message says of the item in it, whatever the kind of queue."""

from __future__ import annotations

from typing import Any, Final

from crawler.model import Job, OutboxEntry

JSON: Final = "application/json"


def id_of(job: Job, entry: OutboxEntry, number: int) -> str:
    """Return the id of an item of the entry (from 0): the same each time that it is sent, and of no other item."""
    return f"{job.epoch}.{entry.shard}.{entry.position}.{number}"


def about(job: Job, entry: OutboxEntry) -> dict[str, Any]:
    """Return where the item comes from."""
    return {"job": job.name, "spider": entry.spider, "url": entry.url}
