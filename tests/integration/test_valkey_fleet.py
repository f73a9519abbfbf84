"""The fleets of queue servers that tests use: what is promoted has what it should have, and nothing is left running."""

from __future__ import annotations

import os

import pytest

from tests.valkey_fleet import ClusterFleet, SentinelFleet, ask

KEY = "{crawler:0}:id"


def test_sentinels_promote_a_replica_that_lags_and_the_old_master_follows_it() -> None:
    with SentinelFleet() as fleet:
        pids = [process.pid for process in fleet.processes]
        first, master = fleet.nodes[0], fleet.failover()
        assert master is not first
        fleet.wait_until_healthy()
        assert fleet.replicas(master) == [first]
        ask(master, "SET", KEY, "before", replicas=1)
        with fleet.lagging(master) as (replica,):
            ask(master, "SET", KEY, "lost")
            master.kill()
        assert fleet.wait_for_promotion(master) is replica is first
        assert ask(replica, "GET", KEY) == b"before"
        master.start()
        fleet.wait_until_healthy()
        assert fleet.replicas(replica) == [master]
        assert ask(master, "GET", KEY) == b"before"
        pids.append(master.pid)
    _gone(pids)


def test_a_cluster_promotes_a_replica_that_lags_and_moves_slots() -> None:
    with ClusterFleet() as fleet:
        pids = [process.pid for process in fleet.processes]
        first = fleet.master(KEY)
        master = fleet.failover(first)
        fleet.wait_until_healthy()
        assert fleet.master(KEY) is master
        ask(master, "SET", KEY, "before", replicas=1)
        with fleet.lagging(master) as (replica,):
            ask(master, "SET", KEY, "lost")
            master.kill()
        assert fleet.wait_for_promotion(master) is fleet.master(KEY) is replica is first
        master.start()
        fleet.wait_until_healthy()
        other = next(node for node in fleet.masters() if node is not first)
        fleet.move_slot(KEY, other)
        assert fleet.master(KEY) is other
        assert ask(other, "GET", KEY) == b"before"
        pids.append(master.pid)
    _gone(pids)


def _gone(pids: list[int]) -> None:
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
