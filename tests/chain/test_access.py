"""The service and its wallet processes know each other: real programs, guarded ones in a list, and its own rotated."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chain.test_managed_fleet import own_fleet
from monero_escrow.config import load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.roles import ROLES, Role
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.access import Access, make_pair
from monero_escrow.monero.errors import TransportError
from monero_escrow.monero.processes import start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.tls import pinned_tls, shown_fingerprint
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient
from monero_escrow.service import running_service

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

WRONG_PIN = ":".join(["AB"] * 32)


@dataclass
class Guarded:
    """Three processes that an operator keeps running: the buyers' with both certificates, the others with logins."""

    folder: Path
    urls: dict[Role, str] = field(default_factory=dict)
    pin: str = ""

    async def start(self, stack: AsyncExitStack, programs: MoneroPrograms) -> None:
        for role in ROLES:
            folder = self.folder / role
            login, access = Credentials(role, f"of the {role}s"), None
            if role is Role.BUYER:
                access = self._certificates(folder, login)
            process = await start_wallet_rpc(
                programs, folder, network=Network.TESTNET, daemon_url=None, credentials=login, access=access
            )
            self.urls[role] = (await stack.enter_async_context(process)).url

    def _certificates(self, folder: Path, login: Credentials) -> Access:
        folder.mkdir()
        process, client = make_pair(folder, "process"), make_pair(self.folder, "client")
        self.pin = shown_fingerprint(process)
        settings = (
            "rpc-ssl=enabled",
            "rpc-ssl-private-key=process.key",
            "rpc-ssl-certificate=process.pem",
            f"rpc-ssl-allowed-fingerprints={shown_fingerprint(client)}",
        )
        tls = pinned_tls(process, (self.folder / "client.pem", self.folder / "client.key"))
        return Access(login, process, tls, settings, ())

    def write(self, *, pin: str, vendors_login: str) -> Path:
        """What the operator writes of them."""
        lines = [
            f'["{self.urls[Role.BUYER]}"]',
            'login = "buyer:of the buyers"',
            f'server_fingerprint = "{pin}"',
            'client_certificate = "client.pem"',
            'client_key = "client.key"',
            f'["{self.urls[Role.VENDOR]}"]',
            f'login = "{vendors_login}"',
        ]
        file = self.folder / "wallets.toml"
        file.touch(mode=0o600)
        file.write_text("\n".join(lines))
        return file


@asynccontextmanager
async def service_on(guarded: Guarded, file: Path, **more: object) -> AsyncIterator[Fleet]:
    settings = load_settings(
        monero_network="testnet",
        db_encryption_key="22" * 32,
        data_dir=guarded.folder / "data",
        monero_rpc_urls=",".join(guarded.urls.values()),
        monero_rpc_credentials_file=file,
        stock_target=0,
        **more,
    )
    async with running_service(settings) as conductor:
        assert conductor.ctx.fleet is not None
        conductor.ctx.fleet.read_settings = lambda: settings
        yield conductor.ctx.fleet


async def test_wrong_credentials_make_a_slot_sick_with_that_reason_until_right_ones_are_read(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    guarded = Guarded(tmp_path)
    async with AsyncExitStack() as stack:
        await guarded.start(stack, programs)
        file = guarded.write(pin=WRONG_PIN, vendors_login="vendor:battery staple")
        async with service_on(guarded, file) as fleet:
            why = {slot.role: slot.sick or "" for slot in fleet.pool.slots}
            assert "shows another certificate than the pinned one" in why[Role.BUYER]
            assert guarded.pin in why[Role.BUYER]
            assert "MONERO_RPC_CREDENTIALS_FILE" in why[Role.BUYER]
            assert "refuses the login" in why[Role.VENDOR]
            assert "wants a login, and none is set" in why[Role.ARBITER]
            assert "battery" not in f"{why}"

            guarded.write(pin=guarded.pin, vendors_login="vendor:of the vendors")
            with file.open("a") as opened:
                opened.write(f'\n["{guarded.urls[Role.ARBITER]}"]\nlogin = "arbiter:of the arbiters"\n')
            await fleet.reload()

            async def all_free() -> bool:
                return fleet.pool.stats().free == len(ROLES)

            await until(all_free, limit_seconds=30)


async def gets_nothing(slot: Slot) -> None:
    """Somebody else on this machine, who knows the port, tries what there is to try without the credentials."""
    plain, nameless = slot.rpc.url.replace("https", "http"), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nameless.check_hostname, nameless.verify_mode = False, ssl.CERT_NONE
    guessed = Credentials("escrow", "guess")
    for url, login, tls in ((plain, None, None), (slot.rpc.url, None, nameless), (slot.rpc.url, guessed, nameless)):
        stranger = WalletRpcClient(url, credentials=login, tls=tls)
        with pytest.raises(TransportError):
            await stranger.get_version()
        await stranger.aclose()


async def test_own_processes_are_rotated_while_they_serve_and_leave_nothing_behind(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    async with own_fleet(programs, tmp_path, 1) as (_, fleet):
        local, upkeep, rotation = fleet.local, fleet.upkeep, fleet.rotation
        assert local is not None
        assert upkeep is not None
        assert rotation is not None

        async def three() -> bool:
            return fleet.pool.stats().free == len(ROLES)

        async def nothing_on_its_way() -> bool:
            return not any(slot.draining for slot in fleet.pool.slots)

        await until(three, limit_seconds=60)
        for slot in fleet.pool.slots:
            await gets_nothing(slot)
        first = {slot.role: slot for slot in fleet.pool.slots}
        async with fleet.pool.lease(frozenset({Role.BUYER}), "test", wait_seconds=5) as lease:
            held = lease.slot(Role.BUYER)
            for turn in range(len(ROLES)):
                oldest = max(upkeep.age_seconds(slot) for slot in first.values())
                rotation.every_seconds = oldest if turn == len(ROLES) - 1 else 0.001
                await until(nothing_on_its_way, limit_seconds=30)
                await rotation.look()
            assert [slot.role for slot in fleet.pool.slots if slot.draining] == [Role.BUYER]
            assert not fleet.pool.stats().free < len(ROLES), "its class has another already"
            assert local.runs(held)
            await held.rpc.create_wallet("held", "p")
            await held.rpc.close_wallet()

        async def only_fresh_ones() -> bool:
            return await three() and not set(first.values()) & set(fleet.pool.slots) and not local.runs(held)

        await until(only_fresh_ones, limit_seconds=30)
        fresh = {slot.role: slot for slot in fleet.pool.slots}
        assert all(isinstance(slot.rpc, WalletRpcClient) for slot in fresh.values())
        assert not {slot.rpc.url for slot in fresh.values()} & {slot.rpc.url for slot in first.values()}
        left = [file for file in (tmp_path / "fleet").rglob("*") if file.suffix in {".key", ".pem", ".conf"}]
        assert left == []
