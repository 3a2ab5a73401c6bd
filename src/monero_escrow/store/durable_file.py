"""Files that are there whole or not at all: written under another name, flushed to the disk, and only then named.

A file's own name never stands for half a file, whatever happens in between. What a killed program left under the other
name is removed by whoever writes into the folder next.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from monero_escrow.core.errors import EscrowError

_SUFFIX = ".unfinished"
_SIDE_FILES = ("", "-journal", "-wal", "-shm")  # what SQLite may put beside a database
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class ExportFailedError(EscrowError):
    """Nothing was written, and nothing of it was left behind."""

    code = "export_failed"
    what_to_do = "Name a new file in a folder that is there, may be written and has room; nothing is ever replaced."


@contextmanager
def new_text_file(final: Path, *, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A new text file of mode 0600, with line ends as they are written. It has its name once all is in it.

    Raises ExportFailedError, also for what is there already.
    """
    try:
        with unfinished(final) as path:
            with path.open("w", encoding=encoding, newline="") as out:
                yield out
            give_name(path, final)
    except OSError as error:
        raise ExportFailedError(f"{final} cannot be written: {error.strerror}.") from None


@contextmanager
def unfinished(final: Path) -> Iterator[Path]:
    """A new, empty file of mode 0600 in the folder of `final`, under another name. Gone at the end unless named.

    Whoever writes it holds a lock on it, which dies with its process. Raises OSError.
    """
    _remove_left_behind(final.parent)
    path, descriptor = _new_locked(final)
    try:
        yield path
    finally:
        _remove(path)
        os.close(descriptor)


def give_name(path: Path, final: Path) -> None:
    """Flush the file and its folder to the disk, and call it `final`. Raises FileExistsError: nothing is replaced."""
    _sync(path)
    try:
        os.link(path, final)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _rename(path, final)  # a file system without hard links, such as a memory stick's
    else:
        path.unlink()
    _sync(final.parent)


def _rename(path: Path, final: Path) -> None:
    if final.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
    path.rename(final)


def _new_locked(final: Path) -> tuple[Path, int]:
    while True:
        path = final.with_name(f".{final.name}.{secrets.token_hex(4)}{_SUFFIX}")
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)  # between the two calls somebody took it for one that was left behind


def _remove_left_behind(folder: Path) -> None:
    """Files of writers that are no more: nobody holds their lock."""
    for path in folder.glob(f".*{_SUFFIX}"):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            continue  # gone meanwhile, or somebody else's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    for suffix in _SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
