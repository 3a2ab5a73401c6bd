"""What the tests of restoring share: a lost machine's copy, another machine, and what is refused there."""

from __future__ import annotations

from pathlib import Path

import pytest

from monero_escrow.config import Settings, load_settings
from monero_escrow.core.errors import EscrowError
from monero_escrow.escrows.restore import Restored, restore
from monero_escrow.store.backup import make_backup
from monero_escrow.store.opening import open_sqlcipher
from monero_escrow.store.sealing import Sealer, derive_key
from monero_escrow.store.store import SqlStore
from monero_escrow.store.transaction import Transaction
from unit.rows import MASTER_KEY, NETWORK, address, participants

COPIED_AT, NOW = 500.25, 2_000.0
KEY = derive_key(MASTER_KEY, "database")
SEALER = Sealer(derive_key(MASTER_KEY, "sealing"))


def second_machine(tmp_path: Path) -> Settings:
    """Of the machine that is restored to: another folder, and a second place."""
    (tmp_path / "second").mkdir()
    return settings_of(tmp_path / "new", backup_url=f"file://{tmp_path}/second")


def settings_of(folder: Path, **more: object) -> Settings:
    return load_settings(
        **{"monero_network": NETWORK, "db_encryption_key": MASTER_KEY.hex(), "data_dir": folder} | more
    )


def back_up(tmp_path: Path) -> Path:
    file = tmp_path / "copy"
    make_backup(tmp_path / "escrow.db", file, KEY, COPIED_AT)
    return file


async def restored(settings: Settings, file: Path) -> Restored:
    settings.data_dir.mkdir(exist_ok=True)  # whoever holds the folder's lock has made it
    return await restore(settings, file, NOW)


async def refusal(settings: Settings, file: Path) -> EscrowError:
    """What is said; and neither the copy nor anything in the data folder is changed by it."""

    def seen() -> list[tuple[str, bytes]]:
        there = settings.data_dir.iterdir() if settings.data_dir.exists() else ()
        return sorted((path.name, path.read_bytes()) for path in (file, *there))

    before = seen()
    with pytest.raises(EscrowError) as caught:
        await restored(settings, file)
    assert seen() == before
    return caught.value


def reopened(settings: Settings, request: pytest.FixtureRequest) -> SqlStore:
    store = open_sqlcipher(settings.database_path, settings.master_key(), settings.monero_network, migrates=False)
    request.addfinalizer(store.close)
    return store


def add_trio(tx: Transaction, trio_id: str, escrow_id: str | None, *, finished: bool) -> None:
    tx.trios.add(trio_id, escrow_id, 7, 101.0)
    tx.trios.add_hosted(participants(trio_id), 101.0)
    if finished:
        tx.trios.finish(trio_id, address(trio_id), "view key", NETWORK, 102.0)
