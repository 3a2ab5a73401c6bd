"""The second durable place: what an address's coins need, sealed, on another disk before anyone sees the address.

One file a trio, `TRIO_ID.sealed`, which opens only under the service's own key, for this purpose and this trio. It
holds the order and the three wallets whole: from it alone the escrow is made again, awaiting its deposit. A file is
never changed and never removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from monero_escrow.config import Settings
from monero_escrow.core.errors import EscrowError, UnavailableError
from monero_escrow.core.key_exchange import KeyExchange, Round
from monero_escrow.core.payout import FeeBearer, Terms
from monero_escrow.core.roles import Role
from monero_escrow.store.durable_file import give_name, unfinished
from monero_escrow.store.records import EscrowRecord, ParticipantRecord, TrioRecord, TrioState
from monero_escrow.store.sealing import SealBrokenError, Sealer, derive_key

_PURPOSE = "second place"
_SUFFIX = ".sealed"
_VERSION = 1


class SecondPlaceUnavailableError(UnavailableError):
    """The second durable place did not take the keys of a new address, so nobody was shown the address."""

    code = "second_place_unavailable"
    what_to_do = "Check that the folder BACKUP_URL names is there (its disk mounted), has room and may be written."

    @property
    def public_message(self) -> str:
        """Without the folder."""
        return "The second durable place does not take the keys of a new address."


class SecondPlaceDamagedError(EscrowError):
    """A file in the second place is not what this service put there."""

    code = "second_place_damaged"
    what_to_do = (
        "Check that DB_ENCRYPTION_KEY is this service's, and that no other service uses the folder. "
        "To go on without this file, move it somewhere else, and keep it."
    )


@dataclass(frozen=True, slots=True)
class KeptTrio:
    """A finished trio and the order it was made or claimed for, as they were at `kept_at` (seconds since the epoch)."""

    network: str
    escrow_id: str
    shop_id: str
    order_id: str
    request_fingerprint: str
    terms: Terms
    deposit_window_seconds: float
    created_at: float
    trio: TrioRecord
    view_key: str = field(repr=False)
    kept_at: float = field(compare=False)

    @classmethod
    def of(
        cls, escrow: EscrowRecord, trio: TrioRecord, address: str, view_key: str, *, network: str, now: float
    ) -> KeptTrio:
        """What has to be kept of an escrow and its trio that has just passed the gate with this address."""
        exchange = replace(trio.exchange, addresses=dict.fromkeys(Role, address))
        return cls(
            network=network,
            escrow_id=escrow.id,
            shop_id=escrow.shop_id,
            order_id=escrow.order_id,
            request_fingerprint=escrow.request_fingerprint,
            terms=escrow.terms,
            deposit_window_seconds=escrow.deposit_window_seconds,
            created_at=escrow.created_at,
            trio=replace(trio, state=TrioState.READY, address=address, exchange=exchange),
            view_key=view_key,
            kept_at=now,
        )


class SecondFolder:
    """The second place as a folder on another disk. It is never made: what is not there may be an unmounted disk."""

    def __init__(self, folder: Path, sealer: Sealer) -> None:
        self.folder = folder
        self._sealer = sealer

    def keep(self, kept: KeptTrio) -> None:
        """Durable when this returns; the same once more is the same. Raises SecondPlaceUnavailableError."""
        file = self.folder / f"{kept.trio.id}{_SUFFIX}"
        try:
            if file.exists():
                self._require_same(file, kept)
                return
            with unfinished(file) as fresh:
                fresh.write_bytes(self._sealer.seal(_PURPOSE, kept.trio.id, _as_text(kept)))
                give_name(fresh, file)
        except OSError as error:
            raise SecondPlaceUnavailableError(f"BACKUP_URL cannot be written: {error.strerror}.") from None

    def _require_same(self, file: Path, kept: KeptTrio) -> None:
        if self._read(file) != kept:
            raise SecondPlaceDamagedError(f"{file.name} in BACKUP_URL holds something else than this trio.")

    def all(self) -> Iterator[KeptTrio]:
        """Everything that was kept. Raises SecondPlaceUnavailableError, SecondPlaceDamagedError."""
        try:
            names = sorted(name for name in os.listdir(self.folder) if name.endswith(_SUFFIX))
            for name in names:
                yield self._read(self.folder / name)
        except OSError as error:
            raise SecondPlaceUnavailableError(f"BACKUP_URL cannot be read: {error.strerror}.") from None

    def _read(self, file: Path) -> KeptTrio:
        try:
            return _from_text(file.stem, self._sealer.open(_PURPOSE, file.stem, file.read_bytes()))
        except (SealBrokenError, ValueError, KeyError, TypeError):
            raise SecondPlaceDamagedError(f"{file.name} in BACKUP_URL cannot be opened.") from None


def second_place(settings: Settings) -> SecondFolder | None:
    """The second place that BACKUP_URL names, if it is set."""
    folder = settings.second_place_folder
    return None if folder is None else SecondFolder(folder, Sealer(derive_key(settings.master_key(), "sealing")))


def trouble_with(settings: Settings) -> str | None:
    """Why the second place would not keep anything, or nothing that outlives the first, as a sentence."""
    folder = settings.second_place_folder
    if folder is None:
        return None
    try:
        device = folder.stat().st_dev
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            return f"{folder} is no folder that may be written."
        if settings.data_dir.exists() and settings.data_dir.stat().st_dev == device:
            return f"{folder} lies on the same file system as DATA_DIR: one broken disk loses both."
    except OSError as error:
        return f"{folder} cannot be used: {error.strerror}."
    return None


def _as_text(kept: KeptTrio) -> str:
    trio = kept.trio
    return json.dumps(
        {
            "version": _VERSION,
            "network": kept.network,
            "escrow_id": kept.escrow_id,
            "shop_id": kept.shop_id,
            "order_id": kept.order_id,
            "request_fingerprint": kept.request_fingerprint,
            "terms": asdict(kept.terms) | {"amount_piconero": str(kept.terms.amount_piconero)},
            "deposit_window_seconds": kept.deposit_window_seconds,
            "created_at": kept.created_at,
            "kept_at": kept.kept_at,
            "restore_height": trio.restore_height,
            "address": trio.finished_address,
            "view_key": kept.view_key,
            "participants": {role: _participant_as_json(person) for role, person in trio.participants.items()},
            "messages": [[role, int(made), message] for (made, role), message in trio.exchange.messages.items()],
        }
    )


def _participant_as_json(person: ParticipantRecord) -> dict[str, str]:
    return {
        "filename": person.filename,
        "primary_address": person.primary_address,
        "password": person.password,
        "spend_key": person.spend_key,
    }


def _from_text(trio_id: str, text: str) -> KeptTrio:
    """ValueError, KeyError or TypeError for what is no such text."""
    content: dict[str, Any] = json.loads(text)
    if content["version"] != _VERSION:
        raise ValueError("a later version's")
    terms = content["terms"]
    address = content["address"]
    people = {Role(role): ParticipantRecord(trio_id, Role(role), **it) for role, it in content["participants"].items()}
    messages = {(Round(made), Role(role)): message for role, made, message in content["messages"]}
    return KeptTrio(
        network=content["network"],
        escrow_id=content["escrow_id"],
        shop_id=content["shop_id"],
        order_id=content["order_id"],
        request_fingerprint=content["request_fingerprint"],
        terms=Terms(
            **terms | {"amount_piconero": int(terms["amount_piconero"]), "fee_bearer": FeeBearer(terms["fee_bearer"])}
        ),
        deposit_window_seconds=content["deposit_window_seconds"],
        created_at=content["created_at"],
        trio=TrioRecord(
            id=trio_id,
            escrow_id=content["escrow_id"],
            state=TrioState.READY,
            restore_height=content["restore_height"],
            address=address,
            participants=people,
            exchange=KeyExchange(messages, dict.fromkeys(Role, address)),
        ),
        view_key=content["view_key"],
        kept_at=content["kept_at"],
    )
