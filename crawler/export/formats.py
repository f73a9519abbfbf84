"""The kinds of output that exist: by the ending of a file's name, by the scheme of a URL. Values alone; `app/sinks.py`
builds the sinks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from crawler.errors import UsageError
from crawler.program import extra
from crawler.runtime.safe_text import shown


class Format(Struct, frozen=True):
    """One kind of output."""

    name: str  # as FEEDS calls it, and the key of the builder in `app/sinks.py`
    says: str  # what it is, in a few words
    extra: str = ""  # the extra of the package that it needs; empty: none


JSON_LINES: Final = Format("jsonl", "JSON lines")

SQLITE: Final = Format("sqlite", "a table of a SQLite file: sqlite:///items.db?table=NAME")

_LINES: Final = (".jsonl", ".jl", ".ndjson", ".jsonlines")

ENDINGS: Final[Mapping[str, Format]] = {
    **dict.fromkeys((*_LINES, ""), JSON_LINES),
    **dict.fromkeys((f"{ending}.gz" for ending in _LINES), Format("jsonl.gz", "JSON lines, compressed")),
    **dict.fromkeys((f"{ending}.zst" for ending in _LINES), Format("jsonl.zst", "JSON lines, compressed")),
    ".csv": Format("csv", "a table as CSV"),
    ".csv.gz": Format("csv.gz", "a table as CSV, compressed"),
    ".json": Format("json", "one JSON array"),
    **dict.fromkeys((".sqlite", ".sqlite3", ".db"), SQLITE),
    ".cdxj": Format("cdxj", "the index of an archive (WARC_DIR)"),
    ".parquet": Format("parquet", "a folder of Parquet files", "parquet"),
}
"""How the name of a file ends → what is written into it."""

SCHEMES: Final[Mapping[str, Format]] = {
    **dict.fromkeys(("redis", "rediss", "unix"), Format("redis", "Redis: redis://…?list=KEY or ?stream=KEY")),
    **dict.fromkeys(("amqp", "amqps"), Format("amqp", "RabbitMQ: amqp://…?exchange=NAME", "rabbitmq")),
    "sqlite": SQLITE,
    **dict.fromkeys(
        ("postgresql", "postgres"), Format("postgresql", "PostgreSQL: postgresql://…?table=NAME", "postgres")
    ),
    **dict.fromkeys(
        ("s3", "gs", "az"),
        Format("objects", "an object store: s3://BUCKET/FOLDER.parquet, gs://…, az://…", "objects"),
    ),
}
"""Scheme of a URL → what takes the items."""

_CLASS: Final = Format("python", "a class of yours: python:MODULE:CLASS")
_CLASS_SCHEME: Final = "python:"


def is_path(name: str) -> bool:
    """Return whether an output is a file, rather than a URL or a class."""
    return "://" not in name and not name.startswith(_CLASS_SCHEME)


def format_of(name: str) -> Format:
    """Return the kind of output that a path, `-`, a URL or a class names. Raise `UsageError`, which lists what
    exists."""
    if name.startswith(_CLASS_SCHEME):
        return _CLASS
    scheme = name.partition("://")[0]
    if not is_path(name):
        found = SCHEMES.get(scheme.lower())
        if found is None:
            raise UsageError(f"{shown(name)}: items go to a file, to stdout (-) or to {_schemes()}")
        return found
    path = Path(name)
    for ending in ("".join(path.suffixes[-2:]).lower(), path.suffix.lower()):
        if ending in ENDINGS:
            return ENDINGS[ending]
    jsonl = path.with_name(path.name.split(".")[0] or "items").with_suffix(".jsonl")
    raise UsageError(
        f"{name}: no output has the ending {path.suffix}; there are {_endings()}, and a name "
        f"without an ending for JSON lines; write for example {jsonl}"
    )


def check_word(name: str, word: str) -> None:
    """Raise `UsageError` if the `format` of FEEDS is none, or another one than the output's name says."""
    found = format_of(name)
    wanted = ENDINGS.get(f".{word.lower()}")
    if not word or word == found.name or (wanted and wanted.name == found.name.partition(".")[0]):
        return
    if wanted is None:
        raise UsageError(f"there is no format {shown(word)}; there are {_endings()}")
    raise UsageError(f"its name says {found.says}, not {wanted.says}: write a name that ends in .{word.lower()}")


def _endings() -> str:
    return ", ".join(ending + _needs(kind) for ending, kind in ENDINGS.items() if ending)


def _schemes() -> str:
    return ", ".join(dict.fromkeys(kind.says + _needs(kind) for kind in (*SCHEMES.values(), _CLASS)))


def _needs(kind: Format) -> str:
    return f" ({extra(kind.extra)})" if kind.extra else ""
