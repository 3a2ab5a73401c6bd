"""Logs that say what happened and never a secret."""
