"""Which encoding a page is read in."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.parsing import charset
from crawler.parsing.charset import clean, decode, encoding_of

HTML = "text/html"
KOI = "Привет, мир. Это обычный русский текст, длинный и понятный.".encode("koi8-r")


@pytest.mark.parametrize(
    ("body", "content_type", "encoding", "text"),
    [
        # byte order mark before everything
        (b"\xef\xbb\xbfa\xc3\xa9", "text/html; charset=koi8-r", "utf-8", "aé"),
        (b"\xff\xfea\0", "text/html; charset=utf-8", "utf-16le", "a"),
        (b"\xfe\xff\0a", None, "utf-16be", "a"),
        (b"\xff\xfe\0\0a\0\0\0", None, "utf-16le", "\0a\0"),  # UTF-32 is none of the standard's
        # the header before the page
        (
            b"<meta charset=koi8-r>\xe9",
            "text/html; charset=windows-1251",
            "windows-1251",
            "<meta charset=koi8-r>й",
        ),
        (b"\xe9", "text/html;charset=ISO-8859-1", "windows-1252", "é"),
        (b"\x80", "text/html;charset=latin1", "windows-1252", "€"),
        (b"\x81", "text/html;charset=ascii", "windows-1252", "\x81"),
        (b"\xe9", 'text/html; charset="windows-1252"', "windows-1252", "é"),
        (b"\xe9", 'text/html; x="; charset=koi8-r"; charset=windows-1252', "windows-1252", "é"),
        (b"\xe9", "text/html; CHARSET=Windows-1252; x=y", "windows-1252", "é"),
        (b"\xe9", "text/html; charset=windows-1252, text/html", "windows-1252", "é"),
        (b"a\0", "text/plain; charset=utf-16", "utf-16le", "a"),
        (b"\xe9", "text/plain; charset=x-user-defined", "x-user-defined", "\uf7e9"),
        (b"\x1b$)C<script>", "text/html; charset=iso-2022-kr", "replacement", "\ufffd"),
        (b"", "text/html; charset=hz-gb-2312", "replacement", ""),
        (b"\xff\xc3\xa9", "text/html; charset=utf-8", "utf-8", "\ufffdé"),
        # labels that the standard does not know, but Python does
        (b"+ADw-", "text/html; charset=utf-7", "utf-8", "+ADw-"),
        (b"\\u0041", "text/html; charset=unicode_escape", "utf-8", "\\u0041"),
        (b"a", "text/html; charset=idna", "utf-8", "a"),
        (b"a", "text/html; charset=punycode", "utf-8", "a"),
        (b"a", "text/html; charset=rot13", "utf-8", "a"),
        (b"a", "text/html; charset=utf-32", "utf-8", "a"),
        (b"a", "text/html; charset=cp037", "utf-8", "a"),
        (b"a", "text/html; charset=undefined", "utf-8", "a"),
        (b"a", "text/html; charset=", "utf-8", "a"),
        (b"a", "text/html; charset='utf-8'", "utf-8", "a"),
        # the page's declaration
        (b"<meta charset=koi8-r>\xc1", HTML, "koi8-r", "<meta charset=koi8-r>а"),
        (b"<META CHARSET = 'koi8-r' >\xc1", None, "koi8-r", "<META CHARSET = 'koi8-r' >а"),
        (b"<meta\ncharset=bad><meta charset=koi8-r>\xc1", HTML, "koi8-r", None),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">\xc1', HTML, "koi8-r", None),
        (b"<meta content=\"text/html; charset = 'koi8-r'\" http-equiv=content-type>", HTML, "koi8-r", None),
        (b'<meta content="text/html; charset=koi8-r">', HTML, "utf-8", None),
        (b'<meta name=x content="charset=koi8-r">', HTML, "utf-8", None),
        (b"<!-- <meta charset=koi8-r> --><p>", HTML, "utf-8", None),
        (b"<!--><meta charset=koi8-r>", HTML, "koi8-r", None),
        (b'<p title="<meta charset=koi8-r>">', HTML, "utf-8", None),
        (b"<metadata charset=koi8-r>", HTML, "utf-8", None),
        (b"<meta charset=utf-16>a", HTML, "utf-8", None),
        (b"<meta charset=x-user-defined>a", HTML, "windows-1252", None),
        (b" " * 1_000 + b"<meta charset=koi8-r>", HTML, "koi8-r", None),
        # behind the first 1,024 bytes, but inside the head
        (b" " * 1_030 + b"<meta charset=koi8-r>", HTML, "koi8-r", None),
        (
            b"<head><!--" + b"<body>" * 300 + b"--><META http-equiv=content-type content='x; CharSet=koi8-r'>",
            HTML,
            "koi8-r",
            None,
        ),
        (b"<head>" + b" " * 1_030 + b"</head><body><meta charset=koi8-r>", HTML, "utf-8", None),
        (
            b'<?xml version="1.0" encoding="koi8-r"?>' + b" " * 1_030 + b"<meta charset=windows-1251>",
            HTML,
            "koi8-r",
            None,
        ),
        (b"<meta charset=koi8-r>", "text/plain", "utf-8", None),
        (b"<meta charset=koi8-r>", "application/json", "utf-8", None),
        (b'<?xml version="1.0" encoding="koi8-r"?><a>\xc1</a>', "application/xml", "koi8-r", None),
        (b"<?xml version='1.0' encoding='koi8-r'?><a>\xc1</a>", "application/rss+xml", "koi8-r", None),
        (b'<?xml version="1.0" encoding="koi8-r"?><html>\xc1', HTML, "koi8-r", None),
        (b'<?xml version="1.0" encoding="koi8-r"?><meta charset=windows-1251>', HTML, "windows-1251", None),
        (
            '<?xml encoding="utf-16"?>é'.encode("utf-16-le"),
            "text/xml",
            "utf-16le",
            '<?xml encoding="utf-16"?>é',
        ),
        # nothing declared
        ("日本語のテキスト".encode() + b"\xe9 x", HTML, "utf-8", "日本語のテキスト\ufffd x"),  # a broken character
        (b"<p>\xe9</p>", HTML, "windows-1252", "<p>é</p>"),
        (b"<url>\xe9</url>", "text/xml", "windows-1252", "<url>é</url>"),
        (b"", None, "utf-8", ""),
        (b"a", None, "utf-8", "a"),
        ("é日😀".encode(), HTML, "utf-8", "é日😀"),
        ("日本".encode()[:-1], HTML, "utf-8", "日\ufffd"),
        (KOI, HTML, "koi8-r", KOI.decode("koi8-r")),
        ("これは日本語の文章です。漢字とひらがな。".encode("shift_jis"), HTML, "shift_jis", None),
    ],
)
def test_decode(body: bytes, content_type: str | None, encoding: str, text: str | None) -> None:
    got, name = decode(body, content_type)
    assert name == encoding
    if text is not None:
        assert got == text


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        ("UTF8", "utf-8"),
        (" \tutf-8\n", "utf-8"),
        ("iso-8859-1", "windows-1252"),
        ("us-ascii", "windows-1252"),
        ("iso-8859-9", "windows-1254"),
        ("tis-620", "windows-874"),
        ("gb2312", "gbk"),
        ("ks_c_5601-1987", "euc-kr"),
        ("x-sjis", "shift_jis"),
        ("unicode", "utf-16le"),
        ("logical", "iso-8859-8-i"),
        ("utf-7", None),
        ("utf_8", None),
        ("latin-1", None),
        ("\u212aoi8-r", None),  # the Kelvin sign is no k
        ("", None),
    ],
)
def test_labels_are_the_standards(label: str, encoding: str | None) -> None:
    assert encoding_of(label) == encoding


@pytest.mark.parametrize(
    ("encoding", "body", "text"),
    [
        ("windows-1252", b"\x80\x81\x9f", "€\x81Ÿ"),
        ("windows-1255", b"\xca\xd9", "\u05ba\ufffd"),
        ("koi8-u", b"\xae\xbe", "ўЎ"),
        ("macintosh", b"\xdb", "€"),
        ("x-mac-cyrillic", b"\xff", "€"),
        ("iso-8859-8-i", b"\xe0", "א"),
        ("gbk", "中文€".encode("gb18030"), "中文€"),
        ("big5", "中文".encode("big5"), "中文"),
        ("euc-kr", "똠".encode("cp949"), "똠"),
        ("euc-jp", "日本".encode("euc-jp"), "日本"),
        ("iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        ("shift_jis", "①".encode("cp932"), "①"),
    ],
)
def test_encodings_are_the_standards(encoding: str, body: bytes, text: str) -> None:
    assert decode(body, f"text/html; charset={encoding}") == (text, encoding)


@settings(deadline=None)
@given(
    st.binary(max_size=200),
    st.none() | st.text(max_size=40) | st.sampled_from(sorted(charset._NAMES)).map("a/b;charset={}".format),
)
def test_decode_never_raises_and_gives_text_that_can_be_encoded(body: bytes, content_type: str | None) -> None:
    text, encoding = decode(body, content_type)
    assert text.encode().decode() == text
    assert encoding_of(encoding) == encoding


def test_no_codec_is_looked_up_by_a_name_from_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2022-45061: a long label cost quadratic time in the idna codec."""
    looked_up: list[str] = []
    monkeypatch.setattr(codecs, "lookup", looked_up.append)
    decode(b"<meta charset=idna>" + b"a" * 100, "text/html; charset=" + "a" * 100_000)
    assert looked_up == []


def test_an_unclosed_tag_is_scanned_once() -> None:
    """A regular expression that backtracks would not come back from this."""
    for body in (
        b"<meta a='" * 200,
        b"<meta " + b"a=" * 500,
        b"<" * 1_024,
        b"<!--" * 256,
        b"<meta " + b" " * 1_000,
    ):
        assert decode(body, HTML)[1] == "utf-8"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("a", "a"), ("é日", "é日"), ("a\ud800b", "a\ufffdb"), ("\udfff", "\ufffd"), ("\ud83d\ude00", "😀")],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_clean_text_is_not_copied() -> None:
    text = "日本" * 10
    assert clean(text) is text
