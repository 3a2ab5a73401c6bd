"""`monero-escrow bench`: measure, on this machine, what docs/benchmarks.md publishes."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from monero_escrow.core.errors import EscrowError, InvalidInputError


def bench(
    *names: str,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    quick: Annotated[bool, Parameter(negative="")] = False,
    long: Annotated[bool, Parameter(negative="")] = False,
    keep: Annotated[bool, Parameter(negative="")] = False,
    results: Path = Path("bench/results"),
) -> int:
    """Measure how fast the service is here. Without a name: list the benches.

    Everything runs on loopback and private chains, and is ended at the end. Let nothing else run meanwhile.

    Parameters
    ----------
    names
        The benches to run, one after another.
    every
        All of them; one that fails does not keep the others from running.
    quick
        Smallest sizes: shows that a bench works, and its figures mean nothing.
    long
        The long form, where a bench has one.
    keep
        Leave the folder with the logs.
    results
        Folder for the reports (JSON) and pictures (SVG).
    """
    from monero_escrow.bench.carry_out import carry_out, list_of_benches
    from monero_escrow.bench.catalog import BENCHES, bench_named
    from monero_escrow.bench.report import Form

    if quick and long:
        raise InvalidInputError("--quick and --long contradict each other.", what_to_do="Give one of them.")
    console = Console()
    chosen = BENCHES if every else tuple(bench_named(name) for name in names)
    if not chosen:
        console.print(list_of_benches())
        return 0
    form = Form.QUICK if quick else Form.LONG if long else Form.TABLE
    failed = []
    for one in chosen:
        try:
            carry_out(one, form, console, results=results, keep=keep)
        except EscrowError as error:
            print(f"error: {one.name}: {error.message}\n       {error.what_to_do}\n", file=sys.stderr)
            failed.append(one.name)
        except asyncio.CancelledError:
            print(f"{one.name} was ended by a signal; everything it had started is stopped.", file=sys.stderr)
            return 128 + signal.SIGTERM
    if failed:
        print(f"error: not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0
