"""Look at a process before it is used: is it there, new enough, of our network, free of other people's wallets?

Nothing of anybody else's is touched, and nothing is written. A wallet of our own that an earlier run left open is
closed. The process gets a mark, by which a later restart is noticed.

What an earlier run on this machine sent and did not live to see answered has run by the time a second call is taken
up: the process has one thread. So the first call is for the version alone (tests/conformance/test_instance.py).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from monero_escrow.core.address import Network
from monero_escrow.core.errors import EscrowError
from monero_escrow.core.keys import WalletKeys
from monero_escrow.core.roles import Role
from monero_escrow.fleet.instance import identify
from monero_escrow.fleet.pool import SlotPool
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.errors import MoneroRpcError, NoWalletOpenError, WrongAddressError, WrongPasswordError
from monero_escrow.monero.versions import LEAST_FOR_MAINNET, LEAST_SUPPORTED, ProbedVersion, probe_version


class Ownership(Protocol):
    """What the database knows of wallets that may be found open in a process."""

    async def knows_wallet(self, address: str) -> bool:
        """Whether a wallet with this primary address is one of the service's own."""
        ...

    async def recent_passwords(self, role: Role) -> Sequence[str]:
        """Passwords of the wallets of this role that were opened last, the latest first."""
        ...


@dataclass(frozen=True, slots=True)
class Examination:
    """What a process was found to be, and the primary address of the wallet it has open, if any."""

    probed: ProbedVersion
    open_address: str | None


class SlotUnusableError(EscrowError):
    """The process cannot serve as a slot. It was left as it was."""

    code = "slot_unusable"


async def examine(slot: Slot, network: Network) -> Examination:
    """Look and touch nothing, so also while somebody works. Raises SlotUnusableError, or what the connection says."""
    probed = await probe_version(slot.rpc)
    least = LEAST_FOR_MAINNET if network is Network.MAINNET else LEAST_SUPPORTED
    if probed.at_least < least:
        raise SlotUnusableError(
            f"{slot.name} is older than Monero {least}.",
            what_to_do=f"Install Monero {least} or newer (scripts/get-monero fetches it) and restart the process.",
        )
    try:
        open_address = await slot.rpc.get_address()
    except NoWalletOpenError:
        open_address = None
        await _check_network(slot, network)
    return Examination(probed, open_address)


async def inspect(slot: Slot, network: Network, ownership: Ownership) -> None:
    """Examine a slot nobody holds and make it ready: no wallet open, nothing running by itself."""
    found = await examine(slot, network)
    if found.open_address is not None and not (
        await ownership.knows_wallet(found.open_address) or await _has_our_password(slot, ownership)
    ):
        raise SlotUnusableError(
            f"{slot.name} has a wallet open that is not this service's. It was not touched.",
            what_to_do="Give the service processes of its own: one application a wallet-rpc process.",
        )
    await identify(slot)
    if found.open_address is not None:
        await slot.rpc.close_wallet()
        await _check_network(slot, network)
    await slot.rpc.auto_refresh(False)  # it would run on the one thread, in the middle of our calls
    slot.abilities = found.probed.abilities


async def _has_our_password(slot: Slot, ownership: Ownership) -> bool:
    """Whether the open wallet was left by a set-up or a rebuilding of ours that was interrupted.

    In the middle of one, a wallet shows an address that nobody has stored. But its password is ours and random: only a
    wallet that has it lets it be "changed" to itself, and any other refuses and stays as it is.
    """
    for password in await ownership.recent_passwords(slot.role):
        try:
            await slot.rpc.change_wallet_password(password, password)
        except WrongPasswordError:
            continue
        return True
    return False


async def _check_network(slot: Slot, network: Network) -> None:
    """Ask for a wallet that cannot be: the address is read before the keys, which are none, so nothing is made.

    Source: on_generate_from_keys in Monero's src/wallet/wallet_rpc_server.cpp; tests/conformance pins it.
    """
    address = WalletKeys.from_entropy(secrets.token_bytes(32), network).address
    try:
        await slot.rpc.generate_from_keys(
            filename=f"probe-{secrets.token_hex(8)}",
            password="",
            address=address,
            spend_key="",
            view_key="00",
            restore_height=0,
        )
    except WrongAddressError:
        raise SlotUnusableError(
            f"{slot.name} does not serve {network}.",
            what_to_do="Start the process with the flag of MONERO_NETWORK, or correct MONERO_NETWORK.",
        ) from None
    except MoneroRpcError as error:
        if error.rpc_code != _REFUSED_KEYS:
            raise


_REFUSED_KEYS = -1


async def inspect_all(slots: Iterable[Slot], pool: SlotPool, network: Network, ownership: Ownership) -> None:
    """Look at slots that nobody holds: a bad one is not used, one that was bad and is good again comes back.

    Side by side, for each is another process and a look takes one about a second.
    """

    async def look(slot: Slot) -> None:
        try:
            await inspect(slot, network, ownership)
        except EscrowError as error:
            pool.mark_sick(slot, f"{error.message.rstrip('.')}. {error.what_to_do}")
        else:
            pool.mark_well(slot)

    async with asyncio.TaskGroup() as side_by_side:
        for slot in slots:
            side_by_side.create_task(look(slot))
