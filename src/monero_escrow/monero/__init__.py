"""All that is said to Monero: wallet-rpc and daemon clients, their errors, versions, and child processes."""
