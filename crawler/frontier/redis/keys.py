"""Every key in the server: name, type, meaning. The scripts build the same names from the shard's prefix.

`P` is the shard's prefix `{PREFIX:NUMBER}:`; the braces are the cluster's hash tag. `J` is `P job:NAME:`.

    P id                    string  random name of this frontier; if it is gone or changed, the server was replaced
    P shards                string  number of shards (shard 0 only), fixed at creation
    P jobs                  hash    job name → its record as JSON (shard 0 only)
    P deleted               set     jobs whose deletion has begun (shard 0 only); their remaining keys count as deleted
    P tickets               hash    id of a task that waits for the result of a job → the ticket as JSON (shard 0 only)
    P clock                 hash    `offset` (ms) of the frontier's time from the server's clock; `last` (ms), the last
                                    one written down; `server`, the replication id of the server that answers; its
                                    `generation`, since when (ms) it lasts, `since`, and those `before`
                                    (`generation.lua`)
    P workers               zset    worker → the frontier's time (ms) when its lease ends
    P worker:W              hash    token and extent of its last claim, token and reply of its last commit, info
    P worker:W:jobs         set     jobs in which it may have a processing list
    P worker:W:turns        hash    lease in another shard → the group, at home here, of which it has a turn
    P host:H                hash    the politeness ledger, for all jobs: `next` (ms), the host's next turn; `before`,
                                    the value of `next` at the last claim; `inflight` requests; `pace` (ms) at the last
                                    claim; `delay` (ms) that the host asked for; `waiting`, the jobs to wake at its next
                                    commit; the `group` whose turns it shares, and `placed` (ms), when it joined;
                                    `busy`, the doublings of its back-off; `failures` in a row; `since` (ms), the first
                                    bad answer after the last good one; `rest` (ms), until when it rests; `cause`, how
                                    often in a row it has been put to rest, 1 if it said for how long, and the word for
                                    why, until it is well again; `usual` (ms),
                                    its pace without the rule in force; `latency` (ms) that its pace follows; expires a
                                    day after its last use or rest
    P host:G                hash    the same of a group: `127.0.0.1`, which is also the ledger of the host of that
                                    name, or `*.example.com`; `@JOB` in `waiting` wakes the group's line of that job;
                                    `cap` if a rule for one of its hosts set one. With several shards the shard that
                                    its name leads to is its home: there `inflight` and `next` are those of all its
                                    hosts, and `shards` are the numbers of the shards that wait for a turn, in order.
                                    In other shards it spaces the claims of that shard alone
    P asking                hash    host → job, worker and message, a line each, of the lease that has the host to
                                    itself while it asks for robots.txt (`take.lua`); expires a day after its last use
    P mark                  string  written when a client waits for the server's disk or for replicas
    P absent                        never written; each script names it beside its key, so that a cluster that moves the
                                    keys of a slot one by one runs no script on half of them
    P rules                 hash    `ACTION WHAT NAME`, followed by ` in JOB` if it applies to one job only → a rule:
                                    its number for claims, a space, the rule as JSON
    P turns                 hash    `spider S` or `job J` that has a rate → time (ms) of its next request
    P first                 zset    `host H` or `job J` that a person gave a priority → priority
    P control               stream  number of a change → the rule, the value before, who, when (shard 0 only); the last
                                    ten thousand
    P calls                 stream  broadcasts to all workers: `w` a word (shard 0 only); the last hundred
    P schedules             hash    schedule → its timetable: the revision, a space, JSON (shard 0 only)
    P answers:CALL          hash    worker → its answer (shard 0 only), expiring
    P shared:K              string  small values of the fleet (robots.txt), expiring
    J stats                 hash    `epoch`, `buckets` of the seen-set, and the counters, of which `handed_out` decides
                                    whose turn it is (`look.lua`); `closed` if the job was: how
                                    often it had been `opened` again, when (ms), why; of a limited job its `quota`
                                    here, and what the shard has `taken` from the budget and `returned` (`quota.lua`)
    J budget                hash    the limits of the job, `since` when (ms); `given:SHARD` and `back:SHARD`, what each
                                    shard has borrowed and returned; when it had an item last (`budget.lua`; shard 0
                                    only)
    J hosts                 zset    host with pending requests → earliest time (ms) to check it again; a host at its
                                    concurrency cap, or in `asking`, is absent, and its `waiting` names the job
    J line:G                zset    hosts with pending requests that wait for the turn of their group → since when (ms)
    J groups                zset    group with such a line → earliest time (ms) to check it again, as in `hosts`
    J held                  zset    host with pending requests that is paused → time (ms) to check it again
    J paused                hash    `host H`, `spider S`, `callback C` or `job J` → since when (ms), and why
    J recent                hash    `host H` or `spider S` whose pages failed lately → pages, failed alike, kind, and
                                    their route or `*`; small, expires a day after its last use
    J served                hash    host → the routes of which it served a page, with spaces between; small, expires a
                                    day after its last change
    J pending:PRIORITY:H    list    messages, next one at the right end
    J levels                hash    host → its priorities, highest first; only hosts with priorities other than 0
    J processing:W          list    messages a worker holds, newest at the left end
    J delayed               zset    message → time (ms) before which no claim hands it out
    J later                 set     version and hash of each message that a worker set aside because it does not know
                                    that version, until a worker that knows it has moved it
    J seen:B                set     64-bit fingerprints of known requests, as integers (linear hashing), and marks of
                                    the callbacks other than parse that they named, and of those that were redirected
                                    (`add.lua`)
    J item_keys             set     keys of the items in the outbox and before, if the spider names fields for them
    J others                hash    callback named by a request whose URL was already known with another callback → the
                                    first such URL
    J again                 hash    mark of a redirected URL and callback → the open request for it that was
                                    admitted again; empty: redirected as well
    J scope                 set     hosts that were seeded
    J seeders               zset    seeder → time (ms) until which it is presumed to be at work
    J coverage              hash    KEY: callback with its spider, a tab, class of items → how many items it gave, and
                                    in how many each field is filled, as JSON (`coverage.lua`), without those in its
                                    window; at most 50
    J window:KEY            list    the last pages of a key: counts as JSON, keys of items, message, a line each; fewer
                                    than DRIFT_MIN
    J lacking               hash    KEY, a tab, a field → the first three pages with an item that lacks it
    J drifted               hash    KEY → fields that its items lack since a window, as JSON (`drift.lua`)
    J incomplete:CALLBACK   hash    message of a page whose items lack such a field → keys of its items; at most 1,000
    J outbox                stream  `i`: the items of one page, JSON lines; `u` its URL, `s` its spider; `k` the names
                                    of their classes, a line each, unless all are dicts; `t` the
                                    one sink that gets them, if they were dead items; `w` its line in
                                    the index of an archive, if it is in one: then there may be no item
    J forked                string  generation of the outbox, a space, the last position before it; once an exporter has
                                    asked: the last one of its sink that the server before this one gave out
    J skips                 stream  `url`, `reason`, `detail` of the last skips, some 10,000; with reason
                                    `other_callback`, requests that were not admitted, and the callback they named
    J exported              hash    shard → position of the last entry that was removed from its outbox; `location`
                                    and `inode` of the sink that has the items, the first one of several (shard 0 only)
    J sinks                 string  the location that a target names → what its sink has, as JSON (shard 0 only)
    J dead_items            hash    id → an item that a sink could not store, as JSON (shard 0 only)
    J read                  stream  `worker`, and URL → status, bytes, items, links, and the position of its items, of
                                    each page that a commit ended as read; the last 2,000 commits
    J exporter              string  the name of the exporter, expiring
    J failing               hash    URL of a request that waits for another try → when it failed (ms), a space, its last
                                    error; at most 10,000
    J dead                  hash    id → dead letter as JSON
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from crawler.errors import UsageError

SLOTS = REDIS_CLUSTER_HASH_SLOTS

_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def shard_prefix(prefix: str, shard: int) -> str:
    """`P` of a shard."""
    return f"{{{prefix}:{shard}}}:"


def several(prefix: str, shards: int) -> tuple[str, ...]:
    """`P` of each shard."""
    return tuple(shard_prefix(prefix, shard) for shard in range(shards))


def spread(prefix: str, shards: int) -> tuple[str, ...]:
    """`P` of each shard in a cluster: the first ones of which each lies in another one of `shards` equal parts of the
    slots. Masters that have equal ranges of slots then have equally many shards, or nearly so."""
    found: dict[int, str] = {}
    numbers = itertools.count()
    while len(found) < shards:
        its = shard_prefix(prefix, next(numbers))
        found.setdefault(key_slot(its.encode()) * shards // SLOTS, its)
    return tuple(found.values())


def absent_beside(key: str) -> str:
    """`P absent` of the shard that a key belongs to."""
    return f"{key[: key.index('}') + 1]}:absent"


def job_prefix(shard_prefix: str, job: str) -> str:
    """`J` of a job in a shard."""
    return f"{shard_prefix}job:{job}:"


def mark_beside(key: str) -> str:
    """`P mark` of the shard that a key belongs to."""
    return f"{key[: key.index('}')]}}}:mark"


def shard_of(host: str, shards: int) -> int:
    """The number of the shard that a host belongs to."""
    return zlib.crc32(host.encode()) % shards if shards > 1 else 0


def shard_for(host: str, shards: Sequence[str]) -> str:
    """The prefix of the shard that a host belongs to; `shards` are the prefixes of all shards."""
    return shards[shard_of(host, len(shards))]


def check_job_name(name: str) -> None:
    """Raise `UsageError` for a name that cannot be part of a key."""
    if not _JOB_NAME.fullmatch(name):
        raise UsageError(f"job name {name!r}: use letters, digits, dot, dash and underscore, at most 128")
