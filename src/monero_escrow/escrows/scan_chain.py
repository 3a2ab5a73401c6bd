"""Deposits without wallets: every block and the pool are scanned with the escrows' view keys.

    tip → blocks replaced? back to the last common one → each new block: fetched, scanned; its hints and its height are
    durable together → the pool: what was not seen before → what somebody wants scanned once more

A hint wakes the escrow it is for: its wallet looks (`watch_deposits.py`), and nothing is believed before. The chain's
growth wakes those that waited for a height, and whose payouts are followed. No slot is held, for one escrow or ten
thousand. While the daemon is away the scan waits, and goes on where it was; a restart does, too.

Transactions are named first, the watchers read then, and scanned last: so an address that was shown before somebody
paid to it is always among the watchers. What was scanned in the pool is not scanned again in its block, but for
watchers that came later. What the scan misses, the sweep finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.scan import Hint, PublicTransaction, Watcher, scan
from monero_escrow.core.words import short
from monero_escrow.escrows.context import Context, DaemonUnavailableError
from monero_escrow.escrows.watchers import Watchers
from monero_escrow.monero.ports import Block, Daemon, DaemonInfo
from monero_escrow.store.scan_table import REMEMBERED_BLOCKS, ScannedBlock
from monero_escrow.store.transaction import Transaction
from monero_escrow.store.work_table import ClaimLostError

log = structlog.get_logger(__name__)

in_thread = asyncio.to_thread
"""How the arithmetic is done beside the event loop; a simulation does it in place."""

_MOST_BLOCKS_A_STEP = 50
_MOST_POOL_TRANSACTIONS_A_STEP = 100
_PAIRS_A_STEP = 400_000  # transactions × watchers: some twenty seconds, after which what was found is durable
_PAIRS_A_THREAD = 20_000  # about a second: so long may a stop of the service have to wait
_DUST_PAUSE_SECONDS = 3_600.0
_LOOKS_WITHOUT = 2  # what left the pool for a block may be in one that is scanned only at the next look


@dataclass(slots=True)
class _InPool:
    """A transaction of the pool: scanned for watchers up to `mark`, and for whom it seems to be."""

    mark: int
    escrow_ids: frozenset[str]
    looks_without: int = 0


class ChainScan:
    """The scan of one daemon's chain. `nudge` tells the conductor that escrows were woken."""

    def __init__(self, ctx: Context, nudge: Callable[[], None]) -> None:
        self._ctx = ctx
        self._nudge = nudge
        self._watchers = Watchers(ctx.store)
        self._blocks: list[ScannedBlock] | None = None
        self._pool: dict[str, _InPool] = {}
        self._dust_waits_until: dict[str, float] = {}

    async def run(self, daemon: Daemon, *, patience: int | None = None) -> None:
        """Until cancelled, or until so many looks in a row have failed: perhaps another node has a better daemon.

        Raises ClaimLostError when the scan is another node's by now.
        """
        failures = 0
        while failures != patience:
            more = False
            try:
                more = await self.step(daemon)
                failures = 0
            except ClaimLostError:
                raise
            except EscrowError as error:
                failures += 1
                log.warning("scan_waits", code=error.code, reason=error.message)
                self._blocks = None  # read again: who knows whether the last word was written
            if not more:
                await self._ctx.clock.sleep(self._ctx.settings.chain_poll_seconds)

    async def step(self, daemon: Daemon) -> bool:
        """One look at the chain; True while there is more to do at once. Raises what kept it from being finished."""
        _, info = await self._ctx.daemon_of_our_network()
        if not info.synchronized:
            raise DaemonUnavailableError(f"The daemon is at block {info.height} of {info.target_height}.")
        blocks = await self._position()
        if not blocks:
            await self._begin(info)
            return True
        if _is_replaced(blocks[0], info):
            await self._go_back(daemon, info, blocks)
            return True
        more = await self._scan_blocks(daemon, info, blocks)
        more |= await self._scan_pool(daemon)
        return await self._scan_again(daemon) or more

    # --- where the scan is ---

    async def _position(self) -> list[ScannedBlock]:
        """The blocks that were scanned last, the highest first."""
        if self._blocks is None:
            self._blocks = await self._ctx.store.read(lambda tx: tx.scan.blocks())
            await self._watchers.load()  # how many there are says how much is done at once
            if not self._pool:  # what was known of the pool is forgotten
                await self._write(lambda tx: tx.escrows.wake_in_pool(self._ctx.clock.now()))
        return self._blocks

    async def _begin(self, info: DaemonInfo) -> None:
        """The first scan begins at the tip; what came before it, the wallets find in one look each."""
        now, tip = self._ctx.clock.now(), ScannedBlock(info.height - 1, info.top_block_hash)

        def begin(tx: Transaction) -> None:
            tx.scan.add([tip])
            tx.escrows.wake_watched(now)

        await self._write(begin)
        self._blocks = [tip]
        log.info("scan_begins", height=tip.height)

    async def _go_back(self, daemon: Daemon, info: DaemonInfo, blocks: Sequence[ScannedBlock]) -> None:
        """Blocks were replaced: whatever is not final is looked at again, and the scan goes on from the common block.

        Replaced deeper than is remembered, it begins anew at the tip.
        """
        common = -1
        for block in blocks:
            if block.height < info.height and (await daemon.get_block_header(block.height)).hash == block.hash:
                common = block.height
                break
        now = self._ctx.clock.now()

        def go_back(tx: Transaction) -> None:
            tx.scan.forget_above(common)
            tx.escrows.wake_not_final(now)

        await self._write(go_back)
        self._blocks = [block for block in blocks if block.height <= common]
        log.warning("reorganisation", scanned_to=blocks[0].height, common=common if self._blocks else None)

    # --- blocks ---

    async def _scan_blocks(self, daemon: Daemon, info: DaemonInfo, scanned: Sequence[ScannedBlock]) -> bool:
        fetched = await self._fetch(daemon, scanned[0].height + 1, info.height)
        new = _linked(scanned[0].hash, fetched)
        if not fetched:
            return False
        if not new:
            await self._go_back(daemon, info, scanned)
            return True
        txids = [txid for block in new for txid in block.txids]
        hints = await self._hints(daemon, txids)
        again = {escrow_id for txid in txids if txid in self._pool for escrow_id in self._pool[txid].escrow_ids}
        done = [ScannedBlock(block.height, block.hash) for block in new]
        now = self._ctx.clock.now()

        def record(tx: Transaction) -> None:
            tx.scan.add(done)
            self._wake(tx, hints, now)
            tx.escrows.wake_hinted(again, now)
            tx.escrows.wake_at_height(done[-1].height + 1, now)

        await self._write(record)
        self._blocks = [*reversed(done), *scanned][:REMEMBERED_BLOCKS]
        for txid in txids:
            self._pool.pop(txid, None)
        self._tell(hints, done[-1].height)
        behind = info.height - 1 - done[-1].height
        if behind:
            log.info("scan_catches_up", height=done[-1].height, blocks_behind=behind, watchers=len(self._watchers))
        return behind > 0 or len(new) < len(fetched)

    async def _fetch(self, daemon: Daemon, first: int, end: int) -> list[Block]:
        """Blocks from this height on, as many as make one step."""
        blocks: list[Block] = []
        transactions = 0
        for height in range(first, min(end, first + _MOST_BLOCKS_A_STEP)):
            blocks.append(await daemon.get_block(height))
            transactions += len(blocks[-1].txids)
            if transactions * len(self._watchers) >= _PAIRS_A_STEP:
                break
        return blocks

    async def _hints(self, daemon: Daemon, txids: Sequence[str]) -> list[Hint]:
        """Scan these, each for those watchers that it was not scanned for in the pool."""
        await self._watchers.load()
        by_mark: dict[int, list[str]] = {}
        for txid in txids:
            mark = self._pool[txid].mark if txid in self._pool else 0
            by_mark.setdefault(mark, []).append(txid)
        hints: list[Hint] = []
        for mark, some in by_mark.items():
            watchers = self._watchers.since(mark)
            if watchers:
                hints += await _scan((await _all_parts(daemon, some)).values(), watchers)
        return hints

    # --- the pool ---

    async def _scan_pool(self, daemon: Daemon) -> bool:
        present = await daemon.get_pool_txids()
        new = [txid for txid in present if txid not in self._pool]
        some = new[:_MOST_POOL_TRANSACTIONS_A_STEP]
        gone = self._gone(frozenset(present))
        await self._watchers.load()
        mark, watchers = self._watchers.mark, self._watchers.since(0)
        parts: Mapping[str, PublicTransaction] = await daemon.get_public_parts(some) if watchers and some else {}
        hints = await _scan(parts.values(), watchers)
        lost = {escrow_id for txid in gone for escrow_id in self._pool[txid].escrow_ids}
        now = self._ctx.clock.now()

        def record(tx: Transaction) -> None:
            self._wake(tx, hints, now)
            tx.escrows.wake_hinted(lost, now)

        if hints or lost:
            await self._write(record)
        for txid in gone:
            del self._pool[txid]
        for txid in parts if watchers else some:
            self._pool[txid] = _InPool(mark, self._urgent(hint for hint in hints if hint.txid == txid))
        self._tell(hints, None)
        return len(new) > len(some)

    def _gone(self, present: frozenset[str]) -> list[str]:
        """What is neither in the pool any more nor in a block: dropped, or spent by another transaction."""
        for txid, known in self._pool.items():
            known.looks_without = 0 if txid in present else known.looks_without + 1
        return [txid for txid, known in self._pool.items() if known.looks_without >= _LOOKS_WITHOUT]

    # --- once more ---

    async def _scan_again(self, daemon: Daemon) -> bool:
        """What an operator wants scanned again, a few blocks at a time; True while there is more of it."""
        wanted = await self._ctx.store.read(lambda tx: tx.scan.rescans())
        if not wanted or not self._blocks:
            return False
        first, end = min(wanted.values()), self._blocks[0].height + 1
        ids = [escrow_id for escrow_id, height in wanted.items() if height == first]
        later = min((height for height in wanted.values() if height > first), default=end)
        blocks = await self._fetch(daemon, first, min(end, later))
        watchers = await self._watchers.of(ids)
        txids = [txid for block in blocks for txid in block.txids]
        hints = await _scan((await _all_parts(daemon, txids)).values(), watchers)
        reached = first + len(blocks)
        now = self._ctx.clock.now()

        def record(tx: Transaction) -> None:
            self._wake(tx, hints, now)
            tx.scan.rescanned(ids, first, reached if reached < end and blocks else None)

        await self._write(record)
        self._tell(hints, reached - 1)
        log.info("scanned_again", escrows=len(ids), height=reached - 1, blocks_left=max(0, end - reached))
        return True

    # --- waking ---

    def _wake(self, tx: Transaction, hints: Collection[Hint], now: float) -> None:
        """At once; but a stranger's dust, which never counts, wakes nobody more often than once an hour."""
        urgent = self._urgent(hints)
        tx.escrows.wake_hinted(urgent, now)
        wait_until: dict[str, float] = {}
        for escrow_id in {hint.escrow_id for hint in hints if hint.amount_piconero} - urgent:
            at = min(max(now, self._dust_waits_until.get(escrow_id, now)), now + _DUST_PAUSE_SECONDS)
            tx.escrows.wake_hinted({escrow_id}, at)
            wait_until[escrow_id] = at + _DUST_PAUSE_SECONDS
        tx.after_commit(lambda: self._dust_waits_until.update(wait_until))

    def _urgent(self, hints: Iterable[Hint]) -> frozenset[str]:
        """Who is concerned by more than dust, as far as a hint can tell."""
        dust = self._ctx.settings.dust_piconero
        worth = (hint for hint in hints if hint.amount_piconero is None or hint.amount_piconero > dust)
        return frozenset(hint.escrow_id for hint in worth)

    async def _write(self, work: Callable[[Transaction], None]) -> None:
        await self._ctx.store.write(work)
        self._nudge()

    def _tell(self, hints: Iterable[Hint], height: int | None) -> None:
        for hint in hints:
            where = "pool" if height is None else "block"
            log.info("deposit_hint", escrow_id=hint.escrow_id, txid=short(hint.txid), seen_in=where)


