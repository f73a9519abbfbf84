"""The path of a new user: an empty folder, a project, a spider, selectors tried in the shell, 2,000 items; a selector
that breaks, found with the shell, and the second run from the page cache."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.webserver import Answer, Hit, Running, Site, serve

ITEMS, A_PAGE = 2_000, 100


def listing(hit: Hit, page: Answer) -> Answer:
    """One of 20 pages with 100 products each."""
    number = int(hit.path.rpartition("=")[2] or 1)
    first = (number - 1) * A_PAGE
    rows = "".join(
        f'<li class="product"><h3>Product {n}</h3><b class="price">{n}.50</b></li>'
        for n in range(first, first + A_PAGE)
    )
    following = f'<a class="next" href="/shop?page={number + 1}">more</a>' if first + A_PAGE < ITEMS else ""
    return Answer(f"<title>Shop</title><ul>{rows}</ul>{following}".encode())


@pytest.fixture
async def shop() -> AsyncIterator[Running]:
    site = Site(pages=1, hosts=1)
    site.on("/shop", listing)
    async with serve(site) as running:
        yield running


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Print how long a step took."""
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:6.1f} s  {step}")


@pytest.mark.timeout(300)
async def test_from_an_empty_folder_to_two_thousand_items(bare: Shell, shop: Running) -> None:
    url = shop.seeds[0].replace("/s0/p0.html", "/shop?page=1")
    cached = ("-s", "HTTPCACHE_ENABLED=true")
    with timed("startproject"):
        assert (await bare.run("startproject", "shop")).code == 0
    project = Shell(bare.folder / "shop", bare.environment)
    with timed("genspider"):
        assert (await project.run("genspider", "products", url)).code == 0
    with timed("shell -c: the selectors"):
        tried = await project.run(
            "shell", *LOCAL, url, "-c", "len(response.css('li.product')); response.css('li.product h3::text').get()"
        )
        assert tried.out == "100\nProduct 0\n", tried.err

    file = project.folder / "spiders" / "products.py"
    written = file.read_text()
    item = '        yield {"url": response.url, "title": response.css("title::text").get()}\n'
    assert item in written
    product = (
        '        for product in response.css("li.product"):\n'
        '            yield {"name": product.css("h3::text").get(), "price": product.css("SELECTOR::text").get()}\n'
    )
    file.write_text(written.replace(item, product.replace("SELECTOR", "span.price")))
    with timed("crawl, with a selector that finds nothing"):
        first = await project.run("crawl", *LOCAL, *cached, "--spider", "products", "-O", "out.jsonl")
        assert first.code == 0, first.err
    assert [item["price"] for item in items(project)] == [None] * ITEMS
    assert len(shop.hits(url)) == 2  # the shell's, and the crawl's

    asked = len(shop.log)
    with timed("shell -c: why"):
        code = "response.css('li.product span.price').get() is None; response.css('li.product b.price::text').get()"
        why = await project.run("shell", *LOCAL, *cached, url, "-c", code)
        assert why.out == "True\n0.50\n", why.err
    file.write_text(written.replace(item, product.replace("SELECTOR", "b.price")))
    with timed("parse, with the right selector"):
        read = await project.run("parse", *LOCAL, *cached, url, "--spider", "products", "--json")
        assert json.loads(read.out)["items"][0] == {"name": "Product 0", "price": "0.50"}
    with timed("crawl again, from the page cache"):
        again = await project.run("crawl", *LOCAL, *cached, "--spider", "products", "-O", "out.jsonl", "--fresh")
        assert again.code == 0, again.err
    assert len(shop.log) == asked  # not one request more
    found = {item["name"]: item["price"] for item in items(project)}
    assert found == {f"Product {n}": f"{n}.50" for n in range(ITEMS)}
    assert len(items(project)) == ITEMS


def items(project: Shell) -> list[dict[str, object]]:
    return [json.loads(line) for line in (project.folder / "out.jsonl").read_text().splitlines()]
