"""Real faults: the real programs on a private chain, killed and cut off, and then the books beside the chain.

For development only: nothing of the package imports this. It ends only processes it started itself, by their ids.
"""
