"""Builds the parts that several commands need: supervisor, exporter, seeder, sink."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from crawler.app.config import Config
from crawler.export.exporter import Exporter
from crawler.export.sinks.jsonl import JsonlSink, StdoutSink
from crawler.fetch.guard import AddressGuard
from crawler.frontier import message
from crawler.interfaces import Backend, Sink
from crawler.model import Job
from crawler.seeding.contact import ContactCheck, Watched
from crawler.seeding.seeder import Seeder
from crawler.worker.orders import Orders
from crawler.worker.supervisor import Supervisor, worker_name


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


def sink(target: str, job: Job, *, overwrite: bool) -> Sink:
    """Build the sink for a target: a path, or `-`."""
    if target == "-":
        return StdoutSink(job.epoch)
    return JsonlSink(Path(target), job.epoch, overwrite=overwrite)


def exporter(config: Config, connected: Backend, job: Job, target: str, *, overwrite: bool, patient: bool) -> Exporter:
    """Build an exporter of one job to one target."""
    return Exporter(
        connected.jobs.all,
        connected.outbox,
        sink(target, job, overwrite=overwrite),
        job,
        name=worker_name(),
        batch=config.settings.EXPORT_BATCH,
        lease_seconds=config.settings.LEASE_SECONDS,
        patient=patient,
    )


def seeder(config: Config, connected: Backend, job: Job, refused: Callable[[str, str], None]) -> Seeder:
    """Build a seeder for one job."""
    guard = Watched(AddressGuard(config.settings.ALLOWED_NETWORKS), ContactCheck(config.settings.USER_AGENT))
    lease = config.settings.LEASE_SECONDS
    return Seeder(
        connected.adding,
        job,
        guard,
        name=worker_name(),
        lease_seconds=lease,
        refused=refused,
        check=message.check,
    )
