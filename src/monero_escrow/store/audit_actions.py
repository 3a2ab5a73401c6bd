"""The actions there are in the audit trail, for whoever looks for one. A test reads the code for those missing here."""

from __future__ import annotations

from typing import Final

from monero_escrow.core.deposits import OutputStatus
from monero_escrow.core.life_cycle import Event
from monero_escrow.store.audit_table import WALLET_OPERATION

_OF_DEPOSITS: Final = (
    "deposit_seen", "deposit_spent_elsewhere", "deposit_vanished",
    *(f"deposit_{status}" for status in OutputStatus if status is not OutputStatus.DUST),
)  # fmt: skip
_OF_PAYOUTS: Final = (
    "further_payout_fell_out", "further_payout_settled", "payout_broadcast", "payout_held", "payout_part_fell_out",
    "payout_part_settled", "payout_resumed", "payout_signed", "payout_to_be_replaced",
    "payout_to_be_signed",
)  # fmt: skip
_OF_ESCROWS: Final = (
    "attempt_recovered_from_second_place", "evidence", "init_escrow", "recovered_from_second_place", "rescan",
    "set_up_begun", "stock_claimed", "wallet_files_removed", WALLET_OPERATION,
)  # fmt: skip
_OF_THE_SERVICE: Final = (
    "backup_begun", "earlier_rows_chained", "fleet_changed", "fleet_reloaded", "key_created", "key_revoked",
    "key_rotated", "keys_refused", "node_drained", "node_forgotten", "node_joined", "node_left", "node_resumed",
    "rescan_all", "restored", "restored_copy_checked", "rows_adopted", "server_replaced", "service_ended",
    "service_started", "sign_in", "sign_out", "slot_drained", "slot_looked_at", "store_moved", "trail_checkpointed",
    "trail_exported", "trail_mended",
)  # fmt: skip

ACTIONS: Final = tuple(sorted({*map(str, Event), *_OF_DEPOSITS, *_OF_PAYOUTS, *_OF_ESCROWS, *_OF_THE_SERVICE}))
"""All of them, by the alphabet. The names are stored: never rename one."""
