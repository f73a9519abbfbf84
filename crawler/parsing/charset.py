"""Decode the bytes of a page, with the encodings and labels of the WHATWG Encoding Standard only.

A label that the standard does not list is ignored. No name from the network reaches Python's own codec
registry, which has codecs that no browser supports (utf-7, unicode_escape, idna …).
"""

import codecs
import re
from functools import cache, lru_cache
from typing import Final
from urllib.parse import quote_from_bytes

import cchardet

PRESCAN_BYTES = 1_024
"""How much of a page is searched for a declared encoding (HTML standard, "prescan a byte stream"), before its head."""

_DETECT_BYTES = 32_768  # sampled on each side of the first byte that is not UTF-8


def decode(body: bytes, content_type: str | None) -> tuple[str, str]:
    """The text of `body` and the name of its encoding in lower case (``utf-8``, ``windows-1252`` …).

    The first of these that names an encoding wins: byte order mark, `content_type` (the header's value),
    the declaration inside HTML or XML, strict UTF-8, statistics, windows-1252. Never raises: bytes that
    cannot be decoded become U+FFFD. The text has no byte order mark and no lone surrogate.
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], name), name
    declared = _from_header(content_type or "") or _declared(body, content_type or "")
    if declared:
        return _decoded(body, declared), declared
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError as error:
        guessed = _guessed(body, error)
    return _decoded(body, guessed), guessed


def clean(text: str) -> str:
    """Replace every lone surrogate in `text` by U+FFFD, so that it can be encoded."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def encoding_of(label: str) -> str | None:
    """The encoding that a label names (Encoding Standard §4.2), in lower case; None for an unknown label."""
    # ASCII only: lower() would turn the Kelvin sign into a "k", which the standard does not
    return _NAMES.get(label.strip("\t\n\f\r ").lower()) if label.isascii() else None


# ---------------------------------------------------------------------------------------------------------
# Where an encoding is declared

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_BE, "utf-16be"),
    (codecs.BOM_UTF16_LE, "utf-16le"),
)

# One parameter of a media type. A quoted value is matched as a whole: "charset=" inside it is not a parameter.
_PARAMETER = re.compile(r';[ \t]*([^\s;="]+)=(?:"((?:[^"\\]|\\.)*+)"|([^\s;,]*))')


def _from_header(content_type: str) -> str | None:
    for name, quoted, token in _PARAMETER.findall(content_type[:PRESCAN_BYTES]):
        if name.lower() == "charset":
            return encoding_of(quoted or token)
    return None


def _declared(body: bytes, content_type: str) -> str | None:
    """The encoding that HTML or XML declares in its own text; None for other media types."""
    kind = content_type.partition(";")[0].lower()
    is_html = not kind.strip() or "html" in kind
    if not is_html and "xml" not in kind:
        return None
    start = body[:PRESCAN_BYTES]
    if start.startswith((b"<\0?\0x\0", b"\0<\0?\0x")):
        return "utf-16le" if start[0] else "utf-16be"
    text = start.decode("latin-1")
    name = (_from_meta(text) if is_html else None) or _from_xml(text)
    if name is None and is_html and b"charset" in body.lower():
        name = _from_meta(body.decode("latin-1"), head_only=True)
    # HTML standard: a declaration that was readable as ASCII cannot mean UTF-16, and x-user-defined means windows-1252.
    if name in ("utf-16le", "utf-16be"):
        return "utf-8"
    return "windows-1252" if name == "x-user-defined" else name


