"""What the user of a queue server must be permitted to do, if it is not `default` (docs/servers.md)."""

from __future__ import annotations

import re

from crawler.errors import ConfigError
from crawler.frontier.redis import scripts

# INFO counts as dangerous.
RULE = (
    "~{{{prefix}:* resetchannels -@all +@read +@write +@connection -@dangerous +info +time +eval +evalsha "
    "+cluster|slots +cluster|shards +cluster|info +cluster|myid"
)
"""For `ACL SETUSER`: the keys and commands of every command of ours; a single server needs no `cluster`."""

SENTINEL_RULE = "-@all +@connection -@dangerous +sentinel|get-master-addr-by-name +sentinel|masters"
"""The same for sentinels that have users of their own."""

_WORDS_OF_SCRIPTS = {word for script in scripts.NAMES for word in re.findall(rb"'([A-Z]{3,})'", scripts.source(script))}
COMMANDS = (
    *sorted(word.decode() for word in _WORDS_OF_SCRIPTS),
    *("EVAL", "EVALSHA", "HGETALL", "HKEYS", "HRANDFIELD", "HSCAN", "INFO", "LLEN", "LRANGE", "MGET", "SCAN", "SREM"),
    *("TIME", "UNLINK", "XLEN", "XRANGE", "XREAD", "XREVRANGE", "XTRIM", "ZCARD", "ZCOUNT", "ZREVRANGE"),
)
"""The commands that the scripts and we send; some of the scripts' words in capitals are no commands."""

_USER = re.compile(r"User (\S+) has no permissions|://([^:@/?#]+):\*\*\*@")


def refusal(shown: str, why: str, prefix: str = "crawler") -> ConfigError:
    """Return the error of a user who may not do what the crawler must; `why` is what the server said."""
    found = _USER.search(why) or _USER.search(shown)
    user = (found[1] or found[2]) if found else "default"
    return ConfigError(
        f"{shown}: the user {user} of the queue server lacks a permission: {why}. Whoever administers it writes: "
        f"ACL SETUSER {user} {RULE.format(prefix=prefix)}"
    )
