"""The keys a hosted wallet is born with: from 32 random bytes to an address, without asking any process.

We make the keys ourselves, store them sealed, and only then ask a wallet-rpc for a wallet with `generate_from_keys`: so
the database knows each wallet before any process does, and none can be lost between the two. Randomness comes from
the caller; nothing here stores, seals or logs.
"""

from __future__ import annotations

from dataclasses import dataclass

from monero_escrow.core.address import AddressKind, Network, encode_address, shortened_address
from monero_escrow.core.curve import is_private_key, keccak256, public_key, scalar_reduce


@dataclass(frozen=True, slots=True, repr=False)
class WalletKeys:
    """The keys of one ordinary wallet, all of them derived from the private spend key.

    This is Monero's own deterministic derivation (`account_base::generate` in `src/cryptonote_basic/account.cpp`): the
    private view key is the reduced Keccak-256 of the private spend key. So the 25 words of the same seed give the
    same wallet in any Monero wallet. ValueError if `private_spend_key` is not a reduced scalar other than zero.

    Both private keys are secrets. `repr` and `str` show neither, nor the full address.
    """

    private_spend_key: bytes
    network: Network

    def __post_init__(self) -> None:
        if not is_private_key(self.private_spend_key):
            raise ValueError("not a private spend key: it must be a reduced scalar of 32 bytes, and not zero")

    @classmethod
    def from_entropy(cls, entropy: bytes, network: Network) -> WalletKeys:
        """The wallet of these 32 random bytes, taken modulo the group order (`sc_reduce32`).

        ValueError for any other length, and for bytes that reduce to zero: a broken source of randomness.
        The same as a 25-word seed of these bytes; and giving a private spend key again gives its wallet again.
        """
        return cls(private_spend_key=scalar_reduce(entropy), network=network)

    @property
    def private_view_key(self) -> bytes:
        """The secret that finds incoming coins but cannot spend them."""
        return scalar_reduce(keccak256(self.private_spend_key))

    @property
    def public_spend_key(self) -> bytes:
        """The point of the private spend key: the first of the two in the address."""
        return public_key(self.private_spend_key)

    @property
    def public_view_key(self) -> bytes:
        """The point of the private view key: the second of the two in the address."""
        return public_key(self.private_view_key)

    @property
    def private_spend_key_hex(self) -> str:
        """The private spend key as `generate_from_keys` takes it in `spendkey`."""
        return self.private_spend_key.hex()

    @property
    def private_view_key_hex(self) -> str:
        """The private view key as `generate_from_keys` takes it in `viewkey`."""
        return self.private_view_key.hex()

    @property
    def address(self) -> str:
        """The wallet's primary address: that of the wallet before it becomes part of a multisig."""
        return encode_address(AddressKind.STANDARD, self.network, self.public_spend_key, self.public_view_key)

    def __repr__(self) -> str:
        return f"WalletKeys({self.network}, {shortened_address(self.address)}, private keys hidden)"
