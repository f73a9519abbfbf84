"""What a message says of the item in it, whatever the kind of queue."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from crawler.model import Job, OutboxEntry

JSON: Final = "application/json"


def id_of(job: Job, entry: OutboxEntry, number: int) -> str:
    """Return the id of an item of the entry (from 0): the same each time that it is sent, and of no other item."""
    return f"{job.epoch}.{entry.shard}.{entry.position}.{number}"


def about(job: Job, entry: OutboxEntry) -> dict[str, Any]:
    """Return where the item comes from."""
    return {"job": job.name, "spider": entry.spider, "url": entry.url}


def with_id(item: bytes, field: str, its_id: str) -> bytes:
    """Return the item with its id in that field. Raise `ValueError` if it has such a field."""
    if field.encode() in item and field in (fields := msgspec.json.decode(item)):
        kind = type(fields[field]).__name__
        raise ValueError(f"field {field} ({kind}): the item has one already; name another for the id with id=")
    comma = b"" if item == b"{}" else b","
    return b"%b%b%b:%b}" % (item[:-1], comma, msgspec.json.encode(field), msgspec.json.encode(its_id))
