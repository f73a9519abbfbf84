"""The URL of the queue server: each form is understood, what cannot be meant is refused, no password is shown."""

from __future__ import annotations

import pytest

from crawler.errors import ConfigError
from crawler.frontier.redis.address import Address, Tls, mask, read


def told(url: str) -> str:
    """What a person is told about a URL that is refused."""
    with pytest.raises(ConfigError, match="REDIS_URL") as caught:
        read(url)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "nodes", "db", "login"),
    [
        ("redis://", [("localhost", 6379)], 0, ("", "")),
        ("redis://127.0.0.1:6380/2", [("127.0.0.1", 6380)], 2, ("", "")),
        ("valkey://a.example/?db=3", [("a.example", 6379)], 3, ("", "")),
        ("redis://[::1]:6379/15", [("::1", 6379)], 15, ("", "")),
        ("redis://user:p%40ss@host/", [("host", 6379)], 0, ("user", "p@ss")),
        ("redis://:p@ss@host:6379", [("host", 6379)], 0, ("", "p@ss")),
    ],
)
def test_one_server(url: str, nodes: list[tuple[str, int]], db: int, login: tuple[str, str]) -> None:
    user, password = login
    assert read(url) == Address("single", mask(url), tuple(nodes), db=db, user=user, password=password)


@pytest.mark.parametrize("scheme", ["rediss", "valkeys", "redis+ssl", "valkey+ssl"])
def test_one_server_with_tls(scheme: str) -> None:
    assert read(f"{scheme}://host/1").tls == Tls()
    url = f"{scheme}://host/1?ssl_ca_certs=/etc/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_check_hostname=false"
    assert read(url).tls == Tls("/etc/ca.pem", "", "/c.pem", "/k.pem", ssl_check_hostname=False)
    assert read(f"{scheme}://host/1?ssl_cert_reqs=CERT_NONE").tls == Tls(ssl_cert_reqs="none")  # as Celery writes it


@pytest.mark.parametrize(
    ("url", "path", "db", "password"),
    [
        ("unix:///run/valkey/a@b.sock?db=3", "/run/valkey/a@b.sock", 3, ""),
        ("unix:///run/valkey.sock?password=secret", "/run/valkey.sock", 0, "secret"),
        ("unix://:secret@/run/valkey%20.sock", "/run/valkey .sock", 0, "secret"),
        ("redis+socket:///run/valkey.sock?virtual_host=2", "/run/valkey.sock", 2, ""),
    ],
)
def test_a_socket(url: str, path: str, db: int, password: str) -> None:
    assert read(url) == Address("single", mask(url), path=path, db=db, password=password)


SENTINELS = (("h1", 26379), ("h2", 26380), ("::1", 26381))


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://me:pw@h1,h2:26380,[::1]:26381/shop/2",
        "valkey+sentinel://me:pw@h1:26379,h2:26380,[::1]:26381/2?master_name=shop",
        "redis+sentinel://me:pw@h1,h2:26380,[::1]:26381/shop?db=2",
        "sentinel://me:pw@h1:26379;sentinel://h2:26380;sentinel://[::1]:26381/2?master_name=shop",
        "sentinel://me:pw@h1/2;sentinel://me:pw@h2:26380/2;sentinel://me:pw@[::1]:26381/2?master_name=shop",
    ],
)
def test_sentinels(url: str) -> None:
    for query, sentinel_user, sentinel_password in (
        ("", "", ""),
        ("sentinel_username=guard&sentinel_password=word", "guard", "word"),
    ):
        whole = f"{url}{'&' if '?' in url else '?'}{query}" if query else url
        assert read(whole) == Address(
            "sentinel",
            mask(whole),
            SENTINELS,
            master="shop",
            db=2,
            user="me",
            password="pw",
            sentinel_user=sentinel_user,
            sentinel_password=sentinel_password,
        )


def test_a_cluster() -> None:
    url = "redis+cluster://me:pw@h1:7001,[fe80::2]:7002,h3"
    nodes = (("h1", 7001), ("fe80::2", 7002), ("h3", 6379))
    assert read(url) == Address("cluster", mask(url), nodes, user="me", password="pw")
    assert read("redis+cluster://h/0").db == 0
    assert read("valkey+cluster://h").kind == "cluster"


