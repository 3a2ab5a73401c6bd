"""Monero's versions are read, ordered, and say what a program can do."""

from __future__ import annotations

import pytest

from monero_escrow.core.errors import InvalidInputError
from monero_escrow.monero.ports import RpcVersion
from monero_escrow.monero.versions import (
    LEAST_FOR_MAINNET,
    LEAST_SUPPORTED,
    MoneroVersion,
    abilities_of,
    least_version_of,
)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.18.5.3", MoneroVersion(0, 18, 5, 3)),
        ("v0.18.4.0-release", MoneroVersion(0, 18, 4, 0)),
        ("Monero 'Fluorine Fermi' (v0.18.5.3-unknown)", MoneroVersion(0, 18, 5, 3)),
        ("0.18.10.0-abcdef", MoneroVersion(0, 18, 10, 0)),
    ],
)
def test_a_version_is_read_from_what_a_program_says(text: str, version: MoneroVersion) -> None:
    assert MoneroVersion.parse(text) == version
    assert MoneroVersion.parse(str(version)) == version


@pytest.mark.parametrize("text", ["", "Monero", "0.18.5", "1.2.3.4.5", "v0.18.x.0"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        MoneroVersion.parse(text)


def test_versions_are_ordered_by_number_and_not_by_text() -> None:
    texts = ["0.18.0.0", "0.18.4.0", "0.18.4.9", "0.18.4.10", "0.18.5.1", "0.19.0.0", "1.0.0.0"]
    versions = [MoneroVersion.parse(text) for text in texts]
    assert versions == sorted(versions)


def test_an_rpc_version_gives_the_oldest_program_that_answers_it() -> None:
    measured = {25: "0.18.0.0", 28: "0.18.4.0", 32: "0.18.5.3"}
    for minor, text in measured.items():
        assert least_version_of(RpcVersion(1, minor, release=True)) <= MoneroVersion.parse(text)
    assert least_version_of(RpcVersion(1, 27, release=True)) < LEAST_SUPPORTED
    assert least_version_of(RpcVersion(1, 28, release=True)) == LEAST_SUPPORTED
    assert least_version_of(RpcVersion(1, 31, release=True)) < LEAST_FOR_MAINNET
    assert least_version_of(RpcVersion(1, 32, release=True)) == LEAST_FOR_MAINNET
    assert least_version_of(RpcVersion(1, 40, release=True)) >= LEAST_FOR_MAINNET


def test_an_interface_of_another_major_version_is_not_trusted() -> None:
    assert least_version_of(RpcVersion(2, 0, release=True)) < LEAST_SUPPORTED


def test_abilities_grow_with_the_version() -> None:
    old, least, newest = (abilities_of(MoneroVersion.parse(text)) for text in ("0.18.0.0", "0.18.4.0", "0.18.5.3"))
    assert not old.subtract_fee
    assert least.subtract_fee
    assert not least.set_subaddress_lookahead
    assert not least.describes_sources
    assert not least.stores_used_nonces
    assert newest.set_subaddress_lookahead
    assert newest.describes_sources
    assert newest.stores_used_nonces
