"""Every key: name, type, meaning. The scripts build the same names from the shard's prefix.

`P` is the shard's prefix `{PREFIX:SHARD}:`; the braces are the cluster's hash tag. `J` is `P job:NAME:`.

    P id                    string  random name of this frontier; gone or changed: the server was replaced
    P shards                string  number of shards (shard 0 only), fixed at creation
    P jobs                  hash    job name → its record as JSON (shard 0 only)
    P deleted               set     jobs whose deletion has begun (shard 0 only): what is left of them is no job
    P workers               zset    worker → the server's time (ms) when its lease ends
    P worker:W              hash    token and extent of its last claim, token and reply of its last commit, info
    P worker:W:jobs         set     jobs in which it may have a processing list
    P host:H                hash    the politeness ledger, for all jobs: `next` (ms) when it may be asked again,
                                    `before`: what that was at the last claim, `inflight` requests, `pace` (ms) at
                                    the last claim, `delay` (ms) it asked for, `waiting` jobs to wake at its next
                                    commit, the `group` whose turns it takes too, and since when (`placed`); `busy`
                                    (doublings of its back-off), `failures` in a row, `since` when it has not
                                    answered well (ms), `rest`: until when it is left alone (ms), `usual` (ms) pace
                                    if no rule set one, `latency` (ms) that its pace follows; expires a day after its
                                    last use or rest
    P host:G                hash    the same of a group: `127.0.0.1`, which is that host's own as well, or
                                    `*.example.com`; `@JOB` in `waiting`: wake the group's line of that job; `cap` if
                                    a rule for one of its hosts set one
    P asking                hash    host → job, worker and message, a line each, of the lease that has it to itself
                                    while it asks for robots.txt (`take.lua`); expires a day after its last use
    P mark                  string  written to when somebody waits for the server's disk
    P rules                 hash    `ACTION WHAT NAME`, ` in JOB` behind it where it holds in one job alone → what a
                                    person has ruled: its number for claims, a space, all of it as JSON
    P turns                 hash    `spider S` or `job J` that has a rate → time (ms) of its next request
    P first                 zset    `host H` or `job J` that a person gave a priority → priority
    P control               stream  number of a change → the rule, what was before, who, when (shard 0 only); the last
                                    ten thousand
    P calls                 stream  what all workers should hear of: `w` a word (shard 0 only); the last hundred
    P answers:CALL          hash    worker → what it answered (shard 0 only), expiring
    P shared:K              string  small values of the fleet (robots.txt), expiring
    J stats                 hash    `epoch`, `buckets` of the seen-set, and the counters
    J hosts                 zset    host with pending requests → earliest time (ms) to look at it again; hosts at
                                    their concurrency cap, or in `asking`, are absent, and named in `waiting` of the
                                    host
    J line:G                zset    hosts with pending requests that wait for the turn of their group → since when (ms)
    J groups                zset    group with such a line → earliest time (ms) to look at it again, as in `hosts`
    J held                  zset    host with pending requests that is paused → time (ms) to look at it again
    J paused                hash    `host H`, `spider S` or `job J` → since when (ms), and why
    J recent                hash    `host H` or `spider S` whose pages failed lately → pages, failed alike, kind; small,
                                    expires a day after its last use
    J pending:PRIORITY:H    list    messages, next one at the right end
    J levels                hash    host → its priorities, highest first; only hosts that use others than 0
    J processing:W          list    messages a worker holds, newest at the left end
    J delayed               zset    message → time (ms) before which it must not be handed out
    J later                 set     version and hash of each message that a worker set aside because it does not know
                                    that version, until a worker that knows it has moved it
    J seen:B                set     64-bit fingerprints of known requests, as integers (linear hashing), and marks of
                                    the callbacks other than parse that they named (`add.lua`)
    J others                hash    callback that a request for a URL named which was known for another one → the first
                                    such URL
    J scope                 set     hosts that were seeded
    J seeders               zset    seeder → time (ms) until which it is believed to be at work
    J outbox                stream  `i`: the items of one page, JSON lines
    J skips                 stream  `url`, `reason`, `detail` of the last requests that were skipped, some 10,000; of
                                    reason `other_callback` those that were not admitted, with the callback they named
    J exporter              string  who exports, expiring
    J dead                  hash    id → dead letter as JSON
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from crawler.errors import UsageError

_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def shard_prefix(prefix: str, shard: int) -> str:
    """`P` of a shard."""
    return f"{{{prefix}:{shard}}}:"


def job_prefix(shard_prefix: str, job: str) -> str:
    """`J` of a job in a shard."""
    return f"{shard_prefix}job:{job}:"


def shard_of(host: str, shards: int) -> int:
    """The shard a host belongs to."""
    return zlib.crc32(host.encode()) % shards if shards > 1 else 0


def shard_for(host: str, shards: Sequence[str]) -> str:
    """The prefix of the shard a host belongs to, out of those of all shards."""
    return shards[shard_of(host, len(shards))]


def check_job_name(name: str) -> None:
    """Raise `UsageError` for a name that cannot be part of a key."""
    if not _JOB_NAME.fullmatch(name):
        raise UsageError(f"job name {name!r}: use letters, digits, dot, dash and underscore, at most 128")
