"""The spelling that is requested, the key that deduplicates it, and what a bad URL is told."""

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.parsing.url import (
    MAX_URL_LENGTH,
    BadUrl,
    address_in,
    canonical,
    dedup_key,
    fingerprint,
    host_of,
    normal_escapes,
    origin_of,
)

BASE = "http://example.org/foo/bar?q"

JOINED = [
    # nothing, fragments, queries
    ("", "http://example.org/foo/bar?q"),
    ("  \t", "http://example.org/foo/bar?q"),
    ("#", "http://example.org/foo/bar?q"),
    ("#/x?y", "http://example.org/foo/bar?q"),
    ("?", "http://example.org/foo/bar?"),
    ("?a=b#c", "http://example.org/foo/bar?a=b"),
    ("x#y#z", "http://example.org/foo/x"),
    # paths
    ("x", "http://example.org/foo/x"),
    ("x/", "http://example.org/foo/x/"),
    ("/x", "http://example.org/x"),
    ("/", "http://example.org/"),
    (".", "http://example.org/foo/"),
    ("./", "http://example.org/foo/"),
    ("..", "http://example.org/"),
    ("../x", "http://example.org/x"),
    ("../../../x", "http://example.org/x"),
    ("a/./b/../c", "http://example.org/foo/a/c"),
    ("a/.../b", "http://example.org/foo/a/.../b"),
    ("%2e/x", "http://example.org/foo/x"),
    ("%2E%2e/x", "http://example.org/x"),
    ("..//x", "http://example.org//x"),
    ("a//b", "http://example.org/foo/a//b"),
    ("a\\b", "http://example.org/foo/a/b"),
    ("\\x", "http://example.org/x"),
    (":23", "http://example.org/foo/:23"),
    ("::", "http://example.org/foo/::"),
    ("./a:b", "http://example.org/foo/a:b"),
    ("x;y=1,2", "http://example.org/foo/x;y=1,2"),
    # schemes and authorities
    ("//x.example", "http://x.example/"),
    ("//x.example/y", "http://x.example/y"),
    ("\\\\x\\hello", "http://x/hello"),
    ("///x.example", "http://x.example/"),
    ("http:y", "http://example.org/foo/y"),
    ("http:/y", "http://example.org/y"),
    ("http::@c:29", "http://example.org/foo/:@c:29"),
    ("https:y", "https://y/"),
    ("HTTPS://EXAMPLE.COM/Path", "https://example.com/Path"),
    ("https:/\\example.com//x", "https://example.com//x"),
    ("http://example.com", "http://example.com/"),
    ("http://example.com?x", "http://example.com/?x"),
    ("http://example.com#x", "http://example.com/"),
    # userinfo
    ("http://user:pass@x.example:21/bar", "http://x.example:21/bar"),
    ("http://user@x.example/", "http://x.example/"),
    ("http://@x.example/", "http://x.example/"),
    ("http://a@b@c@d:2/", "http://d:2/"),
    ("http://x.example/\\@", "http://x.example//@"),
    ("//u:p@x.example/@y", "http://x.example/@y"),
    # ports
    ("http://f:80/c", "http://f/c"),
    ("https://f:443/c", "https://f/c"),
    ("https://f:80/c", "https://f:80/c"),
    ("http://f:/c", "http://f/c"),
    ("http://f:0/c", "http://f:0/c"),
    ("http://f:00000000000000000080/c", "http://f/c"),
    ("http://f:65535/", "http://f:65535/"),
    # hosts
    ("http://EXAMPLE.com./", "http://example.com./"),
    ("http://ex%41mple.com/", "http://example.com/"),
    ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ("http://faß.example/", "http://xn--fa-hia.example/"),
    ("http://Go.com/", "http://go.com/"),
    ("http://日本。example/", "http://xn--wgv71a.example/"),
    ("http://a_b.example/", "http://a_b.example/"),
    # the spellings of an IPv4 address
    ("http://127.0.0.1/", "http://127.0.0.1/"),
    ("http://127.1/", "http://127.0.0.1/"),
    ("http://2130706433/", "http://127.0.0.1/"),
    ("http://0x7f.0.0.1/", "http://127.0.0.1/"),
    ("http://0177.0.0.1/", "http://127.0.0.1/"),
    ("http://127.0.0.1./", "http://127.0.0.1/"),
    ("http://%31%32%37.0.0.1/", "http://127.0.0.1/"),
    ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1/"),
    # IPv6
    ("http://[::1]/", "http://[::1]/"),
    ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]/"),
    ("http://[::127.0.0.1]:8080/", "http://[::7f00:1]:8080/"),
    ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
    # what is encoded and what is not
    ("a b", "http://example.org/foo/a%20b"),
    ("é", "http://example.org/foo/%C3%A9"),
    ("?é=日", "http://example.org/foo/bar?%C3%A9=%E6%97%A5"),
    ('a"<>`{}', "http://example.org/foo/a%22%3C%3E%60%7B%7D"),
    ("?\"<>'", "http://example.org/foo/bar?%22%3C%3E%27"),
    ("it's", "http://example.org/foo/it's"),
    ("a%zz%", "http://example.org/foo/a%zz%"),
    ("%7Ea", "http://example.org/foo/%7Ea"),
    ("a\ud800b", "http://example.org/foo/a%EF%BF%BDb"),
    # white space and controls
    ("  x  ", "http://example.org/foo/x"),
    ("\x00\x1f x\x00", "http://example.org/foo/x"),
    ("x #y", "http://example.org/foo/x%20"),
    ("a\r\nb\tc", "http://example.org/foo/abc"),
    ("a\x00b", "http://example.org/foo/a%00b"),
    ("ht\ntp://exa\tmple.com/", "http://example.com/"),
    ("?a\r\nHost: b", "http://example.org/foo/bar?aHost:%20b"),
]


