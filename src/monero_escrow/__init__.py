"""2-of-3 Monero multisig escrow for shops and marketplaces.

Start reading in `monero_escrow.escrows`, where money moves; `docs/architecture.md` names the other rooms.
"""

__version__ = "0.1.0"
