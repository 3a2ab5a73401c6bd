"""No audit row, no signature: where the trail cannot be written, work pauses, says so, and goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3.dbapi2 as sqlcipher
from sqlalchemy import Engine, event

from monero_escrow.core.life_cycle import State
from monero_escrow.escrows.decide import release
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.waiting import until
from monero_escrow.store.audit_verify import verify
from monero_escrow.store.store import DatabaseBusyError, SqlStore
from unit.fake_service import Town, payout_is, settings_of, view

_LIMIT_SECONDS = 30.0


@contextmanager
def full_for_audit_rows(engine: Engine) -> Iterator[None]:
    """There is no room for another row of the trail, and room for all else."""

    def refuse(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("INSERT INTO audit "):
            raise sqlcipher.OperationalError("database or disk is full")

    event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", refuse)


async def test_with_no_room_for_audit_rows_nothing_is_signed_and_the_escrow_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[str] = []
    sign = FakeWalletRpc.sign_multisig

    async def counted(self: FakeWalletRpc, *args: Any, **how: Any) -> Any:
        signed.append(self.url)
        return await sign(self, *args, **how)

    monkeypatch.setattr(FakeWalletRpc, "sign_multisig", counted)
    town = Town()
    processes = town.processes()
    async with town.service(settings_of(tmp_path, processes), processes) as conductor:
        store = conductor.ctx.store
        assert isinstance(store, SqlStore)
        escrow_id = await town.funded(conductor)
        # Decided while there was room
        with full_for_audit_rows(store._engine):
            with pytest.raises(DatabaseBusyError, match="disk is full"):
                await store.write(await release(conductor.ctx, escrow_id, "shop:test"))
            assert (await view(conductor, escrow_id)).escrow.state is State.FUNDED, "no row, no decision"
        await store.write(await release(conductor.ctx, escrow_id, "shop:test"))
        with full_for_audit_rows(store._engine):
            conductor.nudge(escrow_id)

            async def says_why() -> bool:
                return "disk is full" in (await view(conductor, escrow_id)).waits_for

            await until(says_why, limit_seconds=_LIMIT_SECONDS)
            assert signed == []
            assert "It is tried again" in (await view(conductor, escrow_id)).waits_for

        conductor.nudge(escrow_id)
        await until(_is_signed(signed), limit_seconds=_LIMIT_SECONDS)
        story = (await payout_is(conductor, escrow_id, "signed", "broadcast")).history
        assert "payout_to_be_signed" in [row.action for row in story]
        assert (await store.read(verify)).troubles == []


def _is_signed(signed: list[str]) -> Any:
    async def look() -> bool:
        return bool(signed)

    return look
