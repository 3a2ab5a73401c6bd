"""A transaction as monerod writes it in JSON (`decode_as_json`), reduced to what a scan with view keys needs.

What strangers can put into a transaction is taken as it is, and where it makes no sense left out: one odd output must
not hide the others. That the text itself is Monero's is the daemon's word, and checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from monero_escrow.core.scan import PublicOutput, PublicTransaction
from monero_escrow.monero.errors import NotMoneroError
from monero_escrow.monero.fields import Fields

_METHOD: Final = "get_transactions"
_NO_KEY: Final = b""


def public_transaction(url: str, txid: str, text: str) -> PublicTransaction:
    """The public parts of one transaction. Raises NotMoneroError."""
    try:
        transaction = Fields(url, _METHOD, json.loads(text))
        extra = bytes(transaction.integers("extra"))
    except ValueError:
        raise NotMoneroError(url, _METHOD, "a transaction is not as monerod writes it") from None
    amounts = _encrypted_amounts(transaction)
    outputs = transaction.objects("vout")
    return PublicTransaction(
        txid=txid,
        extra=extra,
        outputs=tuple(
            _output(one, amounts[index] if index < len(amounts) else b"") for index, one in enumerate(outputs)
        ),
    )


def _encrypted_amounts(transaction: Fields) -> Sequence[bytes]:
    """Eight bytes an output since 2019 (RCTTypeBulletproof2); what is older is not decoded."""
    if not transaction.has("rct_signatures"):
        return ()
    signatures = transaction.inner("rct_signatures")
    return [_bytes_of(entry.text("amount", "")) for entry in signatures.objects("ecdhInfo")]


def _output(entry: Fields, encrypted_amount: bytes) -> PublicOutput:
    target = entry.inner("target")
    amount = entry.integer("amount")
    if target.has("tagged_key"):
        tagged = target.inner("tagged_key")
        tag = _bytes_of(tagged.text("view_tag"))
        return PublicOutput(_bytes_of(tagged.text("key")), tag[0] if tag else None, amount, encrypted_amount)
    key = _bytes_of(target.text("key")) if target.has("key") else _NO_KEY  # nothing but keys is paid to any more
    return PublicOutput(key, None, amount, encrypted_amount)


def _bytes_of(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
