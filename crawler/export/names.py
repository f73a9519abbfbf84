"""The names of outputs, with Scrapy's placeholders: `%(name)s` (the spider), `%(time)s`, `%(batch_id)d` …"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from crawler.errors import UsageError
from crawler.model import DEFAULT_SPIDER, Job

BATCH = ("batch_id", "batch_time")
_PLACE = re.compile(r"%\((\w+)\)(0?\d*[sd])")


def of_job(name: str, job: Job) -> str:
    """Fill in what is known of a job, the same each time: `name`, `job` and `time`, when the job was created. Leave
    the placeholders of batches as they are. Raise `UsageError` for any other."""
    known = {"name": job.spider or DEFAULT_SPIDER, "job": job.name, "time": _time(job.created)}
    return _filled(name, {place: value.replace("/", "-") for place, value in known.items()})


def of_one(name: str, job: Job) -> str:
    """Do the same for an output that does not begin anew. Raise `UsageError` for placeholders of batches as well."""
    filled = of_job(name, job)
    if is_of_batches(filled):
        raise UsageError(f"{name}: only files of items follow one another; leave %(batch_id)d and %(batch_time)s out")
    return filled


def of_batch(name: str, number: int, began: float) -> str:
    """Fill in the number of a batch, and when it began (Unix seconds)."""
    return _filled(name, {"batch_id": number, "batch_time": _time(began)})


def of_batches(name: str) -> str:
    """Return a name that stands for all batches."""
    return _PLACE.sub("batches", name)


def is_of_batches(name: str) -> bool:
    """Return whether the name differs from batch to batch."""
    return any(place in BATCH for place, _ in _PLACE.findall(name))


def _filled(name: str, known: Mapping[str, str | int]) -> str:
    return _PLACE.sub(lambda match: _value(name, match, known), name)


def _value(name: str, match: re.Match[str], known: Mapping[str, str | int]) -> str:
    place, form = match.groups()
    if place in known:
        try:
            return f"%{form}" % known[place]
        except TypeError:
            raise UsageError(f"{name}: %({place}) is a text: write %({place})s") from None
    if place in BATCH:
        return match.group()
    raise UsageError(f"{name}: there is no %({place}){form}; there are %(name)s, %(job)s, %(time)s and %(batch_id)d")


def _time(seconds: float) -> str:
    """Return a time as Scrapy writes it into names: UTC, without colons."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace(":", "-")
