"""The URL of a queue server, in each form that people write: one server, Sentinel, Cluster. No password is shown.

    redis://[user:password@]host[:port][/db]            rediss://: with TLS; also valkey:// and valkeys://
    unix:///path[?db=1]                                 redis+socket:///path[?virtual_host=1], as in Celery
    redis+sentinel://[user:password@]host,host/NAME[/db]
    sentinel://host;sentinel://host[/db]?master_name=NAME     as in Celery
    redis+cluster://[user:password@]host,host

The login is that of the servers; `?sentinel_username=` and `?sentinel_password=` are that of the sentinels. The other
words after the `?` are named as in redis-py.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import parse_qsl, unquote

from msgspec import Struct
from msgspec.structs import replace

from crawler.errors import ConfigError
from crawler.runtime import url_words
from crawler.runtime.safe_text import shown as printed

FORM = "redis://127.0.0.1:6379/0"
SENTINEL_FORM = "redis+sentinel://host1:26379,host2:26379,host3:26379/NAME/0"
CLUSTER_FORM = "redis+cluster://host1:6379,host2:6379,host3:6379"

Kind = Literal["single", "sentinel", "cluster"]

_FORMS: dict[Kind, str] = {"single": FORM, "sentinel": SENTINEL_FORM, "cluster": CLUSTER_FORM}

_SOCKETS = ("unix", "redis+socket", "valkey+socket")
_PLUS: dict[str, Kind] = {"": "single", "+sentinel": "sentinel", "+cluster": "cluster"}
_SCHEMES: dict[str, tuple[Kind, bool]] = {
    **{server + plus: (kind, False) for server in ("redis", "valkey") for plus, kind in _PLUS.items()},
    **{server + plus: (kind, True) for server in ("rediss", "valkeys") for plus, kind in _PLUS.items()},
    **dict.fromkeys(("redis+ssl", "valkey+ssl"), ("single", True)),
    **dict.fromkeys(_SOCKETS, ("single", False)),
    "sentinel": ("sentinel", False),
}
SCHEMES = frozenset(_SCHEMES)
"""The schemes of all forms."""

_PORTS: dict[Kind, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_NEXT = ";sentinel://"  # between two sentinels, as Celery writes them
# The login, the hosts, the path, the query and the fragment. Everything up to the last @ is the login, even if the
# password has a character that should have been escaped; but the path of a socket may have an @.
_PARTS = re.compile(r"(?:(.*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(.*)", re.DOTALL).fullmatch
_SOCKET_PARTS = re.compile(r"(?:([^/]*)@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(.*)", re.DOTALL).fullmatch
_NODE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:;@\[\]\s]+)(?::([0-9]{1,5}))?").fullmatch
_LOGIN = re.compile(r"^((?:[a-z][a-z0-9+.-]*://)?)(?:([^:@/?#]*):.*|[^:@/?#]+)@", re.IGNORECASE | re.DOTALL)
_PASSWORD = re.compile(r"([?&]\w*password=)[^&;]*", re.IGNORECASE)


class Tls(Struct, frozen=True):
    """How the certificates of the servers are checked, and which one we show. The names are redis-py's,
    but for the last one."""

    ssl_ca_certs: str = ""  # PEM file of additional certificate authorities
    ssl_ca_path: str = ""  # folder of such files
    ssl_certfile: str = ""  # PEM file of our own certificate
    ssl_keyfile: str = ""
    ssl_password: str = ""  # of an encrypted key file
    ssl_cert_reqs: Literal["required", "optional", "none"] = "required"
    ssl_check_hostname: bool = True
    ssl_server_hostname: str = ""  # the name in the certificates; empty: the host of each node


class Address(Struct, frozen=True):
    """Where a queue server is, of which kind, and who asks."""

    kind: Kind
    shown: str  # the URL for people: without passwords
    nodes: tuple[tuple[str, int], ...] = ()  # the server, the sentinels, or some nodes of the cluster
    path: str = ""  # of a socket, instead of nodes
    master: str = ""  # the name by which the sentinels know the servers
    db: int = 0
    user: str = ""
    password: str = ""
    sentinel_user: str = ""
    sentinel_password: str = ""
    tls: Tls | None = None  # None: without TLS

    def __repr__(self) -> str:
        return f"Address({self.shown})"


class _Words(Struct, frozen=True):
    """What may follow the `?`."""

    db: str = ""
    virtual_host: str = ""  # Celery's word for the database
    username: str = ""
    password: str = ""
    master_name: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    ssl_ca_certs: str = ""
    ssl_ca_path: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_password: str = ""
    ssl_cert_reqs: Literal["required", "optional", "none", "CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE"] = "required"
    ssl_check_hostname: bool = True
    ssl_server_hostname: str = ""

    def tls(self) -> Tls:
        """What they say of TLS, without Celery's names."""
        values = {name: getattr(self, name) for name in Tls.__struct_fields__}
        return Tls(**{**values, "ssl_cert_reqs": self.ssl_cert_reqs.removeprefix("CERT_").lower()})


_DATABASE_WORDS = ("db", "virtual_host")
_SOCKET_WORDS = (*_DATABASE_WORDS, "username", "password")
_WORDS: dict[Kind, tuple[str, ...]] = {
    "single": _DATABASE_WORDS,
    "sentinel": (*_DATABASE_WORDS, "master_name", "sentinel_username", "sentinel_password"),
    "cluster": _DATABASE_WORDS,
}


def mask(url: str) -> str:
    """The URL without its passwords, for people; also of a URL that is none."""
    return _PASSWORD.sub(r"\1***", _NEXT.join(_LOGIN.sub(_hidden, part) for part in url.split(_NEXT)))


