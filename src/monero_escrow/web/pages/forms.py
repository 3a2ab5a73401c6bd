"""What a browser's form sends, read without guessing, and the proof that it was our own page that sent it.

The cookie alone proves nothing, for the browser adds it to whatever is sent here. SameSite=Strict keeps other sites'
requests without it; the Origin and a token that only our pages contain are the second and the third lock.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request

from monero_escrow.core.errors import EscrowError, InvalidInputError

TOKEN_FIELD: Final = "form_token"  # noqa: S105  a field's name
_MOST_FIELDS: Final = 50


class ForeignFormError(EscrowError):
    """The form was not sent by a page of this service, or by one from before a new sign-in."""

    code = "foreign_form"
    what_to_do = "Open the page anew and send the form from there. Nothing was changed."


class UnreadableFormError(InvalidInputError):
    """The body is no form."""

    code = "unreadable_form"
    what_to_do = "Send the form from its page."


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, each with its last value."""

    fields: dict[str, str]

    def text(self, name: str, longest: int = 4_000) -> str:
        """A field without blanks around it; empty if it was left out. Raises InvalidInputError when it is too long."""
        value = self.fields.get(name, "").strip()
        if len(value) > longest:
            raise InvalidInputError(f"The field {name} takes at most {longest} characters.")
        return value

    def one_of(self, name: str, *known: str) -> str:
        """A field that says one of these. Raises InvalidInputError."""
        value = self.text(name, longest=100)
        if value not in known:
            raise InvalidInputError(f"The field {name} takes {' or '.join(known)}.")
        return value

    def whole_number(self, name: str, least: int, most: int) -> int:
        """A field that is a whole number within these limits. Raises InvalidInputError."""
        value = self.text(name, longest=20)
        if not (value.isascii() and value.isdecimal() and least <= int(value) <= most):
            raise InvalidInputError(f"The field {name} takes a whole number from {least} to {most}.")
        return int(value)


async def read_form(request: Request) -> Form:
    """The form in a request's body, which `BodyLimit` has bounded. Raises UnreadableFormError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise UnreadableFormError("The request holds no form.")
    try:
        text = (await request.body()).decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise UnreadableFormError("The form cannot be read.") from None
    return Form(dict(pairs))


def require_own_origin(request: Request) -> None:
    """Raise ForeignFormError if the browser says that another site's page sent this.

    By the host alone: a proxy in front of the service may have taken the encryption off. What is no browser says
    nothing, and is left to the token.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise ForeignFormError("The form was sent by a page of another site.")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForeignFormError("The form was sent by a page of another site.")


def require_token(form: Form, expected: str) -> None:
    """Raise ForeignFormError unless the form holds the token of this session."""
    sent = form.fields.get(TOKEN_FIELD, "")
    if not hmac.compare_digest(sent.encode("utf-8", "replace"), expected.encode()):
        raise ForeignFormError("The form holds no valid token.")
