"""Which addresses are public, and what programs read as an address."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.preflight.public_addresses import address_of, why_not_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "198.18.0.1",
        "198.19.255.255", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1",
        "100::1", "100:0:0:1::1", "3fff::1", "3fff:fff::1", "5f00::1", "2001:2::1", "2001:10::1", "4000::1", "::2",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b::c058:6301", "64:ff9b:1::808:808", "2001:0:7f00:1::",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert why_not_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.215.14", "8.8.8.8", "1.0.0.0", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1",
        "192.88.98.1", "198.17.0.1", "223.255.255.255", "2606:2800:21f::1", "2001:4860:4860::8888", "2001:200::1",
        "2a00:1450::1", "3ffe::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
    ],
)  # fmt: skip
def test_addresses_that_are_public(address: str) -> None:
    assert why_not_public(address) == ""


def test_the_reason_is_the_carried_addresss_own() -> None:
    assert why_not_public("64:ff9b::7f00:1") == why_not_public("2002:7f00:1::") == why_not_public("::1") == "loopback"


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_in_every_disguise(address: IPv4Address) -> None:
    plain = why_not_public(str(address))
    assert why_not_public(f"::ffff:{address}") == plain
    assert why_not_public(f"64:ff9b::{address}") == plain
    assert why_not_public(f"2002:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}::1") == plain


@given(st.ip_addresses(v=4))
def test_every_way_to_write_an_ipv4_address_is_read_as_that_address(address: IPv4Address) -> None:
    first, second, third, fourth = address.packed
    written = [
        str(address),
        f"{address}.",
        str(int(address)),
        hex(int(address)),
        f"0{int(address):o}",
        f"{first}.{int(address) & 0xFFFFFF}",
        f"0X{first:X}.{second}.{third << 8 | fourth}",
        f"{first}%2e{second}%2E{third}.{fourth}",
        str(address).translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)}),
        str(address).replace(".", "\u3002"),
    ]
    assert {address_of(one) for one in written} == {str(address)}


@pytest.mark.parametrize(
    "host", ["example.com", "1.example", "1.2.3.4.5", "0x7g.1", "256.1.1.1", "08.0.0.1", "1..2", ""]
)
def test_what_no_program_reads_as_an_address_is_a_name(host: str) -> None:
    assert address_of(host) == ""


def test_ipv6_is_read_with_its_scope() -> None:
    assert address_of("2001:DB8:0::1") == "2001:db8::1"
    assert address_of("fe80::1%25eth0") == "fe80::1%eth0"
