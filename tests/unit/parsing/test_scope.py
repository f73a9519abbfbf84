"""Which links belong to a crawl."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.parsing.scope import Scope, looks_like_page, plain_domain
from crawler.parsing.url import BadUrl, canonical

ROOT = "http://a.example/"


@pytest.mark.parametrize(
    ("host", "domains", "allowed"),
    [
        ("example.com", [], True),
        ("example.com", ["example.com"], True),
        ("www.example.com", ["example.com"], True),
        ("a.b.example.com", ["other.org", "example.com"], True),
        ("EXAMPLE.com", ["Example.COM"], True),
        ("example.com:8080", ["example.com"], True),
        ("example.com", ["example.com:8080"], True),
        ("example.com.", ["example.com"], True),
        ("bücher.example", ["xn--bcher-kva.example"], True),
        ("xn--bcher-kva.example", ["bücher.example"], True),
        ("127.0.1.1:8000", ["127.0.1.1"], True),
        ("[::1]:80", ["[::1]"], True),
        ("badexample.com", ["example.com"], False),
        ("example.com.evil.org", ["example.com"], False),
        ("com", ["example.com"], False),
        ("example.com", ["www.example.com"], False),
        ("127.0.1.2", ["127.0.1.1"], False),
        ("1.127.0.1.example", ["127.0.0.1"], False),
    ],
)
def test_domains_match_at_the_borders_of_labels(host: str, domains: list[str], allowed: bool) -> None:
    assert (Scope(domains).reason_out(canonical(f"http://{host}/")) is None) is allowed


@pytest.mark.parametrize("name", ["http://example.com", "example.com/x", "*.example.com", "a b", "u@a.b", ""])
def test_a_url_is_no_domain(name: str) -> None:
    with pytest.raises(BadUrl):
        plain_domain(name)


@pytest.mark.parametrize(
    ("url", "depth", "reason"),
    [
        ("http://example.com/", 0, None),
        ("https://sub.example.com:8443/x?y", 3, None),
        ("http://example.com/", 4, "depth"),
        ("http://other.org/", 1, "offsite"),
        ("http://other.org/example.com", 9, "offsite"),
        ("ftp://example.com/", 0, "scheme"),
        ("mailto:me@example.com", 0, "scheme"),
    ],
)
def test_why_a_link_is_left_out(url: str, depth: int, reason: str | None) -> None:
    assert Scope(["Example.com"], depth_limit=3).reason_out(url, depth) == reason


def test_without_rules_everything_on_the_web_belongs() -> None:
    assert Scope().reason_out("https://anything.example/", 10_000) is None


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("", True),
        ("index.html", True),
        ("library/os.path", True),
        ("v3.12/", True),
        ("archive.zip/", True),
        ("notes.txt", True),
        ("a.PHP?img=x.png", True),
        ("feed.xml", True),
        (".hidden", True),
        ("wiki/Node.js", True),
        ("Ärzte.html", True),
        ("download?name=a.zip", True),
        ("logo.png", False),
        ("logo.PNG?v=3", False),
        ("release.tar.gz", False),
        ("paper.pdf", False),
        ("_static/site.css", False),
        ("a.b.c.woff2", False),
    ],
)
def test_the_extension_of_the_path_tells_files_from_pages(path: str, page: bool) -> None:
    assert looks_like_page(ROOT + path) is page


def test_a_host_with_an_extension_for_a_name_is_a_page() -> None:
    assert looks_like_page("http://example.zip/")


labels = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda label: "--" not in label)
domains = st.lists(labels, min_size=1, max_size=4).map(".".join)


@given(domains, domains)
def test_a_domain_allows_itself_and_what_is_inside_it(inner: str, domain: str) -> None:
    scope = Scope([domain])
    assert scope.reason_out(f"http://{domain}/") is None
    assert scope.reason_out(f"http://{inner}.{domain}/") is None
    assert scope.reason_out(f"http://{domain}.invalid/") == "offsite"
    assert scope.reason_out(f"http://x{domain}/") == "offsite"


def test_a_crawl_that_follows_nothing_keeps_its_seeds() -> None:
    scope = Scope(follow=False)
    assert scope.reason_out("http://a.example/", 0) is None
    assert scope.reason_out("http://a.example/", 1) == "depth"
    assert Scope(depth_limit=2, follow=False).reason_out("http://a.example/", 1) == "depth"
