"""Real coins: what must be so before the service starts, and how many it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from monero_escrow.config import ACKNOWLEDGEMENT, Settings, SettingsError, load_settings
from monero_escrow.core.money import PICONERO_PER_XMR as XMR
from monero_escrow.escrows.keep_elsewhere import NoSecondPlaceError
from monero_escrow.escrows.mainnet import (
    MainnetRefusedError,
    TooMuchAtOnceError,
    TooMuchForOneEscrowError,
    ValueLimits,
    require_ready_for_mainnet,
    value_limits,
)
from monero_escrow.service import serve


def settings(**changes: object) -> Settings:
    ready = {
        "monero_network": "mainnet",
        "mainnet_acknowledgement": ACKNOWLEDGEMENT,
        "backup_url": "file:///mnt/second",
        "monero_daemon_url": "http://127.0.0.1:18081",
    }
    return load_settings(**{**ready, **changes})


def test_with_everything_said_and_set_it_starts() -> None:
    require_ready_for_mainnet(settings())


@pytest.mark.parametrize("said", ["", "yes", ACKNOWLEDGEMENT.lower(), f"{ACKNOWLEDGEMENT}."])
def test_nobody_takes_real_coins_without_having_said_that_they_know(said: str) -> None:
    with pytest.raises(MainnetRefusedError, match="experimental") as refused:
        require_ready_for_mainnet(settings(mainnet_acknowledgement=said))
    assert ACKNOWLEDGEMENT in refused.value.what_to_do


def test_without_a_second_place_it_does_not_start() -> None:
    with pytest.raises(NoSecondPlaceError):
        require_ready_for_mainnet(settings(backup_url=None))


@pytest.mark.parametrize(
    "url", ["http://wallets.example.com:18081", "http://node.example.com:18081", "http://localhost.example.com:1"]
)
def test_a_daemon_on_another_machine_is_not_asked_in_the_clear(url: str) -> None:
    with pytest.raises(MainnetRefusedError, match="plain HTTP"):
        require_ready_for_mainnet(settings(monero_daemon_url=url))


@pytest.mark.parametrize(
    "url",
    [None, "http://localhost:18081", "http://[::1]:18081", "http://127.9.9.9:18081", "https://node.example.com:18089"],
)
def test_a_daemon_on_this_machine_or_behind_tls_is_asked(url: str | None) -> None:
    require_ready_for_mainnet(settings(monero_daemon_url=url))


@pytest.mark.parametrize("network", ["stagenet", "testnet", "regtest"])
def test_other_networks_ask_for_nothing(network: str) -> None:
    require_ready_for_mainnet(settings(monero_network=network, mainnet_acknowledgement="", backup_url=None))


def test_limits_are_low_on_mainnet_none_elsewhere_and_as_they_are_set() -> None:
    assert value_limits(settings()) == ValueLimits(5 * XMR, 50 * XMR)
    assert value_limits(settings(monero_network="stagenet")) == ValueLimits(None, None)
    raised = settings(most_xmr_per_escrow="7.5", most_xmr_at_once="unlimited")
    assert value_limits(raised) == ValueLimits(7 * XMR + XMR // 2, None)


@pytest.mark.parametrize("limit", ["-1", "00", "a lot", "1e3", "1,5", ""])
def test_a_limit_that_is_no_amount_is_refused(limit: str) -> None:
    with pytest.raises(SettingsError, match="MOST_XMR_AT_ONCE"):
        settings(most_xmr_at_once=limit)


def test_with_a_limit_of_nothing_no_order_is_taken() -> None:
    with pytest.raises(TooMuchAtOnceError, match="at most 0 XMR"):
        value_limits(settings(most_xmr_at_once="0")).check(1, lambda: 0)


def test_an_order_fits_up_to_the_last_piconero() -> None:
    limits = ValueLimits(5 * XMR, 8 * XMR)
    limits.check(5 * XMR, lambda: 3 * XMR)
    with pytest.raises(TooMuchForOneEscrowError, match="at most 5 XMR"):
        limits.check(5 * XMR + 1, lambda: 0)
    with pytest.raises(TooMuchAtOnceError, match="at most 8 XMR"):
        limits.check(5 * XMR, lambda: 3 * XMR + 1)


def test_without_a_limit_on_all_nothing_is_counted() -> None:
    def nobody_asks() -> int:
        raise AssertionError("counted for nothing")

    ValueLimits(None, None).check(10**18, nobody_asks)


async def test_nothing_is_made_where_mainnet_is_refused(tmp_path: Path) -> None:
    refused = settings(mainnet_acknowledgement="", db_encryption_key="a0" * 32, data_dir=tmp_path / "data")
    with pytest.raises(MainnetRefusedError):
        await serve(refused)
    assert not refused.data_dir.exists()
