"""Builds the parts that several commands need: supervisor, exporter, seeder, sink."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from crawler.app.config import Config
from crawler.export.exporter import Exporter
from crawler.export.sinks.in_thread import InThread
from crawler.export.sinks.jsonl import JsonlSink
from crawler.export.sinks.stream import STDOUT, StreamSink, is_stream
from crawler.fetch.guard import AddressGuard
from crawler.frontier import message
from crawler.interfaces import Backend, Sink
from crawler.model import Job
from crawler.seeding.admission import Admission
from crawler.seeding.contact import ContactCheck, Watched
from crawler.seeding.seeder import Seeder
from crawler.worker.orders import Orders
from crawler.worker.supervisor import Supervisor, worker_name

_STDOUT = (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def supervisor(config: Config, connected: Backend, jobs: tuple[str, ...], concurrency: int) -> Supervisor:
    """Build a supervisor whose worker processes work for these jobs (empty: all jobs)."""
    settings = config.settings
    changes: dict[str, object] = {"REDIS_URL": connected.address}
    if concurrency:
        changes["CONCURRENT_REQUESTS"] = concurrency
    settings = msgspec.structs.replace(settings, **changes)

    def orders(name: str, slot: int) -> bytes:
        return Orders(name, slot, os.getpid(), settings, config.explicit, str(config.folder), jobs).line()

    return Supervisor(
        connected.leases,
        orders,
        callback_seconds=settings.CALLBACK_TIMEOUT,
        grace_seconds=settings.GRACE_SECONDS,
        lease_seconds=settings.LEASE_SECONDS,
    )


class Target(Struct, frozen=True):
    """Where a command was told to write the items, and what it may do with what is there."""

    name: str  # a path, or `-`
    overwrite: bool = False  # replace what is there, at the end
    append: bool = False  # add to a file of another job, or to one without this job's earlier items


def beside(target: Target, out: Exporter) -> str:
    """Return the new file beside the target that still has the items; empty if they are in the target."""
    return "" if out.location in (STDOUT, str(Path(target.name).absolute())) else out.location


def sink(target: Target, job: Job, *, rotated: bool = False) -> Sink:
    """Build the sink for a target."""
    return InThread(_file(target, job, rotated=rotated))


def _file(target: Target, job: Job, *, rotated: bool = False) -> JsonlSink | StreamSink:
    path = Path(target.name)
    if target.name in _STDOUT:
        return StreamSink(STDOUT, job.epoch, append=target.append)
    if is_stream(path):
        return StreamSink(str(path.absolute()), job.epoch, append=target.append)
    return JsonlSink(path, job.epoch, append=target.append, rotated=rotated, overwrite=target.overwrite)


def check_target(target: Target) -> None:
    """Raise `OutputError` if a new job could not write to the file. Change nothing, and open no pipe: that ends it."""
    probe = _file(target, Job("", epoch="new"))
    if isinstance(probe, JsonlSink):
        probe.check()


def exporter(
    config: Config, connected: Backend, job: Job, target: Target, *, patient: bool, rotated: bool = False
) -> Exporter:
    """Build an exporter of one job to one target, whose file may have been `rotated` away meanwhile."""
    return Exporter(
        connected.jobs.all,
        connected.outbox,
        sink(target, job, rotated=rotated),
        job,
        name=worker_name(),
        batch=config.settings.EXPORT_BATCH,
        lease_seconds=config.settings.LEASE_SECONDS,
        patient=patient,
    )


def seeder(config: Config, connected: Backend, job: Job, refused: Callable[[str, str], None]) -> Seeder:
    """Build a seeder for one job."""
    return Seeder(
        connected.adding,
        job,
        _admission(config, job),
        name=worker_name(),
        lease_seconds=config.settings.LEASE_SECONDS,
        refused=refused,
    )


def _admission(config: Config, job: Job) -> Admission:
    guard = Watched(AddressGuard(config.settings.ALLOWED_NETWORKS), ContactCheck(config.settings.USER_AGENT))
    return Admission(guard, message.check, job.spider)