@pytest.mark.parametrize(("href", "url"), JOINED)
def test_canonical_is_what_a_browser_would_request(href: str, url: str) -> None:
    assert canonical(href, BASE) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "empty URL"),
        ("  \n", "empty URL"),
        ("example.com/x", "no scheme; write https://example.com/x"),
        ('"http://example.com/x"', "no scheme; write http://example.com/x"),
        ("<HTTPS://example.com>", "no scheme; write https://example.com/"),
        ("“example.com”", "no scheme; write https://example.com/"),
        ("example.com:8080/x", "no scheme; write https://example.com:8080/x"),
        ("localhost:8080", "no scheme; write https://localhost:8080/"),
        ("myhost:80/x", "no scheme; write https://myhost:80/x"),
        ("//example.com/x", "no scheme; write https://example.com/x"),
        ("bob:secret@example.com/x", "not supported"),
        ("ftp://example.com/", "scheme 'ftp' is not supported"),
        ("mailto:someone", "scheme 'mailto' is not supported"),
        ("javascript:void(0)", "scheme 'javascript' is not supported"),
        ("javascript:1", "scheme 'javascript' is not supported"),
        ("TEL:123", "scheme 'tel' is not supported"),
        ("data:text/html,x", "scheme 'data' is not supported"),
        ("file:///etc/passwd", "scheme 'file' is not supported"),
        ("about:blank", "scheme 'about' is not supported"),
        ("http://", "not a valid URL"),
        ("http:///", "not a valid URL"),
        ("http://user@/x", "not a valid URL"),
        ("http://f:b/c", "not a valid URL"),
        ("http://f:999999/", "not a valid URL"),
        ("http://a b/", "not a valid URL"),
        ("http://a\0b/", "not a valid URL"),
        ("http://a<b/", "not a valid URL"),
        ("http://[::1/", "not a valid URL"),
        ("http://[google.com]/", "not a valid URL"),
        ("http://1.2.3.256/", "not a valid URL"),
        ("http://1.2.3.4.5/", "not a valid URL"),
        ("http://foo.0x4/", "not a valid URL"),
        ("http://%zz/", "not a valid URL"),
        ("http://\u00ad/", "not a valid URL"),
        ("http://x/" + "y" * MAX_URL_LENGTH, "longer than 8,192 characters"),
        ("http://x/#" + "y" * 100_000, "longer than 65,536 characters"),
        ("http://x/" + "é" * 3_000, "longer than 8,192 characters"),
    ],
)
def test_a_bad_url_is_told_why(url: str, why: str) -> None:
    with pytest.raises(BadUrl) as caught:
        canonical(url)
    assert why in str(caught.value)


def test_a_bad_url_is_shown_on_one_short_line() -> None:
    text = str(BadUrl("http://x/\r\n\0\x1b[2J\ud800" + "y" * 9_999, "why"))
    assert text.isprintable()
    assert len(text) < 260


@pytest.mark.parametrize("prefix", ["http://", "https:", "ftp://", "//", "  http:/\\", ""])
def test_a_bad_url_is_shown_without_userinfo(prefix: str) -> None:
    assert "secret" not in str(BadUrl(prefix + "bob:secret@host/x", "why"))


def test_a_long_fragment_does_not_count() -> None:
    assert canonical("http://x/y#" + "z" * 20_000) == "http://x/y"


