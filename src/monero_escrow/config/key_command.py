"""The database's key from a command of the operator's: a password store, a smart card, a vault's own client.

The command runs without a shell, with nothing on its standard input, for a limited time, and once a process: health
checks and reloads do not ask a person for a PIN again. What it prints is the key, and so is never logged and in no
error; nor is what it says on standard error, for who knows what that tells.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from functools import lru_cache
from typing import Final

from monero_escrow.core.errors import InvalidInputError

LIMIT_SECONDS: Final = 30.0
_MOST_CHARACTERS: Final = 4096


class KeyCommandError(InvalidInputError):
    """The command gave no key. The message says how it ended, never what it printed."""

    code = "key_command"
    what_to_do = (
        "Run DB_ENCRYPTION_KEY_COMMAND by hand, as the service's user: it must print the key, 64 hex digits or "
        "base64, and nothing else, and end with 0."
    )


@lru_cache(maxsize=1)
def key_printed_by(command: str, limit_seconds: float = LIMIT_SECONDS) -> str:
    """What the command prints, without white space around it; asked once. Raises KeyCommandError."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise KeyCommandError("DB_ENCRYPTION_KEY_COMMAND has a quote without its end.") from None
    if not words:
        raise KeyCommandError("DB_ENCRYPTION_KEY_COMMAND is empty.")
    try:
        child = subprocess.Popen(  # in a session of its own: what it starts can be ended with it
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise KeyCommandError(f"DB_ENCRYPTION_KEY_COMMAND cannot be started: {error.strerror}.") from None
    with child:
        try:
            printed, _ = child.communicate(timeout=limit_seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise KeyCommandError(f"DB_ENCRYPTION_KEY_COMMAND did not end within {limit_seconds:g} s.") from None
    if child.returncode != 0:
        raise KeyCommandError(f"DB_ENCRYPTION_KEY_COMMAND ended with {child.returncode}.")
    if len(printed) > _MOST_CHARACTERS:
        raise KeyCommandError("DB_ENCRYPTION_KEY_COMMAND printed much more than a key.")
    return printed.decode("ascii", errors="replace").strip()
