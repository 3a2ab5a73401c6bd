"""Slots (one monero-wallet-rpc process each) and the leases that hand them to work, never to waiting."""
