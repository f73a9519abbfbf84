"""Every number of the frontier's rules, with its unit and its reason, and every set of words that a rule is about.

Python imports them from here. The scripts use the same names: `redis/scripts.py` defines those that a script mentions
as locals at its start, a set as a table with `true` for each word. Times are in milliseconds, as in the scripts, unless
a name says otherwise.

A value that a deployment may choose is a setting, not a rule; the scripts receive it as an argument.
"""

from __future__ import annotations

from crawler.control.rules import LOG_KEPT as LOG_KEPT
from crawler.model import COVERED_FIELDS as COVERED_FIELDS
from crawler.model import MAX_SHARDS as MAX_SHARDS
from crawler.parsing.request_fields import MAX_COUNT as MAX_COUNT
from crawler.parsing.request_fields import MAX_PRIORITY as MAX_PRIORITY
from crawler.policy import OF_THE_PROJECT as OF_THE_PROJECT
from crawler.policy import ROUTE_REFUSALS as ROUTE_REFUSALS
from crawler.status import SKIPS_KEPT as SKIPS_KEPT

HOUR = 3_600_000
DAY = 24 * HOUR

MAX_NUMBER = 10**15
"""The bound, either way, for the numbers in a hash: doubles are exact below it, and the crawler writes none beyond."""

# ---------------------------------------------------------------------------------------------------------
# Hosts that refuse or cannot be reached

BREAKER = 5
"""Failures in a row after which a host gets one request at a time, and ever more rarely."""

BREAKER_BACKOFF = 0.5
"""Such a host's first rest, as a share of the first back-off: unlike a busy host, it did not ask for a rest."""

BREAKER_CAP = HOUR
"""Longest such rest: a host that has recovered should not stay idle for long."""

BACKOFF_GROWTH = 2
"""Factor from each rest to the next."""

BACKOFF_SPREAD = 0.25
"""Largest random addition to a rest, as a share of it, so that many hosts do not come back at once."""

BACKOFF_CAP = DAY
"""Longest rest of a busy host."""

BUSY_TOO_LONG = 2 * DAY
"""Time without a good answer after which a busy host is paused until a person resumes it."""

LATENCY_FALL = 0.5
"""Share of the difference by which a host's latency falls at a faster answer. At a slower one it rises by all of it, so
that one fast answer among slow ones does not make the crawl press the host."""

# ---------------------------------------------------------------------------------------------------------
# Pages that fail alike

WINDOW_SHARE = 0.5
"""The window in pages is EXPLODING_MIN divided by EXPLODING_SHARE, or by this number if that share is larger."""

WINDOW_KEPT = 0.5
"""Share of the counts of a full window that stay, rounded down: the older a page, the less it counts."""

RECENT_KEPT = 10_000
"""Hosts and spiders of a job that are watched at once, to bound memory. One more makes the script forget all."""

ROUTE_BYTES = 32
"""Bytes by which the routes of a host are told apart."""

ROUTES_BYTES = 256
"""Size of a host's list of routes from which on it is full. Of such a host any route may have been served."""

# ---------------------------------------------------------------------------------------------------------
# Which fields of items are filled

COVERED_CALLBACKS = 50
"""Callbacks of a job, with a class of items each, whose fields are counted in one shard."""

LACKING_SHOWN = 3
"""Pages remembered for each field with an item that lacks it: the first ones."""

LACKING_BYTES = 2_000
"""Bytes of the longest URL among them."""

NOTED_BYTES = 20_000
"""Bytes of the longest request that is kept to be fetched again when its items were incomplete."""

DRIFT_PAST = 4
"""Windows of pages that a callback must have read before its next window is judged: fewer tell too little."""

DRIFT_SIGMAS = 6.0
"""Standard deviations by which the share of a field must fall at least. A steady share falls so far by chance in fewer
than one of a million windows; `tests/unit/frontier/test_drift.py` computes it."""

DRIFTS_NAMED = 3
"""Fields that the reason of a pause names."""

INCOMPLETE_KEPT = 1_000
"""Pages of one callback in one shard that are remembered to be fetched again, because their items lack a field."""

# ---------------------------------------------------------------------------------------------------------
# Who is asked next

ACTIVE_FOR = 10_000
"""Time after its turn has come for which a host is preferred to those that have waited longer. The fetcher keeps an
idle connection for a minute, so a host that is asked by then, after a delay of some seconds, still has its own."""

STICKS_FOR = 250
"""Time after its turn has come for which a host is left to the worker that asked it last, unless another one would have
nothing to do. A worker under load claims many times in it. Without a delay it is no time at all."""

OLDEST_SHARE = 16
"""Of so many requests of a job that a shard hands out, one goes to the host that has waited longest. Each makes another
host active, at the cost of a connection and a look at its robots rules; fewer would make the others wait longer."""

# ---------------------------------------------------------------------------------------------------------
# Waiting

LOOK_AGAIN = 10_000
"""Time until a claim checks a host again that is paused or waits for its spider's turn."""

POLL = 1_000
"""Time until a worker claims again when only a commit, a person or the exporter can make something due."""

ROOM_POLL = 100
"""Shortest time until a shard asks again for a turn of a group that is at home in another shard and has no room."""

CATCH_UP = 100
"""Time that a spider or job with a rate may catch up on, because no worker claims every millisecond."""

