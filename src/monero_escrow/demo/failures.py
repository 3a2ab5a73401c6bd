"""How the demo fails: with the step that failed, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from monero_escrow.core.errors import EscrowError


class DemoFailedError(EscrowError):
    """A step of the demo failed. `step` says which, the message why."""

    code = "demo_failed"

    def __init__(self, step: str, message: str, what_to_do: str) -> None:
        super().__init__(message, what_to_do=what_to_do)
        self.step = step


@contextmanager
def step(what: str) -> Iterator[None]:
    """Name the step in which something went wrong; the innermost name wins."""
    try:
        yield
    except DemoFailedError:
        raise
    except EscrowError as error:
        raise DemoFailedError(what, error.message, error.what_to_do) from error
    except (OSError, ValueError, RuntimeError) as error:
        message = f"{type(error).__name__}: {error}"
        raise DemoFailedError(what, message, "Read the ends of the logs, and run the demo again.") from error


def first_failure(error: BaseException) -> DemoFailedError | None:
    """The failure inside an exception, also where several tasks ended together; None when there is none."""
    if isinstance(error, DemoFailedError):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := first_failure(inner))), None)
    return None
