"""Three wallets through the key exchange by bare calls, and through a payout: what the service does, without the
service.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.monero.ports import Proposal, SignedSet, WalletOutput
from monero_escrow.monero.wallet_rpc import WalletRpcClient


@dataclass(frozen=True, slots=True)
class Trio:
    """Finished wallets, each open in its process, and what reopens them. The first two do the spending."""

    clients: tuple[WalletRpcClient, ...] = field(repr=False)
    names: tuple[str, ...]
    password: str = field(repr=False)
    address: str

    @property
    def proposer(self) -> WalletRpcClient:
        return self.clients[0]

    @property
    def signer(self) -> WalletRpcClient:
        return self.clients[1]


async def side_by_side(calls: Sequence[Awaitable[str]]) -> list[str]:
    return list(await asyncio.gather(*calls))


def others(values: Sequence[str], index: int) -> list[str]:
    return [value for place, value in enumerate(values) if place != index]


async def make_wallets(clients: Sequence[WalletRpcClient], password: str, network: Network) -> tuple[str, ...]:
    """A plain wallet in each process, made from fresh keys of our own; answers the names."""

    async def make(client: WalletRpcClient) -> str:
        name = f"trio-{secrets.token_hex(6)}"
        keys = WalletKeys.from_entropy(secrets.token_bytes(32), network)
        address = await client.generate_from_keys(
            filename=name,
            password=password,
            address=keys.address,
            spend_key=keys.private_spend_key_hex,
            view_key=keys.private_view_key_hex,
            restore_height=0,
        )
        assert address == keys.address
        return name

    return tuple(await side_by_side([make(client) for client in clients]))


async def prepare_and_make(clients: Sequence[WalletRpcClient], password: str) -> tuple[list[str], list[str]]:
    """The first two rounds; answers both rounds' messages."""
    first = await side_by_side([client.prepare_multisig() for client in clients])
    second = await side_by_side(
        [
            client.make_multisig(others(first, place), threshold=2, password=password)
            for place, client in enumerate(clients)
        ]
    )
    return first, second


async def exchange(
    clients: Sequence[WalletRpcClient], messages: Sequence[str], password: str
) -> tuple[list[str], list[str]]:
    """One further round; answers messages and addresses."""
    answers = await asyncio.gather(
        *(
            client.exchange_multisig_keys(others(messages, place), password=password)
            for place, client in enumerate(clients)
        )
    )
    return [answer.message for answer in answers], [answer.address for answer in answers]


async def make_trio(clients: Sequence[WalletRpcClient], network: Network) -> Trio:
    """From nothing open to three finished wallets."""
    password = secrets.token_hex(8)
    names = await make_wallets(clients, password, network)
    _, second = await prepare_and_make(clients, password)
    third, _ = await exchange(clients, second, password)
    _, addresses = await exchange(clients, third, password)
    assert len(set(addresses)) == 1
    return Trio(tuple(clients), names, password, addresses[0])


async def exchange_info(trio: Trio) -> tuple[int, int]:
    """Refresh proposer and signer, then export, store and import both ways; answers what each import covered."""
    both = (trio.proposer, trio.signer)
    await asyncio.gather(*(client.refresh() for client in both))
    infos = await side_by_side([client.export_multisig_info() for client in both])
    await asyncio.gather(*(client.store() for client in both))
    covered = await asyncio.gather(
        trio.proposer.import_multisig_info([infos[1]]), trio.signer.import_multisig_info([infos[0]])
    )
    return covered[0], covered[1]


async def propose_and_sign(trio: Trio, destinations: Sequence[tuple[str, int]]) -> tuple[Proposal, SignedSet]:
    await exchange_info(trio)
    proposal = await trio.proposer.transfer(destinations, priority=1)
    return proposal, await trio.signer.sign_multisig(proposal.txset)


async def unspent(wallet: WalletRpcClient) -> list[WalletOutput]:
    return [output for output in await wallet.incoming_transfers() if not output.spent]


async def spend_only(wallet: WalletRpcClient, *amounts_piconero: int) -> list[WalletOutput]:
    """Freeze all outputs but those of these amounts; answers what stays free."""
    free = []
    for output in await unspent(wallet):
        assert output.key_image
        if output.amount_piconero in amounts_piconero:
            free.append(output)
            if output.frozen:
                await wallet.thaw(output.key_image)
        elif not output.frozen:
            await wallet.freeze(output.key_image)
    assert len(free) == len(amounts_piconero)
    return free
