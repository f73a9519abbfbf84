"""Spiders are found and checked at start; one broken file stops no other."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from textwrap import dedent

import pytest

import crawler.spiders.registry
from crawler.errors import ConfigError, UsageError
from crawler.spiders.registry import Registry, find_spiders

PARSE = "\n    def parse(self, response): ..."


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory; what is imported from it is forgotten again."""
    (tmp_path / "spiders").mkdir()
    before, path = dict(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in sys.modules.keys() - before.keys():
        where = [getattr(sys.modules[name], "__file__", None), *getattr(sys.modules[name], "__path__", ())]
        if any(str(one).startswith(str(tmp_path)) for one in where):  # a library that comes twice has two of each class
            del sys.modules[name]
    sys.modules.update(before)


def write(folder: Path, **files: str) -> None:
    """Files of `spiders/`, each with the import that all spiders need."""
    for name, text in files.items():
        (folder / "spiders" / f"{name}.py").write_text(f"from crawler import *\n{dedent(text)}\n")


def spider(name: str, *lines: str, cls: str = "S") -> str:
    body = "".join(f"\n    {line}" for line in lines)
    return f"class {cls}(Spider):\n    name = {name!r}{body}{PARSE}"


def found_in(folder: Path, *modules: str) -> Registry:
    return find_spiders(folder, modules or ("spiders",))


def test_files_of_the_folder_and_built_in_spiders_are_found(folder: Path) -> None:
    write(folder, a=spider("one"), b=spider("two"), _c=spider("hidden"))
    assert found_in(folder).names() == ["one", "site", "two"]


def test_a_folder_without_spiders_has_the_built_in_ones(tmp_path: Path) -> None:
    registry = found_in(tmp_path)
    assert (registry.names(), registry.broken) == (["site"], {})


def test_spiders_are_described_by_name_file_and_first_line(folder: Path) -> None:
    write(folder, a='class S(Spider):\n    """All teapots.\n\n    And more."""\n    name = "one"' + PARSE)
    [first, _] = found_in(folder).describe()
    assert (first.name, first.file, first.summary) == (
        "one",
        str(folder / "spiders" / "a.py"),
        "All teapots.",
    )


def test_a_folders_own_spider_replaces_a_built_in_one(folder: Path) -> None:
    write(folder, mine=spider("site"))
    assert found_in(folder).get("site").__module__ == "spiders.mine"


def test_a_broken_spider_is_not_replaced_by_a_built_in_one(folder: Path) -> None:
    write(folder, mine='class S(Spider):\n    name = "site"')
    with pytest.raises(ConfigError, match="has no parse"):
        found_in(folder).get("site")


def test_spiders_import_their_neighbours_and_the_folders_other_files(folder: Path) -> None:
    (folder / "shop_rates.py").write_text("RATE = 3")
    write(
        folder,
        a="from . import z_common\n" + spider("one", "rate = z_common.RATE"),
        b="from spiders.z_common import RATE\n" + spider("two", "rate = RATE"),
        z_common="from shop_rates import RATE",
    )
    registry = found_in(folder)
    assert {getattr(registry.get(name), "rate", 0) for name in ("one", "two")} == {3}


def test_base_classes_need_no_name(folder: Path) -> None:
    write(
        folder,
        common=f"class Shop(Spider):{PARSE}\nclass _Hidden(Spider): ...",
        one='from .common import Shop\nclass One(Shop):\n    name = "one"',
    )
    registry = found_in(folder)
    assert (registry.names(), registry.broken) == (["one", "site"], {})


def test_one_folder_does_not_see_the_spiders_of_another(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other"
    (other / "spiders").mkdir(parents=True)
    write(folder, same=spider("one"))
    write(other, same=spider("two"))
    assert found_in(folder).names() == ["one", "site"]
    assert found_in(other).names() == ["site", "two"]
    assert found_in(folder).names() == ["one", "site"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def broken(:", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module' ({folder}/spiders/bad.py:2)"),
        ("1 / 0", "ZeroDivisionError: division by zero ({folder}/spiders/bad.py:2)"),
        (
            "class Bad(Spider):\n    price = float('x')",
            "ValueError: could not convert string to float: 'x' ({folder}/spiders/bad.py:3)",
        ),
        ("import prices", "KeyError: 'usd' ({folder}/prices.py:2)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_stops_no_other(folder: Path, code: str, told: str) -> None:
    write(folder, bad=code, good=spider("good"))
    (folder / "prices.py").write_text("def price():\n    return {}['usd']\nPRICE = price()\n")
    registry = found_in(folder)
    assert registry.names() == ["good", "site"]
    [(file, error)] = registry.broken.items()
    assert file == str(folder / "spiders" / "bad.py")
    assert told.format(folder=folder) in str(error)


def test_an_unknown_name_tells_near_names_and_broken_files(folder: Path) -> None:
    write(folder, bad="1 / 0", good=spider("quotes"))
    with pytest.raises(UsageError) as caught:
        found_in(folder).get("quote")
    assert "no spider is named 'quote'; did you mean quotes?" in str(caught.value)
    assert "bad.py: ZeroDivisionError" in str(caught.value)


def test_two_spiders_of_one_name_are_both_refused(folder: Path) -> None:
    write(folder, a=spider("same", cls="A"), b=spider("same", cls="B"), c=spider("same", cls="C"), d=spider("d"))
    registry = found_in(folder)
    assert registry.names() == ["d", "site"]
    with pytest.raises(ConfigError, match=r"two spiders are named same: A in .*a\.py and B in .*b\.py"):
        registry.get("same")
    assert [Path(file).name for file in registry.broken] == ["b.py", "c.py"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (f"class S(Spider):{PARSE}", 'has no name; give it one, such as name = "quotes"'),
        (spider("a b"), "name 'a b' may hold only letters"),
        (spider("../etc"), "may hold only letters"),
        ('class S(Spider):\n    name = "s"', "has no parse(self, response)"),
        (spider("s", "process_item = 3"), "process_item must be a method"),
        (spider("s", "custom_settings = {'DOWNLOAD_DELAI': 1}"), "did you mean DOWNLOAD_DELAY?"),
        (spider("s", "custom_settings = {'DOWNLOAD_DELAY': 'soon'}"), "DOWNLOAD_DELAY='soon'"),
        (spider("s", "custom_settings = {'PROCESSES': 2}"), "PROCESSES in custom_settings: no spider can set it"),
        (spider("s", "custom_settings = {'USER_AGENT': 'a\\nb'}"), "USER_AGENT: "),
        (spider("s", "custom_settings = []"), "custom_settings must be a dict"),
        (spider("s", "custom_settings = {5: 1}"), "custom_settings must name its settings as text"),
        (spider("s", "name = ['s']"), "name ['s'] may hold only letters"),
        (spider("s", "allowed_domains = 'a.example'"), "allowed_domains = ['a.example']"),
        (spider("s", "allowed_domains = ['http://a.example/x']"), "write 'a.example'"),
        (
            spider("s", "allowed_domains = ['*.a.example']"),
            "write 'a.example', which includes its subdomains",
        ),
        (spider("s", "start_urls = 'http://a.example'"), "start_urls must be a list"),
        (spider("s", "start_urls = ['a.example']"), "write https://a.example/"),
        (spider("s", "sitemap_urls = 'http://a.example'"), "sitemap_urls must be a list"),
        (spider("s", "sitemap_urls = ['a.example/s.xml']"), "sitemap_urls: 'a.example/s.xml': no scheme"),
        (spider("s", "close = lambda spider, reason: 1"), "close: it is never called; write closed(self, reason)"),
        (spider("s", "sitemap_rules = {'/x/': 'parse'}"), "sitemap_rules must be a list of (regex, callback)"),
        (spider("s", "sitemap_rules = ['/x/']"), "sitemap_rules: '/x/' is not (regex, callback)"),
        (spider("s", "sitemap_rules = [('(', 'parse')]"), "sitemap_rules: '(' is no regular expression"),
        (spider("s", "sitemap_rules = [(b'x', 'parse')]"), "sitemap_rules: b'x' is no regular expression"),
        (spider("s", "sitemap_rules = [('', 'detail')]"), "sitemap_rules: 'detail' is no public method"),
        (spider("s", "sitemap_rules = [('', lambda self, response: ())]"), "is no public method of the class"),
        (spider("s", "sitemap_follow = ''"), "sitemap_follow must be a list"),
        (spider("s", "sitemap_follow = ['*']"), "sitemap_follow: '*' is no regular expression"),
        (spider("s", "sitemap_filter = True"), "sitemap_filter must be a method"),
        (
            "class S(Spider):\n    name = 's'\n    sitemap_urls = ['http://a.example/s.xml']",
            "to parse(self",
        ),
        (spider("s", "http_user = 'me'"), "http_user: write the setting HTTP_AUTH = {"),
        (spider("s", "allowed_domain = ['a.example']"), "allowed_domain is never read; did you mean allowed_domains?"),
        (spider("s", "def start_request(self): ..."), "start_request is never read; did you mean start_requests?"),
        (spider("s", "rules = ()"), "rules: only a CrawlSpider reads them"),
        (
            spider("s", "custom_settings = {'FEEDS': {'a.csv': {'fieldz': 1}}}"),
            "unknown word 'fieldz'; did you mean fields?",
        ),
        (spider("s", "handle_httpstatus_list = 404"), "handle_httpstatus_list must be a list"),
        (spider("s", "handle_httpstatus_list = ['404']"), "'404' is no HTTP status"),
        (spider("s", "allowed_domains = None"), "allowed_domains = []"),
        (spider("s", "def process_item(self, item, spider): ..."), "write def process_item(self, item)"),
        (spider("s", "def closed(self): ..."), "write def closed(self, reason)"),
        (spider("s", "async def closed(self, reason): ..."), "closed is async, and nothing awaits it"),
        (spider("s", "def sitemap_filter(self): ..."), "write def sitemap_filter(self, entries)"),
        (spider("s", "read_ahead = 'root'"), "read_ahead must be a list"),
        (spider("s", "read_ahead = ['tree']"), "'tree' is nothing that a response keeps"),
        (spider("s", "read_ahead = ['css']"), "'css' is nothing that a response keeps"),
        (
            spider("s", "def x(self, r): return Request('', callback='parse_pot')"),
            "line 4 names the callback parse_pot",
        ),
        (spider("s", "def x(self, r): return Request('', 'parse_pot')"), "names the callback parse_pot"),
        (spider("s", "def x(self, r): return r.follow('', self.pot)"), "names the callback pot"),
        (spider("s", "def x(self, r): return r.follow_all(errback='oh')"), "names the callback oh"),
        (
            spider("s", "def x(self, response): return Request('', errback=self.x)"),
            "line 4: x(self, response) is called with request, failure; write def x(self, request, failure)",
        ),
        (spider("s", "def x(self, r, n): return Request('', self.x)"), "x(self, r, n) is called with response"),
        (spider("s", "def errback(self, a, b, c): pass"), "errback(self, a, b, c) is called with request, failure"),
        (spider("s", "def x(self, r, n): return Request('', self.x)"), "write def x(self, response), or give the"),
        (
            spider("s", "def x(self, r, n): return Request('', self.x, cb_kwargs={'m': 1})"),
            "x(self, r, n) is called with response, m (cb_kwargs); write def x(self, response, m)",
        ),
        (
            spider("s", "def x(self, r): return FormRequest('', self.x, cb_kwargs=dict(m=1))"),
            "is called with response, m",
        ),
    ],
)
def test_what_is_wrong_with_a_spider_is_said_at_start(folder: Path, code: str, told: str) -> None:
    write(folder, bad=code, good=spider("good"))
    registry = found_in(folder)
    assert registry.names() == ["good", "site"]
    [(file, error)] = registry.broken.items()
    assert file.endswith("bad.py")
    assert "spider S: " in str(error)
    assert told in str(error)


@pytest.mark.parametrize(
    "line",
    [
        "def x(self, r): return Request('', callback='parse')",
        "def x(self, r): return Request('', callback=self.x)",
        "def x(self, r): return r.follow('', callback=r.meta['next'])",
        "def x(self, r): return other('', callback='no_method')",
        "def x(self, r): self.then = 'parse'; return r.follow('', self.then)",
        "def x(self, r, n): return r.follow('', self.x, cb_kwargs={'n': 1})",
        "def x(self, r, n): return r.follow('', self.x, cb_kwargs=dict(n=1))",
        "def x(self, r, n): return r.follow('', self.x, cb_kwargs=dict(r.meta))",
        "def x(self, r, n): return r.follow('', self.x, **r.meta)",
        "def x(self, r, n): return r.request.replace(callback=self.x)",
        "def x(self, r): return FormRequest.from_response(r, 'no_method', callback=self.x)",
        "def x(self, failure): return Request('', errback=self.x)",
        "allowed_domains = {'a.example', 'b.example:8080', 'bücher.example'}",
        "custom_settings = {'DOWNLOAD_DELAY': 2}",
        "start_url = 'http://a.example'\n    def start_requests(self): yield Request(self.start_url)",
        "def parse_item(self, r): ...",
        "start_urls = (f'http://a.example/{n}' for n in range(3))",
        "read_ahead = ('root', 'selector', 'page', 'links', 'visible_text')",
        "sitemap_rules = [(__import__('re').compile('/x/'), 'parse')]; sitemap_follow = ['/news']",
    ],
)
def test_what_is_right_is_not_complained_about(folder: Path, line: str) -> None:
    write(folder, a=spider("a", line))
    registry = found_in(folder)
    assert (registry.names(), registry.broken) == (["a", "site"], {})


def test_a_spider_that_makes_its_own_requests_needs_no_parse(folder: Path) -> None:
    lines = ["name = 's'", "def start_requests(self): return [Request('', 'go')]", "def go(self, r): ..."]
    write(folder, a="\n    ".join(["class S(Spider):", *lines]))
    assert found_in(folder).broken == {}


def test_parse_may_take_arguments_that_the_spiders_own_requests_bring(folder: Path) -> None:
    lines = ["name = 's'", "def parse(self, r, n): ..."]
    write(folder, bad="\n    ".join(["class S(Spider):", *lines]))
    lines[0] = "name = 't'"
    lines += ["def start_requests(self): yield Request('http://a.example/', cb_kwargs={'n': 1})"]
    write(folder, good="\n    ".join(["class S(Spider):", *lines]))
    [(file, error)] = found_in(folder).broken.items()
    assert file.endswith("bad.py")
    assert "parse(self, r, n) is called with response" in str(error)


def test_a_spider_of_sitemaps_needs_no_parse(folder: Path) -> None:
    lines = ["name = 's'", "sitemap_urls = ['http://a.example/s.xml']"]
    lines += ["def go(self, r): ...", "sitemap_rules = [('', go)]"]
    write(folder, a="\n    ".join(["class S(Spider):", *lines]))
    assert found_in(folder).broken == {}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("self.allowed_domains = 'a.example'", "allowed_domains must be a list"),
        ("self.start_urls = ['a.example']", "write https://a.example/"),
        ("self.handle_httpstatus_list = 404", "handle_httpstatus_list must be a list"),
        ("self.custom_settings = {'DOWNLOAD_DELAI': 1}", "did you mean DOWNLOAD_DELAY?"),
        ("self.ITEM_KEY = 'url'", "ITEM_KEY must be a list"),
        ("self.read_ahead = ['tree']", "'tree' is nothing that a response keeps"),
        ("self.sitemap_rules = ['x']", "sitemap_rules: 'x' is not (regex, callback)"),
    ],
)
def test_what_a_spider_sets_when_it_is_made_is_checked_like_its_class(folder: Path, line: str, told: str) -> None:
    write(folder, a=spider("s", f"def __init__(self): {line}"))
    with pytest.raises(ConfigError, match=r"a\.py: spider s: ") as caught:
        found_in(folder).make("s")
    assert told in str(caught.value)


@pytest.mark.parametrize("attribute", ["allowed_domains", "start_urls", "sitemap_rules", "custom_settings"])
def test_an_attribute_may_be_a_property_and_is_checked_once_there_is_a_spider(folder: Path, attribute: str) -> None:
    for name, value in (("good", "()"), ("bad", "5"), ("fails", "self.nothing")):
        value = "{}" if (name, attribute) == ("good", "custom_settings") else value
        write(folder, **{name: spider(name, "@property", f"def {attribute}(self): return {value}")})
    registry = found_in(folder)
    registry.make("good")
    with pytest.raises(ConfigError, match=f"{attribute} must be a "):
        registry.make("bad")
    with pytest.raises(ConfigError, match=r"'S' object has no attribute 'nothing' \(.*fails\.py:5\)"):
        registry.make("fails")


@pytest.mark.parametrize("error", ["{}['price']", "__import__('sys').exit(3)"])
def test_what_a_constructor_raises_is_told_with_its_line(folder: Path, error: str) -> None:
    write(
        folder, a=spider("s", "def __init__(self, city):", "    self.price = self.find()", f"def find(self): {error}")
    )
    with pytest.raises(ConfigError) as caught:
        found_in(folder).make("s", {"city": "Bonn"})
    said, *traceback = str(caught.value).splitlines()
    assert said.startswith(
        ("spider s with -a city=Bonn: KeyError: 'price'", "spider s with -a city=Bonn: SystemExit: 3")
    )
    assert said.endswith("spiders/a.py:6)")
    assert 'a.py", line 5, in __init__' in traceback[1]


def test_sitemaps_that_a_spider_sets_when_it_is_made_are_checked_then(folder: Path) -> None:
    write(folder, a=spider("s", "def __init__(self, site): self.sitemap_urls = [site + '/sitemap.xml']"))
    registry = found_in(folder)
    made = registry.make("s", {"site": "http://a.example"})
    assert [(one.url, one.callback) for one in made.start_requests()] == [
        ("http://a.example/sitemap.xml", "parse_sitemap")
    ]
    with pytest.raises(ConfigError, match=r"a\.py: spider s: sitemap_urls: 'a\.example/sitemap\.xml'"):
        registry.make("s", {"site": "a.example"})


def test_other_folders_packages_and_modules_are_searched(folder: Path) -> None:
    (folder / "more" / "shops").mkdir(parents=True)
    (folder / "more" / "shops" / "a.py").write_text("from crawler import *\n" + spider("shop"))
    (folder / "single_spider.py").write_text("from crawler import *\n" + spider("single"))
    (folder / "packed").mkdir()
    (folder / "packed" / "__init__.py").write_text("from crawler import *\n" + spider("ignored_base"))
    (folder / "packed" / "b.py").write_text("from crawler import *\n" + spider("packed"))
    registry = found_in(folder, "more/shops", "more.shops", "single_spider", "packed")
    assert registry.names() == ["packed", "shop", "single", "site"]
    assert registry.broken == {}


def test_a_place_that_is_not_there_is_named(folder: Path) -> None:
    assert "no_such_place" in str(found_in(folder, "no_such_place").broken["no_such_place"])


def test_a_broken_package_stops_no_other(folder: Path) -> None:
    (folder / "spiders" / "__init__.py").write_text("1 / 0")
    registry = found_in(folder)
    assert registry.names() == ["site"]
    assert list(registry.broken) == [str(folder / "spiders" / "__init__.py")]


def test_a_folder_does_not_take_the_name_of_an_imported_package(folder: Path) -> None:
    (folder / "msgspec").mkdir()
    assert "the name msgspec is taken" in str(found_in(folder, "msgspec").broken[str(folder / "msgspec")])


def test_installed_packages_announce_spiders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "plugin_one.py").write_text("from crawler import *\n" + spider("one"))
    (folder / "plugin_two.py").write_text("from crawler import *\n" + spider("two") + "\n" + spider("no", cls="No"))
    (folder / "plugin_bad.py").write_text("1 / 0")
    points = [("a", "plugin_one"), ("b", "plugin_two:S"), ("c", "plugin_bad"), ("d", "plugin_one:S")]
    announced = EntryPoints(EntryPoint(name, value, "crawler.spiders") for name, value in points)
    monkeypatch.setattr(crawler.spiders.registry, "entry_points", announced.select)
    registry = found_in(folder)
    assert registry.names() == ["one", "site", "two"]
    assert list(registry.broken) == ["plugin_bad (entry point c)"]


