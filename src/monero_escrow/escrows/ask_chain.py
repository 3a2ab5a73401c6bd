"""A restored database asks the chain about everything it knows before the service acts on any of it.

The original went on after the copy was made: it may have paid what the copy believes to be unpaid. So before the first
escrow is advanced, the daemon is asked about every key image and about every transaction of a payout under way. Where
a plan's output is spent by a transaction that is stored here, the payout goes on as always; where by another one, it
stops for a person. Until the daemon has answered, the service waits, and signs nothing.

An output's key image is known only once two wallets have exchanged their infos for a payout. A payout decided after
that moment of the copy is stopped later, by the same question asked before every proposal (`signers.keep_to_plan`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from monero_escrow.core.errors import EscrowError
from monero_escrow.core.pauses import pause_seconds
from monero_escrow.core.payout_states import UNDER_WAY
from monero_escrow.core.words import short
from monero_escrow.escrows.context import SERVICE, Context
from monero_escrow.escrows.held import hold
from monero_escrow.monero.ports import Daemon, KeyImageStatus
from monero_escrow.store import facts
from monero_escrow.store.known_spends import KnownOutput, known_outputs, signed_txids
from monero_escrow.store.transaction import Transaction

log = structlog.get_logger(__name__)

_KEY_IMAGES_A_CALL = 1000  # a restricted daemon takes 5000: RESTRICTED_SPENT_KEY_IMAGES_COUNT in core_rpc_server.cpp
_PAID_ELSEWHERE = (
    "This database was restored from a backup, and the chain has a transaction that spends these coins and is not in "
    "it: paid, recipient unknown. Find that transaction in the records of the database that was lost; "
    "then write the payout off."
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database knows that the chain can be asked about."""

    outputs: Sequence[KnownOutput]
    txids: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the chain says: the outputs that are spent, and the payouts of which it has a transaction."""

    spent: Sequence[KnownOutput]
    sent: frozenset[str]


async def ask_chain_if_restored(ctx: Context) -> None:
    """Return when there is nothing (more) to ask about. To be awaited before anything else works on escrows.

    Whatever does not answer, the chain or the database, is waited for.
    """
    failures = 0
    while True:
        try:
            if not await ctx.store.read(lambda tx: facts.waits_for_check(tx.connection)):
                return
            await _ask_and_record(ctx)
        except EscrowError as error:
            log.warning("restored_copy_waits", reason=error.message, what_to_do=error.what_to_do)
            await ctx.clock.sleep(pause_seconds(failures))
            failures += 1


async def _ask_and_record(ctx: Context) -> None:
    def read(tx: Transaction) -> _Known:
        return _Known(known_outputs(tx.connection), signed_txids(tx.connection, UNDER_WAY))

    daemon, _ = await ctx.chain()
    known = await ctx.store.read(read)
    answer = _Answer(await _spent(daemon, known.outputs), await _sent(daemon, known.txids))
    held, loose = await ctx.store.write(lambda tx: _record(ctx, tx, known, answer))
    log.info("restored_copy_checked", key_images=len(known.outputs), held=held, spent_without_payout=loose)


async def _spent(daemon: Daemon, outputs: Sequence[KnownOutput]) -> list[KnownOutput]:
    spent: list[KnownOutput] = []
    for first in range(0, len(outputs), _KEY_IMAGES_A_CALL):
        some = outputs[first : first + _KEY_IMAGES_A_CALL]
        statuses = await daemon.is_key_image_spent([output.key_image for output in some])
        spent += [output for output, status in zip(some, statuses, strict=True) if status is not KeyImageStatus.UNSPENT]
    return spent


async def _sent(daemon: Daemon, txids: Mapping[str, Sequence[str]]) -> frozenset[str]:
    found = await daemon.get_transactions([txid for signed in txids.values() for txid in signed])
    return frozenset(payout_id for payout_id, signed in txids.items() if any(txid in found for txid in signed))


def _record(ctx: Context, tx: Transaction, known: _Known, answer: _Answer) -> tuple[int, int]:
    """What was found, and that it was asked, together; how many payouts stop, how many spent outputs have none.

    Another node may have done it meanwhile, and gone on: then what is known here is of before.
    """
    now = ctx.clock.now()
    if not facts.waits_for_check(tx.connection):
        return 0, 0
    to_hold = {
        output.payout_id
        for output in answer.spent
        if output.payout_id is not None and output.payout_state in UNDER_WAY and output.payout_id not in answer.sent
    }
    for payout_id in sorted(to_hold):
        hold(tx, payout_id, _PAID_ELSEWHERE, now)
    loose = [output for output in answer.spent if output.payout_id is None]
    for output in loose:
        detail = {"txid": short(output.txid), "public_key": short(output.public_key)}
        tx.audit.add(SERVICE, "deposit_spent_elsewhere", now, escrow_id=output.escrow_id, detail=detail)
    tx.escrows.wake_watched(now)  # whatever came or was mined meanwhile is looked at now
    facts.put_fact(tx.connection, facts.RESTORED_CHECKED_AT, now)
    detail = {"key_images": str(len(known.outputs)), "held": str(len(to_hold)), "spent_without_payout": str(len(loose))}
    tx.audit.add(SERVICE, "restored_copy_checked", now, detail=detail)
    return len(to_hold), len(loose)