@pytest.mark.parametrize("scheme", ["rediss+sentinel", "valkeys+sentinel", "rediss+cluster", "valkeys+cluster"])
def test_several_servers_with_tls(scheme: str) -> None:
    path = "/shop" if "sentinel" in scheme else ""
    assert read(f"{scheme}://h{path}?ssl_ca_path=/etc/ca").tls == Tls(ssl_ca_path="/etc/ca")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://[::1", "cannot read its host and port"),
        ("redis://::1]:6379/0", "cannot read its host and port"),
        ("redis://host:port/0", "cannot read its host and port"),
        ("redis://host:/0", "cannot read its host and port"),
        ("redis://host:99999/0", "port 99999; ports are 1 to 65535"),
        ("redis://host:0/0", "port 0; ports are 1 to 65535"),
        ("redis://host:6379/x", "'x' is no database"),
        ("redis://host:6379/0/1", "'0/1' is no database"),
        ("redis://host:6379/-1", "'-1' is no database"),
        ("redis://host:6379/?db=x", "'x' is no database"),
        ("redis://host:6379/0?db=1", "it names the databases 0 and 1; write one"),
        ("redis://host:6379/0?foo=bar", "unknown word 'foo'"),
        ("redis://host:6379/0?decode_responses=1", "unknown word 'decode_responses'"),
        ("rediss://host:6379/0?ssl_ca_cert=/a.pem", "did you mean ssl_ca_certs?"),
        ("redis://host:6379/0?ssl_ca_certs=/a.pem", "ssl_ca_certs is for TLS; write rediss://"),
        ("rediss://host:6379/0?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("redis://host:6379/0?password=secret", "write redis://user:password@host"),
        ("redis://host:6379/0?master_name=shop", "it is for redis+sentinel://host1:26379,"),
        ("redis://host:6379/0?db=1&db=1", "a word is given twice"),
        ("redis://host:6379/0#x", "remove what begins with #"),
        ("redis://h1:6379,h2:6379/0", "for several write redis+sentinel://"),
        ("unix://", "no path of a socket"),
        ("unix://run/valkey.sock", "with three slashes"),
        ("unix:///run/s?foo=1", "unknown word 'foo'"),
        ("redis+sentinel://h1,h2", "the name by which the sentinels know the master is missing"),
        ("redis+sentinel://h1,h2/0", "the name by which the sentinels know the master is missing"),
        ("sentinel://h1:26379;sentinel://h2:26379/0", "redis+sentinel://host1:26379,host2:26379,host3:26379/NAME/0"),
        ("redis+sentinel://h1,,h2/shop", "cannot read its host and port ''"),
        ("redis+sentinel:///shop", "cannot read its host and port ''"),
        ("redis+sentinel://h1,h1:26379/shop", "'h1:26379' stands there twice"),
        ("redis+sentinel://h1;h2/shop", "cannot read its host and port 'h1;h2'"),
        ("redis+sentinel://h1/shop/0/1", "'0/1' is no database"),
        ("redis+sentinel://h1/shop/x", "'x' is no database"),
        ("redis+sentinel://h1/shop?sentinel_pasword=x", "did you mean sentinel_password?"),
        ("sentinel://:a@h1;sentinel://:b@h2/0?master_name=shop", "each sentinel must name the same"),
        ("sentinel://h1/1;sentinel://h2/2?master_name=shop", "each sentinel must name the same"),
        ("redis+cluster://h1,h2/3", "a cluster has the database 0 only"),
        ("redis+cluster://h1,h2?db=3", "a cluster has the database 0 only"),
        ("redis+cluster://h1,h2/shop", "'shop' is no database"),
        ("redis+cluster://h1,h2,", "cannot read its host and port ''"),
        ("redis+cluster://", "expected redis+cluster://host1:6379,host2:6379,host3:6379"),
    ],
)
def test_what_would_be_ignored_or_fail_later_is_refused(url: str, why: str) -> None:
    assert why in told(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa@topsecret#x@127.0.0.1:6379/0",
        "redis://:12/topsecret@127.0.0.1:6379/0",
        "redis://user:topsecret?@127.0.0.1:6379/0",
        "rediss://user:top@topsecret/@host",
        "redis://:topsecret@[::1",
        "redis://:topsecret@host:port",
        "redis://topsecret@host:port",
        "redis://host:6379/0?password=topsecret",
        "unix:///run/s?password=topsecret&foo=1",
        "redis+sentinel://me:topsecret@h1,h2",
        "redis+sentinel://h1,h2?sentinel_password=topsecret",
        "redis+sentinel://h1,h2/shop?sentinel_password=top&sentinel_password=topsecret",
        "redis+sentinel://h1,h2/shop?sentinel_password=topsecret@",
        "sentinel://:topsecret@h1;sentinel://h2;sentinel://:topsecret@h3/0",
        "sentinel://:x@h1;sentinel://:topsecret/x@h3/0?master_name=shop",
        "redis+cluster://:topsecret@h1,h2/3",
    ],
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    assert "topsecret" not in told(url)
    assert "topsecret" not in mask(url)


def test_what_is_shown_of_an_address_has_no_passwords() -> None:
    address = read("sentinel://me:pw1@h1;sentinel://me:pw1@h2/1?master_name=shop&sentinel_password=pw2")
    assert address.shown == "sentinel://me:***@h1;sentinel://me:***@h2/1?master_name=shop&sentinel_password=***"
    assert repr(address) == f"Address({address.shown})"
