"""What must hold at the end of every seed: the service's books and the chain say the same, to the piconero."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from monero_escrow.core.life_cycle import CLOSED_STATES, State
from monero_escrow.core.payout_states import UNDER_WAY, PayoutState
from monero_escrow.escrows.views import EscrowView, escrow_view, planned_payments
from monero_escrow.monero.fake import chain
from monero_escrow.monero.fake.keys import read_address
from monero_escrow.store.records import PayoutRecord
from monero_escrow.store.transaction import Transaction
from simulation.people import SHOP, Trade
from simulation.surroundings import Surroundings

_WAITS_FOR_A_PARTY = CLOSED_STATES | {State.AWAITING_DEPOSIT, State.FUNDED, State.DISPUTED, State.SHORT}


def views(tx: Transaction, trades: Sequence[Trade]) -> list[EscrowView]:
    """Every acknowledged order's escrow. Raises NotFoundError if one is lost."""
    return [escrow_view(tx, trade.escrow_id) for trade in trades if trade.escrow_id is not None]


def unfinished(view: EscrowView) -> str | None:
    """What the service still has to do for this escrow by itself; None when it waits for somebody, or for nobody."""
    held = any(payout.state is PayoutState.HELD for payout in view.payouts)
    if held:
        return None
    if view.escrow.state not in _WAITS_FOR_A_PARTY:
        return f"is {view.escrow.state}: {view.escrow.trouble}"
    if view.escrow.trouble is not None:
        return f"is {view.escrow.state}, and something fails: {view.escrow.trouble}"
    under_way = [payout.number for payout in view.payouts if payout.state in UNDER_WAY]
    if under_way:
        return f"is {view.escrow.state}, and payout {under_way[0]} is under way"
    pending = view.deposits.pending_piconero
    return f"has {pending} piconero pending" if pending else None