def _hidden(login: re.Match[str]) -> str:
    """A name without a colon is mostly a password that lacks it."""
    return f"{login[1]}***@" if login[2] is None else f"{login[1]}{login[2]}:***@"


def read(url: str) -> Address:
    """Read a URL of one of the `SCHEMES`. Raise `ConfigError` if it cannot be meant, or a part would be ignored.

    The text shows no part of a password.
    """
    scheme, _, rest = url.partition("://")
    kind, tls = _SCHEMES[scheme]
    is_socket = scheme in _SOCKETS
    login, hosts, path, query = _parts(url, rest, is_socket)
    words = _words(url, query, _SOCKET_WORDS if is_socket else _WORDS[kind], tls)
    user, _, password = login.partition(":")
    names = [] if is_socket else [unquote(name) for name in path.split("/") if name]
    master = (words.master_name or _master(url, names)) if kind == "sentinel" else ""
    return Address(
        kind,
        mask(url),
        nodes=() if is_socket else _nodes(url, kind, hosts),
        path=unquote(path) if is_socket else "",
        master=master,
        db=_database(url, kind, ("/".join(names), words.db, words.virtual_host)),
        user=unquote(user) or words.username,
        password=unquote(password) or words.password,
        sentinel_user=words.sentinel_username,
        sentinel_password=words.sentinel_password,
        tls=words.tls() if tls else None,
    )


def for_sentinels(address: Address) -> Address:
    """The address with the login of the sentinels, which have no databases."""
    return replace(address, user=address.sentinel_user, password=address.sentinel_password, db=0)


def _wrong(url: str, why: str) -> ConfigError:
    return ConfigError(f"REDIS_URL {mask(url)}: {why}")


def _parts(url: str, rest: str, is_socket: bool) -> tuple[str, str, str, str]:
    """Return the login, the hosts, the path and the query; of Celery's form those of all its sentinels."""
    split = _SOCKET_PARTS if is_socket else _PARTS
    found = [match.groups("") for part in rest.split(_NEXT) if (match := split(part))]
    logins, hosts, paths, queries, fragments = ([text for text in texts if text] for texts in zip(*found, strict=True))
    if any(set("/?#") & set(login) for login in logins):  # first: other errors would quote the password
        raise _wrong(
            url,
            "the user or password contains / ? or #, which must be escaped: "
            "write %2F for /, %3F for ?, %23 for #, and %40 for @",
        )
    if fragments:
        raise _wrong(url, "remove what begins with #; in a password write %23 for it")
    if is_socket and (hosts or not paths):
        raise _wrong(url, "no path of a socket; write it with three slashes: unix:///run/valkey.sock")
    if len({*logins}) > 1 or len({path.strip("/") for path in paths}) > 1:
        raise _wrong(url, "the login and the database are those of the servers, so each sentinel must name the same")
    hosts = [host for _, host, *_ in found]
    return "".join(logins[:1]), ",".join(hosts), "".join(paths[:1]), "&".join(queries)


def _words(url: str, query: str, allowed: tuple[str, ...], tls: bool) -> _Words:
    base = f"REDIS_URL {mask(url.partition('?')[0])}"
    words = url_words.read(query, base, _Words)
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name.startswith("ssl_") and not tls:
            raise _wrong(url, f"{name} is for TLS; write rediss:// (or rediss+sentinel://, rediss+cluster://)")
        if name not in allowed and not name.startswith("ssl_"):
            for_sentinels = name in _WORDS["sentinel"]
            instead = f"it is for {SENTINEL_FORM}" if for_sentinels else "write redis://user:password@host"
            raise _wrong(url, f"{name} does not belong after the ? of this URL; {instead}")
    return words


def _nodes(url: str, kind: Kind, hosts: str) -> tuple[tuple[str, int], ...]:
    """Read `host[:port],…`."""
    nodes = []
    for name in (hosts or "localhost").split(",") if kind == "single" else hosts.split(","):
        found = _NODE(name)
        if found is None:
            raise _wrong(url, f"cannot read its host and port {printed(name)!r}; expected {_FORMS[kind]}")
        node = found[1].strip("[]"), int(found[2] or _PORTS[kind])
        if not 0 < node[1] < 65_536:
            raise _wrong(url, f"port {node[1]}; ports are 1 to 65535")
        if node in nodes:
            raise _wrong(url, f"{printed(name)!r} stands there twice; name each node once")
        nodes.append(node)
    if kind == "single" and len(nodes) > 1:
        raise _wrong(url, f"this form names one server; for several write {SENTINEL_FORM} or {CLUSTER_FORM}")
    return tuple(nodes)


def _master(url: str, names: list[str]) -> str:
    """Take the name of the master from the path."""
    if not names or names[0].isdigit():
        raise _wrong(url, f"the name by which the sentinels know the master is missing: write {SENTINEL_FORM}")
    return names.pop(0)


def _database(url: str, kind: Kind, texts: tuple[str, ...]) -> int:
    """Return the database that the texts name, those that are not empty."""
    named = {text for text in texts if text}
    for text in named:
        if not (text.isascii() and text.isdigit()):
            raise _wrong(
                url,
                f"{printed(text)!r} is no database; databases are numbers, for example {_FORMS[kind]} "
                "(KEY_PREFIX separates crawls within one)",
            )
    if len(named) > 1:
        raise _wrong(url, f"it names the databases {' and '.join(sorted(named))}; write one")
    number = int(named.pop()) if named else 0
    if number and kind == "cluster":
        raise _wrong(url, f"a cluster has the database 0 only; KEY_PREFIX separates crawls within it: {CLUSTER_FORM}")
    return number
