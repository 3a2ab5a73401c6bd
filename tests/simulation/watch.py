"""What must hold after every single step: looked at after each commit, each call, and whatever reaches the network.

Only what changed is looked at, so that it costs little. `books.py` compares everything with the chain at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from monero_escrow.core.life_cycle import TRANSITIONS, State
from monero_escrow.core.payout_states import PAYOUT_MOVES, PayoutState
from monero_escrow.fleet.pool import Lease, SlotPool
from monero_escrow.monero.fake import chain
from monero_escrow.monero.fake.chain import FakeChain
from monero_escrow.monero.fake.keys import read_address
from monero_escrow.store.sealing import Sealer
from simulation.storage import InlineStore
from unit.slots import assert_books_balance

_STATE_MOVES = {(row.state.value, row.next_state.value) for row in TRANSITIONS}
_PAYOUT_MOVES = {(before.value, after.value) for before, moves in PAYOUT_MOVES.items() for after in moves}
_MESSAGES_OF_A_TRIO = 9
_CHANGING = frozenset(
    {
        *("prepare_multisig", "make_multisig", "exchange_multisig_keys", "export_multisig_info"),
        *("import_multisig_info", "transfer", "sweep_all", "sign_multisig", "submit_multisig", "freeze", "thaw"),
    }
)
_Row = tuple[Any, ...]


class Watch:
    """Looks on. `problems` are sentences, each said once; `looks` counts what was looked at."""

    def __init__(self, fake_chain: FakeChain, *, every_commits: int = 1) -> None:
        self.problems: list[str] = []
        self.looks: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        """Escrows a shop was told of."""
        self._pools: dict[str, SlotPool] = {}
        self._chain = fake_chain
        self._every_commits = every_commits
        self._commits = 0
        self.store: InlineStore | None = None
        self._escrows: dict[str, _Row] = {}
        self._payouts: dict[str, _Row] = {}
        self._outputs: dict[tuple[str, str], str | None] = {}
        self._signed: dict[tuple[str, int], str] = {}
        self._signed_txids: set[str] = set()
        self._audit_rows = 0
        self._ours: set[str] = set()
        self._escrow_of_file: dict[str, str | None] = {}
        self._owners: dict[str, str] = {}
        self._fences: dict[tuple[str, str], int] = {}
        self._take = fake_chain.take
        fake_chain.take = self._taken  # type: ignore[method-assign]

    def service_starts(self, pool: SlotPool, name: str = "") -> None:
        """Another service, which counts its fences anew; of several, the one of this name."""
        self._pools[name] = pool
        self._fences = {slot: fence for slot, fence in self._fences.items() if slot[0] != name}

    def service_ends(self, name: str = "") -> None:
        """It has no slots any more."""
        self._pools.pop(name, None)

    # --- the database ---

    def committed(self, store: InlineStore) -> None:
        """A transaction is durable."""
        self.store = store
        self._commits += 1
        self.look_at_slots()
        if self._commits % self._every_commits == 0:
            self.look_at_database()

    def look_at_database(self) -> None:
        """Compare what is durable with what was at the last look."""
        if self.store is None:
            return
        self.looks["database"] += 1
        connection = self.store.engine.raw_connection()
        try:
            cursor = connection.cursor()
            self._look_at_trios(cursor)
            self._look_at_escrows(cursor)
            self._look_at_payouts(cursor)
            self._look_at_outputs(cursor)
            self._look_at_trail(cursor)
        finally:
            connection.close()

    def _look_at_trios(self, cursor: Any) -> None:
        """Whatever was made or claimed for an escrow is that escrow's for ever."""
        owners = dict(cursor.execute("SELECT id, escrow_id FROM trios WHERE escrow_id IS NOT NULL").fetchall())
        for trio_id, escrow_id in self._owners.items():
            if owners.get(trio_id) != escrow_id:
                self._say(f"The trio {trio_id} belonged to another escrow before.")
        claimed = cursor.execute("SELECT count(*) FROM trios WHERE claimed_at IS NOT NULL").fetchone()[0]
        self.looks["claim"] = max(self.looks["claim"], claimed)
        self._owners = owners

    def _look_at_escrows(self, cursor: Any) -> None:
        rows = cursor.execute("SELECT id, state, deposit_address, trio_id FROM escrows").fetchall()
        found = {row[0]: row for row in rows}
        if found == self._escrows:
            return
        for lost in (self.acknowledged | self._escrows.keys()) - found.keys():
            self._say(f"The escrow {lost} was acknowledged, and is gone.")
        for escrow_id, (_, state, address, trio_id) in found.items():
            before = self._escrows.get(escrow_id, (escrow_id, state, None, None))
            if before[1] != state and self._every_commits == 1 and (before[1], state) not in _STATE_MOVES:
                self._say(f"{escrow_id} went from {before[1]} to {state}, which the life cycle does not have.")
            if before[2] is not None and before[2:] != (address, trio_id):
                self._say(f"{escrow_id} had another address before.")
            if address is not None and before[2] is None:
                self._look_at_address(cursor, escrow_id, address, trio_id)
            if address is None and state not in (State.SETTING_UP, State.CANCELLED):
                self._say(f"{escrow_id} is {state}, and has no address.")
        shown = Counter(row[2] for row in rows if row[2] is not None)
        if shown and max(shown.values()) > 1:
            self._say("An address serves two orders.")
        self._escrows = found

    def _look_at_address(self, cursor: Any, escrow_id: str, address: str, trio_id: str) -> None:
        """An address is shown: everything its wallets can be rebuilt from must be durable."""
        self.looks["address shown"] += 1
        trio = cursor.execute("SELECT state, address, escrow_id FROM trios WHERE id = ?", (trio_id,)).fetchone()
        if trio != ("ready", address, escrow_id):
            self._say(f"{escrow_id} shows an address whose trio is {trio}.")
        (messages,) = cursor.execute("SELECT count(*) FROM messages WHERE trio_id = ?", (trio_id,)).fetchone()
        keys = "spend_key_sealed IS NOT NULL AND password_sealed IS NOT NULL"
        (wallets,) = cursor.execute(
            f"SELECT count(*) FROM participants WHERE trio_id = ? AND {keys}",  # noqa: S608
            (trio_id,),
        ).fetchone()
        if (messages, wallets) != (_MESSAGES_OF_A_TRIO, 3):
            self._say(f"{escrow_id} shows an address with {messages} messages and {wallets} wallets stored.")
        self._ours.add(read_address(address, self._chain.network).public_spend_key.hex())

    def _look_at_payouts(self, cursor: Any) -> None:
        rows = cursor.execute("SELECT id, state, anchor_public_key, plan FROM payouts").fetchall()
        for row in rows:
            before = self._payouts.get(row[0], row)
            if before[1] != row[1] and self._every_commits == 1 and (before[1], row[1]) not in _PAYOUT_MOVES:
                self._say(f"The payout {row[0]} went from {before[1]} to {row[1]}.")
            if before[2:] != row[2:]:
                self._say(f"The plan of the payout {row[0]} was changed after the decision.")
        if len(rows) < len(self._payouts):
            self._say("A payout is gone.")
        self._payouts = {row[0]: row for row in rows}
        query = "SELECT payout_id, number, txid, signed_sealed IS NOT NULL FROM proposals WHERE txid IS NOT NULL"
        signed = {(payout_id, number): txid for payout_id, number, txid, kept in cursor.execute(query) if kept}
        if any(signed.get(key) != txid for key, txid in self._signed.items()):
            self._say("A signed transaction is stored no longer.")
        self._signed = signed
        self._signed_txids.update(signed.values())
        states = {PayoutState.SIGNED, PayoutState.BROADCAST, PayoutState.SETTLED}
        known = {payout_id for payout_id, _ in signed}
        for payout_id, state, *_ in rows:
            if state in states and payout_id not in known:
                self._say(f"The payout {payout_id} is {state}, and no signed transaction is stored.")
        self._look_at_suspicions(cursor, signed)

    def _look_at_suspicions(self, cursor: Any, signed: Mapping[tuple[str, int], str]) -> None:
        """Nothing of ours is ever taken for a stranger's."""
        suspected = "SELECT id FROM payouts WHERE state = 'held' AND trouble LIKE '%recipient unknown%'"
        for (payout_id,) in cursor.execute(suspected).fetchall():
            ours = [txid for (of, _), txid in signed.items() if of == payout_id]
            if any((known := self._chain.find(txid)) is not None and known[1] is not None for txid in ours):
                self._say(
                    f"The payout {payout_id} is held as paid by a stranger, and it was paid by a transaction of ours."
                )

    def _look_at_outputs(self, cursor: Any) -> None:
        rows = cursor.execute("SELECT escrow_id, public_key, payout_id FROM outputs").fetchall()
        found = {(escrow_id, public_key): payout_id for escrow_id, public_key, payout_id in rows}
        for output, payout_id in self._outputs.items():
            if payout_id is not None and found.get(output) != payout_id:
                self._say(f"An output of the payout {payout_id} does not belong to it any more.")
        self._outputs = found

    def _look_at_trail(self, cursor: Any) -> None:
        last, count = cursor.execute("SELECT max(id), count(*) FROM audit").fetchone()
        if (last or 0) != count or count < self._audit_rows:
            self._say("An audit row is gone.")
        self._audit_rows = count

    # --- slots ---

    def look_at_slots(self) -> None:
        """Leased + free + sick = all, and no fence went back."""
        for name, pool in self._pools.items():
            self.looks["slots"] += 1
            try:
                assert_books_balance(pool)
            except AssertionError as error:
                self._say(f"The pool's books: {error}")
            for slot in pool.slots:
                if slot.fence < self._fences.get((name, slot.name), 0):
                    self._say(f"A fence of {slot.name} went back.")
                self._fences[name, slot.name] = slot.fence

    def _lease_of(self, url: str) -> Lease | None:
        leases = [lease for pool in self._pools.values() for lease in pool.leases]
        return next((lease for lease in leases for slot in lease.slots.values() if slot.rpc.url == url), None)

    # --- calls ---

    def about_to_change(self, url: str, method: str, open_wallet: str | None) -> None:
        """The service is about to change an open wallet: it must be one of the escrow it has leased the slot for."""
        self.looks["call"] += 1
        lease = self._lease_of(url) if method in _CHANGING and open_wallet is not None else None
        if lease is None or open_wallet is None:
            return
        self.looks["wallet before a change"] += 1
        owner = self._owner_of(open_wallet)
        if owner is not None and owner not in lease.work:
            self._say(f"{method} met a wallet of {owner} in the {lease.work}.")

    def _owner_of(self, filename: str) -> str | None:
        name = "-".join(filename.split("-")[:2])
        if self._escrow_of_file.get(name) is None and self.store is not None:  # stock is somebody's later
            connection = self.store.engine.raw_connection()
            query = "SELECT filename, escrow_id FROM participants JOIN trios ON trios.id = trio_id"
            self._escrow_of_file = dict(connection.cursor().execute(query).fetchall())
            connection.close()
        return self._escrow_of_file.get(name)

    def about_to_sign(self, txset: str) -> None:
        """No audit row, no signature."""
        self.looks["signature"] += 1
        if self.store is None:
            self._say("Something is signed before anything is stored.")
            return
        connection = self.store.engine.raw_connection()
        cursor = connection.cursor()
        rows = cursor.execute("SELECT payout_id, number, txset_sealed FROM proposals ORDER BY proposed_at DESC")
        sealer = self.store.sealer
        stored = next((row for row in rows if _opened(sealer, row) == txset), None)
        query = "SELECT count(*) FROM audit WHERE action = 'payout_to_be_signed' AND escrow_id = ?"
        escrow = "SELECT escrow_id FROM payouts WHERE id = ?"
        told = stored and cursor.execute(query, cursor.execute(escrow, stored[:1]).fetchone()).fetchone()[0]
        connection.close()
        if stored is None:
            self._say("A set is signed that is not stored.")
        elif not told:
            self._say("A set is signed without an audit row.")

    # --- the network ---

    def _taken(self, raw_hex: str) -> str:
        """A transaction reaches the network. If it spends an escrow's output, it must be durable with us."""
        txid = self._take(raw_hex)
        transaction = chain.read_transaction(raw_hex)
        if any(self._is_ours(spent) for spent in transaction.spends):
            self.looks["payout taken by the network"] += 1
            if txid not in self._signed_txids:
                self.look_at_database()
            if txid not in self._signed_txids:
                self._say(f"{txid} reached the network, and is not stored.")
        return txid

    def _is_ours(self, output: str) -> bool:
        place = self._chain.place(output)
        return place is not None and place.output.destination in self._ours

    def _say(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _opened(sealer: Sealer, row: _Row) -> str:
    payout_id, number, sealed = row
    return sealer.open("txset", f"{payout_id}/{number}", sealed)
