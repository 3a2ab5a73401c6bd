"""The three ways from nothing to a shared address that the bench compares, each a page."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from monero_escrow.bench.run import BenchFailedError
from monero_escrow.monero.errors import UnknownMethodError
from monero_escrow.monero.wallet_rpc import WalletRpcClient

_PASSWORD: Final = "bench"  # noqa: S105 - of wallets that are thrown away
_LOOKAHEAD: Final = 1


async def original(wallets: Sequence[WalletRpcClient]) -> str:
    """One call after another, as the original does it, with the round it left out, so that the address is real."""
    run = secrets.token_hex(4)
    for index, wallet in enumerate(wallets):
        await wallet.create_wallet(f"original-{run}-{index}", _PASSWORD)
    prepared = [await wallet.prepare_multisig() for wallet in wallets]
    made = [
        await wallet.make_multisig(_others(prepared, index), threshold=2, password=_PASSWORD)
        for index, wallet in enumerate(wallets)
    ]
    exchanged = [
        await wallet.exchange_multisig_keys(_others(made, index), password=_PASSWORD)
        for index, wallet in enumerate(wallets)
    ]
    messages = [answer.message for answer in exchanged]
    addresses = [
        (await wallet.exchange_multisig_keys(_others(messages, index), password=_PASSWORD)).address
        for index, wallet in enumerate(wallets)
    ]
    for wallet in wallets:
        await wallet.close_wallet()
    return _agreed(addresses)


async def bare(wallets: Sequence[WalletRpcClient]) -> str:
    """The bare calls at their best: side by side, with a small look-ahead, and the gate's reopening and questions."""
    run = secrets.token_hex(4)
    names = [f"bare-{run}-{index}" for index in range(len(wallets))]
    prepared = await asyncio.gather(
        *(_create_and_prepare(wallet, name) for wallet, name in zip(wallets, names, strict=True))
    )
    messages: Sequence[str] = await asyncio.gather(
        *(
            wallet.make_multisig(_others(prepared, index), threshold=2, password=_PASSWORD)
            for index, wallet in enumerate(wallets)
        )
    )
    for _ in range(2):
        answers = await asyncio.gather(
            *(
                wallet.exchange_multisig_keys(_others(messages, index), password=_PASSWORD)
                for index, wallet in enumerate(wallets)
            )
        )
        messages = [answer.message for answer in answers]
    return _agreed(await asyncio.gather(*(_reopen(wallet, name) for wallet, name in zip(wallets, names, strict=True))))


async def _create_and_prepare(wallet: WalletRpcClient, name: str) -> str:
    await wallet.create_wallet(name, _PASSWORD)
    with suppress(UnknownMethodError):  # before 0.18.5
        await wallet.set_subaddress_lookahead(_LOOKAHEAD, _LOOKAHEAD, _PASSWORD)
    return await wallet.prepare_multisig()


async def _reopen(wallet: WalletRpcClient, name: str) -> str:
    await wallet.close_wallet()
    await wallet.open_wallet(name, _PASSWORD)
    status = await wallet.is_multisig()
    if not status.ready:
        raise BenchFailedError("A wallet of the bare flow is not ready after its key exchange.")
    address = await wallet.get_address()
    await wallet.query_key("view_key")
    await wallet.close_wallet()
    return address


def _others(messages: Sequence[str], index: int) -> list[str]:
    return [message for other, message in enumerate(messages) if other != index]


def _agreed(addresses: Sequence[str]) -> str:
    if len(set(addresses)) != 1:
        raise BenchFailedError("The wallets do not agree on an address.")
    return addresses[0]
