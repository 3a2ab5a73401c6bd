"""The demo as its user meets it: the real command and real Monero programs; its output, its exit code, nothing left."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from monero_escrow.monero.programs import find_programs
from monero_escrow.monero.waiting import until
from soak.running_demo import LINE_LIMIT_SECONDS, running_demo

pytestmark = [pytest.mark.chain, pytest.mark.timeout(420)]

ALL_EQUAL = ["✓"] * 6
"""Two receivers an order, three orders."""


async def test_three_orders_are_paid_to_the_piconero_and_nothing_is_left(tmp_path: Path) -> None:
    async with running_demo(tmp_path) as demo:
        await demo.until_line(r"service: ready")
        assert len(demo.processes()) >= 11, "monerod, three people, six slots and the service run meanwhile"
        assert await demo.exit_code(LINE_LIMIT_SECONDS) == 0, demo.output
    for ending in ("#1 released to vendor", "#2 refunded to buyer", "#3 ruled 70/30"):
        rows = [line for line in demo.lines if line.startswith(ending) and line.endswith(("✓", "✗"))]
        assert [row.rstrip()[-1] for row in rows] == ["✓", "✓"], demo.output
    assert demo.equal_rows() == ALL_EQUAL
    assert demo.processes() == {}
    assert demo.folders() == [], "the folder with keys and logs is removed"


@pytest.mark.parametrize("moment", [r"people's wallets: being made", r"#1 release .*: paid"])
async def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path: Path, moment: str) -> None:
    async with running_demo(tmp_path) as demo:
        await demo.until_line(moment)
        assert demo.processes()
        demo.interrupt()
        assert await demo.exit_code() == 130, demo.output
    assert demo.processes() == {}
    assert demo.folders() == []


async def test_a_second_ctrl_c_does_not_interrupt_the_clearing_away(tmp_path: Path) -> None:
    async with running_demo(tmp_path) as demo:
        await demo.until_line(r"slots: 6 running")
        demo.interrupt()
        await demo.until_line(r"Ending every process")
        demo.interrupt()
        assert await demo.exit_code() == 130, demo.output
    assert demo.processes() == {}


# Each kind of process dies at one of these moments of the story; the seed picks.
MOMENTS = {
    "a buyer slot": [r"the buyer pays", r"payout: signing"],  # the next set-up or this payout holds it
    "the buyer's wallet": [r"the buyer pays", r": paid"],
    "the service": [r"the buyer pays", r"waits for the deposit to count", r"payout: signing"],
    "monerod": [r": paid", r"payout: signing", r"payout broadcast"],
}


@pytest.mark.parametrize("seed", [int(os.environ.get("DEMO_SEED", "1"))])
async def test_a_demo_whose_processes_are_killed_on_the_way_ends_as_planned(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    moments = {kind: re.compile(rng.choice(patterns)) for kind, patterns in MOMENTS.items()}
    async with running_demo(tmp_path) as demo:
        slots: set[int] = set()
        while moments:
            await demo.until_line("|".join(f"(?:{moment.pattern})" for moment in moments.values()))
            for kind in [kind for kind, moment in moments.items() if moment.search(demo.lines[-1])]:
                if kind == "a buyer slot":
                    slots = demo.pids(kind)
                assert demo.kill(kind), f"there is no {kind} to kill"
                del moments[kind]

        async def replaced() -> bool:
            return bool(demo.pids("a buyer slot") - slots)

        await until(replaced, limit_seconds=30)
        assert await demo.exit_code(LINE_LIMIT_SECONDS) == 0, demo.output
    assert demo.equal_rows() == ALL_EQUAL, demo.output
    for name in ("the buyer's wallet", "the service", "monerod"):
        assert re.search(f"{name} died and was started again", demo.output), demo.output
    assert demo.processes() == {}
    assert demo.folders() == []


async def test_a_program_that_cannot_be_kept_running_fails_the_demo_and_keeps_the_logs(tmp_path: Path) -> None:
    """It names the step, and what the program itself said."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "monero-wallet-rpc").symlink_to(find_programs().wallet_rpc)
    (programs / "monerod").write_text("#!/bin/sh\necho 'monerod has a bad day'\nexit 3\n")
    (programs / "monerod").chmod(0o700)
    home = tmp_path / "home"
    home.mkdir()
    async with running_demo(home, MONERO_BIN_DIR=str(programs)) as demo:
        assert await demo.exit_code() == 1, demo.output
    assert "The demo failed at: starting a private chain" in demo.output
    assert "monerod has a bad day" in demo.output
    assert "What to do: " in demo.output
    assert "Traceback" not in demo.output
    (folder,) = demo.folders()
    assert f"The logs are kept in {folder}" in demo.output
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("monerod.out"))
    assert demo.processes() == {}


async def test_without_monero_it_says_how_to_get_it(tmp_path: Path) -> None:
    async with running_demo(tmp_path, MONERO_BIN_DIR=str(tmp_path)) as demo:
        assert await demo.exit_code() == 1
    assert "scripts/get-monero" in demo.output
    assert demo.folders() == []
