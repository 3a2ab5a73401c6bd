"""What is found when a process is looked at; with real processes the rest of it is in tests/chain/test_slots.py."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import cast

import pytest

from monero_escrow.core.address import Network
from monero_escrow.core.roles import Role
from monero_escrow.fleet.inspection import SlotUnusableError, inspect
from monero_escrow.fleet.instance import why_not_as_inspected
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.errors import MoneroRpcError, NoWalletOpenError, WrongAddressError, WrongPasswordError
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.ports import RpcVersion, WalletRpc
from monero_escrow.monero.versions import MoneroVersion


class Process:
    """A stand-in for one process: the version it answers, what it has open, and every call that was made to it."""

    url = "http://127.0.0.1:1"
    abandoned = False
    abandoned_marks: frozenset[str] = frozenset()

    def __init__(self, minor: int = 32, *, open_address: str | None = None, password: str = "theirs") -> None:  # noqa: S107
        self.minor = minor
        self.open_address = open_address
        self.password = password
        self.calls: list[str] = []
        self.serves_our_network = True
        self.keeps_marks = True
        self.marks: frozenset[str] = frozenset()

    async def instance_marks(self) -> frozenset[str]:
        return self.marks

    async def mark_instance(self, mark: str) -> None:
        self.calls.append("mark_instance")
        if self.keeps_marks:
            self.marks |= {mark}

    async def get_version(self) -> RpcVersion:
        return RpcVersion(1, self.minor, True)

    async def set_subaddress_lookahead(self, major: int, minor: int, password: str) -> None:
        raise NoWalletOpenError("set_subaddress_lookahead", -13)

    async def get_address(self) -> str:
        if self.open_address is None:
            raise NoWalletOpenError("get_address", -13)
        return self.open_address

    async def generate_from_keys(self, **_: object) -> str:
        if self.serves_our_network:
            raise MoneroRpcError("generate_from_keys", -1)
        raise WrongAddressError("generate_from_keys", -1)

    async def change_wallet_password(self, old: str, new: str) -> None:
        assert old == new
        if old != self.password:
            raise WrongPasswordError("change_wallet_password", -22)

    async def close_wallet(self, *, store: bool = True) -> None:
        self.calls.append("close_wallet")
        self.open_address = None

    async def auto_refresh(self, enable: bool) -> None:
        self.calls.append(f"auto_refresh {enable}")


class Books:
    """What the database knows."""

    def __init__(self, known: Sequence[str] = (), passwords: Sequence[str] = ()) -> None:
        self.known = known
        self.passwords = passwords

    async def knows_wallet(self, address: str) -> bool:
        return address in self.known

    async def recent_passwords(self, role: Role) -> Sequence[str]:
        return self.passwords


def slot_with(process: Process) -> Slot:
    return Slot(0, Role.BUYER, cast("WalletRpc", process))


async def look(process: Process, books: Books | None = None, network: Network = Network.STAGENET) -> Slot:
    slot = slot_with(process)
    await inspect(slot, network, books or Books())
    return slot


async def test_a_good_process_is_made_ready_and_its_abilities_are_known() -> None:
    process = Process()
    slot = await look(process)
    assert slot.abilities is not None
    assert slot.abilities.set_subaddress_lookahead
    assert process.calls == ["mark_instance", "auto_refresh False"]
    assert process.marks == {slot.mark}


async def test_a_process_that_has_a_mark_is_known_by_it_and_gets_no_other() -> None:
    process = Process()
    before = await look(process)
    slot = await look(process)
    assert slot.mark == before.mark
    await inspect(slot, Network.STAGENET, Books())
    assert process.marks == {slot.mark}


async def test_a_process_that_was_started_anew_gets_a_new_mark() -> None:
    process = Process()
    slot = await look(process)
    before, process.marks = slot.mark, frozenset()
    await inspect(slot, Network.STAGENET, Books())
    assert slot.mark != before
    assert process.marks == {slot.mark}


async def test_a_process_that_does_not_keep_its_mark_is_known_by_none() -> None:
    """A mark that is not there would look like a restart, each time the slot is leased."""
    process = Process()
    process.keeps_marks = False
    slot = await look(process)
    assert (slot.mark, slot.sick) == (None, None)
    assert await why_not_as_inspected(slot) is None


async def test_of_several_marks_the_one_that_is_known_stays_known() -> None:
    process = Process()
    process.marks = frozenset({"escrow.000000000001", "escrow.000000000002"})
    slot = slot_with(process)
    slot.mark = "escrow.000000000002"
    await inspect(slot, Network.STAGENET, Books())
    assert slot.mark == "escrow.000000000002"


@pytest.mark.parametrize(
    ("minor", "network", "least"),
    [(25, Network.STAGENET, "0.18.4.0"), (25, Network.MAINNET, "0.18.5.1"), (28, Network.MAINNET, "0.18.5.1")],
)
async def test_a_process_that_is_too_old_is_refused_and_the_error_says_what_to_install(
    minor: int, network: Network, least: str
) -> None:
    process = Process(minor)
    with pytest.raises(SlotUnusableError) as refused:
        await look(process, network=network)
    assert least in refused.value.message
    assert "scripts/get-monero" in refused.value.what_to_do
    assert process.calls == []


async def test_a_process_of_another_network_is_refused() -> None:
    process = Process()
    process.serves_our_network = False
    with pytest.raises(SlotUnusableError, match="does not serve stagenet"):
        await look(process)


async def test_a_wallet_of_ours_that_was_left_open_is_closed() -> None:
    process = Process(open_address="ours")
    await look(process, Books(known=["ours"]))
    assert process.open_address is None


async def test_a_wallet_in_the_middle_of_a_set_up_is_ours_if_it_has_one_of_our_passwords() -> None:
    process = Process(open_address="interim", password="ours-2")
    await look(process, Books(passwords=["ours-1", "ours-2"]))
    assert process.open_address is None


async def test_a_wallet_that_is_not_ours_stays_open_and_untouched() -> None:
    process = Process(open_address="theirs")
    with pytest.raises(SlotUnusableError, match="not this service's"):
        await look(process, Books(known=["ours"], passwords=["ours-1"]))
    assert process.open_address == "theirs"
    assert process.calls == []


@pytest.mark.parametrize("version", ["0.18.4.0", "0.18.5.3"])
async def test_on_mainnet_a_process_older_than_0_18_5_1_is_refused_before_anything_is_done_to_it(version: str) -> None:
    """Before 0.18.5.1 a crash can bring used nonces back. RPC 1.32 is the first that says it is that new."""
    process = FakeWalletRpc(
        "http://127.0.0.1:1",
        FakeDisk(),
        Random(1),
        network=Network.MAINNET,
        version=MoneroVersion.parse(version),
    )
    await process.create_wallet("ours", "p")
    slot = Slot(0, Role.BUYER, process)
    books = Books(known=[await process.get_address()])
    if version == "0.18.5.3":
        assert (await process.get_version()).minor == 32
        await inspect(slot, Network.MAINNET, books)
        return
    with pytest.raises(SlotUnusableError, match=r"older than Monero 0\.18\.5\.1") as refused:
        await inspect(slot, Network.MAINNET, books)
    assert "scripts/get-monero" in refused.value.what_to_do
    assert await process.get_address() in books.known  # still open
    assert (slot.mark, await process.instance_marks()) == (None, frozenset())
