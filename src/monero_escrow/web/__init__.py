"""The HTTP API: authentication, limits, and the shapes callers see. Decides nothing about money."""
