"""Ten thousand open escrows, forty transactions a block: what does it cost to try every view key on every block?

The service's own scan (core/scan.py), alone, in a thread, on transactions of two outputs each made up at random, among
them a payment to one escrow, which must be found, and nothing else. On the real chain a block comes every 120 seconds.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time

from monero_escrow.bench.figures import Aim, Figure, Findings, On, Series, Unit
from monero_escrow.bench.run import BenchFailedError, Run
from monero_escrow.core.curve import public_key, scalar_reduce
from monero_escrow.core.derivation import output_key, output_scalar, shared_point, view_tag, without_small_order
from monero_escrow.core.scan import Hint, PublicOutput, PublicTransaction, Watcher, scan

_BLOCK_SECONDS = 120.0
_OUTPUTS = 2
_MAIN_KEY = b"\x01"  # TX_EXTRA_TAG_PUBKEY, src/cryptonote_basic/tx_extra.h


async def measure(run: Run) -> Findings:
    """A few blocks for ten thousand, more of them for a thousand."""
    many, few, transactions = run.pick(100, 10_000), run.pick(20, 1_000), run.pick(4, 40)
    run.teller.say(f"making {many} watchers")
    watchers = await asyncio.to_thread(lambda: [_watcher() for _ in range(many)])
    cpu_of_many, wall_of_many = await _blocks(run, watchers, transactions, run.pick(1, 5))
    _, wall_of_few = await _blocks(run, watchers[:few], transactions, run.pick(2, 20))
    core = sum(cpu_of_many) / len(cpu_of_many) / _BLOCK_SECONDS
    return Findings(
        figures=(
            Figure(f"{many:,} open: share of a core", core, Unit.SHARE, On.MEMORY, Aim(0.5)),
            Figure(f"{few:,} open: block to hint, the scan's part", max(wall_of_few), Unit.SECONDS, On.MEMORY, Aim(5)),
            Figure(
                f"{many:,} open: block to hint, the scan's part",
                max(wall_of_many),
                Unit.SECONDS,
                On.MEMORY,
                Aim(_BLOCK_SECONDS),
            ),
            Figure(f"{few:,} open: catch-up", len(wall_of_few) / sum(wall_of_few), Unit.BLOCKS_A_SECOND, On.MEMORY),
            Figure(f"{many:,} open: catch-up", len(wall_of_many) / sum(wall_of_many), Unit.BLOCKS_A_SECOND, On.MEMORY),
            Figure("CPU a transaction and escrow", _each(cpu_of_many, many, transactions), Unit.SECONDS, On.MEMORY),
        ),
        series=(
            Series(f"a block, {many:,} open", Unit.SECONDS, tuple(wall_of_many)),
            Series(f"a block, {few:,} open", Unit.SECONDS, tuple(wall_of_few)),
        ),
        notes=(
            f"{transactions} transactions of {_OUTPUTS} outputs a block; the longest block counts for a hint.",
            "To it comes what the service waits between two questions to the daemon (CHAIN_POLL_SECONDS), and reading.",
        ),
    )


def _each(cpu: list[float], watchers: int, transactions: int) -> float:
    return sum(cpu) / (len(cpu) * watchers * transactions)


async def _blocks(run: Run, watchers: list[Watcher], transactions: int, blocks: int) -> tuple[list[float], list[float]]:
    """CPU and wall seconds of each block. Raises BenchFailedError if the payment in it is not what was found."""
    cpus, walls = [], []
    for number in range(blocks):
        run.teller.say(f"scanning blocks for {len(watchers)} escrows", number, blocks)
        paid = secrets.choice(watchers)
        block = [_transaction() for _ in range(transactions - 1)]
        block.insert(secrets.randbelow(transactions), _transaction(paid))
        cpu, begun = time.process_time(), time.perf_counter()
        hints: list[Hint] = await asyncio.to_thread(scan, block, watchers)
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - begun)
        if [hint.escrow_id for hint in hints] != [paid.escrow_id]:
            raise BenchFailedError(f"The scan found {len(hints)} payments where there is one.")
    return cpus, walls


def _watcher() -> Watcher:
    return Watcher(secrets.token_hex(12), _scalar(), public_key(_scalar()))


def _scalar() -> bytes:
    return scalar_reduce(os.urandom(32))


def _transaction(paid: Watcher | None = None) -> PublicTransaction:
    """Two outputs to strangers; with `paid`, the first is theirs."""
    secret = _scalar()
    outputs = [PublicOutput(public_key(_scalar()), secrets.randbelow(256), 0, os.urandom(8)) for _ in range(_OUTPUTS)]
    if paid is not None:
        shared = shared_point(paid.private_view_key, without_small_order(public_key(secret)))
        key = output_key(output_scalar(shared, 0), paid.public_spend_key)
        outputs[0] = PublicOutput(key, view_tag(shared, 0), 0, os.urandom(8))
    return PublicTransaction(secrets.token_hex(32), _MAIN_KEY + public_key(secret), tuple(outputs))
