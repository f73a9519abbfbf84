"""`scripts/bench`: the cost of a page, for this crawler and others.

crawl   sites crawled by the crawler and its peers, interleaved
broad   thousands of hosts with a name each and a delay
queue   the frontier alone
growth  the frontier when it is large, against a small one
fleets  the frontier on one server, under sentinels, on a cluster
amqp    a message of RabbitMQ, a URL that comes in from it, an item that goes out
turns   the gaps at an address that many names share, by the clock of memory://
sinks   the sinks alone: items a second, CPU and memory
lag     how long one page keeps the others of a worker waiting
plot    tables and pictures of saved results
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from scripts.benchmark import corpus as corpora
from scripts.benchmark.contenders import CONTENDERS, peers_python
from scripts.benchmark.corpus import Corpus
from scripts.benchmark.process import cores
from scripts.benchmark.rounds import Rounds, table
from scripts.benchmark.webserver import nginx

SMOKE_PAGES = 300


def main() -> int:
    """Parse the arguments, run, print. Return 0 if every run fetched exactly the right pages."""
    options = _options()
    match options.command:
        case "broad":
            from scripts.benchmark.broad import command

            return command.main(options)
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
        case "plot":
            from scripts.benchmark import plot

            return plot.main(options.results, options.into)
    return _crawl(options)


def _crawl(options: argparse.Namespace) -> int:
    corpus = _corpus(options)
    names = ["crawler"] if options.smoke else options.only or list(CONTENDERS)
    contenders = [CONTENDERS[name] for name in names]
    python = peers_python(options.folder / "peers") if any(one.is_peer for one in contenders) else Path(sys.executable)
    server_core, crawler_core = cores()
    mean, links = corpus.bytes / len(corpus.pages), corpus.links / len(corpus.pages)
    shape = f"{len(corpus.pages):,} pages, {len(corpus.roots)} hosts, {mean / 1000:.1f} kB, {links:.0f} links a page"
    print(f"{corpus.name}: {shape}")
    with nginx(corpus, options.folder / "nginx", server_core) as server:
        rounds = Rounds(corpus, server, python, crawler_core, server_core, options.save)
        rounds.play(contenders, 1 if options.smoke else options.repeat)
    print(table(rounds.results))
    return 0 if all(result.is_right for result in rounds.results) else 1


def _corpus(options: argparse.Namespace) -> Corpus:
    if options.docs:
        return corpora.documentation(options.folder, options.docs)
    if options.smoke:
        return corpora.generated(options.folder, pages=SMOKE_PAGES, hosts=4, port=options.port)
    return corpora.generated(options.folder, pages=options.pages, port=options.port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    crawl = commands.add_parser("crawl", help="crawl a corpus with the crawler and its peers")
    crawl.add_argument("--pages", type=int, default=20_000, help="pages of the generated site (%(default)s)")
    crawl.add_argument("--docs", type=Path, nargs="+", metavar="DIR", help="crawl these folders of HTML instead")
    crawl.add_argument("--repeat", type=int, default=3, help="rounds; prints medians (%(default)s)")
    crawl.add_argument(
        "--only", nargs="+", choices=CONTENDERS, metavar="NAME", help=f"some of: {', '.join(CONTENDERS)}"
    )
    crawl.add_argument("--smoke", action="store_true", help="a small site, the crawler alone, once: is coverage exact?")
    crawl.add_argument("--port", type=int, default=18_080, help="port of the generated site (%(default)s)")
    crawl.add_argument("--folder", type=Path, default=_folder(), help="folder for sites and peers (%(default)s)")
    _add_broad(commands)
    queue = commands.add_parser("queue", help="the frontier alone")
    queue.add_argument("--only", nargs="+", metavar="NAME", help="some of: page in-process slow memory seed start")
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
    plot = commands.add_parser("plot", help="tables and pictures of saved results")
    plot.add_argument("results", type=Path, nargs="+", metavar="FILE", help="a file that --save wrote")
    plot.add_argument("--into", type=Path, default=Path("docs/plots"), metavar="DIR", help="folder (%(default)s)")
    for one in (crawl, growth, lag):
        one.add_argument("--save", type=Path, metavar="FILE", help="append the results as JSON lines")
    return parser.parse_args()


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
    broad.add_argument("--repeat", type=int, default=1, help="rounds; prints medians (%(default)s)")
    broad.add_argument(
        "--only", nargs="+", default=["crawler"], choices=("crawler", "crawler-2", "crawler-site", "scrapy")
    )
    broad.add_argument("--against", type=Path, metavar="DIR", help="another checkout of the crawler, run in turn")
    broad.add_argument("--folder", type=Path, default=_folder(), help="folder for certificates and peers (%(default)s)")
    broad.add_argument("--save", type=Path, metavar="FILE", help="append the results as JSON lines")


def _folder() -> Path:
    return Path(__file__).resolve().parents[2] / ".bench"


if __name__ == "__main__":
    sys.exit(main())
