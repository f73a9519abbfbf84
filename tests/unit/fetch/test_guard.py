"""Which addresses may be asked: the public ones, and those of the networks that are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import Refused
from crawler.fetch.guard import AddressGuard
from crawler.parsing.url import canonical, host_of

FORBIDDEN = {
    "0.0.0.0": "this network",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "100.64.0.1": "carrier-grade NAT",
    "100.100.100.200": "carrier-grade NAT",
    "127.0.0.1": "loopback",
    "127.255.255.255": "loopback",
    "168.63.129.16": "cloud metadata",
    "169.254.169.254": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "reserved",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relay",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmark",
    "198.19.255.255": "benchmark",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "64:ff9b::7f00:1": "NAT64 of loopback",
    "64:ff9b::10.0.0.1": "NAT64 of private",
    "64:ff9b:1::1": "local NAT64",
    "100::1": "discard",
    "2001::1": "Teredo",
    "2001:2::1": "benchmark",
    "2001:10::1": "reserved",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "3fff::1": "documentation",
    "4000::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "fe80::1": "link-local",
    "fe80::1%1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700::1",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize(("address", "kind"), FORBIDDEN.items())
def test_special_addresses_are_refused_by_name_of_their_kind(address: str, kind: str) -> None:
    with pytest.raises(Refused) as error:
        AddressGuard().check(address, "shop.example")
    assert kind in str(error.value)
    assert error.value.kind == "refused"
    assert not error.value.transient


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass_with_and_without_a_permission(address: str) -> None:
    AddressGuard().check(address)
    AddressGuard(["127.0.0.0/8"]).check(address)


def test_a_permission_is_a_network_and_nothing_beside_it() -> None:
    guard = AddressGuard(["127.0.1.0/24"])
    guard.check("127.0.1.1")
    guard.check("127.0.1.255")
    for address in ("127.0.0.1", "127.0.2.0", "10.0.0.1", "::1", "::ffff:127.0.1.1"):
        with pytest.raises(Refused):
            guard.check(address)


def test_single_addresses_and_ipv6_networks_can_be_permitted() -> None:
    guard = AddressGuard(["127.0.0.1", "10.1.2.3/16", "::1", "::ffff:127.0.0.0/104"])
    for address in ("127.0.0.1", "10.1.255.255", "::1", "::ffff:127.0.0.1"):
        guard.check(address)


def test_the_message_names_host_address_kind_and_the_setting_that_keeps_what_is_permitted() -> None:
    with pytest.raises(Refused) as error:
        AddressGuard(["127.0.1.0/24"]).check("10.0.0.7", "intranet.example")
    assert str(error.value) == (
        "intranet.example leads to 10.0.0.7, a forbidden address (private); "
        "to permit it: -s ALLOWED_NETWORKS=127.0.1.0/24,10.0.0.0/8"
    )


def test_a_refusal_is_repeated_every_time() -> None:
    guard = AddressGuard()
    for _ in range(3):
        with pytest.raises(Refused):
            guard.check("127.0.0.1")


SPELLINGS = [
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.0.1./",
    "http://%31%32%37.0.0.1/",
    "http://１２７.０.０.１/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://0/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://user@127.0.0.1:8080/",
]


@pytest.mark.parametrize("url", SPELLINGS)
def test_every_spelling_of_a_literal_is_refused_before_connecting(url: str) -> None:
    with pytest.raises(Refused):
        AddressGuard(["127.0.1.0/24"]).check_host(host_of(canonical(url)))


@pytest.mark.parametrize("host", ["example.com", "127.example", "8.8.8.8", "[2606:4700::1]", "127.0.1.9"])
def test_names_and_permitted_literals_pass_the_early_check(host: str) -> None:
    AddressGuard(["127.0.1.0/24"]).check_host(host)


@given(st.ip_addresses())
def test_the_answer_agrees_with_the_standard_librarys_own_table(address: object) -> None:
    """Whatever `ipaddress` calls not global must be refused; what it calls global may be stricter with us."""
    if not address.is_global:  # type: ignore[attr-defined]
        with pytest.raises(Refused):
            AddressGuard().check(str(address))


BOTH = ["127.0.0.1", "::1"]


def test_of_a_names_addresses_those_in_the_allowed_networks_are_used() -> None:
    assert AddressGuard(["127.0.0.0/8"]).permitted(BOTH, "localhost") == ["127.0.0.1"]
    assert AddressGuard(["::1/128"]).permitted(BOTH, "localhost") == ["::1"]
    assert AddressGuard(["127.0.0.0/8", "::1/128"]).permitted(BOTH, "localhost") == BOTH


def test_a_name_without_a_permitted_address_is_told_all_networks_at_once() -> None:
    with pytest.raises(Refused) as error:
        AddressGuard(["10.0.0.0/8"]).permitted(BOTH, "localhost")
    assert str(error.value) == (
        "localhost leads to 127.0.0.1 and ::1, forbidden addresses (loopback); "
        "to permit them: -s ALLOWED_NETWORKS=10.0.0.0/8,127.0.0.0/8,::1/128"
    )


def test_a_public_address_beside_a_forbidden_one_is_an_attack() -> None:
    with pytest.raises(Refused, match=r"leads to 127\.0\.0\.1"):
        AddressGuard().permitted(["93.184.216.34", "127.0.0.1"], "evil.example")


def test_localhost_is_judged_at_the_seed() -> None:
    for host in ("localhost", "shop.localhost"):
        with pytest.raises(Refused, match=r"ALLOWED_NETWORKS=127.0.0.0/8,::1/128"):
            AddressGuard().check_host(host)
        AddressGuard(["127.0.0.0/8"]).check_host(host)
    AddressGuard().check_host("localhost.example")