@settings(deadline=None)
@given(st.text(), st.sampled_from([None, BASE, "https://[::1]:8443/a//b/"]))
def test_canonical_gives_clean_ascii_or_bad_url(text: str, base: str | None) -> None:
    try:
        url = canonical(text, base)
    except BadUrl as error:
        told = str(error)
        url = None
    if url is None:
        assert told.isprintable()
        return
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(" #")
    assert "@" not in origin_of(url)
    assert host_of(url)
    assert canonical(url) == url


@given(
    st.lists(st.sampled_from(["a", "x", "xn--", "xn--a", "0x1", "9", "1a", "-", "_", "a-b", ""]), min_size=1).map(
        ".".join
    )
)
def test_the_short_way_for_plain_hosts_leads_where_the_parser_does(host: str) -> None:
    def outcome(base: str | None) -> str:
        try:
            return canonical(f"http://{host}/", base)
        except BadUrl:
            return "bad"

    assert outcome(None) == outcome(BASE)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://x/a", "http://x/a"),
        ("http://x/?", "http://x/"),
        ("http://x/?&&", "http://x/"),
        ("http://x/?b=1&a=2", "http://x/?a=2&b=1"),
        ("http://x/?a=2&a=1", "http://x/?a=1&a=2"),
        ("http://x/?a&b=", "http://x/?a&b="),
        ("http://x/?a-b=1&a=1", "http://x/?a=1&a-b=1"),
        ("http://x/?a=b=c&a=b", "http://x/?a=b&a=b=c"),
        ("http://x/?b=1&&a=2&", "http://x/?a=2&b=1"),
        ("http://x/%7euser", "http://x/~user"),
        ("http://x/%41%2d%5F", "http://x/A-_"),
        ("http://x/a%2fb", "http://x/a%2Fb"),
        ("http://x/%e4%bd%a0", "http://x/%E4%BD%A0"),
        ("http://x/?q=%26%3d", "http://x/?q=%26%3D"),
        ("http://x/%", "http://x/%"),
        ("http://x/%zz%4", "http://x/%zz%4"),
        ("http://x/%%41b", "http://x/%%41b"),
        ("http://x/%2541", "http://x/%2541"),
        ("http://x/a?b?c", "http://x/a?b?c"),
    ],
)
def test_dedup_key(url: str, key: str) -> None:
    assert dedup_key(url) == key
    assert dedup_key(key) == key


def test_a_plain_url_is_its_own_key() -> None:
    url = "http://x/a/b.html"
    assert dedup_key(url) is url


@settings(deadline=None)
@given(st.text(alphabet="%4125fFx~é/", max_size=30))
def test_normal_escapes_are_stable(text: str) -> None:
    once = normal_escapes(text)
    assert normal_escapes(once) == once


def test_a_fingerprint_is_64_signed_bits_and_depends_on_the_secret() -> None:
    prints = {fingerprint(f"http://x/{n}") for n in range(1_000)}
    assert len(prints) == 1_000
    assert min(prints) < 0 < max(prints)
    assert all(-(2**63) <= value < 2**63 for value in prints)
    assert fingerprint("http://x/") == fingerprint("http://x/", b"")
    assert fingerprint("http://x/") != fingerprint("http://x/", b"secret")


def test_a_fingerprint_never_changes() -> None:
    """Stored seen-sets hold these numbers."""
    assert fingerprint("http://example.com/") == -350646258024731386


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("http://x/", "x", "http://x"),
        ("https://example.com/a:b@c/d", "example.com", "https://example.com"),
        ("http://127.0.0.1:8000/x", "127.0.0.1", "http://127.0.0.1:8000"),
        ("http://[::1]/x", "[::1]", "http://[::1]"),
        ("http://[::1]:81/x", "[::1]", "http://[::1]:81"),
        ("http://example.com./?http://y/", "example.com.", "http://example.com."),
    ],
)
def test_host_and_origin(url: str, host: str, origin: str) -> None:
    assert (host_of(url), origin_of(url)) == (host, origin)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://1.2.3.4:8080/", "1.2.3.4"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://1.2.3.4./", "1.2.3.4"),
        ("http://[2001:DB8:0::1]/", "2001:db8::1"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:7f00:1"),
        ("http://a.example/", None),
        ("http://shop1/", None),
        ("http://1.2.3.4.example/", None),
    ],
)
def test_the_address_that_a_host_is(url: str, address: str | None) -> None:
    assert address_in(host_of(canonical(url))) == (ip_address(address) if address else None)