_INSIDE_TAG = r"""(?:[^>=]|=\s*(?:"[^"]*"|'[^']*')?)*+"""
_MARKUP = re.compile(
    rf"<!--(?:-?>|.*?(?:-->|\Z))|<meta(?=[\s/])(?P<meta>{_INSIDE_TAG})|</?[a-z]{_INSIDE_TAG}|<[!/?][^>]*",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([^\s>/=][^\s>/=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?""")
_CONTENT_CHARSET = re.compile(r"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"""\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']\s*([^"'\s]+)""")


def _from_meta(text: str, *, head_only: bool = False) -> str | None:
    for markup in _MARKUP.finditer(text):
        if head_only and markup[0][:6].lower() in ("<body", "<body>", "</head"):
            break
        if markup["meta"] and (name := _named_by_meta(markup["meta"])):
            return name
    return None


@lru_cache(512)  # the pages of a site share one declaration
def _named_by_meta(inside: str) -> str | None:
    attributes: dict[str, str] = {}
    for name, *values in _ATTRIBUTE.findall(inside):
        attributes.setdefault(name.lower(), "".join(values))
    if "charset" in attributes:
        return encoding_of(attributes["charset"])
    if attributes.get("http-equiv", "").lower() != "content-type":
        return None
    charset = _CONTENT_CHARSET.search(attributes.get("content", ""))
    return encoding_of("".join(charset.groups(""))) if charset else None


def _from_xml(text: str) -> str | None:
    declaration = _XML_DECLARATION.match(text)
    return encoding_of(declaration[1]) if declaration else None


def _guessed(body: bytes, error: UnicodeDecodeError) -> str:
    if error.reason == "unexpected end of data":  # UTF-8 that ends in the middle of a character
        return "utf-8"
    sample = body[max(0, error.start - _DETECT_BYTES) : error.start + _DETECT_BYTES]
    text = sample.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if len(text) - len(text.encode("ascii", "ignore")) > 2 * broken:
        return "utf-8"  # with a broken character here and there: other encodings hardly ever look like UTF-8
    label = cchardet.detect(sample)["encoding"] or ""
    name = encoding_of({"UHC": "windows-949"}.get(label, label))
    return name if name and name not in ("utf-8", "replacement", "x-user-defined") else "windows-1252"


# ---------------------------------------------------------------------------------------------------------
# Decoding


def _decoded(body: bytes, name: str) -> str:
    if name == "replacement":  # the standard does not decode encodings that can hide markup from filters
        return "\ufffd" if body else ""
    codec = _CODECS.get(name, name)
    if codec == "utf-8":  # this decoder yields no surrogates
        return body.decode(codec, "replace")
    if codec in _MULTI_BYTE:
        return clean(body.decode(codec, "replace"))
    return codecs.charmap_decode(body, "replace", _table(name, codec))[0]


def percent_encoded(text: str, encoding: str) -> str:
    """`text` with its characters beyond ASCII as percent-encoded bytes of an encoding (URL standard, "percent-encode
    after encoding"). What the encoding lacks becomes a numeric character reference, which is what browsers send."""
    return _BEYOND_ASCII.sub(lambda found: quote_from_bytes(encoded(found[0], encoding), _KEPT), clean(text))


_BEYOND_ASCII = re.compile(r"[^\0-\x7f]+")
_KEPT: Final = r"!$%()*+,-./:=?@[\]^_`{|}~"  # without the "&#;" of a reference


def encoded(text: str, name: str) -> bytes:
    """`text` in an encoding; what that lacks becomes a numeric character reference."""
    codec = {"gbk": "gbk"}.get(name) or _CODECS.get(name, name)
    if name == "replacement" or codec.startswith("utf-"):  # URL standard, "get an output encoding"
        return text.encode()
    if codec in _MULTI_BYTE or codec == "gbk":
        return text.encode(codec, "xmlcharrefreplace")
    return codecs.charmap_encode(text, "xmlcharrefreplace", _charmap(name, codec))[0]


@cache
def _charmap(name: str, codec: str) -> dict[int, int]:
    return {ord(character): byte for byte, character in enumerate(_table(name, codec)) if character != "\ufffd"}


@cache
def _table(name: str, codec: str) -> str:
    """The 256 characters that the standard gives a single-byte encoding, derived from Python's codec."""
    if name == "x-user-defined":
        return "".join(map(chr, [*range(0x80), *range(0xF780, 0xF800)]))
    table = [bytes([byte]).decode(codec, "replace") for byte in range(256)]
    for byte in range(0x80, 0xA0):  # bytes that Python's codec leaves undefined are C1 controls in the standard
        if table[byte] == "\ufffd":
            table[byte] = chr(byte)
    for byte, character in _DIFFERENCES.get(name, {}).items():
        table[byte] = character
    return "".join(table)


_DIFFERENCES: Final = {
    "koi8-u": {0xAE: "\u045e", 0xBE: "\u040e"},
    "windows-1255": {0xCA: "\u05ba"},
}

# The standard's name → Python's codec, where they differ. No codec is used but these and those of the names below.
_CODECS: Final = {
    "utf-16be": "utf-16-be",
    "utf-16le": "utf-16-le",
    "ibm866": "cp866",
    "iso-8859-8-i": "iso-8859-8",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "windows-874": "cp874",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
}
_MULTI_BYTE: Final = frozenset(
    ("utf-8", "utf-16-be", "utf-16-le", "gb18030", "big5hkscs", "euc-jp", "iso-2022-jp", "cp932", "cp949")
)

# Encoding Standard §4.2: the name, then its further labels.
_LABELS: Final = """
utf-8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf8 x-unicode20utf8
ibm866 866 cp866 csibm866
iso-8859-2 csisolatin2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2
iso-8859-3 csisolatin3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3
iso-8859-4 csisolatin4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4
iso-8859-5 csisolatincyrillic cyrillic iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988
iso-8859-6 arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6-e iso-8859-6-i \
iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987
iso-8859-7 csisolatingreek ecma-118 elot_928 greek greek8 iso-ir-126 iso8859-7 iso88597 iso_8859-7 \
iso_8859-7:1987 sun_eu_greek
iso-8859-8 csiso88598e csisolatinhebrew hebrew iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 \
iso_8859-8:1988 visual
iso-8859-8-i csiso88598i logical
iso-8859-10 csisolatin6 iso-ir-157 iso8859-10 iso885910 l6 latin6
iso-8859-13 iso8859-13 iso885913
iso-8859-14 iso8859-14 iso885914
iso-8859-15 csisolatin9 iso8859-15 iso885915 iso_8859-15 l9
iso-8859-16
koi8-r cskoi8r koi koi8 koi8_r
koi8-u koi8-ru
macintosh csmacintosh mac x-mac-roman
windows-874 dos-874 iso-8859-11 iso8859-11 iso885911 tis-620
windows-1250 cp1250 x-cp1250
windows-1251 cp1251 x-cp1251
windows-1252 ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 \
iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii x-cp1252
windows-1253 cp1253 x-cp1253
windows-1254 cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 \
l5 latin5 x-cp1254
windows-1255 cp1255 x-cp1255
windows-1256 cp1256 x-cp1256
windows-1257 cp1257 x-cp1257
windows-1258 cp1258 x-cp1258
x-mac-cyrillic x-mac-ukrainian
gbk chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 iso-ir-58 x-gbk
gb18030
big5 big5-hkscs cn-big5 csbig5 x-x-big5
euc-jp cseucpkdfmtjapanese x-euc-jp
iso-2022-jp csiso2022jp
shift_jis csshiftjis ms932 ms_kanji shift-jis sjis windows-31j x-sjis
euc-kr cseuckr csksc56011987 iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949
replacement csiso2022kr hz-gb-2312 iso-2022-cn iso-2022-cn-ext iso-2022-kr
utf-16be unicodefffe
utf-16le csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16
x-user-defined
"""
_NAMES: Final = {label: line.split()[0] for line in _LABELS.strip().split("\n") for label in line.split()}
