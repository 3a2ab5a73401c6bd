"""Monero's programs are found, told apart by version, and never outlive us."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.programs import FOLDER_VARIABLE, MoneroPrograms, ProgramsMissingError, find_programs
from monero_escrow.monero.waiting import until

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

# Starts a process and waits to be killed; prints the process's id.
STARTER = """
import asyncio, pathlib, sys
from monero_escrow.core.address import Network
from monero_escrow.monero.processes import start_wallet_rpc
from monero_escrow.monero.programs import find_programs

async def main():
    programs, folder = find_programs(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
    process = await start_wallet_rpc(programs, folder, network=Network.TESTNET, daemon_url=None)
    print(process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def stand_in(folder: Path, says: str) -> Path:
    """A folder with programs that only say a version."""
    folder.mkdir(parents=True)
    for name in ("monerod", "monero-wallet-rpc"):
        (folder / name).write_text(f'#!/bin/sh\necho "{says}"\n')
        (folder / name).chmod(0o755)
    return folder


async def test_a_named_folder_is_binding(programs: MoneroPrograms, tmp_path: Path) -> None:
    assert find_programs(programs.folder, {}) == programs
    assert find_programs(None, {FOLDER_VARIABLE: str(programs.folder)}) == programs
    with pytest.raises(ProgramsMissingError, match="no monerod"):
        find_programs(tmp_path, {"HOME": str(Path.home())})


async def test_the_newest_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    fetched = tmp_path / ".local/share/monero-escrow/monero"
    stand_in(fetched / "old" / "bin", "Monero 'Fluorine Fermi' (v0.18.0.0-release)")
    newest = stand_in(fetched / "new" / "bin", "Monero 'Fluorine Fermi' (v0.18.10.0-release)")
    stand_in(fetched / "middle" / "bin", "Monero 'Fluorine Fermi' (v0.18.9.9-release)")
    environment = {"HOME": str(tmp_path), "PATH": str(stand_in(tmp_path / "path", "0.18.4.0"))}
    assert find_programs(None, environment).folder == newest


async def test_an_old_monero_is_refused_with_the_way_to_a_new_one(tmp_path: Path) -> None:
    old = stand_in(tmp_path / "old", "Monero 'Fluorine Fermi' (v0.18.0.0-release)")
    for environment in ({FOLDER_VARIABLE: str(old)}, {"PATH": str(old), "HOME": str(tmp_path)}):
        with pytest.raises(ProgramsMissingError) as refusal:
            find_programs(None, environment)
        assert "scripts/get-monero" in refusal.value.what_to_do


async def test_a_process_does_not_outlive_a_killed_parent(programs: MoneroPrograms, tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, str(programs.folder), str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert _runs(pid)

    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not _runs(pid)

    await until(gone, limit_seconds=20)


async def test_a_kept_chain_and_its_persons_are_found_again(programs: MoneroPrograms, tmp_path: Path) -> None:
    async with PrivateChain(programs, tmp_path, keep_chain=True) as chain:
        await chain.mine(2)
        before = await chain.daemon.get_last_block_header()
        miner, pids = chain.miner.address, (chain.monerod.pid, chain.miner.process.pid)
        assert (chain.monerod.running, chain.miner.process.running) == (True, True)
    assert (chain.monerod.running, chain.miner.process.running) == (False, False)

    async with PrivateChain(programs, tmp_path, keep_chain=True) as chain:
        assert await chain.daemon.get_last_block_header() == before
        assert chain.miner.address == miner
        assert not {chain.monerod.pid, chain.miner.process.pid} & set(pids)


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie: whoever inherits an orphan may not have buried it yet."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
