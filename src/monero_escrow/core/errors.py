"""What every error here has: a stable code, a sentence for the person, and what to do next.

The web turns them into RFC 9457 problem details and the command line into two lines; neither adds meaning of its own.
A message never carries a secret or a full address: it may end up in a log.
"""

from __future__ import annotations

from typing import ClassVar


class EscrowError(Exception):
    """Base of every error a caller may see.

    `code` is stable: programs may test for it. `what_to_do` is a sentence for the person who reads the error.
    """

    code: ClassVar[str] = "error"
    what_to_do: str = "Read the message; if it does not help, look at the service's log."

    def __init__(self, message: str, *, what_to_do: str | None = None) -> None:
        super().__init__(message)
        if what_to_do is not None:
            self.what_to_do = what_to_do

    @property
    def message(self) -> str:
        """The sentence that says what went wrong."""
        return str(self)

    @property
    def public_message(self) -> str:
        """The same for those who must not learn where the service's own processes are."""
        return self.message


class InvalidInputError(EscrowError):
    """What the caller sent cannot be accepted; nothing was changed."""

    code = "invalid_input"
    what_to_do = "Correct the request and send it again."


class ConflictError(EscrowError):
    """The request contradicts what is already recorded; nothing was changed."""

    code = "conflict"
    what_to_do = "Read the escrow's current state and decide anew."


class NotFoundError(EscrowError):
    """There is no such thing, or it is not the caller's to see."""

    code = "not_found"
    what_to_do = "Check the identifier."


class UnavailableError(EscrowError):
    """Something the service depends on does not answer at the moment; the work is kept and goes on later."""

    code = "unavailable"
    what_to_do = "Try again later; nothing was lost."


class InvariantError(EscrowError):
    """Something that must always hold did not. Work on the escrow stops for a person."""

    code = "invariant_broken"
    what_to_do = "Do not retry. Keep the logs and the database as they are and read docs/architecture.md."
