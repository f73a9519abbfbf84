"""Builds the parts that several commands need: supervisor, exporter, seeder, sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from crawler.amqp.address import is_amqp
from crawler.app.broker import broker_of
from crawler.app.config import Config
from crawler.errors import ConfigError, UsageError
from crawler.export.exporter import Exporter
from crawler.export.sinks.in_thread import InThread
from crawler.export.sinks.jsonl import JsonlSink
from crawler.export.sinks.stream import STDOUT, StreamSink, is_stream
from crawler.fetch.guard import AddressGuard
from crawler.frontier import message
from crawler.interfaces import Backend, Sink, Source
from crawler.model import Job
from crawler.runtime.safe_text import shown, without_password
from crawler.runtime.url_words import has_word
from crawler.seeding.admission import Admission
from crawler.seeding.contact import ContactCheck, Watched
from crawler.seeding.intake import Intake
from crawler.seeding.seeder import Seeder
from crawler.seeding.sources.redis import redis_source
from crawler.worker.blame_slot import Making
from crawler.worker.orders import Orders
from crawler.worker.supervisor import Supervisor, worker_name

_STDOUT = (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def supervisor(
    config: Config, connected: Backend, jobs: tuple[str, ...], concurrency: int, queues: tuple[str, ...] = ()
) -> Supervisor:
    """Build a supervisor whose worker processes work for these jobs and queues (see `control/routes.py`)."""
    settings = config.settings
    changes: dict[str, object] = {"REDIS_URL": connected.address}
    if concurrency:
        changes["CONCURRENT_REQUESTS"] = concurrency
    settings = msgspec.structs.replace(settings, **changes)

    def orders(name: str, slot: int, deadly: Mapping[Making, str]) -> bytes:
        of_ours = (settings, config.explicit, str(config.folder), jobs, queues)
        return Orders(name, slot, os.getpid(), *of_ours, tuple(deadly.items())).line()

    return Supervisor(
        connected.leases,
        orders,
        callback_seconds=settings.CALLBACK_TIMEOUT,
        grace_seconds=settings.GRACE_SECONDS,
        lease_seconds=settings.LEASE_SECONDS,
    )


class Target(Struct, frozen=True):
    """Where a command was told to write the items, and what it may do with what is there."""

    name: str  # a path, `-`, or the URL of an exchange
    overwrite: bool = False  # replace what is there, at the end
    append: bool = False  # add to a file of another job, or to one without this job's earlier items

    @property
    def shown(self) -> str:
        """The name for people: without a password."""
        return without_password(self.name)


def beside(target: Target, out: Exporter) -> str:
    """Return the new file beside the target that still has the items; empty if they are in the target."""
    if is_amqp(target.name):
        return ""
    return "" if out.location in (STDOUT, str(Path(target.name).absolute())) else out.location


def sink(config: Config, target: Target, job: Job, *, rotated: bool = False) -> Sink:
    """Build the sink for a target. Raise `ConfigError` for a URL that cannot be used."""
    if is_amqp(target.name):
        return _amqp_sink(config, target, job)
    return InThread(_file(target, job, rotated=rotated))


def _file(target: Target, job: Job, *, rotated: bool = False) -> JsonlSink | StreamSink:
    path = Path(target.name)
    if target.name in _STDOUT:
        return StreamSink(STDOUT, job.epoch, append=target.append)
    if is_stream(path):
        return StreamSink(str(path.absolute()), job.epoch, append=target.append)
    return JsonlSink(path, job.epoch, append=target.append, rotated=rotated, overwrite=target.overwrite)


def _amqp_sink(config: Config, target: Target, job: Job) -> Sink:
    if target.overwrite:
        raise UsageError(f"{target.shown}: what is in a broker cannot be replaced: write -o")
    import crawler.amqp.connection  # noqa: F401 - the clients are extras; this says so if one is missing

    if has_word(target.name, "stream"):
        from crawler.export.sinks import rabbitmq_stream as streams

        return streams.RabbitStreamSink(*broker_of(config, target.name, streams.Words), job, append=target.append)
    from crawler.export.sinks.amqp import AmqpSink, Words

    return AmqpSink(*broker_of(config, target.name, Words), job, append=target.append)


def check_target(config: Config, target: Target) -> None:
    """Raise `OutputError` if a new job could not write to the file, `ConfigError` for a URL that cannot be used. Change
    nothing, and open no pipe: that ends it."""
    if is_amqp(target.name):
        _amqp_sink(config, target, Job("", epoch="new"))
        return
    probe = _file(target, Job("", epoch="new"))
    if isinstance(probe, JsonlSink):
        probe.check()


def exporter(
    config: Config,
    connected: Backend,
    job: Job,
    target: Target,
    *,
    patient: bool,
    rotated: bool = False,
    name: str = "",
    to: Sink | None = None,
) -> Exporter:
    """Build an exporter of one job to one target, whose file may have been `rotated` away meanwhile. `name`: if another
    part of this process has the right to export the job, its name. `to`: the sink, if it is none that a target names.
    """
    return Exporter(
        connected.jobs.all,
        connected.outbox,
        to or sink(config, target, job, rotated=rotated),
        job,
        name=name or worker_name(),
        batch=config.settings.EXPORT_BATCH,
        lease_seconds=config.settings.LEASE_SECONDS,
        patient=patient,
    )


def seeder(config: Config, connected: Backend, job: Job, refused: Callable[[str, str], None]) -> Seeder:
    """Build a seeder for one job."""
    return Seeder(
        connected.adding,
        job,
        admission(config, job),
        name=worker_name(),
        lease_seconds=config.settings.LEASE_SECONDS,
        refused=refused,
    )


def intake(config: Config, connected: Backend, job: Job, source: Source, refused: Callable[[str, str], None]) -> Intake:
    """Build an intake from one source into one job."""
    return Intake(
        connected.adding,
        connected.asking,
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
