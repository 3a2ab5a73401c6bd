"""Three wallets through the key exchange by bare calls, and through a payout: what the service does, without the
service.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from conformance.subjects import WalletProcess
from monero_escrow.core.address import Network
from monero_escrow.core.keys import WalletKeys
from monero_escrow.monero.ports import Proposal, SignedSet, WalletOutput, WalletRpc

PASSWORD = "the trio's"


@dataclass(frozen=True, slots=True)
class Trio:
    """Finished wallets, each open in its process, and all that rebuilds them. The first two do the spending."""

    processes: tuple[WalletProcess, ...] = field(repr=False)
    names: tuple[str, ...]
    keys: tuple[WalletKeys, ...] = field(repr=False)
    messages: tuple[list[str], list[str], list[str]] = field(repr=False)
    address: str

    @property
    def proposer(self) -> WalletRpc:
        return self.processes[0].client

    @property
    def signer(self) -> WalletRpc:
        return self.processes[1].client

    @property
    def third(self) -> WalletRpc:
        """The one who takes no part in spending."""
        return self.processes[2].client


async def side_by_side(calls: Sequence[Awaitable[str]]) -> list[str]:
    return list(await asyncio.gather(*calls))


def others(values: Sequence[str], index: int) -> list[str]:
    return [value for place, value in enumerate(values) if place != index]


def fresh_keys(network: Network) -> WalletKeys:
    return WalletKeys.from_entropy(secrets.token_bytes(32), network)


async def make_wallet(client: WalletRpc, keys: WalletKeys, *, name: str | None = None) -> str:
    """A plain wallet from keys of our own, open in the process; answers its name."""
    name = name or f"trio-{secrets.token_hex(6)}"
    address = await client.generate_from_keys(
        filename=name,
        password=PASSWORD,
        address=keys.address,
        spend_key=keys.private_spend_key_hex,
        view_key=keys.private_view_key_hex,
        restore_height=0,
    )
    assert address == keys.address
    return name


async def prepare_and_make(clients: Sequence[WalletRpc]) -> tuple[list[str], list[str]]:
    """The first two rounds; answers both rounds' messages."""
    first = await side_by_side([client.prepare_multisig() for client in clients])
    second = await side_by_side(
        [
            client.make_multisig(others(first, place), threshold=2, password=PASSWORD)
            for place, client in enumerate(clients)
        ]
    )
    return first, second


async def exchange(clients: Sequence[WalletRpc], messages: Sequence[str]) -> tuple[list[str], list[str]]:
    """One further round; answers messages and addresses."""
    answers = await asyncio.gather(
        *(
            client.exchange_multisig_keys(others(messages, place), password=PASSWORD)
            for place, client in enumerate(clients)
        )
    )
    return [answer.message for answer in answers], [answer.address for answer in answers]


async def make_trio(processes: Sequence[WalletProcess], network: Network) -> Trio:
    """From nothing open to three finished wallets."""
    clients = [process.client for process in processes]
    keys = tuple(fresh_keys(network) for _ in clients)
    names = await side_by_side([make_wallet(client, own) for client, own in zip(clients, keys, strict=True)])
    first, second = await prepare_and_make(clients)
    third, early = await exchange(clients, second)
    _, addresses = await exchange(clients, third)
    assert early == ["", "", ""]
    assert len(set(addresses)) == 1
    return Trio(tuple(processes), tuple(names), keys, (first, second, third), addresses[0])


async def replay(client: WalletRpc, trio: Trio, place: int) -> None:
    """Rebuild one of the trio's wallets on any process with nothing open, from its keys and the kept messages."""
    first, second, third = trio.messages
    await make_wallet(client, trio.keys[place])
    await client.prepare_multisig()
    await client.make_multisig(others(first, place), threshold=2, password=PASSWORD)
    await client.exchange_multisig_keys(others(second, place), password=PASSWORD)
    finished = await client.exchange_multisig_keys(others(third, place), password=PASSWORD)
    assert finished.address == trio.address


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


async def unspent(wallet: WalletRpc) -> list[WalletOutput]:
    return [output for output in await wallet.incoming_transfers() if not output.spent]


async def spend_only(wallet: WalletRpc, *amounts_piconero: int) -> list[WalletOutput]:
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
