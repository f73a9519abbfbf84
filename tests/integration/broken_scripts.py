"""Scripts that meet a fault at their n-th write: the source is the real one, only `redis.call` is watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1

from crawler.frontier.redis.server import Server

BALLAST = "ballast"
"""Key that fills the server's memory in the middle of a script."""
WRITES = "writes"
"""Key that counts the writes of a script."""

FILL = f"real.call('SETRANGE', '{BALLAST}', 4000000, 'x')"
HANG = "while true do end"
COUNT = f"real.call('INCR', '{WRITES}')"

_READS = [
    *(
        "EXISTS",
        "GET",
        "HEXISTS",
        "HGET",
        "HGETALL",
        "HKEYS",
        "HLEN",
        "HMGET",
        "HRANDFIELD",
        "LINDEX",
        "LPOS",
        "LRANGE",
        "SMEMBERS",
        "TIME",
        "XINFO",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
    ),
    *("ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE", "ZREVRANGEBYSCORE", "ZSCORE"),
]
_WATCH = """
local real, writes, reads = redis, 0, {{ {reads} }}
local redis = setmetatable({{
  call = function(name, key, ...)
    if not reads[name] and not ({is_timed}) then
      writes = writes + 1
      if {when} then {fault} end
    end
    if key == nil then return real.call(name) end
    return real.call(name, key, ...)
  end,
}}, {{ __index = real }})
"""


@contextmanager
def fault_at(server: Server, script: str, write: int, fault: str) -> Iterator[None]:
    """Within the block that script does `fault` just before its n-th write; 0: before each."""
    reads = ", ".join(f"{name} = true" for name in _READS)
    when = f"writes == {write}" if write else "true"
    # A note of the time is due or not, as the clock has it; it is never the first write.
    is_timed = "name == 'HSET' and string.find(key, ':clock$')" if script in ("beat", "claim", "commit") else "false"
    source, name = server._sources[script], server._hashes[script]
    watched = _WATCH.format(reads=reads, when=when, fault=fault, is_timed=is_timed).encode() + source
    server._sources[script], server._hashes[script] = watched, sha1(watched).hexdigest()  # noqa: S324
    try:
        yield
    finally:
        server._sources[script], server._hashes[script] = source, name
