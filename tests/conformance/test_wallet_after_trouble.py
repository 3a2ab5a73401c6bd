"""What two signers' wallets know and can still do after a kill, a rebuilding, a used nonce or a reorganisation.

Recovery relies on it, and so does every simulated crash: the fake is held to the same cases.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from conformance.subjects import Chain, Subject
from conformance.trio import PASSWORD, Trio, exchange_info, propose_and_sign, replay, spend_only, unspent
from monero_escrow.monero.errors import (
    BadMultisigTxError,
    KeyImageUnknownError,
    MoneroRpcError,
    MultisigSubmissionError,
    NotEnoughMoneyError,
    StaleMultisigInfoError,
)
from monero_escrow.monero.ports import KeyImageStatus, WalletOutput, WalletRpc
from monero_escrow.monero.private_chain import COINS_LOCK_BLOCKS, MINED_COINS_LOCK_BLOCKS
from monero_escrow.monero.versions import LEAST_FOR_MAINNET, abilities_of

pytestmark = [pytest.mark.chain, pytest.mark.asyncio(loop_scope="session")]

XMR = 10**12
# One deposit for each test that spends.
FOR_AMOUNTS, FOR_EXPORTS, FOR_THIRD, FOR_KILL, FOR_REBUILD = (4 * XMR + number for number in range(5))
DUST = 1


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def funded(chain: Chain, trio: Trio) -> Trio:
    """The trio with all the deposits, unlocked, before any signer has told another of them."""
    amounts = (FOR_AMOUNTS, FOR_EXPORTS, FOR_THIRD, FOR_KILL, FOR_REBUILD, DUST)
    await chain.miner.pay([(trio.address, amount) for amount in amounts])
    await chain.mine(COINS_LOCK_BLOCKS - 1)
    for process in trio.processes:
        await process.client.refresh()
    return trio


async def output_of(wallet: WalletRpc, amount_piconero: int) -> WalletOutput:
    (output,) = [output for output in await wallet.incoming_transfers() if output.amount_piconero == amount_piconero]
    return output


async def test_nothing_can_be_proposed_before_it_is_unlocked_and_the_peers_info_is_imported(
    chain: Chain, funded: Trio
) -> None:
    for output in await unspent(funded.proposer):  # what earlier tests left would be enough
        if output.key_image and not output.frozen:
            await funded.proposer.freeze(output.key_image)
    with pytest.raises(NotEnoughMoneyError) as locked:
        await funded.proposer.transfer([(chain.miner.address, FOR_AMOUNTS)], priority=1)
    assert locked.value.rpc_code == -37

    await chain.mine(1)
    await funded.proposer.refresh()
    with pytest.raises(NotEnoughMoneyError) as unknown:
        await funded.proposer.transfer([(chain.miner.address, FOR_AMOUNTS)], priority=1)
    assert unknown.value.rpc_code == -16
    with pytest.raises(MoneroRpcError) as nothing:
        await funded.proposer.sweep_all(chain.miner.address, priority=1)
    assert nothing.value.rpc_code == -4


async def test_only_a_peers_info_is_imported(funded: Trio) -> None:
    own = await funded.proposer.export_multisig_info()
    for infos in ([own], ["00ff"], []):
        with pytest.raises(MoneroRpcError):
            await funded.proposer.import_multisig_info(infos)
    assert (await funded.proposer.get_balance()).multisig_import_needed


async def test_the_fee_must_fit_in_beside_a_change_output_and_dust_is_left_out(chain: Chain, funded: Trio) -> None:
    await exchange_info(funded)
    wallet, payee = funded.proposer, chain.miner.address
    both = (await chain.person("receiver")).address, payee
    await spend_only(wallet, FOR_AMOUNTS, DUST)

    swept = await wallet.sweep_all(payee, priority=1)
    (tx,) = (await funded.signer.describe_transfer(swept.txset)).transactions
    assert tx.amount_in_piconero == FOR_AMOUNTS
    assert (tx.change_address, tx.dummy_outputs, tx.payment_id.strip("0")) == ("", 1, "")
    assert tx.amount_out_piconero == FOR_AMOUNTS - swept.fee_piconero

    for payments, code in (
        ([(payee, FOR_AMOUNTS + DUST + 1)], -17),
        ([(payee, 0)], -46),
        ([], -20),
        ([("x", 1)], -2),
    ):
        with pytest.raises(MoneroRpcError) as refusal:
            await wallet.transfer(payments, priority=1)
        assert refusal.value.rpc_code == code

    half = FOR_AMOUNTS // 2
    without_change = await wallet.transfer(
        [(both[0], half), (both[1], FOR_AMOUNTS - half)], priority=1, subtract_fee_from=[0]
    )
    with_change = await wallet.transfer([(both[0], half), (both[1], half // 2)], priority=1)
    assert with_change.fee_piconero > without_change.fee_piconero
    rest = FOR_AMOUNTS - half - without_change.fee_piconero
    with pytest.raises(NotEnoughMoneyError) as reckoned_with_change:
        await wallet.transfer([(both[0], half), (both[1], rest)], priority=1)
    assert reckoned_with_change.value.rpc_code == -16


async def test_an_export_kills_the_one_before_it(chain: Chain, funded: Trio) -> None:
    await exchange_info(funded)
    await spend_only(funded.proposer, FOR_EXPORTS)
    await funded.signer.export_multisig_info()
    proposal = await funded.proposer.transfer([(chain.miner.address, XMR)], priority=1)
    with pytest.raises(StaleMultisigInfoError):
        await funded.signer.sign_multisig(proposal.txset)


async def test_a_signer_signs_once_on_an_exchange_and_never_its_own_proposal(chain: Chain, funded: Trio) -> None:
    proposal, _ = await _proposed_and_signed(chain, funded, FOR_EXPORTS)
    for wallet in (funded.signer, funded.proposer):
        with pytest.raises(StaleMultisigInfoError):
            await wallet.sign_multisig(proposal)
    with pytest.raises(MoneroRpcError) as unsigned:
        await funded.proposer.submit_multisig(proposal)
    assert unsigned.value.rpc_code == -33


async def test_whether_a_signer_must_have_imported_itself_depends_on_the_version(
    chain: Chain, funded: Trio, subject: Subject
) -> None:
    """The third wallet has told its info, and was never told another's."""
    await funded.third.refresh()
    info = await funded.third.export_multisig_info()
    await exchange_info(funded)
    await funded.proposer.import_multisig_info([info])
    await spend_only(funded.proposer, FOR_THIRD)
    proposal = await funded.proposer.transfer([(chain.miner.address, XMR)], priority=1)
    assert len((await funded.third.describe_transfer(proposal.txset)).transactions) == 1

    with pytest.raises(StaleMultisigInfoError):  # of the proposer's last import he was no part
        await funded.signer.sign_multisig(proposal.txset)
    if subject.version >= LEAST_FOR_MAINNET:
        with pytest.raises(StaleMultisigInfoError):
            await funded.third.sign_multisig(proposal.txset)
    else:
        assert (await funded.third.sign_multisig(proposal.txset)).txids