ARGUED = spider("argued", "def __init__(self, city, limit='3'): self.city, self.limit = city, int(limit)")


@pytest.mark.parametrize(
    ("code", "arguments", "told"),
    [
        (ARGUED, {"city": "Oslo", "colour": "red"}, "takes no argument 'colour'; it takes: city, limit"),
        (ARGUED, {}, "spider argued needs -a city=…"),
        (ARGUED, {"city": "Oslo", "limit": "x"}, "-a city=Oslo -a limit=x: ValueError: invalid literal"),
        (spider("argued"), {"parse": "x"}, "would replace parse of spider argued"),
        (spider("argued", "def parse_pot(self, r): ..."), {"parse_pot": "x"}, "would replace parse_pot"),
        (spider("argued"), {"start_urls": "x"}, "would replace start_urls"),
        (spider("argued"), {"name": "x"}, "would replace name"),
        (spider("argued"), {"settings": "x"}, "would replace settings"),
        (spider("argued", "city = ''"), {"ctiy": "x"}, "never reads ctiy; did you mean -a city=…?"),
        (spider("argued"), {"foo": "x"}, "-a foo=…: spider argued never reads foo, as self.foo or otherwise"),
        (spider("argued"), {"a-b": "x"}, "-a a-b=…: an argument is named like a variable"),
        (spider("argued"), {"__class__": "x"}, "named like a variable"),
    ],
)
def test_wrong_arguments_are_refused(folder: Path, code: str, arguments: dict[str, str], told: str) -> None:
    write(folder, a=code)
    with pytest.raises(ConfigError) as caught:
        found_in(folder).make("argued", arguments)
    assert told in str(caught.value)


