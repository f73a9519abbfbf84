"""Builds the parts that several commands need: supervisor, exporter, seeder, sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from crawler.app.broker import broker_of
from crawler.app.config import Config
from crawler.app.sinks import sinks
from crawler.errors import ConfigError
from crawler.export.exporter import Exporter
from crawler.export.formats import is_path
from crawler.export.sinks.stream import STDOUT
from crawler.export.target import Target
from crawler.fetch.guard import AddressGuard
from crawler.frontier import message
from crawler.interfaces import Adding, Backend, SharedValues, Sink, Source
from crawler.model import Job
from crawler.runtime.safe_text import shown
from crawler.seeding.admission import Admission
from crawler.seeding.contact import ContactCheck, Watched
from crawler.seeding.intake import Intake
from crawler.seeding.seeder import Seeder
from crawler.seeding.sources.redis import redis_source
from crawler.views.reports import Output
from crawler.worker.blame_slot import Making
from crawler.worker.instructions import Instructions
from crawler.worker.supervisor import Supervisor, worker_name


def supervisor(
    config: Config, connected: Backend, jobs: tuple[str, ...], concurrency: int, queues: tuple[str, ...] = ()
) -> Supervisor:
    """Build a supervisor whose worker processes work for these jobs and queues (see `control/routes.py`)."""
    settings = config.settings
    changes: dict[str, object] = {"REDIS_URL": connected.address}
    if concurrency:
        changes["CONCURRENT_REQUESTS"] = concurrency
    settings = msgspec.structs.replace(settings, **changes)

    def instructions(name: str, slot: int, deadly: Mapping[Making, str]) -> bytes:
        of_ours = (settings, config.explicit, str(config.folder), jobs, queues)
        return Instructions(name, slot, os.getpid(), *of_ours, tuple(deadly.items())).line()

    return Supervisor(
        connected.leases,
        instructions,
        config.preforked,
        callback_seconds=settings.CALLBACK_TIMEOUT,
        grace_seconds=settings.GRACE_SECONDS,
        lease_seconds=settings.LEASE_SECONDS,
    )


def outputs(targets: Sequence[Target], out: Exporter) -> tuple[Output, ...]:
    """Return what the exporter has written to each of its targets."""
    return tuple(
        Output(target.shown, one.items, _beside(target, one.location))
        for target, one in zip(targets, out.sinks, strict=True)
    )


def _beside(target: Target, location: str) -> str:
    """Return the new file beside the target that still has the items; empty if they are in the target."""
    if not is_path(target.name):
        return ""
    return "" if location in (STDOUT, str(Path(target.name).absolute())) else location


def exporter(
    config: Config,
    connected: Backend,
    job: Job,
    targets: Sequence[Target],
    *,
    patient: bool,
    rotated: bool = False,
    name: str = "",
    to: Sink | None = None,
) -> Exporter:
    """Build an exporter of one job to these targets, whose files may have been `rotated` away meanwhile. `name`: if
    another part of this process has the right to export the job, its name. `to`: the sink of the first target, if
    that names none.
    """
    return Exporter(
        connected.jobs.all,
        connected.outbox,
        [to, *sinks(config, targets[1:], job)] if to else sinks(config, targets, job, rotated=rotated),
        job,
        name=name or worker_name(),
        batch=config.settings.EXPORT_BATCH,
        lease_seconds=config.settings.LEASE_SECONDS,
        patient=patient,
        leaving=any(target.append for target in targets),
    )


def seeder(config: Config, adding: Adding, job: Job, refused: Callable[[str, str], None]) -> Seeder:
    """Build a seeder for one job."""
    return Seeder(
        adding,
        job,
        admission(config, job),
        name=worker_name(),
        lease_seconds=config.settings.LEASE_SECONDS,
        refused=refused,
    )


def intake(
    config: Config,
    adding: Adding,
    shared: SharedValues,
    job: Job,
    source: Source,
    refused: Callable[[str, str], None],
) -> Intake:
    """Build an intake from one source into one job."""
    return Intake(
        adding,
        shared,
        job,
        admission(config, job),
        source,
        name=worker_name(),
        lease_seconds=config.settings.LEASE_SECONDS,
        refused=refused,
    )


def source(config: Config, url: str) -> Source:
    """Build the source that the URL names; nothing connects yet. Raise `ConfigError`."""
    build = _SOURCES.get(url.partition("://")[0].lower())
    if build is None:
        raise ConfigError(f"--from {shown(url)}: expected one of {', '.join(f'{scheme}://' for scheme in _SOURCES)}")
    return build(config, url)


def _amqp_source(config: Config, url: str) -> Source:
    import crawler.amqp.connection  # noqa: F401 - the client is an extra; this says so if it is missing
    from crawler.seeding.sources.amqp import AmqpSource, Words

    return AmqpSource(*broker_of(config, url, Words))


def _redis_source(config: Config, url: str) -> Source:
    settings = config.settings
    return redis_source(url, name=worker_name(), seconds=settings.REDIS_TIMEOUT, ca_file=settings.TLS_CA_FILE)


_SOURCES: Mapping[str, Callable[[Config, str], Source]] = {
    **dict.fromkeys(("amqp", "amqps"), _amqp_source),
    **dict.fromkeys(("redis", "rediss", "unix"), _redis_source),
}
"""URL scheme → the function that builds such a source."""


def admission(config: Config, job: Job) -> Admission:
    """Build the checks that every seed of a job passes."""
    guard = Watched(AddressGuard(config.settings.ALLOWED_NETWORKS), ContactCheck(config.settings.USER_AGENT))
    return Admission(guard, message.check, job.spider)
