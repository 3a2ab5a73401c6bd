"""`monero-escrow keys`: API keys, shown once when made."""

from __future__ import annotations

import json
import re
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from monero_escrow.cli.database import actor, in_database
from monero_escrow.cli.options import Json
from monero_escrow.core.errors import InvalidInputError
from monero_escrow.core.words import moment
from monero_escrow.store.records import ApiKeyRecord, Scope
from monero_escrow.store.transaction import Transaction

keys_app = App(name="keys", help="Make, list, rotate and revoke API keys.")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DAY_SECONDS = 86_400
_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": _DAY_SECONDS}


@keys_app.command
def create(
    *,
    scope: Scope,
    shop: str | None = None,
    name: str | None = None,
    days: Annotated[float | None, Parameter(help="How long the key is valid; without it, until revoked.")] = None,
    json_output: Json = False,
) -> None:
    """Make a key and show it, this once.

    Parameters
    ----------
    scope
        What it may do: shop (orders of one shop), arbiter (rulings), operator (look at everything, run the fleet,
        settle held payouts; decide no split).
    shop
        The shop it belongs to; needed for scope shop.
    name
        What it is for, as `keys list` and the history show it.
    """
    if (scope is Scope.SHOP) != (shop is not None):
        raise InvalidInputError(
            "A shop key needs --shop, and no other key has one.", what_to_do="See `keys create --help`."
        )
    for text in (shop, name):
        if text is not None and not _NAME.fullmatch(text):
            raise InvalidInputError(
                "Shop and name are 1 to 64 letters, digits and . _ -.", what_to_do="Choose another."
            )
    _check_days(days)

    def make(tx: Transaction) -> tuple[ApiKeyRecord, str]:
        now = tx.nodes.now()
        expires_at = None if days is None else now + days * _DAY_SECONDS
        record, key = tx.keys.create(scope, shop, name or shop or scope.value, now, expires_at)
        tx.audit.add(actor(), "key_created", now, detail={"key_id": record.id, "scope": scope.value, "shop": shop})
        return record, key

    record, key = in_database(make, writes=True, makes=True)
    if json_output:
        print(json.dumps({"id": record.id, "scope": record.scope, "shop": record.shop_id, "key": key}))
    else:
        print(key)
        Console(stderr=True).print(f"Key {record.id} ({record.scope}). It is shown only this once: keep it safe.")


@keys_app.command(name="list")
def list_keys(*, json_output: Json = False) -> None:
    """Show every key's id, scope and dates; never a key itself."""
    keys = in_database(lambda tx: tx.keys.all())
    if json_output:
        rows = [
            {
                "id": key.id,
                "scope": key.scope,
                "shop": key.shop_id,
                "name": key.name,
                "created_at": moment(key.created_at),
                "expires_at": moment(key.expires_at, ""),
                "revoked_at": moment(key.revoked_at, ""),
                "last_used_at": moment(key.last_used_at, ""),
            }
            for key in keys
        ]
        print(json.dumps(rows))
        return
    table = Table("id", "scope", "shop", "name", "created", "expires", "revoked", "last used")
    for key in keys:
        table.add_row(
            key.id,
            key.scope,
            key.shop_id or "",
            key.name,
            moment(key.created_at),
            moment(key.expires_at, ""),
            moment(key.revoked_at, ""),
            moment(key.last_used_at, ""),
        )
    Console().print(table)


@keys_app.command
def rotate(
    key_id: str,
    /,
    *,
    overlap: Annotated[str, Parameter(help="How long the old key is good still, as 30m, 24h or 7d; 0s: no longer.")],
    days: Annotated[float | None, Parameter(help="How long the new key is valid; as long as the old one was.")] = None,
    json_output: Json = False,
) -> None:
    """Make a key like this one and show it, this once; the old one expires when the overlap ends.

    Give the new key to whoever has the old one while both are good. Sessions of the old key end with it.
    """
    overlap_seconds = _seconds(overlap)
    _check_days(days)

    def change(tx: Transaction) -> tuple[ApiKeyRecord, str, float | None]:
        now = tx.nodes.now()
        expires_at = None if days is None else now + days * _DAY_SECONDS
        record, key = tx.keys.rotate(key_id, now, overlap_seconds, expires_at)
        old_ends_at = next(old.expires_at for old in tx.keys.all() if old.id == key_id)
        detail = {"key_id": key_id, "new_key_id": record.id, "scope": record.scope.value, "shop": record.shop_id}
        tx.audit.add(actor(), "key_rotated", now, detail={**detail, "old_expires_at": moment(old_ends_at, "")})
        return record, key, old_ends_at

    record, key, old_ends_at = in_database(change, writes=True)
    if json_output:
        shown = {"id": record.id, "scope": record.scope, "shop": record.shop_id, "key": key}
        print(json.dumps({**shown, "replaces": key_id, "old_expires_at": moment(old_ends_at, "")}))
        return
    print(key)
    told = f"Key {record.id} ({record.scope}). It is shown only this once. Key {key_id} opens nothing after "
    Console(stderr=True).print(f"{told}{moment(old_ends_at, '')}.")


@keys_app.command
def revoke(key_id: str, /) -> None:
    """Make a key worthless, at once."""

    def end(tx: Transaction) -> None:
        now = tx.nodes.now()
        tx.keys.revoke(key_id, now)
        tx.audit.add(actor(), "key_revoked", now, detail={"key_id": key_id})

    in_database(end, writes=True)
    print(f"Key {key_id} opens nothing any more.")


def _check_days(days: float | None) -> None:
    if days is not None and days <= 0:
        raise InvalidInputError(
            "--days must be more than 0.", what_to_do="Leave it out for a key that does not expire."
        )


def _seconds(duration: str) -> float:
    """Of "30m", "24h", "7d". Raises InvalidInputError."""
    found = _DURATION.fullmatch(duration.strip())
    if found is None:
        raise InvalidInputError("--overlap is no duration.", what_to_do="Write it as 30m, 24h or 7d.")
    return int(found[1]) * _UNIT_SECONDS[found[2]]
