"""`scripts/bench`: the cost of a page, for this crawler and others.

crawl   sites crawled by the crawler and its peers, interleaved
broad   thousands of hosts with a name each and a delay
real    the conditions of real crawls that have a target, each by its command
queue   the frontier alone
growth  the frontier when it is large, against a small one
fleets  the frontier on one server, under sentinels, on a cluster
amqp    a message of RabbitMQ, a URL that comes in from it, an item that goes out
turns   the gaps at an address that many names share, by the clock of memory://
sinks   the sinks alone: items a second, CPU and memory
lag     how long one page keeps the others of a worker waiting
declines  pages that the scans leave to the parser, by reason
plot    tables and pictures of saved results
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.benchmark import corpus as corpora
from scripts.benchmark.certificates import issue
from scripts.benchmark.contenders import AT_ONCE, LOW_LIMIT, NAMES, PER_HOST, ROOT, against, contenders, peers_python
from scripts.benchmark.corpus import Corpus
from scripts.benchmark.process import cores, keep_compiled_modules
from scripts.benchmark.rounds import Rounds, table
from scripts.benchmark.webserver import nginx

SMOKE_PAGES = 300
OVER = ("plain", "gzip", "tls", "tls+gzip")


def main() -> int:
    """Parse the arguments, run, print. Return 0 if every run fetched exactly the right pages."""
    options = options_of()
    other = getattr(options, "against", None)
    keep_compiled_modules(ROOT, *([other] if other else []))
    match options.command:
        case "broad":
            from scripts.benchmark.broad import command

            return command.main(options)
        case "real":
            from scripts.benchmark import real

            return real.main(options.quick, options.docs, options.only)
        case "queue":
            from scripts.benchmark import queue

            return queue.main(options.only, options.sizes)
        case "growth":
            from scripts.benchmark import growth

            return growth.main(options.only, options.pending, options.hosts, options.server, options.save)
        case "fleets":
            from scripts.benchmark import fleets

            return fleets.main(options.repeat)
        case "amqp":
            from scripts.benchmark import amqp

            return amqp.main(options.messages, options.repeat)
        case "turns":
            from scripts.benchmark import turns

            return turns.main()
        case "sinks":
            from scripts.benchmark import sinks

            return sinks.main(options.items, options.to)
        case "lag":
            from scripts.benchmark import lag

            return lag.main(options.folder, options.pages, options.save)
        case "declines":
            from scripts.benchmark import declines

            return declines.main(options.folders)
        case "plot":
            from scripts.benchmark import plot

            return plot.main(options.results, options.into)
    return _crawl(options)


def _crawl(options: argparse.Namespace) -> int:
    certificate = issue(options.folder / "tls", [f"127.0.{net}.{n}" for net in (2, 3) for n in range(1, 33)])
    there_are = contenders(options.at_once, options.per_host, certificate.authority)
    chosen = [there_are[name] for name in (["crawler"] if options.smoke else options.only or there_are)]
    if options.against:
        chosen = [version for one in chosen for version in against(one, options.against)]
    python = peers_python(options.folder / "peers") if any(one.is_peer for one in chosen) else Path(sys.executable)
    server_core, crawler_core = cores()
    with ExitStack() as stack:
        runs = []
        for number, over in enumerate(options.over):
            corpus = _corpus(options, over, number)
            _tell(corpus)
            tls = certificate if "tls" in over else None
            server = stack.enter_context(
                nginx(corpus, options.folder / f"nginx-{over}", server_core, tls, "gzip" in over)
            )
            runs += [(contender, corpus, server) for contender in chosen]
        rounds = Rounds(python, crawler_core, server_core, options.save)
        rounds.play(runs, 1 if options.smoke else options.repeat)
    print(table(rounds.results))
    return 0 if all(result.is_right for result in rounds.results) else 1


def _tell(corpus: Corpus) -> None:
    mean, links = corpus.bytes / len(corpus.pages), corpus.links / len(corpus.pages)
    shape = f"{len(corpus.pages):,} pages, {len(corpus.roots)} hosts, {mean / 1000:.1f} kB, {links:.0f} links a page"
    print(f"{corpus.name}: {shape}")


def _corpus(options: argparse.Namespace, over: str, number: int) -> Corpus:
    """The corpus to serve over `over`, the `number`th of them: each has a port of its own."""
    scheme = "https" if "tls" in over else "http"
    pages, hosts = (SMOKE_PAGES, 4) if options.smoke else (options.pages, options.hosts)
    if options.docs:
        found = corpora.documentation(options.folder, options.docs, port=18_090 + number, scheme=scheme)
    else:
        port = options.port + 2 * number  # lag.py and documentation have the ports between
        found = corpora.generated(options.folder, pages=pages, hosts=hosts, port=port, scheme=scheme)
    return found if over == "plain" else replace(found, name=f"{found.name} over {over}")


def options_of(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the words of a command line; None: this program's."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    crawl = commands.add_parser("crawl", help="crawl a corpus with the crawler and its peers")
    crawl.add_argument("--pages", type=int, default=20_000, help="pages of the generated site (%(default)s)")
    crawl.add_argument("--docs", type=Path, nargs="+", metavar="DIR", help="crawl these folders of HTML instead")
    crawl.add_argument("--repeat", type=int, default=3, help="rounds; prints medians (%(default)s)")
    crawl.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"some of: {', '.join(NAMES)}")
    crawl.add_argument("--hosts", type=int, default=16, help="hosts of the generated site (%(default)s)")
    crawl.add_argument("--at-once", type=int, default=AT_ONCE, help="requests at once (%(default)s)")
    crawl.add_argument("--per-host", type=int, default=PER_HOST, help="and to one host (%(default)s)")
    crawl.add_argument("--over", nargs="+", default=["plain"], choices=OVER, help="HTTP alone, or with these")
    crawl.add_argument("--against", type=Path, metavar="DIR", help="another checkout of the crawler, run in turn")
    crawl.add_argument("--smoke", action="store_true", help="a small site, the crawler alone, once: is coverage exact?")
    crawl.add_argument("--port", type=int, default=18_080, help="port of the generated site (%(default)s)")
    crawl.add_argument("--folder", type=Path, default=_folder(), help="folder for sites and peers (%(default)s)")
    _add_broad(commands)
    real = commands.add_parser("real", help="the conditions of real crawls that have a target")
    real.add_argument("--quick", action="store_true", help="small sizes, few rounds: about a quarter of an hour")
    real.add_argument("--docs", type=Path, nargs="+", default=[], metavar="DIR", help="HTML that nobody tuned on")
    real.add_argument("--only", type=int, nargs="+", default=[], metavar="N", help="some of the rows, by number")
    queue = commands.add_parser("queue", help="the frontier alone")
    queue.add_argument(
        "--only", nargs="+", metavar="NAME", help="some of: page known in-process slow memory seed start"
    )
    queue.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="requests (%(default)s)")
    growth = commands.add_parser("growth", help="the frontier when it is large, against a small one")
    growth.add_argument("--only", nargs="+", choices=("pending", "hosts"))
    growth.add_argument("--pending", type=int, nargs=2, default=[100_000, 10_000_000], metavar="N")
    growth.add_argument("--hosts", type=int, nargs=2, default=[1_000, 1_000_000], metavar="N")
    growth.add_argument("--server", default="", metavar="PROGRAM", help="queue server to use instead of the wheel's")
    fleets = commands.add_parser("fleets", help="one server, sentinels, a cluster")
    fleets.add_argument("--repeat", type=int, default=3, help="rounds; prints medians and ranges (%(default)s)")
    amqp = commands.add_parser("amqp", help="messages of RabbitMQ: CPU of client and broker")
    amqp.add_argument("--messages", type=int, default=10_000, help="messages in a round (%(default)s)")
    amqp.add_argument("--repeat", type=int, default=3, help="rounds; prints medians (%(default)s)")
    commands.add_parser("turns", help="gaps at an address that many names share")
    sinks = commands.add_parser("sinks", help="the sinks alone: items a second, CPU and memory")
    sinks.add_argument("--items", type=int, default=1_000_000, help="small items (%(default)s)")
    sinks.add_argument("--to", nargs="+", required=True, metavar="OUTPUT", help="files and URLs, which are replaced")
    lag = commands.add_parser("lag", help="how long one page delays the others of a worker")
    lag.add_argument("--pages", type=int, default=6_000, help="pages of the generated site (%(default)s)")
    lag.add_argument("--folder", type=Path, default=_folder(), help="folder for sites (%(default)s)")
    declines = commands.add_parser("declines", help="pages that the scans leave to the parser, by reason")
    declines.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="folders of HTML")
    plot = commands.add_parser("plot", help="tables and pictures of saved results")
    plot.add_argument("results", type=Path, nargs="+", metavar="FILE", help="a file that --save wrote")
    plot.add_argument("--into", type=Path, default=Path("docs/plots"), metavar="DIR", help="folder (%(default)s)")
    for one in (crawl, growth, lag):
        one.add_argument("--save", type=Path, metavar="FILE", help="append the results as JSON lines")
    return parser.parse_args(words)


def _add_broad(commands: Any) -> None:
    broad = commands.add_parser("broad", help="thousands of hosts with a name each and a delay")
    broad.add_argument("--sizes", "--hosts", type=int, nargs="+", default=[4_000], metavar="N", help="hosts (4000)")
    broad.add_argument("--pages-per-host", type=int, default=5, metavar="N", help="pages of each host (%(default)s)")
    broad.add_argument("--pages", type=int, default=0, metavar="N", help="pages of all hosts together, instead")
    broad.add_argument("--delay", type=float, default=1.0, metavar="S", help="seconds between two (%(default)s)")
    broad.add_argument("--at-once", type=int, default=100, metavar="N", help="requests at once (%(default)s)")
    broad.add_argument("--tls", action="store_true", help="https, with an authority and a certificate of its own")
    broad.add_argument("--gzip", action="store_true", help="pages compressed, and in chunks")
    broad.add_argument("--latency", type=float, default=0.0, metavar="MS", help="before each answer (%(default)s)")
    broad.add_argument("--limit", type=int, default=0, metavar="PAGES", help="end the crawl when so many are read")
    broad.add_argument("--repeat", type=int, default=1, help="rounds; prints medians (%(default)s)")
    broad.add_argument(
        "--only",
        nargs="+",
        default=["crawler"],
        choices=("crawler", "crawler-2", f"crawler-{LOW_LIMIT}", "crawler-site", "scrapy"),
    )
    broad.add_argument("--against", type=Path, metavar="DIR", help="another checkout of the crawler, run in turn")
    broad.add_argument("--folder", type=Path, default=_folder(), help="folder for certificates and peers (%(default)s)")
    broad.add_argument("--save", type=Path, metavar="FILE", help="append the results as JSON lines")


def _folder() -> Path:
    return Path(__file__).resolve().parents[2] / ".bench"


if __name__ == "__main__":
    sys.exit(main())
