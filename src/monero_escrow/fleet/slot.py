"""A slot: one wallet-rpc process of one role class, and why it can or cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from monero_escrow.core.roles import Role
from monero_escrow.monero.ports import WalletRpc
from monero_escrow.monero.static_access import StaticAccess
from monero_escrow.monero.versions import Abilities


@dataclass(slots=True, eq=False)
class Slot:
    """One process. `sick` is the reason why it is not used at all; `rests_until` is on the monotonic clock.

    `mark` is how the instance that was inspected last is known again; None until then (`instance.py`). `managed`: the
    service started the process itself and may end it; `wallet_dir` is then the folder of its class's wallet files.
    `draining`: it leaves the pool as soon as it can (`pool.py`). `access`: how a configured process is reached.
    """

    index: int
    role: Role
    rpc: WalletRpc = field(repr=False)
    abilities: Abilities | None = field(default=None, repr=False)
    mark: str | None = None
    fence: int = 0
    sick: str | None = None
    rests_until: float = 0.0
    resting_because: str | None = None
    managed: bool = False
    draining: bool = False
    wallet_dir: Path | None = None
    access: StaticAccess | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """How logs and people call it: "buyer@127.0.0.1:18082"."""
        return f"{self.role}@{urlsplit(self.rpc.url).netloc}"


@dataclass(frozen=True, slots=True)
class PoolStats:
    """leased + free + sick = total, always. A resting slot counts as sick."""

    total: int
    free: int
    leased: int
    sick: int
    free_by_role: dict[Role, int]

    @property
    def set_ups_possible(self) -> int:
        """How many trios could be leased this moment."""
        return min(self.free_by_role.values(), default=0)
