"""Every number of the frontier's rules, once, with its unit and the reason for it.

Python imports them from here. The scripts use the same names: `redis/scripts.py` puts the numbers that a script
mentions in front of it, as locals. Times are in milliseconds, as in the scripts, unless a name says otherwise.

What a deployment may choose is a setting and no rule: it reaches the scripts as an argument.
"""

from __future__ import annotations

from crawler.control.rules import LOG_KEPT as LOG_KEPT
from crawler.status import SKIPS_KEPT as SKIPS_KEPT

HOUR = 3_600_000
DAY = 24 * HOUR

MAX_NUMBER = 10**15
"""What a hash holds beyond it, either way, is none of ours: doubles are exact below."""

# ---------------------------------------------------------------------------------------------------------
# Messages

MAX_COUNT = 10**14
"""Each count of a message is below it: the scripts write such numbers as JSON does, and doubles hold them exactly."""

MAX_PRIORITY = 1_000
"""Either way. The scripts keep priorities as text, and large numbers change their look there."""

# ---------------------------------------------------------------------------------------------------------
# A host that does not answer well

BREAKER = 5
"""Failures of a host in a row after which it is asked one request at a time, and ever more rarely."""

BREAKER_BACKOFF = 0.5
"""Share of the first back-off that such a host rests at first: unlike a busy one it has asked for nothing."""

BREAKER_CAP = HOUR
"""Longest such rest: a host that is back should not stay idle for long."""

BACKOFF_GROWTH = 2
"""Each rest is so many times as long as the one before."""

BACKOFF_SPREAD = 0.25
"""Share of a rest that is added at random at most, so that many hosts do not come back at once."""

BACKOFF_CAP = DAY
"""Longest rest of a busy host."""

BUSY_TOO_LONG = 2 * DAY
"""Time without a good answer after which a busy host is paused, for a person to look at."""

# ---------------------------------------------------------------------------------------------------------
# Pages that fail alike

WINDOW_SHARE = 0.5
"""A larger share is judged over no shorter a window than this one. At a window's end its older half counts no more."""

RECENT_KEPT = 10_000
"""Hosts and spiders of a job that are watched at once; one more, and all are forgotten. A bound on memory."""

# ---------------------------------------------------------------------------------------------------------
# Waiting

LOOK_AGAIN = 10_000
"""Until a host is looked at again that is paused, or that waits for its spider's turn."""

POLL = 1_000
"""Until a worker asks again when nothing but a commit, a person or the exporter can make something due."""

CATCH_UP = 100
"""What a spider or job with a rate may make up for: nobody claims every millisecond."""

# ---------------------------------------------------------------------------------------------------------
# What one call may do, so that no script keeps the others waiting for more than a few milliseconds

STRIKES = 500
"""Requests that one claim may end because they are blocked, or no requests at all."""

SWEPT = 256
"""Hosts, and lines of groups, of a blocked job that one claim looks at."""

SPARE_LOOKS, LOOKS_A_REQUEST = 64, 4
"""Hosts that one claim looks at: most are ready, but many may turn out not to be."""

DUE_AT_ONCE = 64
"""Hosts or groups read from a job's turns in one step."""

DELAYED_AT_ONCE = 100
"""Delayed requests that one claim puts back into their hosts' lines."""

HELD_AT_ONCE = 64
"""Hosts whose pause one claim looks at again."""

FAVOURITES = 64
"""Hosts and jobs whose priority by a person is obeyed, the highest ones."""

ADD_CHUNK = 500
"""Requests added in one step, which takes 2 to 5 ms. That many of the largest fit into one argument."""

REAP_CHUNK = 200
"""Requests of a worker that is gone, moved in one step."""

LETTERS_CHUNK = 200
"""Dead letters looked at or moved in one step."""

TRACE_CHUNK = 1_000
"""Requests, letters or skips that a trace reads in one step."""

PAUSES_SHOWN = 50
"""Of one shard: every host of a job may be paused."""

ORDERS_AT_ONCE = 100
"""Orders of people that a script reads in one step; of more it reads those that it asks for."""

RELEASED_AT_ONCE = 1_000
"""Hosts that are looked at again at once when a pause is lifted or an order changes; claims find the others in time."""

# ---------------------------------------------------------------------------------------------------------
# What is kept, and for how long

LEDGER_TTL = DAY
"""Of a host's ledger after its last use or rest."""

ASKING_TTL = DAY
"""Of the leases that have a host to themselves, after the last one began."""

RECENT_TTL = DAY
"""Of how the last pages went, after the last one."""

MAX_DETAIL = 500
"""Characters kept of what made a request be skipped."""

LETTER_ID = 12
"""Hexadecimal digits of a dead letter's id: two of a million letters share one with a chance of 1 in 500."""

ANSWER_SECONDS = 60
"""For which the answers of workers can be read."""

HEAR_SECONDS = 1.0
"""That a listener waits for a call at most."""

BROADCASTS_KEPT = 100
"""Calls to all workers: they read them within a second."""

CHANGES_COMPARED = 10
"""Last changes among which an order that is given again finds itself."""

KNOWN_KEPT = 50_000
"""Known URLs of one job that a process remembers at least; of twice as many it forgets the older half."""

ALL_KNOWN_KEPT = 200_000
"""Those of all jobs; some 200 bytes each."""

MAX_SHARDS = 1_024
"""Of one frontier: a claim may ask each of them."""

MAX_EPOCH = 64
"""Bytes of a job's epoch: it is the key of the fingerprints."""

SEEN_LOAD = 200
"""Fingerprints in a bucket of the seen-set on average. A bucket that waits to be split holds twice as many, some luck
aside, and a set of integers stays an array up to 512 (`set-max-intset-entries`)."""
