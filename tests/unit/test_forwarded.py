"""Who a request comes from when proxies stand between, and by which names the service is called."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from monero_escrow.web.forwarded import caller_of, is_allowed

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "caller"),
    [
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # from no proxy of ours: whatever it says
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # what is left of it the caller wrote
        ("10.0.0.1", ["127.0.0.1, 198.51.100.7, 10.1.1.1"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7", "10.1.1.1"], "198.51.100.7"),  # lines are one list
        ("10.0.0.1", ["10.2.2.2, 10.1.1.1"], "10.2.2.2"),  # the proxies' own
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:470::1]:4711"], "2001:470::1"),
        ("10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8::1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, <script>"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, 999.1.1.1, 10.1.1.1"], "10.1.1.1"),
        ("a socket", ["198.51.100.7"], "a socket"),
    ],
)
def test_the_caller_is_the_right_most_address_that_is_no_proxy_of_ours(
    peer: str, forwarded_for: list[str], caller: str
) -> None:
    assert caller_of(peer, forwarded_for, TRUSTED) == caller


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("escrow.example.com", True),
        ("ESCROW.example.com:8443", True),
        ("escrow.example.com.", True),
        ("a.shops.example.com", True),
        ("a.b.shops.example.com:80", True),
        ("shops.example.com", False),
        ("evilshops.example.com", False),
        ("escrow.example.com.evil.example", False),
        ("escrow.example.com@evil.example", False),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("::1", False),
        ("", False),
        ("*", False),
    ],
)
def test_only_our_names_are_ours(host: str, *, allowed: bool) -> None:
    names = ("escrow.example.com", "*.shops.example.com", "127.0.0.1", "[::1]")
    assert is_allowed(host, names) is allowed


def test_a_star_is_any_name() -> None:
    assert is_allowed("whatever.example", ("*",))
    assert is_allowed("", ("*",))
