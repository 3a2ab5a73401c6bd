"""One instance of a process and the next: the mark that tells them apart, and calls whose sender is gone.

The pool ends a slot's rest on the strength of the mark, and a service that starts relies on what is said here about the
calls of the one before.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from conformance.conftest import StartOffline
from conformance.subjects import OfflineProcesses
from monero_escrow.clock import SystemClock
from monero_escrow.core.address import Network
from monero_escrow.core.errors import InvariantError
from monero_escrow.core.roles import Role
from monero_escrow.fleet.inspection import inspect_all
from monero_escrow.fleet.instance import LONGEST_LOOK_SECONDS
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.errors import (
    CallAbandonedError,
    MoneroRpcError,
    UncaughtInsideMoneroError,
    WalletFileMissingError,
)
from monero_escrow.monero.processes import ChildProcess, free_port, start_wallet_rpc
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.rpc import RpcConnection
from monero_escrow.monero.waiting import until
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

MARK, OTHER = "escrow.0123456789ab", "escrow.ba9876543210"
DENIED = -7

# Connects, sends one call, says so, and waits to be killed.
SENDER = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.sendall(sys.argv[2].encode())
print("sent", flush=True)
time.sleep(60)
"""


async def test_a_mark_lives_in_one_instance_of_a_process_whatever_wallets_do(offline: OfflineProcesses) -> None:
    process = await offline.start()
    client = process.client
    assert await client.instance_marks() == frozenset()
    await client.mark_instance(MARK)
    assert await client.instance_marks() == {MARK}

    await client.create_wallet("w", "p")
    await client.close_wallet()
    await client.open_wallet("w", "p")
    await client.auto_refresh(False)
    with pytest.raises(UncaughtInsideMoneroError):
        await client.get_transfers(pool=True)
    with pytest.raises(WalletFileMissingError):
        await client.open_wallet("missing", "p")
    await client.mark_instance(OTHER)
    assert await client.instance_marks() == {MARK, OTHER}

    client = await process.kill_and_start_again()
    assert await client.instance_marks() == frozenset()


@pytest.mark.parametrize("mark", ["", "+", "escrow", "escrow.0123456789abc", "escrow.x,*:TRACE", "net.http", "*"])
async def test_what_could_change_the_log_is_no_mark(start_offline: StartOffline, mark: str) -> None:
    _, client = await start_offline()
    with pytest.raises(InvariantError):
        await client.mark_instance(mark)
    assert await client.instance_marks() == frozenset()


async def test_a_mark_adds_one_category_and_asking_writes_one_line_and_changes_nothing(
    start_offline: StartOffline,
) -> None:
    process, client = await start_offline()
    raw = RpcConnection(process.url)
    before = await _categories(raw)
    lines = len(process.log_file.read_text().splitlines())
    for _ in range(3):
        assert await client.instance_marks() == frozenset()
    assert len(process.log_file.read_text().splitlines()) == lines + 3
    await client.mark_instance(MARK)
    assert await _categories(raw) == f"{before},{MARK}:FATAL"
    await raw.aclose()


async def test_whoever_sets_the_log_level_takes_the_mark_away(start_offline: StartOffline) -> None:
    """Why a process belongs to one service alone: the slot would be taken for one whose process was started anew."""
    process, client = await start_offline()
    await client.mark_instance(MARK)
    raw = RpcConnection(process.url)
    await raw.call("set_log_level", {"level": 0}, limit_seconds=10)
    assert await client.instance_marks() == frozenset()
    await raw.aclose()


async def test_a_restricted_process_cannot_be_marked_and_cannot_serve(programs: MoneroPrograms, tmp_path: Path) -> None:
    async with await start_wallet_rpc(
        programs, tmp_path, network=Network.TESTNET, daemon_url=None, extra_flags=["--restricted-rpc"]
    ) as process:
        client = WalletRpcClient(process.url)
        for call in (client.instance_marks(), client.mark_instance(MARK), client.auto_refresh(False)):
            with pytest.raises(MoneroRpcError) as refusal:
                await call
            assert (refusal.value.rpc_code, refusal.value.code) == (DENIED, "denied")
        await client.aclose()


async def test_which_instance_got_an_abandoned_call_is_certain_only_over_the_connection_its_marks_were_read_over(
    start_offline: StartOffline,
) -> None:
    process, patient = await start_offline()
    await patient.mark_instance(MARK)
    for new_connection in (False, True):
        hasty = WalletRpcClient(process.url, time_limits_seconds={"create_wallet": 0.15})
        assert await hasty.instance_marks() == {MARK}
        if new_connection:
            await hasty.aclose()
        with pytest.raises(CallAbandonedError):
            await hasty.create_wallet(f"left-{secrets.token_hex(6)}", "p")
        assert hasty.abandoned
        assert hasty.abandoned_marks == (frozenset() if new_connection else {MARK})
        hasty.forget_abandoned()
        assert (hasty.abandoned, hasty.abandoned_marks) == (False, frozenset())
        await hasty.aclose()
        await patient.get_version()  # waits until the call that was given up on is done


