"""Monero in memory: a chain, a daemon and wallet-rpc processes that cost nothing and repeat exactly from a seed.

For simulations and fast tests. `tests/conformance` runs the same cases on these and on the real programs; what it does
not pin raises `NotModelledError` instead of being made up. There is no cryptography in it beyond real keys and
addresses: a signature is a note that somebody signed.
"""