# ---------------------------------------------------------------------------------------------------------
# Jobs that end early

NO_LIMIT = 10**12
"""Pages of a job whose limits are others than pages: more than any crawl reads."""

# ---------------------------------------------------------------------------------------------------------
# Limits of one call, so that no script makes the others wait for more than a few milliseconds

STRIKES = 500
"""Blocked requests and junk messages that one claim may end."""

SWEPT = 256
"""Hosts, and lines of groups, of a blocked job that one claim reads."""

SPARE_LOOKS, LOOKS_A_REQUEST = 64, 4
"""Hosts that one claim checks: 64, and 4 for each request it wants. Most are ready, but many may turn out not to be."""

DUE_AT_ONCE = 64
"""Hosts or groups read from a job's turns in one step."""

DELAYED_AT_ONCE = 100
"""Delayed requests that one claim puts back into their hosts' lines."""

HELD_AT_ONCE = 64
"""Hosts whose pause one claim checks again."""

FAVOURITES = 64
"""Hosts and jobs with a priority rule that a claim obeys, highest priorities first."""

ADD_CHUNK = 500
"""Requests added in one step, which takes 2 to 5 ms. That many of the largest fit into one argument."""

REAP_CHUNK = 200
"""Requests of a dead worker moved in one step."""

LETTERS_CHUNK = 200
"""Dead letters read or moved in one step."""

TRACE_CHUNK = 1_000
"""Requests, letters or skips that a trace reads in one step."""

READS_CHUNK = 100
"""Commits of which a trace reads the pages in one step."""

PAUSES_SHOWN = 50
"""Pauses of one shard that a reader lists, because every host of a job may be paused."""

RESTS_SHOWN = 5
"""Hosts of one shard that a reader looks at to tell which rest: those whose next turns are farthest away."""

RULES_AT_ONCE = 100
"""Rules that a script reads in one step. If there are more, it reads only those that it needs."""

RELEASED_AT_ONCE = 1_000
"""Hosts that become due at once when a pause is lifted or a rule changes; later claims find the others."""

# ---------------------------------------------------------------------------------------------------------
# Time and generations (`generation.lua`)

CLOCK_NOTED = 100
"""Time after which the frontier's time is written down again."""

END_OF_TIME = 10**14
"""All times are before it: the year 5138."""

FIRST_GENERATION = END_OF_TIME
"""No clock comes so far: in a stream whose last id begins with a generation, `XADD *` counts on from that id. So ids
need no clock."""

GENERATION_SPREAD = 10**9
"""Bound of what is added to a generation by the name of its server, so that no two servers begin the same."""

GENERATIONS_BYTES = 1_600
"""Bytes kept of the earlier generations of a shard: a hundred, each with 15 digits and a space."""

# ---------------------------------------------------------------------------------------------------------
# What the frontier keeps, and for how long

LEDGER_TTL = DAY
"""Lifetime of a host's ledger after its last use or rest."""

ASKING_TTL = DAY
"""Lifetime of `asking`, the leases that have a host to themselves, after the last one began."""

RECENT_TTL = DAY
"""Lifetime of the counts of a job's last pages, after the last page."""

READS_KEPT = 2_000
"""Commits whose pages, a hundred at most, `why` can tell more of than that they were read; it may keep a few more."""

FAILING_KEPT = 10_000
"""Requests of a job in one shard that wait for another try, whose last errors are kept."""

MAX_DETAIL = 500
"""Characters kept of the detail of a skip, and of the last error of a request that waits for another try."""

LETTER_ID = 12
"""Hexadecimal digits of a dead letter's id: among a million letters, the chance that two share one is 1 in 500."""

ANSWER_SECONDS = 60
"""Time for which the answers of workers can be read."""

HEAR_SECONDS = 1.0
"""Longest time that a listener waits for a broadcast."""

BROADCASTS_KEPT = 100
"""Broadcasts kept; workers read them within a second."""

CHANGES_COMPARED = 10
"""Last changes that the script searches for the token of a repeated call."""

CACHE_ENTRIES = 2**21
"""Entries, of 8 bytes each, in the cache of known URLs that a process keeps for one job: of a million URLs it remembers
99 in 100, of ten million one in five."""

ALL_CACHE_ENTRIES = 2 * CACHE_ENTRIES
"""Entries in the caches of all jobs."""

SHARDS_PER_MASTER = 2
"""Shards for each master of a cluster, unless `SHARDS` says otherwise: room for twice as many masters. More cost each
page more calls, because its links go to the shards of their hosts."""

MAX_TICKET = 1_000_000
"""Bytes of a ticket: every exporter reads all of them twice a second."""

MAX_EPOCH = 64
"""Bytes of a job's epoch, which is the key of the fingerprints."""

SEEN_LOAD = 200
"""Average number of fingerprints in a bucket of the seen-set. A bucket that waits to be split holds about twice as
many, and a set of integers stays an array up to 512 (`set-max-intset-entries`)."""

DEAD_ITEMS_KEPT = 100_000
"""Items of a job that its outputs could not store. With so many, one more holds up its output: a person must look."""

LARGE_BYTES = 100_000_000
"""Memory of a server, about that of a million pending requests, from which the C library's allocator costs it
noticeably more time for each."""
