"""What a wallet finds on the chain, and what it says of it: outputs, transfers, balance."""

from __future__ import annotations

from dataclasses import replace

from monero_escrow.monero.fake.chain import (
    COINS_LOCK_BLOCKS,
    FakeChain,
    Output,
    Transaction,
    key_image_of,
)
from monero_escrow.monero.fake.files import CacheFile, Coin, KeysFile
from monero_escrow.monero.fake.keys import public_key_of, read_address
from monero_escrow.monero.ports import Balance, KeyImageStatus, WalletOutput, WalletTransfer

_REMEMBERED_BLOCKS = 200


def subaddress_key(keys: KeysFile, minor: int) -> str:
    """The public spend key of a subaddress, hex; of the primary address for 0."""
    primary = read_address(keys.plain.address, keys.network).public_spend_key.hex()
    return public_key_of("subaddress", primary, str(minor)) if minor else primary


def refreshed(cache: CacheFile, keys: KeysFile, chain: FakeChain) -> tuple[CacheFile, int]:
    """The wallet after looking at all blocks it has not seen, and how many those were.

    Blocks that were replaced take their outputs with them, and all that was known of these; a chain that only got
    shorter is believed no sooner than other blocks stand in its place.
    """
    cache = _without_replaced_blocks(cache, chain)
    destinations = _destinations(cache, keys)
    coins, hashes, fetched = dict(cache.coins), list(cache.hashes), 0
    for block in chain.blocks_from(cache.height):
        fetched += 1
        hashes.append(block.hash)
        for transaction in block.transactions:
            for output in transaction.outputs:
                if output.destination in destinations:
                    coins[output.public_key] = _coin(chain, output, destinations[output.destination])
    known = cache.key_images_known if keys.exchange else frozenset(coins)
    seen = replace(
        cache,
        height=cache.height + fetched,
        hashes=tuple(hashes[-_REMEMBERED_BLOCKS:]),
        coins=coins,
        key_images_known=known,
    )
    return with_spent(seen, chain), fetched


def passed_over(cache: CacheFile, chain: FakeChain, height: int) -> CacheFile:
    """The wallet as if it had looked at the blocks below this height and found nothing; never back, or past the end."""
    passed = [block.hash for block in chain.blocks_from(cache.height) if block.height < height]
    hashes = (*cache.hashes, *passed)[-_REMEMBERED_BLOCKS:]
    return replace(cache, height=cache.height + len(passed), hashes=hashes)


def with_spent(cache: CacheFile, chain: FakeChain) -> CacheFile:
    """The wallet after asking which of its outputs are spent, in a block or in the pool: those whose key image it
    knows.
    """
    spent = (key for key in cache.key_images_known if _is_spent(key, chain))
    return replace(cache, spent=frozenset(spent))


def is_unlocked(coin: Coin, cache: CacheFile) -> bool:
    """The wallet's word for "its unlock time and ten blocks have passed"."""
    return blocks_to_unlock(coin, cache) == 0


def blocks_to_unlock(coin: Coin, cache: CacheFile) -> int:
    """How many blocks the wallet must see until it may spend the output."""
    return max(0, coin.height + COINS_LOCK_BLOCKS - cache.height, coin.unlock_time - cache.height)


def outputs_of(cache: CacheFile) -> list[WalletOutput]:
    """All outputs in blocks, spent ones included."""
    return [
        WalletOutput(
            amount_piconero=coin.output.amount_piconero,
            public_key=key,
            key_image=key_image_of(key) if key in cache.key_images_known else None,
            txid=coin.txid,
            global_index=coin.global_index,
            block_height=coin.height,
            unlocked=is_unlocked(coin, cache),
            spent=key in cache.spent,
            frozen=key in cache.frozen,
            subaddress_major=0,
            subaddress_minor=coin.minor,
        )
        for key, coin in cache.coins.items()
    ]


