"""Builds the sink that a target names. A new kind of output: a line in `export/formats.py`, and a builder here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from crawler.app.broker import broker_of
from crawler.app.config import Config
from crawler.app.item_columns import declared_columns
from crawler.app.user_sink import user_sink
from crawler.errors import UsageError
from crawler.export import names
from crawler.export.formats import format_of, is_path
from crawler.export.sinks import redis
from crawler.export.sinks.chosen import chosen
from crawler.export.sinks.declared import nothing
from crawler.export.sinks.encodings import ENCODINGS
from crawler.export.sinks.file import FileSink
from crawler.export.sinks.in_thread import InThread
from crawler.export.sinks.index import IndexLines, IndexSink
from crawler.export.sinks.rolling import Limits, RollingSink
from crawler.export.sinks.sql.sink import SqlSink
from crawler.export.sinks.stream import STDOUT, StreamSink, is_stream
from crawler.export.target import Target
from crawler.interfaces import Sink
from crawler.model import Job
from crawler.runtime.redis_client import client_of
from crawler.runtime.safe_text import without_password
from crawler.runtime.url_words import has_word, read
from crawler.worker.supervisor import worker_name

_STDOUT: Final = (STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")

Builder = Callable[[Config, Target, Job, bool], Sink]
"""Builds the sink of a target for one job, whose file may have been rotated away meanwhile (the last argument); nothing
is opened yet. Raises `UsageError` for what such an output cannot do, `ConfigError` for a URL that cannot be used or an
extra that is missing."""


def sink(config: Config, target: Target, job: Job, *, rotated: bool = False) -> Sink:
    """Build the sink for a target. Raise `UsageError` or `ConfigError` for one that cannot be used."""
    made = _whole(config, target, job, rotated)
    return chosen(made, target)


def _whole(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    """Build the sink, for all items as they are."""
    if target.name in _STDOUT:
        return InThread(StreamSink(STDOUT, append=target.append))
    if is_path(target.name) and is_stream(Path(target.name)):
        return InThread(StreamSink(str(Path(target.name).absolute()), append=target.append))
    kind = format_of(target.name).name
    if kind in _OF_ONE_NAME:
        target = replace(target, name=names.of_one(target.name, job))
    return _BUILDERS[kind](config, target, job, rotated)


def sinks(config: Config, targets: Sequence[Target], job: Job, *, rotated: bool = False) -> list[Sink]:
    """Build the sinks of several targets. Raise `UsageError` if two of them are the same."""
    found: dict[object, tuple[Target, Sink]] = {}
    for target in targets:
        made = sink(config, target, job, rotated=rotated)
        first, its = found.setdefault(_identity(made.location), (target, made))
        if its is not made:
            raise UsageError(f"{first.shown} and {target.shown} are the same output; name it once")
    return [its for _, its in found.values()]


def _identity(location: str) -> object:
    """What two locations have in common that are the same file."""
    if location == STDOUT or not is_path(location):
        return location
    try:
        its = os.stat(location)
    except OSError:
        return os.path.realpath(location)
    return its.st_dev, its.st_ino


def check_targets(config: Config, targets: Sequence[Target]) -> None:
    """Raise `UsageError` if two targets are the same, and what `check_target` raises of each."""
    sinks(config, targets, Job("", epoch="new"))
    for target in targets:
        check_target(config, target)


def check_target(config: Config, target: Target) -> None:
    """Raise `OutputError` if a new job could not write to the target, `ConfigError` for a URL that cannot be used.
    Change nothing, and open no pipe: that ends it."""
    made = _whole(config, target, Job("", epoch="new"), False)
    if isinstance(made, InThread):
        made.check()


def _file(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    encoding = ENCODINGS[format_of(target.name).name]
    columns = tuple(name for _, name in target.fields)
    name, limits = names.of_job(target.name, job), Limits(target.batch_items, target.batch_bytes, target.batch_seconds)
    how = {"append": target.append, "rotated": rotated, "overwrite": target.overwrite}
    declared = declared_columns(config, target)

    def build(path: Path) -> FileSink:
        return FileSink(path, job.epoch, encoding(columns), declared, append=True)

    if names.is_of_batches(name):
        return InThread(RollingSink(name, job.epoch, build, limits, **how))
    if any((target.batch_items, target.batch_bytes, target.batch_seconds)):
        raise UsageError(f"{target.shown}: each batch needs a file of its own; write %(batch_id)d into its name")
    return InThread(FileSink(Path(name), job.epoch, encoding(columns), declared, **how))


def _cdxj(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    how = {"append": target.append, "rotated": rotated, "overwrite": target.overwrite}
    return InThread(IndexSink(Path(target.name), job.epoch, IndexLines(), nothing, **how))


def _sqlite(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    from crawler.export.sinks.sql.sqlite import Sqlite, read

    path, words = read(target.name)
    how = {"append": target.append, "overwrite": target.overwrite}
    return InThread(SqlSink(Sqlite(path), words.table, job.epoch, **how, document=words.column))


def _parquet(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    from crawler.export.sinks.parquet import ParquetSink  # pyarrow is an extra, and takes a while to import

    how = {"append": target.append, "overwrite": target.overwrite}
    return InThread(ParquetSink(Path(target.name), job.epoch, declared_columns(config, target), **how))


def _postgresql(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    from crawler.export.sinks.sql.address import read
    from crawler.export.sinks.sql.postgres import Postgres

    address, words = read(target.name)
    how = {"append": target.append, "overwrite": target.overwrite}
    database = Postgres(address, words, worker_name())
    return InThread(SqlSink(database, words.names[-1], job.epoch, **how, document=words.column))


def _amqp(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    if target.overwrite:
        raise UsageError(f"{target.shown}: what is in a broker cannot be replaced: write -o")
    import crawler.amqp.connection  # noqa: F401 - the clients are extras; this says so if one is missing

    if has_word(target.name, "stream"):
        from crawler.export.sinks import rabbitmq_stream as streams

        return streams.RabbitStreamSink(*broker_of(config, target.name, streams.Words), job, append=target.append)
    from crawler.export.sinks.amqp import AmqpSink, Words

    return AmqpSink(*broker_of(config, target.name, Words), job, append=target.append)


def _redis(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    if target.overwrite:
        raise UsageError(f"{target.shown}: what is in a queue cannot be replaced: write -o")
    settings = config.settings
    base, _, query = target.name.partition("?")
    words = read(query, without_password(base), redis.Words)
    seconds = settings.REDIS_TIMEOUT
    client = client_of(base, name=worker_name(), seconds=seconds, ca_file=settings.TLS_CA_FILE)
    return redis.RedisSink(client, without_password(base), words, job, append=target.append, seconds=seconds)


def _objects(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    if target.overwrite:
        raise UsageError(
            f"{target.shown}: what is in an object store is not replaced: write -o with a folder of its own"
        )
    from crawler.export.sinks.objects import Gathered, ObjectSink
    from crawler.export.sinks.packing import PACKINGS
    from crawler.runtime.object_store import ObjectFolder

    folder = ObjectFolder(target.name)
    ending = next((ending for ending in PACKINGS if folder.path.lower().endswith(ending)), None)
    if ending is None:
        raise UsageError(f"{folder.location}: the folder's name must end with one of {', '.join(PACKINGS)}")
    declared = declared_columns(config, target)
    made = ObjectSink(folder, ending, PACKINGS[ending](), job.epoch, append=target.append, declared=declared)
    return Gathered(made, max(1, config.settings.OUTBOX_LIMIT // 2))


def _python(config: Config, target: Target, job: Job, rotated: bool) -> Sink:
    if target.overwrite:
        raise UsageError(f"{target.shown}: what a class has taken cannot be replaced: write -o")
    return user_sink(config, target, job)


_OF_ONE_NAME: Final = frozenset({"cdxj", "objects", "parquet", "sqlite"})
"""Formats whose names may have placeholders, but not those of batches. Files of items may have all."""

_BUILDERS: Final[Mapping[str, Builder]] = {
    "amqp": _amqp,
    "cdxj": _cdxj,
    "objects": _objects,
    **dict.fromkeys(ENCODINGS, _file),
    "parquet": _parquet,
    "postgresql": _postgresql,
    "python": _python,
    "redis": _redis,
    "sqlite": _sqlite,
}
"""Name of a format → what builds its sink."""
