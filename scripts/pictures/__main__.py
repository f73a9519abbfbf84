"""Crawl a small shop on this machine, and draw what `coverage`, `status` and `why` show of it as SVG.

The commands are real, and so is what they print; only what belongs to this machine is replaced: addresses and paths.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from threading import Thread

from rich.console import Console
from rich.text import Text

_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # on another server: the reader's own font will do
_SOCKET = re.compile(r"unix://\S+\.sock")
INTO = Path(__file__).resolve().parents[2] / "docs" / "pictures"
WIDTH = 110  # columns
BEFORE, ALL = 400, 480  # products before the shop changes its pages, and all of them

SPIDER = """
from dataclasses import dataclass

from crawler import Spider


@dataclass
class Product:
    url: str
    name: str
    price: str | None
    brand: str | None


class Shop(Spider):
    name = "shop"

    def parse(self, response):
        yield from response.follow_all(css="a", callback=self.parse_item)

    def parse_item(self, response):
        name, price, brand = (response.css(f".{word}::text").get() for word in ("name", "price", "brand"))
        yield Product(response.url, name, price, brand)
"""
SETTINGS = """
ALLOWED_NETWORKS = ["127.0.0.0/8"]
DOWNLOAD_DELAY = 0
PROCESSES = 1
"""


class Pages(BaseHTTPRequestHandler):
    """The shop: `/` lists the products before the change, `/all` all; some products lack a price, most a brand."""

    def do_GET(self) -> None:
        number = self.path.removeprefix("/p/")
        last = ALL if self.path == "/all" else BEFORE
        body = self.product(int(number)) if number.isdigit() else "".join(f"<a href=/p/{n}>" for n in range(last))
        self.send_response(404 if self.path == "/robots.txt" else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def product(self, number: int) -> str:
        """One page."""
        price = "" if number % 11 == 0 or number >= BEFORE else f"<b class=price>{number}.00</b>"
        brand = "<b class=brand>Acme</b>" if number % 5 < 2 else ""
        return f"<b class=name>Product {number}</b>{price}{brand}"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> int:
    """Write the pictures. Return 0."""
    INTO.mkdir(exist_ok=True)
    with shop() as url, TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spiders").mkdir()
        (folder / "spiders" / "shop.py").write_text(SPIDER)
        (folder / "settings.py").write_text(SETTINGS)
        screen(folder, url, "crawl", f"{url}/", "--spider", "shop", "--job", "shop")
        draw("coverage", "coverage shop", screen(folder, url, "coverage", "shop"))
        screen(folder, url, "crawl", f"{url}/all", "--spider", "shop", "--job", "autumn")
        draw("drift", "status", screen(folder, url, "status"))
        page = f"{url}/p/{BEFORE + 1}"
        draw("why", f"why {public(page, url)}", screen(folder, url, "why", page, "--job", "autumn"))
    return 0


@contextmanager
def shop() -> Iterator[str]:
    """Serve the shop; yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def screen(folder: Path, url: str, *arguments: str) -> str:
    """Run a command on a terminal of its own; return what it shows, colours and all."""
    terminal, its_end = pty.openpty()
    environment = {
        **os.environ,
        "COLUMNS": str(WIDTH),
        "LINES": "60",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(INTO.parents[1]),
        "XDG_DATA_HOME": str(folder),
        "_CRAWLER_PROGRAM": "crawler",
    }
    command = (sys.executable, "-m", "crawler", *arguments)
    with subprocess.Popen(command, cwd=folder, stdin=its_end, stdout=its_end, stderr=its_end, env=environment):
        os.close(its_end)
        shown = b"".join(_read(terminal))
    os.close(terminal)
    return public(shown.decode(errors="replace").replace("\r\n", "\n"), url)


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # Linux tells the end so
            return
        if not part:
            return
        yield part


def public(text: str, url: str) -> str:
    """Replace what belongs to this machine."""
    text = text.replace(url, "https://shop.example").replace("127.0.0.1", "shop.example")
    return _SOCKET.sub("unix:///home/me/shop/valkey.sock", text.replace(f" {gethostname()}:", " host:"))


def draw(name: str, command: str, shown: str) -> None:
    """Write the picture of that name."""
    console = Console(record=True, file=StringIO(), width=WIDTH, force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), f"crawler {command}"))
    console.print(Text.from_ansi(shown.strip("\n")))
    picture = console.export_svg(title=f"crawler {command.split()[0]}", unique_id=name)
    (INTO / f"{name}.svg").write_text(_FONTS.sub("", picture))


if __name__ == "__main__":
    sys.exit(main())
