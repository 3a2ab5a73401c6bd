"""Escrows on a real store beside a daemon that is where the test puts it; no wallets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from monero_escrow.core.address import Network
from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.life_cycle import State
from monero_escrow.escrows import decide
from monero_escrow.escrows.advance import advance
from monero_escrow.escrows.context import Context
from monero_escrow.fleet.pool import NoSlotFreeError
from monero_escrow.monero.ports import BlockHeader, DaemonInfo, DaemonTransaction, FeeEstimate, KeyImageStatus
from monero_escrow.store.records import EscrowRecord, PayoutRecord, PayoutState
from monero_escrow.store.transaction import Transaction
from unit.rows import XMR, address, escrow, hex64, output

FEE_PER_BYTE = 20_000
HEIGHT = 1_000


class ScriptedDaemon:
    """A daemon that is where the test puts it, and knows the transactions the test gives it."""

    url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.tip_at = 1_000.0
        self.height = HEIGHT
        self.known: dict[str, DaemonTransaction] = {}
        self.relayed: list[str] = []
        self.spent: dict[str, KeyImageStatus] = {}
        self.refusal: EscrowError | None = None
        self._mined_while_asked: dict[str, DaemonTransaction] = {}

    async def get_info(self) -> DaemonInfo:
        return DaemonInfo(self.height, 0, "aa" * 32, True, Network.STAGENET, False, "0.18.5.3")

    async def get_last_block_header(self) -> BlockHeader:
        return BlockHeader(self.height - 1, "aa" * 32, int(self.tip_at))

    async def get_fee_estimate(self) -> FeeEstimate:
        return FeeEstimate(FEE_PER_BYTE, (FEE_PER_BYTE,), 10_000)

    async def get_transactions(self, txids: Sequence[str]) -> dict[str, DaemonTransaction]:
        found = {txid: self.known[txid] for txid in txids if txid in self.known}
        self._mine()
        return found

    async def is_key_image_spent(self, key_images: Sequence[str]) -> list[KeyImageStatus]:
        statuses = [self.spent.get(image, KeyImageStatus.UNSPENT) for image in key_images]
        self._mine()
        return statuses

    def mine_while_asked(self, transaction: DaemonTransaction, key_image: str) -> None:
        """The answer to the next question is still of before this was mined."""
        self._mined_while_asked[key_image] = transaction

    def _mine(self) -> None:
        for key_image, transaction in self._mined_while_asked.items():
            self.known[transaction.txid] = transaction
            self.spent[key_image] = KeyImageStatus.IN_CHAIN

    async def send_raw_transaction(self, raw_hex: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.relayed.append(raw_hex)


async def an_escrow(ctx: Context, state: State, *coins: tuple[OutputStatus, int], in_pool: int = 0) -> EscrowRecord:
    """An escrow of 1 XMR in this state, to which these outputs came."""

    def add(tx: Transaction) -> None:
        tx.escrows.add(escrow())
        tx.trios.add("trio", "escrow", 0, 100.0)
        tx.escrows.change(
            "escrow",
            expected=State.SETTING_UP,
            now=100.0,
            state=state,
            trio_id="trio",
            deposit_address=address("deposit"),
            deposit_deadline=200.0,
        )
        tx.escrows.saw_in_pool("escrow", in_pool)
        for number, (status, piconero) in enumerate(coins):
            tx.outputs.add(output(f"coin {number}", status=status, amount_piconero=piconero))

    await ctx.store.write(add)
    return await ctx.store.read(lambda tx: tx.escrows.get("escrow"))


async def payouts(ctx: Context) -> list[PayoutRecord]:
    """Every decision about the escrow's coins."""
    return await ctx.store.read(lambda tx: tx.payouts.of("escrow"))


async def broadcast(ctx: Context, *, raw: bool = True) -> PayoutRecord:
    """A refund whose transaction was signed, and (raw) known to the network."""
    await an_escrow(ctx, State.FUNDED, (OutputStatus.COUNTED, XMR))
    await ctx.store.write(await decide.refund(ctx, "escrow", "shop"))
    (payout,) = await payouts(ctx)

    def sign(tx: Transaction) -> None:
        for fee, name in enumerate(("earlier", "txid"), 1):  # a first submission's answer was lost, and it was replaced
            number = tx.payouts.add_proposal(payout.id, "txset", fee, 102.0, shared_fee_piconero=fee)
            tx.payouts.keep_signed(payout.id, number, "blob", hex64(name), 102.0)
        tx.outputs.change("escrow", payout.plan.anchor.public_key, key_image=hex64("image"))
        tx.payouts.move(tx.payouts.get(payout.id), PayoutState.SIGNED, txid=hex64("txid"), fee_piconero=2)
        if raw:
            tx.payouts.keep_raw(payout.id, "raw")
            tx.payouts.move(tx.payouts.get(payout.id), PayoutState.BROADCAST)

    await ctx.store.write(sign)
    return (await payouts(ctx))[0]


async def look(ctx: Context) -> PayoutRecord:
    """The first payout after the service looked; there is no wallet here with which to look for more deposits."""
    with suppress(NoSlotFreeError):
        await advance(ctx, await ctx.store.read(lambda tx: tx.escrows.get("escrow")))
    return (await payouts(ctx))[0]


def in_block(height: int | None, txid: str = "txid") -> DaemonTransaction:
    return DaemonTransaction(hex64(txid), height is None, height, 0, "raw", False)
