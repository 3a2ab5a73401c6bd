"""Secrets planted and looked for: an order from set-up to payout, with faults, and no secret where it does not belong.

The service runs as a process at its most talkative. Afterwards every secret its database holds, the keys it was given
and the API keys it gave out are searched for in everything it or its helpers wrote, answered or show.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from chain.conftest import CONFIRMATIONS
from chain.sealed_secrets import secrets_and_trails
from chain.secret_search import Needles, forms
from chain.talkative import Relay, Service
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.roles import ROLES
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import LOOPBACK, ChildProcess, free_port
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.waiting import until

pytestmark = [pytest.mark.chain, pytest.mark.newest_monero, pytest.mark.asyncio(loop_scope="session")]

_LONGEST_WAIT_SECONDS = 120.0


@pytest_asyncio.fixture(loop_scope="session")
async def relay(chain: PrivateChain) -> AsyncIterator[Relay]:
    relay = Relay(int(chain.monerod.url.rsplit(":", 1)[1]))
    yield relay
    relay.shut()


@pytest_asyncio.fixture(loop_scope="session")
async def service(chain: PrivateChain, relay: Relay, tmp_path: Path) -> AsyncIterator[Service]:
    """Six wallet-rpc processes, two of each role; keys and logins only in files of our own, as the docs advise."""
    planted = {"master key": secrets.token_hex(32), "RPC password": secrets.token_hex(16)}
    (tmp_path / "database.key").write_text(planted["master key"])
    (tmp_path / "settings").write_text(f"MONERO_RPC_LOGIN=escrow:{planted['RPC password']}\n")
    (tmp_path / "second place").mkdir()
    login = Credentials("escrow", planted["RPC password"])
    wallets = [
        (await chain.wallet_rpc(f"{tmp_path.name}-{index}", credentials=login))[0] for index in range(2 * len(ROLES))
    ]
    settings = {
        "MONERO_ESCROW_CONFIG": str(tmp_path / "settings"),
        "MONERO_RPC_URLS": ",".join(wallet.url for wallet in wallets),
        "MONERO_DAEMON_URL": f"http://{LOOPBACK}:{await relay.open()}",
        "MONERO_NETWORK": "regtest",
        "DB_ENCRYPTION_KEY_FILE": str(tmp_path / "database.key"),
        "DATA_DIR": str(tmp_path / "data"),
        "BACKUP_URL": (tmp_path / "second place").as_uri(),
        "SERVER_PORT": str(free_port()),
        "CHAIN_POLL_SECONDS": "0.2",
        "STOCK_TARGET": "1",
        "LOG_LEVEL": "debug",
    }
    service = Service(tmp_path, settings, wallets, planted)
    for scope, more in (("shop", ("--shop", "the-shop")), ("arbiter", ()), ("operator", ())):
        said = await service.command("keys", "create", "--scope", scope, *more, "--json")
        planted[f"{scope} key"] = json.loads(said.splitlines()[-1])["key"]
    yield service
    for wallet in wallets:
        await wallet.stop()


async def test_no_secret_is_anywhere_it_does_not_belong(chain: PrivateChain, service: Service, relay: Relay) -> None:
    places = service.places
    async with service.running() as process, service.api("shop") as shop, service.api("arbiter") as arbiter:
        escrow_id = await an_order_with_faults(chain, service, relay, shop, arbiter)
        await everything_wrong(service, shop, escrow_id)
        for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", f"/api/escrows/{escrow_id}"):
            await shop.get(path)
        await everything_an_operator_sees(service, escrow_id)
        books = [service.folder / name for name in ("books.csv", "books.jsonl", "trail.jsonl", "checkpoints.jsonl")]
        commands = [
            *(("escrow", "show", escrow_id), ("escrow", "show", escrow_id, "--json"), ("escrow", "list")),
            *(("doctor",), ("doctor", "--json"), ("backup",), ("keys", "list")),
            *(("audit", "books", str(books[0])), ("audit", "books", str(books[1]))),
            *(("audit", "export", str(books[2])), ("audit", "checkpoint", str(books[3])), ("audit", "verify")),
            *(
                ("top", "--key-file", str(service.key_file), "--once"),
                ("top", "--key-file", str(service.key_file), "--json"),
            ),
        ]
        for shown in await asyncio.gather(*(service.command(*arguments) for arguments in commands)):
            places.add("command output", shown)
            assert "error: " not in shown, shown
        for file in books:
            places.add_file("books and exported trail", file)
        wallets = [wallet.pid for wallet in service.wallets if wallet.running]
        for pid in (process.pid, chain.monerod.pid, *wallets):
            places.add_file("command lines", Path(f"/proc/{pid}/cmdline"))
            places.add_file("environments", Path(f"/proc/{pid}/environ"))
        for file in sorted((service.folder / "data").rglob("escrow.db*")):
            places.add_file("database bytes", file)
    collect_files(service, chain)
    master_key = bytes.fromhex(service.planted["master key"])
    opened, trails = await secrets_and_trails(service.folder / "data" / "escrow.db", master_key)
    places.add("tables", trails)
    needles = Needles(service.planted | opened)

    found = {kind: needles.found_in(b"\n".join(pieces)) for kind, pieces in places.bytes_of.items()}
    searched = sum(len(piece) for pieces in places.bytes_of.values() for piece in pieces)
    print(  # noqa: T201
        f"\n{needles.secrets} secrets in {len(needles):,} pieces, looked for in {searched:,} bytes of "
        f"{sum(map(len, places.bytes_of.values()))} places of {len(found)} kinds "
        f"({', '.join(sorted(found))}): {sum(map(len, found.values()))} found"
    )
    assert {"service log", "database bytes", "wallet-rpc logs", "HTTP answers", "tables", "backups"} <= found.keys()
    assert {"books and exported trail", "operator's pages", "command output"} <= found.keys()
    assert needles.secrets > 30
    assert not any(found.values()), {kind: leaks for kind, leaks in found.items() if leaks}


async def test_the_search_finds_a_secret_in_each_of_its_forms(tmp_path: Path) -> None:
    """Without this the test above could succeed by seeing nothing."""
    planted = {"key": secrets.token_hex(32), "API key": f"me_shop_{secrets.token_urlsafe(32)}"}
    needles = Needles(planted)
    noise = os.urandom(10_000)
    assert not needles.found_in(noise)
    for name, secret in planted.items():
        for number, form in enumerate(forms(secret)):
            log = tmp_path / f"{number}.log"
            log.write_bytes(noise + form[-40:] + noise)
            assert needles.found_in(log.read_bytes()).keys() == {name}, form


async def an_order_with_faults(
    chain: PrivateChain, service: Service, relay: Relay, shop: httpx2.AsyncClient, arbiter: httpx2.AsyncClient
) -> str:
    """From init-escrow to a settled ruling: a wallet-rpc is killed in the set-up, and the daemon goes away."""
    await ready(shop)
    of_buyer, of_vendor = (WalletKeys.from_entropy(os.urandom(32), Network.REGTEST).address for _ in range(2))
    terms = {"amount": "1", "buyer_refund_address": of_buyer, "vendor_payout_address": of_vendor}
    asked = {"Prefer": "respond-async"}
    answer = await shop.post("/api/orders/order-1/init-escrow", json=terms, headers=asked)
    escrow_id: str = answer.json()["escrow_id"]
    await said(service, "method=make_multisig")
    await wallet_that_is_busy(service).kill()
    address = (await in_state(shop, escrow_id, "awaiting_deposit"))["deposit_address"]

    await chain.miner.pay([(address, 10**12), (address, 1_000)])
    await chain.mine(CONFIRMATIONS)
    await in_state(shop, escrow_id, "funded")
    disputed = await shop.post(f"/api/escrows/{escrow_id}/dispute", json={"reason": "The parcel was empty."})
    assert disputed.is_success

    port = int(service.settings["MONERO_DAEMON_URL"].rsplit(":", 1)[1])
    ruling = {"buyer_share": 4_000, "vendor_share": 6_000}
    relay.shut()
    assert (await arbiter.post(f"/api/escrows/{escrow_id}/ruling", json=ruling)).status_code == 503
    await relay.open(port)

    async def ruled() -> bool:
        again = {"Idempotency-Key": "the-ruling", "X-Request-ID": "the-ruling-of-order-1"}
        return (await arbiter.post(f"/api/escrows/{escrow_id}/ruling", json=ruling, headers=again)).is_success

    await until(ruled, limit_seconds=_LONGEST_WAIT_SECONDS, poll_seconds=0.5)
    await said(service, "method=submit_multisig")
    (submitted,) = [line for line in service.log.read_text().splitlines() if "method=submit_multisig" in line]
    assert "request_id=the-ruling-of-order-1" in submitted
    assert f"escrow_id={escrow_id}" in submitted
    await chain.mine(CONFIRMATIONS)
    await in_state(shop, escrow_id, "settled")
    return escrow_id


async def everything_an_operator_sees(service: Service, escrow_id: str) -> None:
    """What the API answers to an operator's key, and every page. The session's cookie is a secret, too."""
    async with service.api("operator") as operator:
        for path in ("/metrics", "/admin/health", "/admin/overview", "/admin/fleet", "/admin/nodes"):
            assert (await operator.get(path)).is_success, path
    base, key = f"http://{LOOPBACK}:{service.settings['SERVER_PORT']}", service.planted["operator key"]
    async with httpx2.AsyncClient(base_url=base, timeout=120, trust_env=False) as browser:
        signed_in = await browser.post("/admin/sign-in", data={"key": key}, headers={"Origin": base})
        assert signed_in.status_code == 303, signed_in.text
        (service.planted["session"],) = browser.cookies.values()
        for path in (
            "",
            "/escrows",
            f"/escrows?q={escrow_id}",
            f"/escrows/{escrow_id}",
            "/disputes",
            "/slots",
            "/audit",
            f"/audit?escrow={escrow_id}",
            "/none",
        ):
            page = await browser.get(f"/admin{path}")
            service.places.add("operator's pages", f"{page.status_code} {page.headers}\n{page.text}")


async def ready(shop: httpx2.AsyncClient) -> None:
    async def is_ready() -> bool:
        with suppress(httpx2.TransportError):
            return (await shop.get("/readyz")).is_success
        return False

    await until(is_ready, limit_seconds=_LONGEST_WAIT_SECONDS)


async def said(service: Service, words: str) -> None:
    """Wait until the service's log has these words."""

    async def has() -> bool:
        return words in service.log.read_text()

    await until(has, limit_seconds=_LONGEST_WAIT_SECONDS)


