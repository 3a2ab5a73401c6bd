"""Search for secrets in everything that leaves: in every form they could take, and sixteen bytes of one are enough."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_from_bytes

WINDOW_BYTES = 16
# A piece with fewer different bytes, such as a run of zeros, stands everywhere and is nobody's secret.
_FEWEST_DIFFERENT_BYTES = 6
# What Monero writes at the head of every transaction set (src/wallet/wallet2.cpp).
_NOBODYS = b"Monero multisig unsigned tx set"
# Of what is longer every sixteenth piece will do: whoever writes 31 bytes of it in a row writes a whole one.
_LONGEST_WITH_EVERY_PIECE = 256


class Needles:
    """The pieces of all secrets, in all their forms: which secret each gives away."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """`secrets` are texts by their names, which say what they are. Raises ValueError for one too short to find."""
        self._secret_of: dict[bytes, str] = {}
        self.secrets = len(secrets)
        for name, secret in secrets.items():
            pieces = {piece for form in forms(secret) for piece in _pieces(form)}
            if not pieces:
                raise ValueError(f"The {name} is too short to be searched for.")
            self._secret_of |= dict.fromkeys(pieces, name)

    def __len__(self) -> int:
        return len(self._secret_of)

    def found_in(self, place: bytes) -> dict[str, bytes]:
        """The names of the secrets of which a piece stands in these bytes, each with such a piece."""
        known, width = self._secret_of, WINDOW_BYTES
        windows = (place[at : at + width] for at in range(len(place) - width + 1))
        return {known[window]: window for window in windows if window in known}


def forms(secret: str) -> Iterator[bytes]:
    """A secret as text and as the bytes it stands for, if it is hex; of both the base64 and URL-encoded forms."""
    text = secret.encode()
    yield text
    yield quote(secret, safe="").encode()
    yield from _in_base64(text)
    raw = _bytes_of_hex(secret)
    if raw is None:
        yield text.hex().encode()
        return
    yield raw
    yield text.upper()
    yield quote_from_bytes(raw, safe="").encode()
    yield repr(raw).encode()[2:-1]
    yield from _in_base64(raw)


def _in_base64(data: bytes) -> Iterator[bytes]:
    for skipped in range(3):  # base64 looks different at each place within its groups of three bytes
        plain = base64.b64encode(data[skipped : len(data) - (len(data) - skipped) % 3])
        yield plain
        yield plain.translate(bytes.maketrans(b"+/", b"-_"))


def _bytes_of_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _pieces(form: bytes) -> Iterable[bytes]:
    step = 1 if len(form) <= _LONGEST_WITH_EVERY_PIECE else WINDOW_BYTES
    windows = (form[at : at + WINDOW_BYTES] for at in range(0, len(form) - WINDOW_BYTES + 1, step))
    return (window for window in windows if len(set(window)) >= _FEWEST_DIFFERENT_BYTES and window not in _NOBODYS)
