"""Which process a URL leads to, however it is spelt: none may serve two nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from monero_escrow import membership
from monero_escrow.clock import SystemClock
from monero_escrow.config import load_settings
from monero_escrow.core.errors import InvariantError
from monero_escrow.membership import SharedStore, bell_of, places_of
from monero_escrow.nodes.bell import PostgresqlBell
from monero_escrow.store.store import SqlStore


def place(url: str) -> str:
    (only,) = places_of([url])
    return only


def test_every_spelling_of_loopback_is_one_place() -> None:
    urls = ("http://127.0.0.1:18082", "http://localhost:18082", "http://LOCALHOST:18082/json_rpc", "http://[::1]:18082")
    assert len({place(url) for url in urls}) == 1


def test_another_port_is_another_place() -> None:
    assert place("http://127.0.0.1:18082") != place("http://127.0.0.1:18083")


def test_a_host_is_the_same_for_every_machine_and_spelling() -> None:
    assert (
        place("http://Wallets.Example.com:18082")
        == place("http://wallets.example.com:18082/")
        == ("wallets.example.com:18082")
    )


def test_the_loopbacks_of_two_machines_or_network_namespaces_are_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    here = place("http://127.0.0.1:18082")
    monkeypatch.setattr(membership, "_this_loopback", lambda: "another boot/net:[4026531841]")
    assert place("http://127.0.0.1:18082") != here


def test_a_loopback_is_told_by_the_kernels_run_and_the_network_namespace() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    namespace = Path("/proc/self/ns/net").readlink()
    assert place("http://127.0.0.1:18082") == f"{boot}/{namespace}:18082"


def test_places_remember_the_urls_as_they_were_given() -> None:
    assert list(places_of(["http://LocalHost:1", "http://example.com:2"]).values()) == [
        "http://LocalHost:1",
        "http://example.com:2",
    ]


def test_a_file_is_shared_by_nobody(store: SqlStore) -> None:
    assert not isinstance(store, SharedStore)


def test_without_a_server_there_is_no_bell(store: SqlStore, tmp_path: Path) -> None:
    alone = load_settings(monero_network="stagenet", data_dir=tmp_path)
    with pytest.raises(InvariantError):
        bell_of(alone, store, SystemClock())
    together = load_settings(monero_network="stagenet", data_dir=tmp_path, database_url="postgresql://host/escrow")
    assert isinstance(bell_of(together, store, SystemClock()), PostgresqlBell)
