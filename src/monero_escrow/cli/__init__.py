"""The `monero-escrow` command: what each subcommand does is in a module of its own; errors end in two plain lines."""

from __future__ import annotations

import sys

from cyclopts import App

from monero_escrow import __version__
from monero_escrow.cli.address import check_address
from monero_escrow.cli.doctor import doctor
from monero_escrow.cli.escrow import escrow_app
from monero_escrow.cli.keys import keys_app
from monero_escrow.cli.run import demo, serve
from monero_escrow.core.errors import EscrowError

app = App(
    name="monero-escrow",
    help="2-of-3 Monero multisig escrow for shops and marketplaces.",
    version=__version__,
)
app.command(serve)
app.command(demo)
app.command(doctor)
app.command(check_address)
app.command(keys_app)
app.command(escrow_app)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 it did not work, 2 wrong usage, 130 interrupted."""
    try:
        result = app()
    except EscrowError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"       {error.what_to_do}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)
