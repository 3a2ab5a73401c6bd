"""Reading the fields of an answer with their types checked.

Whatever listens on a port may answer anything. A field that is missing or has another type is `NotMoneroError`, which
names the field and never its value. Monero leaves empty arrays, and some optional fields, out of its answers: those
have a default.
"""

from __future__ import annotations

from typing import Final, NoReturn, TypeGuard

from monero_escrow.monero.errors import NotMoneroError

_UINT64_MAX: Final = 2**64 - 1
_HEX_DIGITS: Final = frozenset("0123456789abcdef")


class Fields:
    """One JSON object of an answer. Unsigned integers are all that Monero sends; nothing here is ever a float."""

    __slots__ = ("_method", "_url", "_values")

    def __init__(self, url: str, method: str, values: object) -> None:
        self._url = url
        self._method = method
        if not isinstance(values, dict):
            self._wrong("the answer", "an object")
        self._values: dict[str, object] = values

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str):
            self._wrong(name, "text")
        return value

    def hexadecimal(self, name: str, lengths: tuple[int, ...]) -> str:
        """Lower-case hexadecimal digits, as many as one of `lengths` says."""
        value = self.text(name)
        if len(value) not in lengths or not set(value) <= _HEX_DIGITS:
            self._wrong(name, "hexadecimal of the right length")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            self._wrong(name, "true or false")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """An unsigned integer of at most 64 bits."""
        value = self._values.get(name, default)
        if not _is_unsigned(value):
            self._wrong(name, "an unsigned integer")
        return value

    def signed(self, name: str) -> int:
        """An integer with a sign: only error codes have one."""
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            self._wrong(name, "an integer")
        return value

    def inner(self, name: str) -> Fields:
        """A nested object."""
        if not isinstance(self._values.get(name), dict):
            self._wrong(name, "an object")
        return Fields(self._url, self._method, self._values[name])

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; absent means empty."""
        return [Fields(self._url, self._method, entry) for entry in self._list(name)]

    def texts(self, name: str) -> list[str]:
        """A list of texts; absent means empty."""
        entries = self._list(name)
        texts = [entry for entry in entries if isinstance(entry, str)]
        if len(texts) != len(entries):
            self._wrong(name, "a list of texts")
        return texts

    def integers(self, name: str) -> list[int]:
        """A list of unsigned integers; absent means empty."""
        entries = self._list(name)
        integers = [entry for entry in entries if _is_unsigned(entry)]
        if len(integers) != len(entries):
            self._wrong(name, "a list of unsigned integers")
        return integers

    def _list(self, name: str) -> list[object]:
        value = self._values.get(name, [])
        if not isinstance(value, list):
            self._wrong(name, "a list")
        return value

    def _wrong(self, name: str, expected: str) -> NoReturn:
        raise NotMoneroError(self._url, self._method, f"{name} is not {expected}")


def _is_unsigned(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _UINT64_MAX