class Books:
    """The whole chain once over: what came to each address, and what spends each output."""

    def __init__(self, world: Surroundings, forgotten: Collection[str] = ()) -> None:
        """`forgotten` are txids that a database knew of and has lost: what they paid, a person finds out."""
        self._forgotten = forgotten
        self._network = world.monero.chain.network
        self._payments = world.payments
        self.came: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.spenders: defaultdict[str, list[chain.Transaction]] = defaultdict(list)
        for block in world.monero.chain.blocks_from(0):
            for transaction in block.transactions:
                for output in transaction.outputs:
                    self.came[output.destination][output.public_key] = output.amount_piconero
                for spent in transaction.spends:
                    self.spenders[spent].append(transaction)

    def received_piconero(self, address: str) -> int:
        """Everything that was ever mined to an address."""
        return sum(self._outputs_at(address).values())

    def _outputs_at(self, address: str) -> dict[str, int]:
        return self.came[self._key(address)]

    def _key(self, address: str) -> str:
        return read_address(address, self._network).public_spend_key.hex()

    def problems(self, trades: Sequence[Trade], found: Sequence[EscrowView]) -> list[str]:
        """Everything that is not as it must be, as sentences."""
        by_id = {view.escrow.id: view for view in found}
        wrong = self._addresses(trades, by_id)
        receivers: Counter[str] = Counter()
        for view in found:
            name = view.escrow.order_id
            wrong += [f"{name}: {problem}" for problem in self._escrow(view)]
            for payout in view.payouts:
                if payout.state is PayoutState.SETTLED:
                    receivers.update(planned_payments(payout))
        for trade in trades:
            view_of_it = by_id.get(trade.escrow_id or "")
            if view_of_it is not None and any(map(self._is_forgotten, view_of_it.payouts)):
                continue  # how much the network took as a fee stands in the records that were lost
            terms = trade.order.terms
            for address in filter(
                None, (terms.buyer_refund_address, terms.vendor_payout_address, terms.commission_address)
            ):
                got, due = self.received_piconero(address), receivers[address]
                if got != due:
                    wrong.append(
                        f"{trade.order.order_id}: an address received {got} piconero, and the books say {due}."
                    )
        return wrong

    def _addresses(self, trades: Sequence[Trade], by_id: dict[str, EscrowView]) -> list[str]:
        wrong = []
        shown = Counter(view.escrow.deposit_address for view in by_id.values() if view.escrow.deposit_address)
        if shown and max(shown.values()) > 1:
            wrong.append("An address serves two orders.")
        for trade in trades:
            if trade.escrow_id is None:
                continue
            view = by_id[trade.escrow_id]
            if (view.escrow.shop_id, view.escrow.order_id) != (SHOP, trade.order.order_id):
                wrong.append(f"{trade.order.order_id} was acknowledged, and is another order's escrow.")
            if trade.address is not None and trade.address != view.escrow.deposit_address:
                wrong.append(f"{trade.order.order_id} has another address than it was shown.")
            if trade.address is not None and self.received_piconero(trade.address) != self._payments.to(trade.address):
                wrong.append(f"{trade.order.order_id}: what was paid is not what the chain has.")
        return wrong

    def _escrow(self, view: EscrowView) -> list[str]:
        address = view.escrow.deposit_address
        if address is None:
            return []
        wrong = []
        held = {payout.id for payout in view.payouts if payout.state is PayoutState.HELD}
        came = self._outputs_at(address)
        gone = {
            output.public_key for output in view.outputs if output.public_key not in came and output.payout_id in held
        }
        booked = {output.public_key: output.amount_piconero for output in view.outputs}
        if {key: amount for key, amount in booked.items() if key not in gone} != came:
            wrong.append(f"{len(booked)} outputs are booked, {len(gone)} of them gone, and {len(came)} came.")
        decided = {output.public_key for output in view.outputs if output.payout_id is not None}
        if any(output.payout_id is None and self.spenders[output.public_key] for output in view.outputs):
            wrong.append("An output that no decision names is spent.")
        planned = [output.public_key for payout in view.payouts for output in payout.plan.outputs]
        if len(planned) != len(set(planned)) or set(planned) != decided:
            wrong.append("An output belongs to two decisions, or to one that does not name it.")
        undecided = sum(output.amount_piconero for output in view.outputs if output.payout_id is None)
        paid_out = sum(payout.plan.total_piconero for payout in view.payouts)
        if sum(booked.values()) != undecided + paid_out:
            wrong.append("Deposits are not payouts and what is undecided.")
        for payout in view.payouts:
            wrong += [f"payout {payout.number}: {problem}" for problem in self._payout(payout)]
        return wrong

    def _is_forgotten(self, payout: PayoutRecord) -> bool:
        return any(spender.txid in self._forgotten for spender in self.spenders[payout.plan.anchor.public_key])

    def _payout(self, payout: PayoutRecord) -> list[str]:
        spenders = self.spenders[payout.plan.anchor.public_key]
        if len(spenders) > 1:
            return ["its anchor is spent twice"]
        if self._is_forgotten(payout):
            return [] if payout.state is PayoutState.WRITTEN_OFF else ["a transaction it does not know of paid it"]
        if payout.state is not PayoutState.SETTLED:
            return ["it was never settled, but its anchor is spent"] if spenders else []
        if not spenders:
            return ["it is settled, and nothing spends its anchor"]
        (mined,) = spenders
        wrong = []
        if mined.txid != payout.txid:
            wrong.append("another transaction settled it than the books say")
        if set(mined.spends) != {output.public_key for output in payout.plan.outputs}:
            wrong.append("it spends other outputs than its plan names")
        paid: Counter[str] = Counter()
        for output in mined.outputs:
            paid[output.destination] += output.amount_piconero
        planned = {self._key(address): piconero for address, piconero in planned_payments(payout).items()}
        if dict(paid) != planned:
            wrong.append("it pays something else than planned")
        fee = payout.plan.total_piconero - sum(output.amount_piconero for output in mined.outputs)
        if fee != payout.fee_piconero:
            wrong.append(f"its fee is {fee}, and the books say {payout.fee_piconero}")
        return wrong
