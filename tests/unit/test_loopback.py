"""What counts as this machine, where anything else must not be spoken to in the clear."""

from __future__ import annotations

import pytest

from monero_escrow.core.loopback import is_loopback, is_on_this_machine


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert is_on_this_machine(f"http://{f'[{host}]' if ':' in host else host}:18081")


_ELSEWHERE = ("", "0.0.0.0", "192.0.2.7", "localhost.example.com", "127.0.0.1.example.com", "fe80::1")  # noqa: S104


@pytest.mark.parametrize("host", _ELSEWHERE)
def test_what_may_lead_anywhere_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_url_without_a_host_leads_nowhere() -> None:
    assert not is_on_this_machine("not a url")