def test_arguments_become_attributes(folder: Path) -> None:
    write(folder, a=spider("plain", "city = ''"), b=ARGUED)
    registry = found_in(folder)
    for name, given, taken in (
        ("plain", {"city": "Oslo"}, {"city": "Oslo"}),
        ("argued", {"city": "Oslo"}, {"city": "Oslo", "limit": 3}),
        ("plain", {}, {}),
    ):
        made = vars(registry.make(name, given))
        assert {key: made[key] for key in made.keys() - {"crawler", "settings"}} == taken


@pytest.mark.parametrize(
    "reading",
    [
        "def x(self, r): return self.foo",
        "def x(self, r): return getattr(self, 'foo', '')",
        "def x(self, r): return vars(self)",
        "def __init__(self, **rest): self.rest = rest",
        "def __init__(self, **rest): super().__init__(**rest); self.x = self.foo",
    ],
)
def test_an_argument_that_may_be_read_is_taken(folder: Path, reading: str) -> None:
    write(folder, a=spider("reads", reading), b=spider("passes", "def __init__(self, **all): super().__init__(**all)"))
    found_in(folder).make("reads", {"foo": "x"})
    with pytest.raises(ConfigError, match="never reads foo"):
        found_in(folder).make("passes", {"foo": "x"})


def test_a_spider_of_scrapy_says_what_to_write(folder: Path) -> None:
    write(folder, theirs="import scrapy\n\nclass Shop(scrapy.Spider):\n    name = 'shop'\n", good=spider("good"))
    registry = found_in(folder)
    with pytest.raises(UsageError, match=r"theirs.py: Shop is a spider of Scrapy; write `from crawler import Spider"):
        registry.get("shop")


def test_an_import_of_scrapy_where_it_is_not_installed_says_what_to_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "scrapy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scrapy", None)  # as if it were not installed
    write(folder, theirs="import json\nfrom scrapy.spiders import CrawlSpider\n")
    (why,) = found_in(folder).broken.values()
    assert "theirs.py:3); write `from crawler import Spider, Request`: `crawler migrate .` says all" in str(why)
