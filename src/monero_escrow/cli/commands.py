"""The subcommands of `monero-escrow`, put together."""

from __future__ import annotations

from cyclopts import App

from monero_escrow import __version__
from monero_escrow.cli.address import check_address
from monero_escrow.cli.audit import audit_app
from monero_escrow.cli.backup import backup, drill, restore
from monero_escrow.cli.bench import bench
from monero_escrow.cli.doctor import doctor
from monero_escrow.cli.escrow import escrow_app
from monero_escrow.cli.keys import keys_app
from monero_escrow.cli.migrate_store import migrate_store
from monero_escrow.cli.nodes import nodes_app
from monero_escrow.cli.rescan import rescan
from monero_escrow.cli.run import demo, rehearse, serve
from monero_escrow.cli.top import top

app = App(
    name="monero-escrow",
    help="2-of-3 Monero multisig escrow for shops and marketplaces.",
    version=__version__,
)
app.command(serve)
app.command(demo)
app.command(rehearse)
app.command(bench)
app.command(doctor)
app.command(top)
app.command(check_address)
app.command(keys_app)
app.command(escrow_app)
app.command(audit_app)
app.command(rescan)
app.command(backup)
app.command(restore)
app.command(drill)
app.command(nodes_app)
app.command(migrate_store)
