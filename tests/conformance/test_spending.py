"""Coins on a private chain through three wallets: from the deposit to the payout.

Each test spends a deposit of its own amount and keeps the others frozen, as a plan keeps out what it does not name.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from conformance.subjects import Chain, Payer, Subject
from conformance.trio import Trio, exchange_info, propose_and_sign, spend_only, unspent
from monero_escrow.monero.errors import (
    KeyImageUnknownError,
    MoneroRpcError,
    NotMultisigError,
    StaleMultisigInfoError,
    TransactionRefusedError,
)
from monero_escrow.monero.ports import KeyImageStatus
from monero_escrow.monero.private_chain import COINS_LOCK_BLOCKS
from monero_escrow.monero.versions import abilities_of

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

XMR = 10**12
# One deposit for each test that spends; the names are only labels.
FOR_PAYOUT, FOR_PROPOSALS, FOR_FEE, FOR_FREEZE, FOR_FREEZE_TOO, FOR_TWICE, FOR_REORG = (
    XMR + number for number in range(7)
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def funded(chain: Chain, trio: Trio) -> Trio:
    """The trio with all the deposits, which can be spent."""
    amounts = (FOR_PAYOUT, FOR_PROPOSALS, FOR_FEE, FOR_FREEZE, FOR_FREEZE_TOO, FOR_TWICE, FOR_REORG)
    await chain.miner.pay([(trio.address, amount) for amount in amounts])
    await chain.mine(COINS_LOCK_BLOCKS)
    await exchange_info(trio)
    return trio


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def payees(chain: Chain) -> tuple[Payer, Payer]:
    return await chain.person("vendor"), await chain.person("buyer")


async def test_a_deposit_is_seen_in_the_pool_then_locked_then_unlocked(chain: Chain, trio: Trio) -> None:
    wallet = trio.proposer
    txid = await chain.miner.pay([(trio.address, 2 * XMR)])
    await wallet.refresh()
    (seen,) = [transfer for transfer in await wallet.get_transfers(pool=True) if transfer.txid == txid]
    assert (seen.in_pool, seen.height, seen.amount_piconero, seen.unlock_time) == (True, 0, 2 * XMR, 0)

    await chain.mine(1)
    await wallet.refresh()
    (mined,) = [transfer for transfer in await wallet.get_transfers(pool=True) if transfer.txid == txid]
    assert (mined.in_pool, mined.locked, mined.confirmations) == (False, True, 1)
    assert mined.height == (await chain.daemon.get_last_block_header()).height

    await chain.mine(COINS_LOCK_BLOCKS - 1)
    await wallet.refresh()
    (unlocked,) = [transfer for transfer in await wallet.get_transfers() if transfer.txid == txid]
    assert (unlocked.locked, unlocked.confirmations) == (False, COINS_LOCK_BLOCKS)


async def test_a_key_image_is_unknown_until_the_peers_info_is_imported(chain: Chain, trio: Trio) -> None:
    await chain.miner.pay([(trio.address, 3 * XMR)])
    await chain.mine(1)
    for client in (trio.proposer, trio.signer):
        await client.refresh()
        (output,) = [output for output in await unspent(client) if output.amount_piconero == 3 * XMR]
        assert output.key_image is None
        assert (await client.get_balance()).multisig_import_needed

    covered = await exchange_info(trio)

    images = set()
    for client in (trio.proposer, trio.signer):
        (output,) = [output for output in await unspent(client) if output.amount_piconero == 3 * XMR]
        images.add(output.key_image)
        assert not (await client.get_balance()).multisig_import_needed
    assert len(images) == 1
    assert None not in images
    assert min(covered) >= 1


async def test_a_payout_is_proposed_described_signed_and_mined(
    chain: Chain, funded: Trio, payees: tuple[Payer, Payer], subject: Subject
) -> None:
    await exchange_info(funded)
    (output,) = await spend_only(funded.proposer, FOR_PAYOUT)
    assert output.key_image
    plan = {payees[0].address: XMR // 2, payees[1].address: XMR // 4}
    proposal = await funded.proposer.transfer(list(plan.items()), priority=1)
    assert proposal.transactions == 1
    assert proposal.spent_key_images == ((output.key_image,),)

    (tx,) = (await funded.signer.describe_transfer(proposal.txset)).transactions
    assert {to.address: to.amount_piconero for to in tx.recipients} == plan
    assert (tx.amount_in_piconero, tx.fee_piconero) == (FOR_PAYOUT, proposal.fee_piconero)
    assert tx.change_amount_piconero == FOR_PAYOUT - sum(plan.values()) - tx.fee_piconero
    assert tx.change_address == funded.address
    assert (tx.ring_size, tx.unlock_time, tx.dummy_outputs) == (16, 0, 0)
    if abilities_of(subject.version).describes_sources:
        assert tx.sources is not None
        assert [(source.public_key, source.amount_piconero) for source in tx.sources] == [
            (output.public_key, FOR_PAYOUT)
        ]
    else:
        assert tx.sources is None

    signed = await funded.signer.sign_multisig(proposal.txset)
    assert await chain.daemon.is_key_image_spent([output.key_image]) == [KeyImageStatus.UNSPENT]
    for _again in range(2):  # submitting twice answers the same
        assert await funded.signer.submit_multisig(signed.blob) == list(signed.txids)
        assert await chain.daemon.is_key_image_spent([output.key_image]) == [KeyImageStatus.IN_POOL]
    await chain.mine(1)
    assert await chain.daemon.is_key_image_spent([output.key_image]) == [KeyImageStatus.IN_CHAIN]
    for person in payees:
        (received,) = [transfer for transfer in await person.received() if transfer.txid == signed.txids[0]]
        assert received.amount_piconero == plan[person.address]


async def test_two_proposals_on_one_exchange_leave_one_signature(
    chain: Chain, funded: Trio, payees: tuple[Payer, Payer]
) -> None:
    """So a fee may be learnt by a first proposal that nobody signs."""
    await exchange_info(funded)
    await spend_only(funded.proposer, FOR_PROPOSALS)
    first = await funded.proposer.transfer([(payees[0].address, XMR // 4)], priority=1)
    second = await funded.proposer.transfer([(payees[0].address, XMR // 2)], priority=1)

    signed = await funded.signer.sign_multisig(second.txset)
    with pytest.raises(StaleMultisigInfoError):
        await funded.signer.sign_multisig(first.txset)

    assert await funded.signer.submit_multisig(signed.blob) == list(signed.txids)
    await chain.mine(1)


async def test_the_fee_can_be_taken_from_one_recipient_so_that_nothing_is_left(
    funded: Trio, payees: tuple[Payer, Payer]
) -> None:
    await exchange_info(funded)
    await spend_only(funded.proposer, FOR_FEE)
    shares = [(payees[0].address, FOR_FEE - XMR // 4), (payees[1].address, XMR // 4)]

    proposal = await funded.proposer.transfer(shares, priority=1, subtract_fee_from=[0])

    (tx,) = (await funded.signer.describe_transfer(proposal.txset)).transactions
    assert {to.address: to.amount_piconero for to in tx.recipients} == {
        payees[0].address: FOR_FEE - XMR // 4 - proposal.fee_piconero,
        payees[1].address: XMR // 4,
    }
    assert tx.change_amount_piconero == 0


async def test_frozen_outputs_stay_out(funded: Trio, payees: tuple[Payer, Payer]) -> None:
    await exchange_info(funded)
    (output,) = await spend_only(funded.proposer, FOR_FREEZE)
    alone = await funded.proposer.sweep_all(payees[0].address, priority=1)
    await spend_only(funded.proposer, FOR_FREEZE, FOR_FREEZE_TOO)
    both = await funded.proposer.sweep_all(payees[0].address, priority=1)

    swept = [
        tx.amount_in_piconero
        for proposal in (alone, both)
        for tx in (await funded.signer.describe_transfer(proposal.txset)).transactions
    ]

    assert swept == [FOR_FREEZE, FOR_FREEZE + FOR_FREEZE_TOO]
    assert alone.spent_key_images == ((output.key_image,),)
    with pytest.raises(KeyImageUnknownError):
        await funded.proposer.freeze("00" * 32)


async def test_of_two_signed_payouts_of_one_output_the_network_takes_one(
    chain: Chain, funded: Trio, payees: tuple[Payer, Payer]
) -> None:
    await exchange_info(funded)
    (output,) = await spend_only(funded.proposer, FOR_TWICE)
    assert output.key_image
    first = (await propose_and_sign(funded, [(payees[0].address, XMR // 4)]))[1]
    second = (await propose_and_sign(funded, [(payees[0].address, XMR // 2)]))[1]

    await funded.signer.submit_multisig(first.blob)
    with pytest.raises(MoneroRpcError):
        await funded.signer.submit_multisig(second.blob)

    await chain.mine(1)
    assert list(await chain.daemon.get_transactions([*first.txids, *second.txids])) == list(first.txids)


async def test_a_mined_payout_can_be_sent_again_without_a_wallet_after_a_reorganisation(
    chain: Chain, funded: Trio, payees: tuple[Payer, Payer]
) -> None:
    await exchange_info(funded)
    (output,) = await spend_only(funded.proposer, FOR_REORG)
    assert output.key_image
    _, signed = await propose_and_sign(funded, [(payees[0].address, XMR // 4)])
    (txid,) = await funded.signer.submit_multisig(signed.blob)
    await chain.mine(1)
    mined = (await chain.daemon.get_transactions([txid]))[txid]
    assert (mined.in_pool, mined.confirmations) == (False, 1)

    await chain.reorganise(1, drop_pool=True)
    assert await chain.daemon.get_transactions([txid]) == {}
    assert await chain.daemon.is_key_image_spent([output.key_image]) == [KeyImageStatus.UNSPENT]

    await chain.daemon.send_raw_transaction(mined.raw_hex)
    await chain.mine(1)
    assert (await chain.daemon.get_transactions([txid]))[txid].confirmations == 1


async def test_too_many_deposits_are_swept_in_two_transactions(chain: Chain, funded: Trio) -> None:
    """Why a plan has at most a hundred outputs."""
    small, a_payment = XMR // 100, 15
    for _ in range(10):
        await chain.miner.pay([(funded.address, small)] * a_payment)
    await chain.mine(COINS_LOCK_BLOCKS)
    await exchange_info(funded)
    await spend_only(funded.proposer, *[small] * 10 * a_payment)

    proposal = await funded.proposer.sweep_all(chain.miner.address, priority=1)

    assert proposal.transactions == 2
    described = (await funded.signer.describe_transfer(proposal.txset)).transactions
    assert sum(tx.amount_in_piconero for tx in described) == 10 * a_payment * small


async def test_a_plain_wallet_never_pays_by_the_calls_that_propose(chain: Chain, trio: Trio) -> None:
    before = await chain.miner.balance_piconero()
    with pytest.raises(NotMultisigError):
        await chain.miner.wallet.transfer([(trio.address, XMR)], priority=1)
    with pytest.raises(NotMultisigError):
        await chain.miner.wallet.sweep_all(trio.address, priority=1)
    assert await chain.miner.balance_piconero() == before


async def test_what_is_no_transaction_set_is_refused(trio: Trio) -> None:
    for call in (trio.proposer.describe_transfer("00ff"), trio.proposer.sign_multisig("00ff")):
        with pytest.raises(MoneroRpcError):
            await call


async def test_the_daemon_refuses_what_is_no_transaction(chain: Chain) -> None:
    with pytest.raises(TransactionRefusedError):
        await chain.daemon.send_raw_transaction("00" * 32)


async def test_the_daemon_says_which_chain_it_serves(chain: Chain, subject: Subject) -> None:
    info = await chain.daemon.get_info()
    header = await chain.daemon.get_last_block_header()
    assert (info.network.value, info.offline, info.synchronized) == ("regtest", True, True)
    assert (info.height, info.top_block_hash) == (header.height + 1, header.hash)
    assert info.version.startswith(str(subject.version))
    assert await chain.daemon.get_block_header(header.height) == header
