"""The site that the six projects crawl: a folder for each. Every answer depends on its request alone, and on how often
that URL was asked for before."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import parse_qs

from tests.website import Answer, Hit

HOST = "127.0.1.1"
SESSION = "s3ss10n"
ROBOTS = "User-agent: *\nDisallow: /handbook/drafts/\nSitemap: /press/sitemap.xml\n"


class ProjectSite:
    """Serves all six on one host."""

    def __init__(self) -> None:
        self.hosts = [HOST]
        self.port = 80

    @property
    def seeds(self) -> list[str]:
        """The argument `site` of every spider."""
        return [f"http://{HOST}:{self.port}"]

    def address(self, host: str) -> str:
        """Where a host is served."""
        return host

    def answer(self, hit: Hit) -> Answer:
        """What the project's part of the site says; 404 where there is nothing."""
        if hit.path == "/robots.txt":
            return Answer(ROBOTS.replace(" /press", f" {self.seeds[0]}/press").encode(), content_type="text/plain")
        folder, _, rest = hit.path[1:].partition("/")
        answer = _FOLDERS[folder](rest, hit, self.seeds[0]) if folder in _FOLDERS else None
        return answer or _page("<h1>Not here</h1>", status=404)


def _page(body: str, status: int = 200, title: str = "A page") -> Answer:
    html = f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title></head><body>{body}</body></html>'
    return Answer(html.encode(), status)


def _json(value: object) -> Answer:
    return Answer(json.dumps(value).encode(), content_type="application/json")


# --- a list, details, authors

_A_PAGE = 8
_BOOKS = 24


def _books(rest: str, hit: Hit, site: str) -> Answer | None:
    kind, _, number = rest.partition(".")[0].partition("-")
    if kind in ("", "page"):
        return _book_list(int(number or 1))
    if kind == "book":
        return _book(int(number))
    return _author(int(number)) if kind == "author" else None


def _book_list(page: int) -> Answer:
    first = (page - 1) * _A_PAGE + 1
    books = "".join(
        f'<article class="book"><a class="title" href="book-{n}.html#top">Book {n}</a> '
        f'<a href="./book-{n}.html">more</a></article>'
        for n in [*range(first, first + _A_PAGE), 1]  # the first one is advertised on every page
    )
    following = f'<li class="next"><a href="page-{page + 1}.html">next</a></li>' if page * _A_PAGE < _BOOKS else ""
    return _page(f'{books}<ul class="pager">{following}</ul>')


def _book(n: int) -> Answer:
    price = f"£{n * 0.75:.2f}" if n % 3 else f"€{1000 + n:,}.00"
    return _page(
        f"<h1>\n  The <em>book</em> of {n} &amp; more\n</h1>"
        f"<p class='price'> {price} </p>"
        f'<div class="description"><p>First of {n}.</p><p> Größe: <b>{n}</b> cm </p></div>'
        f'<ul class="tags"><li>Fiction</li><li>Shelf {n % 4}</li></ul>'
        f'<a class="author" href="/books/author-{n % 5}.html">its author</a>'
    )


def _author(n: int) -> Answer:
    return _page(
        f'<header>us</header><main><h1> Author {n} </h1><span class="born">born in {1900 + n}, far</span></main>'
    )


# --- pages with links of several kinds


def _handbook(rest: str, hit: Hit, site: str) -> Answer | None:
    path = rest.partition("?")[0]
    footer = (
        '<footer><a href="/handbook/changes.html">Changes</a> <a href="/handbook/legal.html">Legal</a>'
        '<a href="http://www.example.com/changes.html">Changes elsewhere</a></footer>'
    )
    if path == "":
        parts = "".join(f'<a href="/handbook/{part}/">{part}</a> ' for part in ("intro", "usage", "drafts"))
        far = '<a href="http://127.0.1.2/handbook/far/">another host</a>'
        hidden = '<a href="/handbook/hidden/">not in the navigation</a>'
        return _page(f'<nav class="parts">{parts}{far}</nav>{hidden}{footer}', title="The handbook")
    if path.endswith("/"):
        return _page(_topic_links(path) + footer)
    if path == "changes.html":
        return _page(f"<ul><li>one</li><li>{hit.headers.get('x-found-on')}</li></ul>")
    return _page(f"<h1>{path}</h1>{_topic_links(path.partition('/')[0] + '/')}{footer}")


def _topic_links(part: str) -> str:
    topics = "".join(f'<li><a href="/handbook/{part}topic-{n}.html"> Topic {n} </a></li>' for n in range(1, 6))
    return (
        f"<ul>{topics}</ul>"
        f'<a href="topic-1.html?print=1">to print</a> <a href="topic-2.html#there">there</a>'
        f'<a href="topic-9.html?b=2&amp;a=1">query</a> <a href="topic-old-1.html">old</a>'
        f"<a href=\"javascript:show('/handbook/{part}note-7.html')\">note</a>"
        f'<a href="topic-8.html" rel="nofollow">not to follow</a> <a href="topic-3.html.zip">all</a>'
    )


# --- sitemaps

_NAMESPACES = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:xhtml="http://www.w3.org/1999/xhtml"'


def _press(rest: str, hit: Hit, site: str) -> Answer | None:
    if rest.startswith("sitemap"):
        return _sitemap(rest, f"{site}/press/")
    if rest.startswith("people/"):
        return _page(f"<h1>Person {rest.removeprefix('people/')}</h1>")
    topics = "".join(f'<li class="topic">{topic}</li>' for topic in ("world", rest))
    return _page(f"<h1>{rest}</h1><a rel='author' href='people/1'>Ann</a><ul>{topics}</ul>")