async def test_what_a_killed_signer_still_knows(chain: Chain, funded: Trio, subject: Subject) -> None:
    """Key images, infos and freezing are forgotten unless stored. Whether a used nonce comes back, the version says."""
    await exchange_info(funded)
    await funded.signer.store()
    await spend_only(funded.proposer, FOR_KILL)
    kept = await output_of(funded.signer, FOR_EXPORTS)
    assert kept.key_image
    if kept.frozen:
        await funded.signer.thaw(kept.key_image)
        await funded.signer.store()
    await funded.signer.freeze(kept.key_image)
    signer = await _killed_and_reopened(funded, 1)
    assert not (await output_of(signer, FOR_EXPORTS)).frozen

    _, signed = await _proposed_and_signed(chain, funded, FOR_KILL)
    proposal, _ = await _proposed_and_signed(chain, funded, FOR_KILL)
    signer = await _killed_and_reopened(funded, 1)
    if abilities_of(subject.version).stores_used_nonces:
        with pytest.raises(StaleMultisigInfoError):
            await signer.sign_multisig(proposal)
    else:
        assert (await signer.sign_multisig(proposal)).txids

    # The nonces that were exported before a kill, and not stored, are gone: an older info is of no use.
    await exchange_info(funded)
    await spend_only(funded.proposer, FOR_KILL)
    unstored = await signer.export_multisig_info()
    await funded.proposer.import_multisig_info([unstored])
    proposed = await funded.proposer.transfer([(chain.miner.address, XMR)], priority=1)
    signer = await _killed_and_reopened(funded, 1)
    with pytest.raises(StaleMultisigInfoError):
        await signer.sign_multisig(proposed.txset)

    # What was signed before needs nothing of that: any of the wallets submits it.
    (txid,) = await signer.submit_multisig(signed)
    assert (await output_of(signer, FOR_KILL)).spent
    signer = await _killed_and_reopened(funded, 1)
    assert not (await output_of(signer, FOR_KILL)).spent
    for wallet in (signer, funded.proposer):
        assert await wallet.submit_multisig(signed) == [txid]
        await wallet.refresh()
        assert (await output_of(wallet, FOR_KILL)).spent
    await chain.mine(1)
    assert await signer.submit_multisig(signed) == [txid]
    await chain.daemon.send_raw_transaction((await chain.daemon.get_transactions([txid]))[txid].raw_hex)


