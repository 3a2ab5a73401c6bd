"""What the real programs do, pinned: the same cases will hold the fake to it."""