def _sitemap(name: str, root: str) -> Answer | None:
    if name == "sitemap.xml":
        names = ("sitemap-articles.xml", "sitemap-people.xml.gz", "sitemap-2024.xml", "sitemap-images.xml")
        maps = _entries([root + name for name in names], "sitemap")
        return _xml(f"<sitemapindex {_NAMESPACES}>{maps}</sitemapindex>")
    if name == "sitemap-articles.xml":
        other = f'<xhtml:link rel="alternate" hreflang="de" href="{root}article-1-de"/>'
        urls = _entries([f"{root}article-{n}" for n in range(1, 9)], lastmod="2025-03-01")
        old = _entries([f"{root}article-{n}" for n in (20, 21)], lastmod="2019-03-01")
        more = f"<url><loc> {root}article-9?a=1&amp;b=2 </loc>{other}</url><url><loc>{root}about</loc></url>"
        return _xml(f"<urlset {_NAMESPACES}>{urls}{old}{more}</urlset>")
    if name == "sitemap-people.xml.gz":
        body = f"<urlset {_NAMESPACES}>{_entries([f'{root}people/{n}' for n in (1, 2)])}</urlset>".encode()
        return Answer(gzip.compress(body, mtime=0), content_type="application/gzip")
    return None


def _entries(urls: Iterable[str], kind: str = "url", lastmod: str = "") -> str:
    when = f"<lastmod>{lastmod}</lastmod>" if lastmod else ""
    return "".join(f"<{kind}><loc>{url}</loc>{when}</{kind}>" for url in urls)


def _xml(body: str) -> Answer:
    return Answer(f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode(), content_type="application/xml")


# --- a login, forms


def _portal(rest: str, hit: Hit, site: str) -> Answer | None:
    path = rest.partition("?")[0]
    if path == "login":
        return _page(
            '<form action="/portal/search"><input name="q"><input type="submit" name="go" value="Go"></form>'
            '<form class="login" method="post" action=" home ">'
            '<input type="hidden" name="token" value="t&ouml;ken&amp;1">'
            '<input name="user" value="you"><input type="password" name="password">'
            '<input type="checkbox" name="remember" checked><input type="checkbox" name="news">'
            '<input type="radio" name="as" value="guest"><input type="radio" name="as" value="owner" checked>'
            '<select name="lang"><option value="de">Deutsch<option value="en" selected>English</select>'
            '<select name="size"><option value="s">small<option value="l">large</select>'
            '<select name="days" multiple><option selected>1<option>2<option selected>3</select>'
            "<textarea name='note'>two\nlines</textarea><input type='file' name='photo'>"
            '<button name="how" value="in">in</button><button name="how" value="out">out</button></form>'
        )
    if path == "home":
        return _home(parse_qs(hit.body))
    if f"session={SESSION}" not in hit.headers.get("cookie", ""):
        return _page("<h1>Who are you?</h1>", 401)
    if path in ("search", "find"):
        first = 1 if path == "search" else 3
        rows = "".join(f'<tr class="order" data-id="{n}"><td>{n}</td></tr>' for n in range(first, first + 3))
        return _page(f"<table>{rows}</table>")
    form = parse_qs(hit.body)
    lines = "".join(f"<li>{part}" for part in form["part"])
    return _page(f"<h1>Order {form['id'][0]}</h1><ul>{lines}</ul>")


def _home(form: dict[str, list[str]]) -> Answer:
    if (form["user"], form["password"], form["token"]) != (["reader"], ["secret"], ["töken&1"]):
        return _page("<p>wrong password</p>", 200)
    search = '<input name="q"><input type="submit" name="go" value="Go"><input type="submit" name="lucky">'
    return Answer(
        f'<html><body data-session="{SESSION}"><h1>Hello {form["user"][0]}</h1>'
        f'<form method="get" action="search?old=1">{search}</form>'
        f'<form method="POST" action="find">{search}</form></body></html>'.encode()
    )


# --- an API


def _api(rest: str, hit: Hit, site: str) -> Answer | None:
    if rest == "search":
        asked = json.loads(hit.body)
        first = (asked["page"] - 1) * 5
        hits = [{"sku": f"{asked['category']}-{n}", "price": n * 0.5} for n in range(first + 1, first + 6)]
        return _json({"pages": 3, "page": asked["page"], "hits": hits})
    if rest == "stock":
        return _json({"stock": len(json.loads(hit.body)["sku"])})
    sku = rest.removeprefix("products/")
    return _json({"sku": sku, "name": f"Käse {sku} ☃", "price": int(sku.partition("-")[2]) * 0.5})


# --- errors, statuses, headers


def _weather(rest: str, hit: Hit, site: str) -> Answer | None:
    path, _, query = rest.partition("?")
    text = f"{path} {query} {hit.method} {hit.body} {hit.headers.get('cookie', '')} {hit.headers.get('x-station', '')}"
    plain = Answer(text.encode("latin-1"), content_type="text/plain; charset=utf-8", headers={"X-Server": "w1"})
    statuses = {"gone": 404, "teapot": 418, "forbidden": 403, "broken": 500}
    if path in statuses:
        return replace(plain, status=statuses[path])
    if path == "moved":
        return replace(plain, status=301, headers={**plain.headers, "Location": f"/weather/new?{query}"})
    if path == "busy":
        return replace(plain, status=500 if hit.number <= 3 else 200)
    if path == "cut":
        return replace(plain, missing=5)
    return replace(plain, delay=3.0) if path == "slow" else plain


_FOLDERS: dict[str, Callable[[str, Hit, str], Answer | None]] = {
    "books": _books,
    "handbook": _handbook,
    "press": _press,
    "portal": _portal,
    "api": _api,
    "weather": _weather,
}
