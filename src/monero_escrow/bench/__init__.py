"""The bench: how fast the service is, on real Monero programs where that can be, and beside the original's flow.

Nothing of the service depends on this room. Every figure in docs/benchmarks.md comes out of a file that a run in here
wrote; none is typed by hand.
"""
