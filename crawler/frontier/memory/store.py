"""The data of a queue server in this process: the Redis commands that the scripts and the parts around them use.

Arguments are bytes, as on the wire; replies have the types of RESP2. What a command does here, it does on a server:
`tests/integration/test_memory_store.py` compares the two. A command or option that nobody uses is an error.
"""

from __future__ import annotations

from crawler.frontier.memory.hashes import Hashes
from crawler.frontier.memory.lists import Lists
from crawler.frontier.memory.sets import Sets
from crawler.frontier.memory.streams import Streams


class Store(Hashes, Lists, Sets, Streams):
    """All keys, and all commands."""