async def test_a_rebuilt_wallet_believes_nothing_spent_and_submits_nothing_until_it_has_imported(
    chain: Chain, funded: Trio, subject: Subject
) -> None:
    _, first = await _proposed_and_signed(chain, funded, FOR_REBUILD)
    second_set, second = await _proposed_and_signed(chain, funded, FOR_REBUILD, 2 * XMR)
    (txid,) = await funded.signer.submit_multisig(first)
    with pytest.raises(MultisigSubmissionError):
        await funded.signer.submit_multisig(second)
    assert (await chain.daemon.get_transactions([txid]))[txid].double_spend_seen

    rebuilt, name = funded.third, funded.names[2]
    await rebuilt.close_wallet()
    await replay(rebuilt, funded, 1)
    for call in (
        rebuilt.describe_transfer(second_set),
        rebuilt.sign_multisig(second_set),
        rebuilt.submit_multisig(first),
    ):
        with pytest.raises(BadMultisigTxError):
            await call
    await rebuilt.refresh()
    output = await output_of(rebuilt, FOR_REBUILD)
    assert (output.spent, output.key_image) == (False, None)
    assert (await rebuilt.get_balance()).multisig_import_needed
    with pytest.raises(StaleMultisigInfoError):
        await rebuilt.sign_multisig(second_set)
    if subject.version >= LEAST_FOR_MAINNET:
        with pytest.raises(BadMultisigTxError):
            await rebuilt.submit_multisig(first)
    else:
        assert await rebuilt.submit_multisig(first) == [txid]

    await rebuilt.import_multisig_info([await funded.proposer.export_multisig_info()])
    output = await output_of(rebuilt, FOR_REBUILD)
    assert output.key_image
    assert output.spent
    assert await rebuilt.submit_multisig(first) == [txid]
    await rebuilt.close_wallet()
    await rebuilt.open_wallet(name, PASSWORD)
    await chain.mine(1)


async def test_a_replaced_block_takes_its_outputs_and_what_was_known_of_them(chain: Chain, funded: Trio) -> None:
    amount = 6 * XMR + 1
    await chain.miner.pay([(funded.address, amount)])
    await chain.mine(2)
    await exchange_info(funded)
    before = await output_of(funded.proposer, amount)
    assert before.key_image

    await chain.daemon.pop_blocks(2)
    assert await funded.proposer.refresh() == 0  # a shorter chain is not believed yet
    assert await output_of(funded.proposer, amount) == before
    await chain.mine(3)
    await funded.proposer.refresh()

    after = await output_of(funded.proposer, amount)
    assert (after.public_key, after.key_image) == (before.public_key, None)
    assert (await funded.proposer.get_balance()).multisig_import_needed
    with pytest.raises(KeyImageUnknownError):
        await funded.proposer.freeze(before.key_image)

    await chain.reorganise(3, drop_pool=True)
    await funded.proposer.refresh()
    assert amount not in [output.amount_piconero for output in await funded.proposer.incoming_transfers()]
    assert await chain.daemon.is_key_image_spent([before.key_image]) == [KeyImageStatus.UNSPENT]


async def test_coins_mined_to_the_address_say_that_they_are_locked_for_sixty_blocks(chain: Chain, funded: Trio) -> None:
    await chain.daemon.generate_blocks(1, funded.address)
    await chain.mine(COINS_LOCK_BLOCKS)
    await funded.third.refresh()
    height = (await chain.daemon.get_info()).height - COINS_LOCK_BLOCKS - 1
    (output,) = [output for output in await funded.third.incoming_transfers() if output.block_height == height]
    assert not output.unlocked
    (transfer,) = [transfer for transfer in await funded.third.get_transfers() if transfer.txid == output.txid]
    assert (transfer.unlock_time, transfer.locked) == (height + MINED_COINS_LOCK_BLOCKS, True)


async def _proposed_and_signed(chain: Chain, trio: Trio, deposit: int, amount: int = XMR) -> tuple[str, str]:
    """The unsigned set and the signed one of a payment out of this deposit, on a fresh exchange."""
    await exchange_info(trio)
    await spend_only(trio.proposer, deposit)
    proposal, signed = await propose_and_sign(trio, [(chain.miner.address, amount)])
    return proposal.txset, signed.blob


async def _killed_and_reopened(trio: Trio, place: int) -> WalletRpc:
    client = await trio.processes[place].kill_and_start_again()
    await client.open_wallet(trio.names[place], PASSWORD)
    return client
