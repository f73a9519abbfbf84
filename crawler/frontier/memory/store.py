"""The data of the queue server inside this process, and the Redis commands that the frontier uses.

Arguments are bytes, as on the wire; replies have the types of RESP2. A command does here what it does on a server:
`tests/integration/test_memory_store.py` compares the two. A command or option that the frontier does not use is an
error.
"""

from __future__ import annotations

from crawler.frontier.memory.hashes import Hashes
from crawler.frontier.memory.lists import Lists
from crawler.frontier.memory.sets import Sets
from crawler.frontier.memory.streams import Streams


class Store(Hashes, Lists, Sets, Streams):
    """All keys, and all commands."""
