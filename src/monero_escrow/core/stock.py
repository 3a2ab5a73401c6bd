"""How many trios to begin for the stock: the decision, apart from the making.

Stock is made of idle time. Nothing is begun while work waits for slots, one trio stays idle for whoever comes next, and
at most half of the fleet makes stock at once: wallets share the machine's cores, and those who come should find them.
A fleet of a single trio makes stock with it: whoever comes meanwhile gets what is being made.
"""

from __future__ import annotations

from collections.abc import Mapping

from monero_escrow.core.growth import ClassLoad
from monero_escrow.core.roles import Role


def trios_to_begin(
    target: int, *, ready: int, making: int, idle: int, loads: Mapping[Role, ClassLoad], elsewhere: int = 0
) -> int:
    """How many more trios to begin now, with `ready` in stock of `target` that are wanted.

    `making` are under way here, and `elsewhere` on other nodes; `idle`: how many trios could be leased this moment;
    `loads`: how each class stands.
    """
    if any(load.waiting for load in loads.values()):
        return 0
    trios = min((load.usable for load in loads.values()), default=0)
    reserve = 1 if trios > 1 else 0
    at_once = max(1, trios // 2)
    return max(0, min(target - ready - making - elsewhere, idle - reserve, at_once - making))
