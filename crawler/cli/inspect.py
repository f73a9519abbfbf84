"""`inspect`: what the workers are doing now, as reported by themselves and by the queue server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crawler.cli.control import answers_to, tell_silent
from crawler.cli.options import Invocation, Json, config_of
from crawler.runtime.safe_text import json_line

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.interfaces import Control, Reading
    from crawler.status import HostView, Pause

Rows = Sequence[Sequence[object]]


def inspect(
    invocation: Invocation,
    what: Annotated[
        Literal["active", "workers", "hosts", "stats", "conf"],
        typer.Argument(
            help="active: requests in flight; workers: worker processes; hosts: when each is asked next; "
            "stats: workers' counters; conf: workers' settings.",
            show_default=False,
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Hosts shown per job.")] = 50,
    json_: Json = False,
) -> int:
    """Ask the workers for their requests in flight, state, counters and settings; or show the hosts."""
    config = config_of(invocation)

    if what == "hosts":
        return asyncio.run(_hosts(config, limit, as_json=json_))
    return asyncio.run(_inspect(config, what, as_json=json_))


async def _inspect(config: Config, what: str, *, as_json: bool) -> int:
    from crawler.app.connect import connect

    async with connect(config) as connected:
        if what in ("active", "conf"):
            found, silent = await _asked(connected.control, connected.reading, what)
        else:
            found, silent = await _known(connected.reading), []
    if as_json:
        print(json_line({"workers": found, "silent": silent}))
        return 0
    _VIEWS[what](found)
    tell_silent(silent)
    if not found and not silent:
        print("no worker is running")
    return 0


async def _asked(control: Control, reading: Reading, question: str) -> tuple[dict[str, Any], list[str]]:
    """Return (worker → its answer, workers that did not answer)."""
    answers, silent = await answers_to(control, reading, await control.ask(question))
    return {worker: _as_data(text) for worker, text in answers.items()}, silent


def _as_data(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a worker of another version that does not know the question


async def _known(reading: Reading) -> dict[str, Any]:
    """Return worker → what its last heartbeat reported."""
    workers = await reading.workers()
    return {one.worker: {**one.info, "lease_left": round(one.lease_left, 1)} for one in workers}


async def _hosts(config: Config, limit: int, *, as_json: bool) -> int:
    """Print the hosts, the one to be asked next first."""
    import msgspec

    from crawler.app.connect import connect

    async with connect(config) as connected:
        jobs = await connected.jobs.all()
        found = [(job.name, one) for job in jobs for one in await connected.hosts.hosts(job, limit)]
        paused = {job.name: (await connected.reading.stats(job)).paused for job in jobs}
    if as_json:
        print(json_line([{"job": job, **msgspec.to_builtins(one)} for job, one in found]))
    elif found:
        _print(
            (
                "job",
                "host",
                "pending",
                "in flight",
                "state",
                "wants",
                "takes turns with",
            ),
            [(job, *_host_row(one, paused[job])) for job, one in found],
        )
    else:
        print("no host has pending requests")
    return 0


def _host_row(one: HostView, paused: Collection[Pause]) -> tuple[object, ...]:
    from crawler.views.figures import host_state

    turn = one.turn
    state = next((f"paused: {pause.why}" for pause in paused if pause.name == one.host and pause.what == "host"), "")
    if one.held and not state:
        state = "left alone, because the spider of its next page is paused"
    return (
        *(one.host, one.pending, turn.inflight, state or host_state(turn, time.time())),
        *(f"{turn.delay:g} s" if turn.delay else "-", turn.group or "-"),
    )


# ---------------------------------------------------------------------------------------------------------
# For people


def _active(found: Mapping[str, Any]) -> None:
    from crawler.views.figures import duration

    rows = [
        (worker, one["job"], one["url"], duration(one["seconds"]), one["attempt"] + 1)
        for worker, answer in found.items()
        if isinstance(answer, list)
        for one in answer
    ]
    if rows:
        _print(("worker", "job", "URL", "for", "try"), rows)
    elif found:
        print("no request is in flight")


def _workers(found: Mapping[str, Any]) -> None:
    from crawler.cli import tables
    from crawler.status import WorkerInfo

    if found:
        tables.console().print(
            tables.workers_table(WorkerInfo(w, info["lease_left"], info) for w, info in found.items())
        )


def _stats(found: Mapping[str, Any]) -> None:
    rows = []
    for worker, info in found.items():
        plain = {name: value for name, value in info.items() if isinstance(value, (int, float))}
        statuses = {f"answers {name}": count for name, count in info.get("status", {}).items()}
        rows += [(worker, name, value) for name, value in {**plain, **statuses}.items()]
    if rows:
        _print(("worker", "what", "value"), rows)


def _conf(found: Mapping[str, Any]) -> None:
    """Print the settings; a value that all workers share appears once."""
    from crawler.cli.project import written

    settings = {worker: conf for worker, conf in found.items() if isinstance(conf, dict)}
    rows = []
    for name in next(iter(settings.values()), {}):
        values = {worker: written(conf.get(name)) for worker, conf in settings.items()}
        if len(set(values.values())) == 1:
            rows.append((name, next(iter(values.values())), "all"))
        else:
            rows += [(name, value, worker) for worker, value in values.items()]
    if rows:
        _print(("setting", "value", "worker"), rows)


def _print(columns: Sequence[str], rows: Rows) -> None:
    from crawler.cli import tables

    tables.console().print(tables.table(columns, rows))


_VIEWS = {"active": _active, "workers": _workers, "stats": _stats, "conf": _conf}