def transfers_of(cache: CacheFile) -> list[WalletTransfer]:
    """The incoming transactions in blocks, one entry for each address they pay."""
    amounts: dict[tuple[str, int], int] = {}
    coin_of: dict[tuple[str, int], Coin] = {}
    for coin in cache.coins.values():
        one = (coin.txid, coin.minor)
        amounts[one] = amounts.get(one, 0) + coin.output.amount_piconero
        coin_of[one] = coin
    return [
        WalletTransfer(
            txid=coin.txid,
            amount_piconero=amounts[one],
            height=coin.height,
            confirmations=cache.height - coin.height,
            unlock_time=coin.unlock_time,
            locked=not is_unlocked(coin, cache),
            in_pool=False,
            double_spend_seen=False,
            subaddress_major=0,
            subaddress_minor=coin.minor,
        )
        for one, coin in coin_of.items()
    ]


def transfers_in_pool(cache: CacheFile, keys: KeysFile, chain: FakeChain) -> list[WalletTransfer]:
    """The incoming transactions that wait for a block, as the daemon has them now. Its own change shows in none."""
    destinations = _destinations(cache, keys)
    return [
        WalletTransfer(
            txid=transaction.txid,
            amount_piconero=amount,
            height=0,
            confirmations=0,
            unlock_time=0,
            locked=True,
            in_pool=True,
            double_spend_seen=transaction.txid in chain.double_spend_seen,
            subaddress_major=0,
            subaddress_minor=minor,
        )
        for transaction in chain.pool.values()
        for minor, amount in _received(transaction, destinations).items()
        if not any(key in cache.coins for key in transaction.spends)
    ]


def balance_of(cache: CacheFile, keys: KeysFile, chain: FakeChain | None) -> Balance:
    """What the wallet owns and believes unspent, without what is frozen, with what comes in the pool."""
    free = [coin for key, coin in cache.coins.items() if key not in cache.spent and key not in cache.frozen]
    destinations = _destinations(cache, keys)
    coming = 0 if chain is None else sum(sum(_received(tx, destinations).values()) for tx in chain.pool.values())
    return Balance(
        balance_piconero=sum(coin.output.amount_piconero for coin in free) + coming,
        unlocked_piconero=sum(coin.output.amount_piconero for coin in free if is_unlocked(coin, cache)),
        multisig_import_needed=len(cache.key_images_known) < len(cache.coins),
        blocks_to_unlock=max((blocks_to_unlock(coin, cache) for coin in free), default=0),
    )


def _without_replaced_blocks(cache: CacheFile, chain: FakeChain) -> CacheFile:
    """The wallet as if it had never seen the blocks that others have replaced."""
    first = cache.height - len(cache.hashes)
    split = next(
        (
            height
            for height, remembered in enumerate(cache.hashes, first)
            if height < chain.height and chain.block(height).hash != remembered
        ),
        None,
    )
    if split is None:
        return cache
    coins = {key: coin for key, coin in cache.coins.items() if coin.height < split}
    return replace(
        cache,
        height=split,
        hashes=cache.hashes[: split - first],
        coins=coins,
        key_images_known=cache.key_images_known & coins.keys(),
        spent=cache.spent & coins.keys(),
        frozen=cache.frozen & coins.keys(),
        nonces={key: nonce for key, nonce in cache.nonces.items() if key in coins},
        peer_nonces={key: nonces for key, nonces in cache.peer_nonces.items() if key in coins},
    )


def _destinations(cache: CacheFile, keys: KeysFile) -> dict[str, int]:
    """The public spend keys the wallet receives at, and the subaddress of each."""
    if keys.exchange is None:
        return {subaddress_key(keys, minor): minor for minor in range(cache.subaddresses)}
    if not keys.exchange.finished:
        return {}
    return {read_address(keys.address, keys.network).public_spend_key.hex(): 0}


def _coin(chain: FakeChain, output: Output, minor: int) -> Coin:
    place = chain.place(output.public_key)
    assert place is not None, "an output in a block has a place"  # noqa: S101
    return Coin(
        output=output,
        txid=place.transaction.txid,
        height=place.height,
        unlock_time=place.transaction.unlock_time,
        global_index=place.global_index,
        minor=minor,
    )


def _received(transaction: Transaction, destinations: dict[str, int]) -> dict[int, int]:
    """Piconero by subaddress."""
    received: dict[int, int] = {}
    for output in transaction.outputs:
        if output.destination in destinations:
            minor = destinations[output.destination]
            received[minor] = received.get(minor, 0) + output.amount_piconero
    return received


def _is_spent(public_key: str, chain: FakeChain) -> bool:
    return chain.key_image_status(key_image_of(public_key)) is not KeyImageStatus.UNSPENT
