"""Processes of an earlier run are known by the configuration on their command line, and by nothing else."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from monero_escrow.fleet.orphans import CONFIG_NAME, end_orphans, processes_of
from monero_escrow.monero.waiting import until

Start = Callable[..., Coroutine[Any, Any, asyncio.subprocess.Process]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a program that does nothing, with these words on its command line."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*words: str) -> asyncio.subprocess.Process:
        code = "import time; print('up', flush=True); time.sleep(600)"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, *words, stdout=asyncio.subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"up\n"
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


def config_in(folder: Path, name: str = "process-1") -> Path:
    """The configuration of a process of this folder; names are random in reality."""
    config = folder / "buyer" / name / CONFIG_NAME
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("")
    return config


async def test_what_runs_with_a_configuration_of_the_folder_is_ended_and_nothing_else(
    tmp_path: Path, start: Start
) -> None:
    ours, others = tmp_path / "data" / "fleet", tmp_path / "other" / "fleet"
    orphan = await start("--rpc-bind-port", "1", "--config-file", str(config_in(ours)), "--log-level", "0")
    second = await start("--config-file", str(config_in(ours, "process-2")))
    bystanders = [
        await start("--config-file", str(config_in(others, "process-3"))),
        await start("--edit", str(config_in(ours))),
        await start(str(config_in(ours)), "--config-file"),
        await start("--config-file", str(ours / "buyer" / "wallet.conf")),
        await start("monero-wallet-rpc"),
    ]
    assert {process.pid for process in processes_of(ours)} == {orphan.pid, second.pid}

    assert await end_orphans(ours) == 2

    assert (await orphan.wait(), await second.wait()) == (-9, -9)
    assert [process.returncode for process in bystanders] == [None] * len(bystanders)
    assert processes_of(ours) == []


async def test_where_nothing_runs_nothing_is_ended(tmp_path: Path) -> None:
    assert await end_orphans(tmp_path) == 0


async def test_an_orphan_that_ends_by_itself_is_fine(tmp_path: Path, start: Start) -> None:
    orphan = await start("--config-file", str(config_in(tmp_path)))
    ending = asyncio.create_task(end_orphans(tmp_path))
    orphan.kill()
    await ending

    async def gone() -> bool:
        return processes_of(tmp_path) == []

    await until(gone, limit_seconds=10)


async def test_a_process_that_knows_our_path_but_was_started_elsewhere_is_left_alone(
    tmp_path: Path, start: Start
) -> None:
    """In a container, say: it has our folder's path for another folder, in which its random name is."""
    config_in(tmp_path, "process-1")
    elsewhere = await start("--config-file", str(tmp_path / "buyer" / "process-2" / CONFIG_NAME))
    assert await end_orphans(tmp_path) == 0
    assert elsewhere.returncode is None


async def test_a_process_whose_folder_is_called_like_the_wallets_is_nobodys_orphan(
    tmp_path: Path, start: Start
) -> None:
    config_in(tmp_path / "fleet")
    (tmp_path / "fleet" / "buyer" / "wallets").mkdir()
    anybodys = await start("--config-file", str(config_in(tmp_path / "home", "wallets")))
    assert await end_orphans(tmp_path / "fleet") == 0
    assert anybodys.returncode is None


async def test_an_orphan_that_knows_the_folder_by_another_path_is_found(tmp_path: Path, start: Start) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    orphan = await start("--config-file", str(config_in(tmp_path / "link" / "fleet")))
    assert await end_orphans(tmp_path / "real" / "fleet") == 1
    assert await orphan.wait() == -9


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.ESRCH])
async def test_an_orphan_that_cannot_be_ended_does_not_keep_the_service_from_starting(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_handle(_pid: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.pidfd_open", no_handle)
    orphan = await start("--config-file", str(config_in(tmp_path)))
    assert await end_orphans(tmp_path) == 1
    assert orphan.returncode is None