async def _all_parts(daemon: Daemon, txids: Sequence[str]) -> Mapping[str, PublicTransaction]:
    """Of transactions in blocks. Raises DaemonUnavailableError: a block is scanned whole, or again."""
    parts = await daemon.get_public_parts(txids)
    if len(parts) < len(set(txids)):
        raise DaemonUnavailableError("The daemon does not give every transaction of its own blocks.")
    return parts


def _is_replaced(last: ScannedBlock, info: DaemonInfo) -> bool:
    """Whether the tip itself says that the last scanned block is not in the chain any more."""
    tip = info.height - 1
    return tip < last.height or (tip == last.height and info.top_block_hash != last.hash)


def _linked(hash_before: str, blocks: Sequence[Block]) -> list[Block]:
    """As many of the blocks as follow one another: others may be replaced while they are fetched."""
    linked: list[Block] = []
    for block in blocks:
        if block.previous_hash != hash_before:
            break
        linked.append(block)
        hash_before = block.hash
    return linked


async def _scan(transactions: Iterable[PublicTransaction], watchers: Sequence[Watcher]) -> list[Hint]:
    """In a thread, a little at a time."""
    waiting = list(transactions)
    at_once = max(1, _PAIRS_A_THREAD // max(1, len(watchers)))
    hints: list[Hint] = []
    for first in range(0, len(waiting), at_once):
        hints += await in_thread(scan, waiting[first : first + at_once], watchers)
    return hints
