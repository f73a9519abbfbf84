"""What a crawl lost, refused, skipped or cut off: its counters in sentences. Pure.

Each counter `skip/…` (pages), `dropped/…` (items), `given_up/…` (files of items), `links/…` (links and requests) and
`cut/…` (what a bound cut off a page) has a row here. A person or a host asked for some of it, by a setting, in a spider
or in robots.txt: reports only mention that. The rest is lost; with `--strict` it makes the exit code `Exit.LOST`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from crawler.errors import Exit
from crawler.program import PROGRAM
from crawler.runtime.safe_text import shown
from crawler.status import JobStats
from crawler.views.figures import counts_in_words, group, other_callbacks, pages, several
from crawler.views.reports import CrawlReport


class Loss(Struct, frozen=True):
    """One counter that is not zero, and what a person must know about it."""

    counter: str
    count: int
    text: str
    is_asked_for: bool = False  # by a setting, a spider, a person or a host: no loss to `--strict`


class _Row(Struct, frozen=True):
    noun: str  # what the counter counts
    why: str  # with the setting that raises the bound, where there is one
    is_asked_for: bool = False


_ROWS: Mapping[str, _Row] = {
    # --- pages
    "skip/robots": _Row("page", "robots.txt forbids them (ROBOTSTXT_OBEY)", is_asked_for=True),
    "skip/redirect": _Row("page", "redirected elsewhere; the page there is counted by itself", is_asked_for=True),
    "skip/not_cached": _Row("page", "not in the page cache (HTTPCACHE_IGNORE_MISSING)", is_asked_for=True),
    "skip/blocked": _Row("page", f"a person blocked them ({PROGRAM} control list)", is_asked_for=True),
    "skip/parse_maxsize": _Row("page", "not parsed: larger than PARSE_MAXSIZE"),
    "skip/parse_maxnodes": _Row("page", "not parsed: more elements and attributes than PARSE_MAXNODES"),
    # --- items
    "dropped/noindex": _Row("item", "their pages are marked noindex (NOINDEX_OBEY)", is_asked_for=True),
    "dropped/duplicate_item": _Row("item", "the job has an item with the same key already", is_asked_for=True),
    "dropped/unavailable_after": _Row("item", "their pages have expired (NOINDEX_OBEY)", is_asked_for=True),
    "dropped/no_sitemap": _Row("sitemap", "nothing listed, or not readable as a sitemap"),
    "dropped/not_an_item": _Row(
        "value", "yielded by callbacks, but neither items nor requests; the log names the lines"
    ),
    "dropped/closed": _Row("item", "left out when the spider closed the job (CloseSpider)", is_asked_for=True),
    "dropped/errback": _Row("errback", "failed; what they would have yielded is lost, and the log says why"),
    "empty/items": _Row("item", "no field has a value; check the selectors"),
    "empty/pages": _Row("page", "neither an item nor a request was yielded", is_asked_for=True),
    # --- files of items
    "given_up/robots": _Row("file", "robots.txt forbids them (ROBOTSTXT_OBEY)", is_asked_for=True),
    "given_up/too_large": _Row("file", "given up: larger than MEDIA_MAXSIZE"),
    "given_up/too_small": _Row("image", "smaller than IMAGES_MIN_WIDTH and IMAGES_MIN_HEIGHT", is_asked_for=True),
    "given_up/not_cached": _Row("file", "not in the store, and not in the archive that `extract` reads"),
    "given_up/item_too_large": _Row(
        "file", "not fetched: a waiting item may have a megabyte with its URLs and results"
    ),
    "given_up/errback": _Row("file", "not fetched: an errback gave their items, which leave at once"),
    # --- pages whose items come twice
    "twice/pages": _Row(
        "page",
        "their items are written twice: a replica was promoted that did not know them (REDIS_REPLICAS prevents it)",
    ),
    # --- links and requests
    "links/offsite": _Row("link", "outside allowed_domains or the seeded hosts", is_asked_for=True),
    "links/depth": _Row(
        "link",
        "further from a seed than DEPTH_LIMIT, on the path that found their page first; a shorter path that was "
        "found later does not count",
        is_asked_for=True,
    ),
    "links/filtered": _Row(
        "link", "left out by the spider, as `site` does with images and archives", is_asked_for=True
    ),
    "links/scheme": _Row("link", "neither http nor https", is_asked_for=True),
    "links/nofollow": _Row("link", "their pages are marked nofollow (NOFOLLOW_OBEY)", is_asked_for=True),
    "links/rel_nofollow": _Row("link", "marked nofollow, ugc or sponsored (NOFOLLOW_LINKS_OBEY)", is_asked_for=True),
    "links/listed_sitemap": _Row("link", "to sitemaps that robots.txt lists; read as such", is_asked_for=True),
    "links/malformed": _Row("request", "refused: no URL that can be fetched; the log names the lines"),
    "links/other_callback": _Row("request", ""),  # `other_callbacks` says it, with names
    "links/metarefresh": _Row("page", "not followed: refresh later than METAREFRESH_MAXDELAY", is_asked_for=True),
    "links/redirects": _Row("page", "not followed: refresh after REDIRECT_MAX_TIMES redirects"),
    "links/sitemap_rules": _Row("sitemap URL", "matched by none of sitemap_rules", is_asked_for=True),
    "links/sitemap_filter": _Row("sitemap URL", "left out by sitemap_filter", is_asked_for=True),
    "links/sitemap_follow": _Row("sitemap", "matched by none of sitemap_follow", is_asked_for=True),
    "links/sitemap_level": _Row("sitemap", "not followed: too deep in indexes; raise SITEMAP_MAXLEVEL"),
    "links/sitemap_entries": _Row("sitemap URL", "not followed: without a URL that can be fetched"),
    "links/robots_sitemaps": _Row(
        "Sitemap line",
        "of robots.txt, not followed: without a URL that can be fetched (`robots_sitemaps_unusable` in the log)",
    ),
    # --- parts of pages; the log names the pages (`page_cut`)
    "cut/links": _Row("page", "had more links than are taken from one: raise PARSE_MAXLINKS"),
    "cut/long_urls": _Row("page", "had links with URLs too long to be followed"),
    "cut/sitemap_end": _Row("sitemap", "broken off; what comes before was read"),
    "cut/sitemap": _Row("sitemap", "read in part: raise SITEMAP_MAXURLS or SITEMAP_MAXSIZE"),
    "cut/robots": _Row(
        "host", "with a robots.txt over 500 KiB; what comes after is not read (RFC 9309, `robots_txt_cut`)"
    ),
    "cut/text": _Row("page", "had a longer text than is kept: raise PARSE_MAXTEXT"),
    "cut/meta": _Row("page", "had a longer title, description or the like than is kept: raise PARSE_MAXMETA"),
    "cut/attributes": _Row("page", "had an element with more attributes than are read: raise PARSE_MAXATTRIBUTES"),
    "cut/surplus": _Row("answer", "had more bytes than their Content-Length says; the rest was not read"),
    "cut/dataloss": _Row("page", "broke off and were read in part (DOWNLOAD_FAIL_ON_DATALOSS)"),
    "cut/feed_end": _Row("feed", "malformed; read up to the fault, or without what is malformed"),
    "cut/csv_rows": _Row("feed", "had rows with another number of fields than columns; the log says how many"),
    "cut/csv_columns": _Row("feed", "had several columns of one name, of which the last was kept; the log names them"),
    "cut/link_text": _Row(
        "page", "had links with more text than a request of a CrawlSpider carries (1,000 characters)"
    ),
    "cut/stats": _Row(
        "page", "counted under more names than a worker keeps apart (1,000); the sum is kept (`stat_of_one_process`)"
    ),
    "cut/nesting": _Row("page", "nested too deep to be read to their end"),
    # --- what `extract` finds in an archive or in the page cache and does not read
    "unread/cut": _Row("file", "damaged or cut off, and read in part (`archive_cut` in the log)"),
    "unread/open": _Row("file", "not read: workers write to it, or it cannot be repaired (`archive_not_repaired`)"),
    "unread/other_files": _Row(
        "file", "not read: compressed in another way, or in a folder below (`archive_not_read`); name it with --from"
    ),
    "unread/bad_url": _Row("page", "not read: its URL cannot be asked for (`archived_url_refused`)"),
    "unread/form": _Row("page", "not read: asked for with another method than GET, and nobody tells who read it"),
    "unread/no_answer": _Row(
        "record", "not read: no answer of a host (resource, continuation), or with a damaged head"
    ),
    "unread/files": _Row("file", "of items, which lack them: set FILES_STORE and IMAGES_STORE as in the crawl"),
    "unread/other_callback": _Row(
        "request", "not followed: another callback, which the code still has, reads the archived page"
    ),
    "unread/not_noted": _Row(
        "page", "not read: nobody noted who asked for them; an older version did not, nor does a full disk"
    ),
    "unread/requests": _Row("page", "read for 100 of their requests; the cache notes no more for one page"),
    "unread/no_spider": _Row("page", "not asked for by a spider, but by `shell` or `fetch`", is_asked_for=True),
    "unread/other_job": _Row("visit", "not of the job that was asked for (--job)", is_asked_for=True),
    "unread/torn": _Row(
        "visit", "not read: its end is missing, because its worker was killed before the commit", is_asked_for=True
    ),
}
_OTHERS: Mapping[str, _Row] = {
    "skip": _Row("page", "skipped"),
    "dropped": _Row("item", "dropped by the spider", is_asked_for=True),
    "given_up": _Row("file", "given up, as the items say"),
    "links": _Row("link", "left out by the spider", is_asked_for=True),
    "left_behind": _Row("page", "not in an output that --append left behind", is_asked_for=True),
    "values_left_out": _Row(
        "value", "left out, because a CSV file has no column for them: name its `fields`, or write JSON lines"
    ),
    "cut": _Row("page", "cut off at a bound"),
    "twice": _Row("page", "written twice"),
    "empty": _Row("page", "yielded nothing", is_asked_for=True),
    "unread": _Row("page", "not read"),
}
"""The rows of counters without a row of their own, by prefix."""


def told(stats: JobStats) -> list[Loss]:
    """Return everything that the crawl left out, what is lost first."""
    found = [*_given_up(stats), *_unstored(stats), *_fruitless(stats)]
    for prefix, other in _OTHERS.items():
        for reason, count in group(stats.counters, prefix).items():
            counter = f"{prefix}/{reason}"
            row = _ROWS.get(counter)
            why = row.why if row else f"{other.why} ({shown(reason)})"
            row = row or other
            text = f"{several(count, row.noun)}: {why}" if why else other_callbacks(stats)
            found.append(Loss(counter, count, text, row.is_asked_for))
    return sorted(found, key=lambda one: one.is_asked_for)


def told_of(report: CrawlReport) -> list[Loss]:
    """Return the same of a crawl that has ended, with its refused seeds and the rules that its items break."""
    refused = sum(report.seeds.refused.values())
    words = f"{several(refused, 'seed')}: refused ({counts_in_words(report.seeds.refused)})"
    seeds = [Loss("seeds/refused", refused, words)] if refused else []
    return [*seeds, *(Loss("rules/broken", 1, why) for why in report.broken), *told(report.stats)]


def lost(stats: JobStats) -> list[Loss]:
    """Return what nobody asked to leave out."""
    return [one for one in told(stats) if not one.is_asked_for]


def exit_code(stats: JobStats, *, strict: bool) -> Exit:
    """Return how a command ends that has waited for the job: FAILED if a finished job gave up more pages than it
    read; if `strict`, LOST for any loss; otherwise DONE."""
    if stats.finished and stats.dead > pages(stats):
        return Exit.FAILED
    return Exit.LOST if strict and lost(stats) else Exit.DONE


def lost_in_words(found: Iterable[Loss]) -> str:
    """Return one line for each loss among these but dead letters and broken rules, which have a place of their own;
    empty if there is none."""
    elsewhere = ("dead", "rules/broken")
    return "\n".join(one.text for one in found if not one.is_asked_for and one.counter not in elsewhere)


def asked_for_in_words(stats: JobStats, *, pages: bool) -> str:
    """Return one line for each kind of skipped pages, or of everything else, that somebody asked to leave out."""
    asked = [one for one in told(stats) if one.is_asked_for]
    return "\n".join(one.text for one in asked if one.counter.startswith("skip/") == pages)


def _given_up(stats: JobStats) -> Iterator[Loss]:
    if stats.dead:
        yield Loss(
            "dead", stats.dead, f"{several(stats.dead, 'page')}: given up; {PROGRAM} dead --job {shown(stats.job)}"
        )


def _unstored(stats: JobStats) -> Iterator[Loss]:
    if stats.dead_items:
        told = f"{several(stats.dead_items, 'item')}: an output cannot store them; {PROGRAM} dead items --job"
        yield Loss("dead_items", stats.dead_items, f"{told} {shown(stats.job)}")


def _fruitless(stats: JobStats) -> Iterator[Loss]:
    """Yield that a finished crawl brought nothing, and why."""
    read, items = pages(stats), stats.counters.get("items", 0)
    if stats.finished and not stats.closed and not stats.dead and (why := _why_nothing(stats, read, items)):
        yield Loss("nothing", read, why)


def _why_nothing(stats: JobStats, read: int, items: int) -> str:
    counters = stats.counters
    if not read:
        skips = group(counters, "skip")
        if set(skips) == {"robots"}:
            return f"no page was read: robots.txt forbids all of them; {PROGRAM} why URL names the line"
        return f"no page was read: all were skipped ({counts_in_words(skips)})" if skips else ""
    if items:
        return ""
    if dropped := group(counters, "dropped"):
        return f"no item was kept: all were dropped ({counts_in_words(dropped)})"
    if counters.get("empty/pages", 0) >= read:
        return "the callbacks yielded neither an item nor a request on any page; is a `yield` or `return` missing?"
    return f"no item: {several(read, 'page')} read, and no callback yielded one"
