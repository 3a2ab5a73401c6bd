"""`make demo`: a private chain, real wallets and three orders taken through the public API."""
