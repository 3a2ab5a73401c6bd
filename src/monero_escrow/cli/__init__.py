"""The `monero-escrow` command: what each subcommand does is in a module of its own; errors end in two plain lines."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 it did not work, 2 wrong usage, 130 interrupted."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> int:
    # Imported here, so that Ctrl-C in the first second, while the libraries load, ends as it does later.
    from monero_escrow.cli.commands import app
    from monero_escrow.core.errors import EscrowError
    from monero_escrow.no_core_dumps import forbid_core_dumps
    from monero_escrow.telemetry.logging import configure_logging

    forbid_core_dumps()  # any command may read the database's key
    configure_logging("warning", "text")  # to standard error; `serve` configures again, as the settings say
    try:
        result = app()
    except EscrowError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"       {error.what_to_do}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0
