"""The keys that a transaction's sender left for its receivers in the field `extra`.

Anybody may write anything into that field. This reads it as Monero's wallets do (`parse_tx_extra` in
`src/cryptonote_basic/cryptonote_format_utils.cpp`, the fields in `tx_extra.h`): one field after another, and where
one cannot be read, what was read before it counts and nothing behind it does. It never raises, and the work is
bounded by the length of the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monero_escrow.core.curve import KEY_BYTES

_PUBLIC_KEY: Final = 0x01
_NONCE: Final = 0x02
_MERGE_MINING: Final = 0x03
_ADDITIONAL_KEYS: Final = 0x04
_MINERGATE: Final = 0xDE

_MOST_NONCE_BYTES: Final = 255  # TX_EXTRA_NONCE_MAX_COUNT
_VARINT_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class TransactionKeys:
    """Public keys of 32 bytes each, or what somebody wrote in their place: nothing here says that they are points.

    `main` are the transaction's own, in their order; a wallet tries each of them for every output, and reads a
    transaction without one as if it had no outputs. `additional` are for one output each, by position.
    """

    main: tuple[bytes, ...] = ()
    additional: tuple[bytes, ...] = ()


class _EndError(Exception):
    """What follows cannot be read."""


def transaction_keys(extra: bytes) -> TransactionKeys:
    """The keys in `extra`. Of several lists of additional keys the first counts, as in wallet2."""
    main: list[bytes] = []
    additional: tuple[bytes, ...] | None = None
    reader = _Reader(extra)
    try:
        while not reader.at_end:
            tag = reader.byte()
            if tag == _PUBLIC_KEY:
                main.append(reader.take(KEY_BYTES))
            elif tag == _ADDITIONAL_KEYS:
                keys = tuple(reader.take(KEY_BYTES) for _ in range(reader.count()))
                additional = keys if additional is None else additional
            elif tag == _NONCE:
                reader.take(reader.count(at_most=_MOST_NONCE_BYTES))
            elif tag in (_MERGE_MINING, _MINERGATE):
                reader.take(reader.count())
            else:  # padding, which runs to the end, or a tag nobody knows
                break
    except _EndError:
        pass
    return TransactionKeys(tuple(main), additional or ())


class _Reader:
    """Bytes from front to back. What it is asked for and does not have raises _EndError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise _EndError
        self._at += size
        return taken

    def count(self, at_most: int | None = None) -> int:
        """A number that says how much follows; never more than is left, so that no lie makes anybody work."""
        number = self._varint()
        if number > len(self._data) - self._at or (at_most is not None and number > at_most):
            raise _EndError
        return number

    def _varint(self) -> int:
        """Seven bits a byte, the lowest first (`src/common/varint.h`); refused unless it is the shortest form."""
        number = shift = 0
        while True:
            byte = self.byte()
            too_large = shift + 7 >= _VARINT_BITS and byte >= 1 << (_VARINT_BITS - shift)
            if too_large or (byte == 0 and shift):
                raise _EndError
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
