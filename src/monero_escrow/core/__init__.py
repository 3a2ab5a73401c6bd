"""Decisions only: what to do next, given what is known. No I/O, no clock, no randomness in this room."""