def wallet_that_is_busy(service: Service) -> ChildProcess:
    """A process in the middle of a set-up: the last one in the log that was told to make its wallet multisig."""
    line = [line for line in service.log.read_text().splitlines() if "method=make_multisig" in line][-1]
    return next(wallet for wallet in service.wallets if f"url={wallet.url}" in line.split())


async def in_state(shop: httpx2.AsyncClient, escrow_id: str, state: str) -> dict[str, str]:
    """The escrow as the shop sees it, as soon as it is in this state."""
    seen: dict[str, str] = {}

    async def there() -> bool:
        seen.update((await shop.get(f"/api/escrows/{escrow_id}")).json())
        return seen["state"] == state

    await until(there, limit_seconds=_LONGEST_WAIT_SECONDS, poll_seconds=0.2)
    return seen


async def everything_wrong(service: Service, shop: httpx2.AsyncClient, escrow_id: str) -> None:
    """Requests nobody should send; some with a key where it does not belong. None may be echoed or logged."""
    key = service.planted["operator key"]
    requests: list[Awaitable[httpx2.Response]] = [
        shop.post("/api/orders/order-2/init-escrow", content=b"{"),
        shop.post("/api/orders/order-2/init-escrow", json={"amount": 1, "buyer_refund_address": key, "x": key}),
        shop.post("/api/orders/order-2/init-escrow", json=dict.fromkeys(("amount", "vendor_payout_address"), key)),
        shop.post(f"/api/orders/{key}/init-escrow", json={}),
        shop.post(f"/api/escrows/{escrow_id}/release", headers={"Idempotency-Key": key}),
        shop.post(f"/api/escrows/{escrow_id}/dispute", json={"reason": "\x00" + key}),
        shop.post(f"/api/escrows/{escrow_id}/{key}"),
        shop.get(f"/api/escrows/{key}"),
        shop.get("/api/escrows", params={"state": key}),
        shop.get("/api/escrows", headers={"Authorization": f"Basic {key}"}),
        shop.get("/api/escrows", headers={"Authorization": f"Bearer {key}x"}),
    ]
    for request in requests:
        assert not (await request).is_success


def collect_files(service: Service, chain: PrivateChain) -> None:
    """What the service, its wallets' processes and their daemon wrote."""
    places = service.places
    places.add_file("service log", service.log)
    for wallet in service.wallets:
        for log in (wallet.log_file, wallet.log_file.with_suffix(".out")):
            places.add_file("wallet-rpc logs", log)
    places.add_file("monerod's log", chain.monerod.log_file)
    for file in sorted((service.folder / "data").rglob("escrow.db*")):
        places.add_file("database bytes", file)
    for file in sorted((service.folder / "data").rglob("*.backup")):
        places.add_file("backups", file)
    for file in sorted((service.folder / "second place").iterdir()):
        places.add_file("second place", file)
