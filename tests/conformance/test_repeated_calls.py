"""What `calls.py` says of a call that is made again after it was done: harmless, or refused in just that way.

Whoever does not know whether a call ran goes by that table; so every row of it is tried, on the fake and on the
programs, and a row that nobody tries fails the last test.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from conformance.subjects import Chain, OfflineProcesses, Subject
from conformance.trio import PASSWORD, Trio, exchange_info, fresh_keys, make_wallet, others, spend_only
from monero_escrow.core.address import Network
from monero_escrow.monero.calls import DAEMON_CALLS, WALLET_CALLS, Again, Call
from monero_escrow.monero.daemon import DaemonClient
from monero_escrow.monero.errors import MoneroRpcError
from monero_escrow.monero.ports import Daemon, KeyImageStatus
from monero_escrow.monero.private_chain import COINS_LOCK_BLOCKS
from monero_escrow.monero.versions import abilities_of
from monero_escrow.monero.wallet_rpc import WalletRpcClient

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

XMR = 10**12
DEPOSIT = 7 * XMR + 77  # in no other module

Ask = Callable[[Any], Awaitable[object]]

# On a plain wallet; each answers the same both times.
SAME_ANSWER: Final[dict[str, Ask]] = {
    "get_version": lambda rpc: rpc.get_version(),
    "set_log_categories": lambda rpc: rpc.mark_instance("escrow.777777777777"),
    "auto_refresh": lambda rpc: rpc.auto_refresh(False),
    "store": lambda rpc: rpc.store(),
    "change_wallet_password": lambda rpc: rpc.change_wallet_password(PASSWORD, PASSWORD),
    "get_address": lambda rpc: rpc.get_address(),
    "get_height": lambda rpc: rpc.get_height(),
    "query_key": lambda rpc: rpc.query_key("view_key"),
    "is_multisig": lambda rpc: rpc.is_multisig(),
    "get_balance": lambda rpc: rpc.get_balance(),
    "incoming_transfers": lambda rpc: rpc.incoming_transfers(),
}
# Each answers something else, which changes nothing for those who have the first answer, or nobody has it.
FRESH_ANSWER: Final[dict[str, Ask]] = {
    "prepare_multisig": lambda rpc: rpc.prepare_multisig(),
    "create_address": lambda rpc: rpc.create_address(),
}
ONLY_SINCE_0_18_5: Final = {"set_subaddress_lookahead"}
ONLY_REAL: Final = {"make_integrated_address", "get_transaction_pool"}
OF_THE_DAEMON: Final[dict[str, Ask]] = {
    "get_info": lambda daemon: daemon.get_info(),
    "get_last_block_header": lambda daemon: daemon.get_last_block_header(),
    "get_block_header_by_height": lambda daemon: daemon.get_block_header(1),
    "get_block": lambda daemon: daemon.get_block(1),
    "get_transactions": lambda daemon: daemon.get_transactions(["00" * 32]),
    "get_transaction_pool_hashes": lambda daemon: daemon.get_pool_txids(),
    "is_key_image_spent": lambda daemon: daemon.is_key_image_spent(["00" * 32]),
    "get_fee_estimate": lambda daemon: daemon.get_fee_estimate(),
    "flush_txpool": lambda daemon: daemon.flush_txpool(),
}
IN_THE_KEY_EXCHANGE: Final = {
    "create_wallet",
    "generate_from_keys",
    "close_wallet",
    "make_multisig",
    "exchange_multisig_keys",
}
IN_A_PAYOUT: Final = {
    *("refresh", "get_transfers", "freeze", "thaw", "export_multisig_info", "import_multisig_info"),
    *("describe_transfer", "sign_multisig", "send_raw_transaction", "submit_multisig", "transfer", "sweep_all"),
}


async def refused_as_the_table_says(method: str, again: Awaitable[object]) -> None:
    row = WALLET_CALLS[method]
    assert row.again is not Again.ALWAYS
    assert row.refuses is not None
    with pytest.raises(MoneroRpcError) as refusal:
        await again
    assert type(refusal.value) is row.refuses


async def test_what_may_always_be_repeated_does_no_harm_to_a_wallet(
    offline: OfflineProcesses, subject: Subject
) -> None:
    client = (await offline.start()).client
    await make_wallet(client, keys := fresh_keys(Network.TESTNET))
    for ask in (*SAME_ANSWER.values(), *FRESH_ANSWER.values()):
        first, second = await ask(client), await ask(client)
        assert (first == second) == (ask in SAME_ANSWER.values())
        assert await client.get_address() == keys.address
    assert await client.query_key("spend_key") == keys.private_spend_key_hex
    assert await client.instance_marks() == {"escrow.777777777777"}
    if abilities_of(subject.version).set_subaddress_lookahead:
        for _ in range(2):
            await client.set_subaddress_lookahead(1, 1, PASSWORD)
    if isinstance(client, WalletRpcClient):
        for _ in range(2):
            assert len(await client.make_integrated_address()) > len(keys.address)
    await client.close_wallet()


async def test_what_makes_a_wallet_or_a_round_is_refused_the_second_time(offline: OfflineProcesses) -> None:
    clients = [(await offline.start()).client for _ in range(3)]
    made = clients[0]
    name = f"made-{secrets.token_hex(6)}"
    await made.create_wallet(name, PASSWORD)
    await refused_as_the_table_says("create_wallet", made.create_wallet(name, PASSWORD))
    await made.close_wallet()
    await refused_as_the_table_says("close_wallet", made.close_wallet())

    keys = [fresh_keys(Network.TESTNET) for _ in clients]
    name = await make_wallet(made, keys[0])
    await refused_as_the_table_says("generate_from_keys", make_wallet(made, keys[0], name=name))
    assert await made.get_address() == keys[0].address  # and what is open stays open
    for client, own in zip(clients[1:], keys[1:], strict=True):
        await make_wallet(client, own)

    first = [await client.prepare_multisig() for client in clients]
    second = [
        await client.make_multisig(others(first, place), threshold=2, password=PASSWORD)
        for place, client in enumerate(clients)
    ]
    await refused_as_the_table_says(
        "make_multisig", made.make_multisig(others(first, 0), threshold=2, password=PASSWORD)
    )
    await made.exchange_multisig_keys(others(second, 0), password=PASSWORD)
    await refused_as_the_table_says(
        "exchange_multisig_keys", made.exchange_multisig_keys(others(second, 0), password=PASSWORD)
    )
    for client in clients:
        await client.close_wallet()


async def test_everything_a_payout_asks_may_be_repeated_or_is_refused(chain: Chain, trio: Trio) -> None:
    await chain.miner.pay([(trio.address, DEPOSIT)])
    await chain.mine(COINS_LOCK_BLOCKS)
    proposer, signer, daemon = trio.proposer, trio.signer, chain.daemon
    await exchange_info(trio)
    (output,) = await spend_only(proposer, DEPOSIT)
    assert output.key_image
    for _ in range(2):
        await proposer.refresh()
        await proposer.get_transfers(pool=True)
        await proposer.freeze(output.key_image)
    assert [seen.frozen for seen in await proposer.incoming_transfers() if seen.amount_piconero == DEPOSIT] == [True]
    for _ in range(2):
        await proposer.thaw(output.key_image)

    # Of two exports the second counts; an import may come twice.
    for wallet, peer in ((proposer, signer), (signer, proposer)):
        await peer.export_multisig_info()
        info = await peer.export_multisig_info()
        await peer.store()
        assert await wallet.import_multisig_info([info]) == await wallet.import_multisig_info([info])

    swept = await proposer.sweep_all(chain.miner.address, priority=1)
    assert swept.transactions == 1
    await exchange_info(trio)  # what the table wants before either is made again
    proposal = await proposer.transfer([(chain.miner.address, XMR)], priority=1)
    assert await signer.describe_transfer(proposal.txset) == await signer.describe_transfer(proposal.txset)
    signed = await signer.sign_multisig(proposal.txset)
    await refused_as_the_table_says("sign_multisig", signer.sign_multisig(proposal.txset))

    txids = await signer.submit_multisig(signed.blob)
    assert await signer.submit_multisig(signed.blob) == txids == list(signed.txids)
    raw = (await daemon.get_transactions(txids))[txids[0]].raw_hex
    for _ in range(2):
        await daemon.send_raw_transaction(raw)
    await chain.mine(1)
    for _ in range(2):
        await daemon.send_raw_transaction(raw)
    assert await daemon.is_key_image_spent([output.key_image]) == [KeyImageStatus.IN_CHAIN]
    assert (await daemon.get_transactions(txids))[txids[0]].confirmations == 1


async def test_what_is_asked_of_the_daemon_may_be_asked_twice(chain: Chain) -> None:
    daemon: Daemon = chain.daemon
    for ask in OF_THE_DAEMON.values():
        assert await ask(daemon) == await ask(daemon)
    if isinstance(daemon, DaemonClient):
        assert await daemon.unrelayed_txids() == await daemon.unrelayed_txids() == []


def must_be_tried(row: Call) -> bool:
    """Rows that claim something of a repetition; the others say "no" without naming a refusal."""
    return row.again is Again.ALWAYS or row.refuses is not None


async def test_every_row_that_says_something_of_a_repetition_is_tried_here() -> None:
    tried = {
        *(*SAME_ANSWER, *FRESH_ANSWER, *OF_THE_DAEMON),
        *(*ONLY_SINCE_0_18_5, *ONLY_REAL, *IN_THE_KEY_EXCHANGE, *IN_A_PAYOUT),
    }
    claims = {row.method for row in (*WALLET_CALLS.values(), *DAEMON_CALLS.values()) if must_be_tried(row)}
    assert claims - tried == set()
    assert tried <= WALLET_CALLS.keys() | DAEMON_CALLS.keys()
