"""What a transaction will cost, before a wallet is asked.

Sizes follow Monero's `estimate_rct_tx_size` and `estimate_tx_weight` (src/wallet/wallet2.cpp): CLSAG rings of 16,
Bulletproofs+, view tags. It is a first guess: the real size depends on the decoys and on whether recipients are
subaddresses, and the wallet's proposal tells it.
"""

from __future__ import annotations

from dataclasses import dataclass

RING_SIZE = 16
_EXTRA_BYTES = 44  # one transaction key, one encrypted payment id


def transaction_weight(inputs: int, outputs: int) -> int:
    """The weight in bytes a wallet expects of a transaction with this many inputs and outputs."""
    log_outputs = (outputs - 1).bit_length()
    size = 1 + 6
    size += inputs * (1 + 6 + RING_SIZE * 2 + 32)
    size += outputs * (6 + 32)
    size += _EXTRA_BYTES
    size += 1 + (2 * (6 + log_outputs) + 6) * 32 + 3
    size += inputs * (32 * RING_SIZE + 64)
    size += outputs * (1 + 8 + 32) + inputs * 32 + 4
    return size + _clawback(outputs)


def _clawback(outputs: int) -> int:
    """What is added so that range proofs over many outputs are not too cheap for the time they take to verify."""
    if outputs <= 2:
        return 0
    log_outputs = (outputs - 1).bit_length()
    base = (32 * (6 + 7 * 2)) // 2
    proof = 32 * (6 + 2 * (6 + log_outputs))
    return (base * (1 << log_outputs) - proof) * 4 // 5


@dataclass(frozen=True, slots=True)
class FeeRate:
    """What the network asks at the moment: piconero a byte of weight, and what a fee is rounded up to."""

    per_byte_piconero: int
    quantization_mask: int

    def of_input(self) -> int:
        """What one more input adds, in piconero: an output worth no more than that is not worth spending."""
        return (transaction_weight(2, 2) - transaction_weight(1, 2)) * self.per_byte_piconero

    def of_transaction(self, inputs: int, recipients: int) -> int:
        """About what a wallet will ask for when nothing is left as change, in piconero; rounded up as Monero does."""
        fee = transaction_weight(inputs, max(2, recipients)) * self.per_byte_piconero
        return -(-fee // self.quantization_mask) * self.quantization_mask
