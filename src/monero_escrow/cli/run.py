"""`monero-escrow serve`, `monero-escrow demo` and `monero-escrow rehearse`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from monero_escrow.config import load_settings
from monero_escrow.fleet.fleet import suitable_programs
from monero_escrow.service import serve as run_service
from monero_escrow.telemetry.logging import configure_logging


def serve() -> None:
    """Run the service: HTTP API, set-ups, deposits, payouts. Settings come from the environment (see doctor)."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    asyncio.run(run_service(settings))


def demo(
    *,
    keep: Annotated[bool, Parameter(negative="")] = False,
    nodes: Annotated[int, Parameter(validator=Number(gte=1, lte=5))] = 1,
) -> int:
    """Take three orders through on a private chain: released, refunded, and disputed and ruled.

    Parameters
    ----------
    keep
        Add a fourth order, left in dispute, and leave everything running until Ctrl-C.
    nodes
        Run so many services on one PostgreSQL, 1 to 5; with more than one, one of them is killed in the middle.
    """
    from monero_escrow.demo.run import run_demo

    return run_demo(keep=keep, nodes=nodes)


def rehearse() -> int:
    """Take an order through its whole life on a private chain with exactly the programs the service would use.

    Set up, paid, disputed, ruled, paid out and read back by the receivers' own wallets; a minute or less. Nothing of
    the service that is installed here is read or written. Exit code 0 and PASS, or 1 and FAIL.
    """
    from monero_escrow.demo.run import rehearse as run_rehearsal

    settings = load_settings()
    return run_rehearsal(partial(suitable_programs, settings))
