"""Rules, broadcasts and answers on Redis. Every shard has the rules, for its claims; the rest is in the first."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from crawler.control.rules import check_rule, key_of, number_of
from crawler.errors import FrontierFull, FrontierUnavailable, UsageError
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.keys import shard_for
from crawler.frontier.redis.records import Unreadable, packed, text
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import ANSWER_SECONDS, BROADCASTS_KEPT, END_OF_TIME, HEAR_SECONDS
from crawler.model import Broadcast, Rule, RuleChange
from crawler.program import PROGRAM


class RedisControl:
    """Implements `Control` and `Broadcasts`. `shards` are the prefixes of all shards."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards
        self._unsure: tuple[Rule, str] | None = None  # a change whose reply did not arrive, and its token
        self._unreadable = Unreadable("rule", f"set it again or lift it with `{PROGRAM} control`")

    async def set_rule(self, rule: Rule, *, undoes: str = "") -> RuleChange:
        """Set the rule in the first shard, together with its line in the log, then in the others."""
        before, token = self._unsure or (None, "")
        token = token if before == rule else secrets.token_hex(8)
        try:
            change = await self._set(rule, undoes, token)
        except (FrontierUnavailable, FrontierFull):
            self._unsure = (rule, token)
            raise
        self._unsure = None
        return change

    async def _set(self, rule: Rule, undoes: str, token: str) -> RuleChange:
        with errors(self._server.shown):
            jobs = await self._server.at(self._shards[0]).hkeys(f"{self._shards[0]}jobs")
        named = {
            "key": key_of(rule),
            "action": rule.action,
            "what": rule.what,
            "name": rule.name,
            "number": number_of(rule, len(self._shards)) if rule.value else None,
            "record": msgspec.json.encode(_record(rule)).decode(),
            "token": token,
            "undoes": undoes,
            "jobs": [text(job) for job in jobs],
            "group": await self._group(rule.name) if rule.what == "host" else "",
        }
        made = at = before = call = ""
        for shard in self._shards:
            reply = await self._server.run(
                "control", f"{shard}rules", packed({"P": shard, "id": made, "at": at, **named}), barrier=True
            )
            if not made:
                made, at, before, call = (part.decode() for part in reply)
        return RuleChange(replace(rule, id=made, at=int(at) / 1000), before, undoes, call)

    async def _group(self, host: str) -> str:
        """The group that the host shares its turns with, as its own shard knows: the group's home may be another."""
        shard = shard_for(host, self._shards)
        with errors(self._server.shown):
            return text(await self._server.at(shard).hget(f"{shard}host:{host}", "group"))

    async def rules(self) -> list[Rule]:
        """Read the rules of the first shard."""
        with errors(self._server.shown):
            found = await self._server.at(self._shards[0]).hgetall(f"{self._shards[0]}rules")
        rules = []
        for key, record in found.items():
            try:
                rules.append(_in_force(record.partition(b" ")[2]))
            except (ValueError, RecursionError, UsageError) as error:
                self._unreadable.met(text(key), error)
        return sorted(rules, key=lambda rule: int(rule.id))

    async def rule_log(self, limit: int = 1000) -> list[RuleChange]:
        """Read the stream from its end."""
        with errors(self._server.shown):
            entries = await self._server.at(self._shards[0]).xrevrange(f"{self._shards[0]}control", count=limit)
        changes = []
        for entry, fields in entries:
            number = entry.decode().partition("-")[0]
            try:
                changes.append(_change(number, fields))
            except (KeyError, ValueError, RecursionError) as error:
                self._unreadable.met(f"change {number}", error)
        return changes

    async def ask(self, question: str) -> str:
        """Append the broadcast to the stream. Return its id."""
        with errors(self._server.shown):
            key = f"{self._shards[0]}calls"
            call: bytes = await self._server.at(key).xadd(key, {"w": question}, maxlen=BROADCASTS_KEPT)
        return call.decode()

    async def last_broadcast(self) -> str:
        """Read the id of the newest broadcast in the stream."""
        with errors(self._server.shown):
            found = await self._server.at(self._shards[0]).xrevrange(f"{self._shards[0]}calls", count=1)
        return found[0][0].decode() if found else "0-0"

    async def hear(self, after: str) -> list[Broadcast]:
        """Read the broadcasts with a blocking command, which occupies one connection."""
        wait = min(HEAR_SECONDS, self._server.timeout / 2)
        with errors(self._server.shown):
            found = await self._server.at(self._shards[0]).xread(
                {f"{self._shards[0]}calls": after}, block=max(1, int(wait * 1000))
            )
        entries = found[0][1] if found else []
        return [Broadcast(broadcast.decode(), text(fields.get(b"w"))) for broadcast, fields in entries]

    async def answer(self, call: str, worker: str, text: str) -> None:
        """Write the answer to the broadcast with the id `call` into its hash."""
        key = f"{self._shards[0]}answers:{call}"
        with errors(self._server.shown):
            pipeline = self._server.pipeline()
            await pipeline.hset(key, worker, text).expire(key, ANSWER_SECONDS).execute()

    async def answers(self, call: str) -> dict[str, str]:
        """Read the answers to the broadcast with the id `call`."""
        with errors(self._server.shown):
            found = await self._server.at(self._shards[0]).hgetall(f"{self._shards[0]}answers:{call}")
        return {text(worker): text(answer) for worker, answer in found.items()}


class _Stored(msgspec.Struct):
    """A rule as JSON; its time is in milliseconds. Fields of other versions are ignored; missing ones have defaults."""

    action: str
    what: str
    name: str
    value: str
    job: str = ""
    why: str = ""
    by: str = ""
    id: Annotated[str, Meta(pattern="^[0-9]{0,18}$")] = ""
    at: Annotated[int, Meta(ge=0, lt=END_OF_TIME)] = 0


def _record(rule: Rule) -> dict[str, str]:
    return {name: getattr(rule, name) for name in ("action", "what", "name", "value", "job", "why", "by")}


def _in_force(record: bytes) -> Rule:
    """Read and check a rule. Raises `ValueError` and `UsageError` for one that `control` cannot have written."""
    rule = _read(record)
    check_rule(rule)
    return replace(rule, id=rule.id or "0")


def _read(record: bytes, id: str = "", at: int = 0) -> Rule:
    stored = msgspec.json.decode(record, type=_Stored)
    return Rule(**{**msgspec.structs.asdict(stored), "id": stored.id or id, "at": (stored.at or at) / 1000})


def _change(number: str, fields: Mapping[bytes, bytes]) -> RuleChange:
    rule = _read(fields[b"r"], number, int(fields[b"at"]))
    return RuleChange(rule, *(text(fields.get(key)) for key in (b"b", b"u", b"c")))
