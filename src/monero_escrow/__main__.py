"""`python -m monero_escrow` is the `monero-escrow` command."""

from monero_escrow.cli import main

main()
