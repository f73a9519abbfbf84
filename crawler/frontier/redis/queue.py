"""pending → processing → done | pending | dead on Redis: how a worker claims requests and ends them."""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import structlog

from crawler.errors import FrontierFull, FrontierReplaced, FrontierUnavailable
from crawler.frontier import message as wire
from crawler.frontier.redis.adding import RedisAdding
from crawler.frontier.redis.closing import RedisClosing
from crawler.frontier.redis.errors import JobGone
from crawler.frontier.redis.handed_out import HandedOut
from crawler.frontier.redis.jobs import RedisJobs
from crawler.frontier.redis.keys import job_prefix, shard_of
from crawler.frontier.redis.ledger import RedisLedger
from crawler.frontier.redis.records import Ending, dead_record, ending, packed, read_claim, text
from crawler.frontier.redis.server import Server
from crawler.frontier.redis.sticking import AskedHosts
from crawler.interfaces import Pace
from crawler.model import Claim, Failure, Job, Lease, Request, Skip, Visit
from crawler.status import clock, why_resting

log = structlog.get_logger()

_Bytes = tuple[bytes, bytes, bytes]  # message, items, and what the kind of ending needs besides


class RedisQueue:
    """Implements `Queue`. `exploding`: the share and the number of pages that must fail alike before their host or
    spider is paused; `drift`: by which share of before a field must be filled less often, in a window of so many pages,
    before its callback is paused."""

    def __init__(
        self,
        server: Server,
        shards: Sequence[str],
        jobs: RedisJobs,
        adding: RedisAdding,
        handed_out: HandedOut,
        ledger: RedisLedger,
        closing: RedisClosing,
        *,
        lease_seconds: float,
        outbox_limit: int,
        exploding: tuple[float, int],
        drift: tuple[float, int],
    ) -> None:
        self._server = server
        self._shards = shards
        self._jobs = jobs
        self._adding = adding
        self._handed_out = handed_out
        self._ledger = ledger
        self._closing = closing
        self._lease_ms = int(lease_seconds * 1000)
        self._outbox_limit = outbox_limit
        self._exploding = exploding
        self._drift = drift
        self._asked_hosts = AskedHosts()
        self._first_shard = 0  # the last claim began here; the next one begins one shard further
        self._claim_tokens: dict[tuple[str, int], str] = {}  # (worker, shard) → token of a claim without a reply
        # Commits without a reply: (worker, shard, epoch) → (leases, token).
        self._tokens: dict[tuple[str, int, str], tuple[bytes, str]] = {}
        # Replies for a repeated call after one that failed: worker → (shard, epoch, leases) → answers.
        self._answers: dict[str, dict[tuple[int, str, bytes], list[bool]]] = defaultdict(dict)

    async def claim(self, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        """Claim from the shards in turn until the limit is reached. Each call begins with the next shard."""
        self._jobs.note(jobs)
        await self._ledger.end_lost(worker)
        # What a commit that is half done has ended in one shard still counts as handed out, so it must end first.
        is_calm = worker not in self._answers and all(name != worker for name, _ in self._claim_tokens)
        if is_calm and self._handed_out.is_in_doubt(worker):
            given_back = await self._handed_out.given_back(worker, await self._jobs.all(), limit)
            if given_back is not None:
                return given_back
        count = len(self._shards)
        self._first_shard = (self._first_shard + 1) % count
        total = Claim(idle="empty")
        for offset in range(count):
            room = limit - len(total.leases) - len(total.junk)
            if room <= 0:
                break
            try:
                part = await self._claim_from((self._first_shard + offset) % count, worker, room, jobs, pace)
            except (FrontierUnavailable, FrontierFull):
                if not total.leases and not total.junk:
                    raise
                break  # return what was claimed; the next call raises the error again
            total = _merge(total, part)
        if total.gone:
            reason = await self._jobs.forgotten(self._jobs.known[total.gone[0]])
            if isinstance(reason, FrontierReplaced):
                raise reason
        self._handed_out.take(worker, total)
        self._asked_hosts.forget(total.leases)
        return total

    def _epochs(self) -> dict[str, str]:
        return {name: job.epoch for name, job in self._jobs.known.items()}

    async def _claim_from(self, shard: int, worker: str, limit: int, jobs: Sequence[Job], pace: Pace) -> Claim:
        prefix = self._shards[shard]
        asked = await self._closing.asked(jobs, shard, limit)  # first: it may fail, and the token must not be lost
        mine = self._asked_hosts.due(shard, pace, self._server.clock(), limit)
        token = self._claim_tokens.pop((worker, shard), "") or secrets.token_hex(8)
        named = {
            "P": prefix,
            "worker": worker,
            "token": token,
            "shard": str(shard),
            "limit": limit,
            "lease": self._lease_ms,
            "delay": int(pace.delay * 1000),
            "jitter": pace.jitter,
            "cap": pace.concurrency,
            "target": pace.target,
            "longest": int(pace.longest * 1000),
            "outbox_limit": self._outbox_limit,
            "random": random.randrange(1, 2**31 - 1),
            "jobs": [{**job, "mine": mine.get(job["name"], ())} for job in asked],
        }
        began = self._server.clock()
        try:
            reply = await self._server.run("claim", f"{prefix}workers", packed(named))
        except FrontierUnavailable:
            self._claim_tokens[worker, shard] = token  # the reply may be lost: the next call repeats this one
            raise
        claim = read_claim(reply, self._epochs(), began, shard, len(self._shards))
        if reply[3] and await self._closing.hear(jobs, reply[3]) and not claim.leases and not claim.junk:
            return await self._claim_from(shard, worker, limit, jobs, pace)
        return claim

    async def commit(self, worker: str, visits: Sequence[tuple[Lease, Visit]], pace: Pace) -> list[bool]:
        """End turns in other shards and add the links first; then commit items and acknowledgements, shard by shard."""
        turns = await self._ledger.end_turns(worker, visits)
        by_job: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (lease, _) in enumerate(visits):
            by_job[lease.job, lease.epoch].append(number)
        accepted = [False] * len(visits)
        for (name, epoch), numbers in by_job.items():
            if name not in self._jobs.known:
                await self._jobs.all()
            job = self._jobs.known.get(name)
            if job is None or job.epoch != epoch:
                continue  # deleted meanwhile
            try:
                await self._adding.redirected(job, _redirected(visits[number] for number in numbers))
                links = [link for number in numbers for link in _links(*visits[number])]
                await self._adding.add_with_words(job, [link for link in links if link[0].depth > 0])
                await self._adding.add_with_words(
                    job, [link for link in links if link[0].depth == 0], seed=True
                )  # a seed's redirect
                await self._commit_job(worker, job, visits, numbers, pace, turns, accepted)
                for why in {visits[number][1].close for number in numbers if accepted[number]} - {""}:
                    await self._closing.close(job, why)
            except JobGone:
                reason = await self._jobs.forgotten(job)
                if isinstance(reason, FrontierReplaced):
                    raise reason from None
        self._answers.pop(worker, None)
        self._handed_out.end(worker, [(lease.job, lease.message) for lease, _ in visits])
        return accepted

    async def _commit_job(
        self,
        worker: str,
        job: Job,
        visits: Sequence[tuple[Lease, Visit]],
        numbers: Sequence[int],
        pace: Pace,
        turns: Mapping[tuple[str, bytes], int],
        accepted: list[bool],
    ) -> None:
        by_shard: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            by_shard[shard_of(visits[number][0].host, len(self._shards))].append(number)
        for shard, part in by_shard.items():
            # When a call is repeated because another shard did not answer, this shard must not run it a second time:
            # the commit would look fenced.
            call = (shard, job.epoch, b"".join(visits[number][0].message for number in part))
            answers = self._answers[worker]
            if call not in answers:
                now = self._server.clock()
                ended = [visits[number] for number in part]
                endings = [
                    ending(worker, lease, visit, now, turns.get((lease.job, lease.message))) for lease, visit in ended
                ]
                answers[call] = await self._run_commit(worker, job, shard, endings, pace)
                self._asked_hosts.note(shard, ended, pace)
            for number, answer in zip(part, answers[call], strict=True):
                accepted[number] = answer

    async def _run_commit(
        self, worker: str, job: Job, shard: int, endings: Sequence[tuple[Ending, _Bytes]], pace: Pace
    ) -> list[bool]:
        prefix = self._shards[shard]
        # A repeated commit of the same leases carries the first one's token, so it gets the first one's answer.
        leases = b"".join(message for _, (message, *_) in endings)
        key = (worker, shard, job.epoch)
        before, token = self._tokens.pop(key, (b"", ""))
        if before != leases:
            token = secrets.token_hex(8)
        share, least = self._exploding
        named = packed(
            {
                "P": prefix,
                "worker": worker,
                "job": job.name,
                "epoch": job.epoch,
                "token": token,
                "delay": int(pace.delay * 1000),
                "share": share,
                "least": least,
                "drift_share": self._drift[0],
                "drift_min": self._drift[1],
                "backoff": int(pace.backoff * 1000),
                "patience": int(pace.patience * 1000),
                "target": pace.target,
                "longest": int(pace.longest * 1000),
                "visits": [visit for visit, _ in endings],
            }
        )
        processing = f"{job_prefix(prefix, job.name)}processing:{worker}"
        try:
            reply = await self._server.run(
                "commit", processing, named, *(part for _, three in endings for part in three)
            )
        except FrontierUnavailable:
            self._tokens[key] = (leases, token)
            raise
        reply, *drifts = reply.split(b"\n")
        for callback, why in (text(drift).split(": ", 1) for drift in drifts):
            log.warning("coverage_drift", job=job.name, callback=callback, why=why)
        answers, *rests = reply.split(b" ")
        _say_rests([visit for visit, _ in endings], answers.decode(), rests)
        return [answer != "0" for answer in answers.decode()]

    async def bury(self, worker: str, job: Job, message: bytes, failure: Failure) -> bool:
        """Move the bytes as they are to the dead letters."""
        record = dead_record(worker, message, failure)
        return await self._commit_raw(worker, job, message, "junk", 0.0, record)

    async def set_aside(self, worker: str, job: Job, message: bytes, delay: float) -> bool:
        """Return the message unchanged to pending, for a worker that knows its version."""
        return await self._commit_raw(worker, job, message, "aside", delay, message)

    async def _commit_raw(self, worker: str, job: Job, message: bytes, kind: str, delay: float, payload: bytes) -> bool:
        host = wire.ledger_host(message)
        its_end = Ending(kind=kind, host=host, delay=int(delay * 1000)), (message, b"", payload)
        own = shard_of(host, len(self._shards))
        accepted = False
        for shard in sorted(range(len(self._shards)), key=lambda shard: shard != own):  # junk may lie in any shard
            (accepted,) = await self._run_commit(worker, job, shard, [its_end], Pace())
            if accepted:
                break
        self._handed_out.end(worker, [(job.name, message)])
        return accepted


def _say_rests(visits: Sequence[Ending], answers: str, rests: Sequence[bytes]) -> None:
    """Log each host that the commit put to rest, and each that is back after a rest."""
    told = iter(rests)
    for visit, answer in zip(visits, answers, strict=True):
        if answer == "r":
            ms, _, times = next(told).partition(b":")
            why = why_resting(visit.cause, int(times), asked=visit.pause > 0)
            log.warning("host_rests", host=visit.host, why=why, next_try=clock(time.time(), int(ms) / 1000))
        elif answer == "b":
            log.info("host_is_back", host=visit.host)


def _redirected(visits: Iterable[tuple[Lease, Visit]]) -> Iterable[Lease]:
    for lease, visit in visits:
        if isinstance(visit.outcome, Skip) and visit.outcome.reason == "redirect" and not lease.request.dont_filter:
            yield lease


def _links(lease: Lease, visit: Visit) -> Iterable[tuple[Request, str]]:
    """The links, each with a word that is the same when this page is committed or visited again. Steps of items that
    wait for files are counted apart, so that what else the page yields does not change their words."""
    if not visit.links:
        return
    page = blake2b(wire.identity(lease.message), digest_size=8).hexdigest()
    times: Counter[tuple[str, str]] = Counter()
    for request in visit.links:
        kind = "media" if request.media else ""
        if request.dont_filter:
            times[kind, request.url] += 1
        yield request, f"{page}:{kind}{times[kind, request.url]}"


def _merge(total: Claim, part: Claim) -> Claim:
    waits = [wait for wait in (total.wait, part.wait) if wait is not None]
    idle = part.idle if total.idle in ("empty", "") else total.idle
    return Claim(
        leases=total.leases + part.leases,
        junk=total.junk + part.junk,
        wait=min(waits) if waits else None,
        idle=idle,
        gone=tuple(dict.fromkeys(total.gone + part.gone)),
    )
