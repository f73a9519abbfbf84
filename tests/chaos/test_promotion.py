"""P36: a replica is promoted by hand behind the address of its primary: it is behind, and so may be its clock."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.chaos.stage import PER_HOST, Theatre
from tests.clock import LIBRARY, ahead
from tests.ports import free_port
from tests.valkey import Valkey
from tests.valkey_fleet import ask

QUICK = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
PAGES = 240
STILL = 10.0  # seconds for which a crawl may stand still: time-outs, and the wait for a reply that never comes
NOWHERE = ("REPLICAOF", "127.0.0.1", "1")  # a replica of a server that is not there receives nothing

RUNS = [
    pytest.param(1.0, -30.0),
    *(pytest.param(1.0, shift, marks=pytest.mark.long) for shift in (-2.0, 0.0, 2.0, 30.0)),
    *(pytest.param(4.0, shift, marks=pytest.mark.long) for shift in (-30.0, -2.0, 0.0, 2.0, 30.0)),
]


@pytest.mark.parametrize(("lag", "shift"), RUNS)
async def test_p36_a_replica_that_is_behind_is_promoted(theatre: Theatre, lag: float, shift: float) -> None:
    """Nothing is lost and the crawl goes on. Exactly the items that come twice are told."""
    if shift and not LIBRARY:
        pytest.skip("no libfaketime: run scripts/test-services as root")
    port = free_port()
    title = f"a replica {lag:g} s behind is promoted, clock {shift:+g} s"
    options = {"port": str(port), **QUICK}
    slow = (2 * lag + 4) * PER_HOST * theatre.scale.hosts / PAGES  # the crawl lasts for so many seconds at least
    async with theatre("P36", title, network=True, options=options, pages=PAGES, page_seconds=slow) as stage:
        with Valkey(appendonly=True, fsync="everysec", options=QUICK, environment=ahead(shift)) as replica:
            ask(replica, "REPLICAOF", "127.0.0.1", port)
            await stage.start()
            await stage.all_at_work()
            await stage.reached(0.15)
            stage.row.exactly("link up", ask(replica, "INFO", "replication")["master_link_status"] == "up", True)
            skew = int(ask(replica, "TIME")[0]) - int(ask(stage.server, "TIME")[0])
            stage.row.at_most("clock is wrong by s", abs(skew - shift), 1)
            ask(replica, *NOWHERE)
            await asyncio.sleep(lag)  # the lag itself
            behind = offset(stage.server) - offset(replica)
            stage.fault(f"promoted {behind:,} bytes behind")
            stage.server.kill()
            ask(replica, "REPLICAOF", "NO", "ONE")
            stage.network.target = replica.socket
            stage.network.reset()
            await stage.recovery(limit=STILL)
            crawl = await stage.finish()
            job = await stage.job()
            said = sum(command.says("queue_server_promoted") for command in stage.fleet.commands)
            stage.row.exactly("said so", said, 1)
            stage.row.told("bytes behind", behind)
            stage.row.exactly("is behind", behind > 0, True)
            stage.row.told("twice", crawl.duplicates)
            stage.row.exactly("told as twice", job["counters"].get("twice/pages", 0), crawl.duplicates)
            moments = sorted(hit.time for hit in stage.web.log)
            stage.row.at_most("stood still s", max(after - before for before, after in pairwise(moments)), STILL)
            stage.row.told("pages", crawl.pages)
            stage.row.faults_before(crawl.end)
            for name in ("lost", "missing", "foreign", "broken"):
                stage.row.exactly(name, getattr(crawl, name), 0)


def offset(server: Valkey) -> int:
    """How far its data goes, in bytes of the replication stream."""
    said = ask(server, "INFO", "replication")
    return int(said["master_repl_offset" if said["role"] == "master" else "slave_repl_offset"])