async def test_a_query_that_was_given_up_on_leaves_a_process_usable(start_offline: StartOffline) -> None:
    process, patient = await start_offline()
    hasty = WalletRpcClient(process.url, time_limits_seconds={"set_log_categories": 0.15})
    busy = asyncio.create_task(patient.create_wallet("w", "p"))
    await _until_at_work(process)
    with pytest.raises(CallAbandonedError):
        await hasty.instance_marks()
    assert not hasty.abandoned
    await busy
    await hasty.aclose()


async def test_what_a_killed_client_had_sent_has_run_when_the_next_ones_second_call_runs(
    start_offline: StartOffline,
) -> None:
    """On one machine. It need not have run when the first call does: that one may come over an older connection."""
    process, _ = await start_offline()
    for number in range(10):
        mark = f"escrow.{number:012x}"
        await _send_and_be_killed(process.url, "set_log_categories", {"categories": f"+{mark}:FATAL"})
        successor = WalletRpcClient(process.url)
        await successor.get_version()
        assert mark in await successor.instance_marks()
        await successor.aclose()


async def test_so_does_a_wallet_that_a_killed_client_opened_in_a_busy_process(start_offline: StartOffline) -> None:
    """What the next inspection would find is open; or else it would be opened under the feet of the next holder."""
    process, first = await start_offline()
    await first.create_wallet("w", "p")
    address = await first.get_address()
    at_work = asyncio.create_task(first.create_wallet("busy", "p"))
    await _until_at_work(process)
    await _send_and_be_killed(process.url, "open_wallet", {"filename": "w", "password": "p"})

    successor = WalletRpcClient(process.url)
    await successor.get_version()
    assert await successor.get_address() == address
    assert at_work.done()
    await at_work
    await successor.aclose()


class OwnBooks:
    """Every wallet found open is ours."""

    async def knows_wallet(self, _address: str) -> bool:
        return True

    async def recent_passwords(self, _role: Role) -> list[str]:
        return []


async def test_a_slot_whose_process_was_killed_in_a_call_serves_again_soon_after_it_is_started_again(
    programs: MoneroPrograms, tmp_path: Path
) -> None:
    start = partial(start_wallet_rpc, programs, tmp_path, network=Network.TESTNET, daemon_url=None, port=free_port())
    process = await start()
    slot = Slot(0, Role.BUYER, WalletRpcClient(process.url))
    pool = SlotPool([slot], SystemClock(), quarantine_seconds=960)
    await inspect_all(pool.slots, pool, Network.TESTNET, OwnBooks())

    async def work(name: str) -> None:
        async with pool.lease(frozenset({Role.BUYER}), "work", wait_seconds=10):
            await slot.rpc.create_wallet(name, "p")

    worker = asyncio.create_task(work("killed-in-it"))
    await _until_at_work(process)
    await process.kill()
    with pytest.raises(CallAbandonedError):
        await worker
    assert slot.resting_because is not None

    process = await start()
    started = time.monotonic()
    await pool.until_there_is_one_to_look_at(60)
    assert slot.resting_because is None
    assert time.monotonic() - started < 1.25 * LONGEST_LOOK_SECONDS
    await inspect_all(pool.sick_slots(), pool, Network.TESTNET, OwnBooks())
    await work("after")
    assert pool.stats().free == 1
    await pool.aclose()
    await slot.rpc.aclose()
    await process.stop()


async def _until_at_work(process: ChildProcess) -> None:
    """Until a call keeps the process's thread busy. Making a wallet does for half a second at least."""
    before = _cpu_ticks(process.pid)

    async def busy() -> bool:
        return _cpu_ticks(process.pid) > before + 2

    await until(busy, limit_seconds=30, poll_seconds=0.01)


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


async def _categories(raw: RpcConnection) -> str:
    return (await raw.call("set_log_categories", {"categories": "+"}, limit_seconds=10)).text("categories")


async def _send_and_be_killed(url: str, method: str, params: dict[str, str]) -> None:
    """A client of its own, killed the moment it has sent its call."""
    body = json.dumps({"jsonrpc": "2.0", "id": "0", "method": method, "params": params})
    request = f"POST /json_rpc HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SENDER, url.rsplit(":", 1)[1], request, stdout=asyncio.subprocess.PIPE
    )
    assert sender.stdout is not None
    assert await sender.stdout.readline() == b"sent\n"
    sender.kill()
    await sender.wait()
