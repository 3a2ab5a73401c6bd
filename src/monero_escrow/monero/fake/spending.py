"""Spending together: what the signers' wallets export, import, propose, sign and submit.

Nonces are what matters here: an export makes fresh ones, an import hands them over, and a signature uses one up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from monero_escrow.monero.error_codes import refusal_of
from monero_escrow.monero.errors import MoneroRpcError
from monero_escrow.monero.fake import coins, selection
from monero_escrow.monero.fake.alarms import NotModelledError
from monero_escrow.monero.fake.chain import RefusedTransactionError, key_image_of
from monero_escrow.monero.fake.messages import UnreadableError
from monero_escrow.monero.fake.sets import Info, Unsigned, UnsignedSet, read_signed, write_signed
from monero_escrow.monero.fake.wallet import Wallet
from monero_escrow.monero.ports import DescribedSet, Proposal, SignedSet
from monero_escrow.monero.versions import LEAST_FOR_MAINNET, abilities_of


class OpenWallet(Wallet):
    """A wallet that is open, multisig or not."""

    def export(self) -> str:
        """Fresh nonces for every output, in memory only, in the place of the earlier ones."""
        self._require_finished("export_multisig_info")
        self.cache = replace(self.cache, nonces={key: self._around.salt() for key in self.cache.coins})
        return Info(self.keys.signer, self.address, self.cache.nonces).write()

    def import_infos(self, texts: Sequence[str]) -> int:
        """Learn the key images, which of them are spent, and the peers' nonces; answers how many outputs."""
        method = "import_multisig_info"
        self._require_finished(method)
        if not texts:
            raise refusal_of(method, -33, "")
        try:
            infos = [Info.read(text) for text in texts]
        except UnreadableError:
            raise refusal_of(method, -1, "") from None
        if any(info.signer == self.keys.signer for info in infos):
            raise refusal_of(method, -1, "")
        if any(info.address != self.address for info in infos):
            raise NotModelledError("an info of another wallet")
        covered = [key for key in self.cache.coins if all(key in info.nonces for info in infos)]
        self.cache = coins.with_spent(
            replace(
                self.cache,
                key_images_known=self.cache.key_images_known | set(covered),
                peer_nonces={key: {info.signer: info.nonces[key] for info in infos} for key in covered},
            ),
            self._chain(method),
        )
        return len(covered)

    def transfer(self, payments: selection.Payments, priority: int, subtract_fee_from: Sequence[int]) -> Proposal:
        """Propose to pay these. Nothing changes but what the ledger remembers."""
        for address, _ in payments:
            self._check_recipient("transfer", address)
        draft = selection.draft_transfer(
            self.cache, payments, priority=priority, subtract_fee_from=subtract_fee_from, rng=self._around.rng
        )
        return self._propose("transfer", [draft])

    def sweep_all(self, address: str, priority: int) -> Proposal:
        """Propose to send everything there."""
        self._check_recipient("sweep_all", address)
        drafts = selection.draft_sweep(self.cache, address, priority=priority, rng=self._around.rng)
        return self._propose("sweep_all", drafts)

    def _propose(self, method: str, drafts: Sequence[selection.Draft]) -> Proposal:
        self._require_finished(method)  # a plain wallet would make a transaction, which is not relayed
        transactions = tuple(self._unsigned(draft) for draft in drafts)
        return Proposal(
            txset=UnsignedSet(self.keys.signer, transactions).write(),
            fees_piconero=tuple(one.fee_piconero for one in transactions),
            spent_key_images=tuple(tuple(key_image_of(key) for key, _ in one.inputs) for one in transactions),
        )

    def _unsigned(self, draft: selection.Draft) -> Unsigned:
        keys = [coin.output.public_key for coin in draft.coins]
        if any(key not in self.cache.peer_nonces or key not in self.cache.nonces for key in keys):
            raise NotModelledError("a proposal without an export and an import in this state of the wallet")
        unsigned = Unsigned.of(draft, {key: self.cache.peer_nonces[key] for key in keys}, self._around.salt())
        for key in keys:
            self._around.ledger.proposed(self.cache.nonces[key], unsigned.name)
        return unsigned

    def describe(self, txset: str) -> DescribedSet:
        """What a set says to this wallet; -34 if it cannot be read, or spends outputs the wallet has not seen."""
        found = self._read_set("describe_transfer", txset)
        sources = abilities_of(self._around.version).describes_sources
        return DescribedSet(tuple(one.described(self.address, sources=sources) for one in found.transactions))

    def sign(self, txset: str) -> SignedSet:
        """Add the second signature, for which this wallet's nonces are used up.

        -35 if they are not the ones the set was made with. From 0.18.5.1 on the wallet is written before the answer.
        """
        self._require_finished("sign_multisig")
        found = self._read_set("sign_multisig", txset)
        keys = [key for one in found.transactions for key, _ in one.inputs]
        nonces = {key: one.nonces[key].get(self.keys.signer, "") for one in found.transactions for key, _ in one.inputs}
        fresh = all(self.cache.nonces.get(key) == nonce for key, nonce in nonces.items())
        if not fresh or (self._wants_key_images and not self.cache.key_images_known.issuperset(keys)):
            raise refusal_of("sign_multisig", -35, "")
        for one in found.transactions:
            for key, _ in one.inputs:
                self._around.ledger.signed(nonces[key], one.name)
        left = {key: nonce for key, nonce in self.cache.nonces.items() if key not in nonces}
        self.cache = replace(self.cache, nonces=left)
        if abilities_of(self._around.version).stores_used_nonces:
            self.store()
        signers = f"{found.proposer} {self.keys.signer}"
        signed = [one.signed(signers, self.address, self.keys.network) for one in found.transactions]
        return SignedSet(write_signed(signed), tuple(transaction.txid for transaction in signed))

    def submit(self, blob: str) -> list[str]:
        """Broadcast first, then remember the outputs as spent, in memory only."""
        method = "submit_multisig"
        self._require_finished(method)
        try:
            signed = read_signed(blob)
        except UnreadableError:
            raise self._no_signed_set(method, blob) from None
        keys = {key for transaction in signed for key in transaction.spends}
        known = self.cache.key_images_known if self._wants_key_images else self.cache.coins.keys()
        if not keys <= known:
            raise refusal_of(method, -34, "")
        for transaction in signed:
            try:
                self._chain(method).take(transaction.raw_hex)
            except RefusedTransactionError:
                raise refusal_of(method, -36, "") from None
        self.cache = replace(self.cache, spent=self.cache.spent | keys)
        return [transaction.txid for transaction in signed]

    @property
    def _wants_key_images(self) -> bool:
        """Older versions sign and submit before they know the key images."""
        return self._around.version >= LEAST_FOR_MAINNET

    def _no_signed_set(self, method: str, blob: str) -> MoneroRpcError:
        try:
            UnsignedSet.read(blob)
        except UnreadableError:
            return refusal_of(method, -34, "")
        return refusal_of(method, -33, "")

    def _read_set(self, method: str, txset: str) -> UnsignedSet:
        try:
            found = UnsignedSet.read(txset)
        except UnreadableError:
            raise refusal_of(method, -34, "") from None
        if any(key not in self.cache.coins for one in found.transactions for key, _ in one.inputs):
            raise refusal_of(method, -34, "")
        return found
