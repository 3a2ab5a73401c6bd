"""Two outputs with one one-time key (Monero's "burning bug"): only one of the two can ever be spent.

A miner can make the second without any secret: a coinbase output has no proof of who made it, so the one-time key and
the transaction's public key of any earlier output that stood first in its transaction can be written into a new block.
The recipient's wallets find it as they found the first. Only `submit_block` is needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import aiohttp

from monero_escrow.monero.private_chain import PrivateChain, until_relayed
from monero_escrow.monero.rpc import RpcConnection

_COINBASE_INPUT, _INPUT, _TAGGED_KEY, _PUBLIC_KEY = 0xFF, 2, 3, 1
_KEY_BYTES = 32
_LIMIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class FirstOutput:
    """The first output of a transaction and the transaction's public key, and where in the bytes they stand."""

    key_and_tag: bytes
    transaction_key: bytes
    key_at: int
    transaction_key_at: int

    @property
    def public_key(self) -> str:
        return self.key_and_tag[:_KEY_BYTES].hex()


async def first_output(chain: PrivateChain, txid: str) -> FirstOutput:
    """Of a transaction on the chain."""
    found = (await chain.daemon.get_transactions([txid]))[txid]
    return _first_output(bytes.fromhex(found.raw_hex), 0)


async def mine_twin(chain: PrivateChain, of: FirstOutput) -> None:
    """Mine one block whose coins, about 35 XMR, have the same one-time key."""
    await until_relayed(chain.daemon)
    connection = RpcConnection(chain.monerod.url)
    try:
        wanted = {"wallet_address": chain.miner.address, "reserve_size": 0}
        template = await connection.call("get_block_template", wanted, limit_seconds=_LIMIT_SECONDS)
    finally:
        await connection.aclose()
    block = bytearray.fromhex(template.text("blocktemplate_blob"))
    place = _first_output(bytes(block), _after_header(block))
    block[place.key_at : place.key_at + _KEY_BYTES + 1] = of.key_and_tag
    block[place.transaction_key_at : place.transaction_key_at + _KEY_BYTES] = of.transaction_key
    await _submit_block(chain.monerod.url, block.hex())


async def _submit_block(url: str, block: str) -> None:
    body = {"jsonrpc": "2.0", "id": "0", "method": "submit_block", "params": [block]}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/json_rpc", data=json.dumps(body)) as answer:
        said = json.loads(await answer.text())
    assert said.get("result", {}).get("status") == "OK", said


def _after_header(block: bytes | bytearray) -> int:
    """Two version numbers, a timestamp, the hash of the block before, the nonce."""
    at = 0
    for _ in range(3):
        _, at = _varint(block, at)
    return at + _KEY_BYTES + 4


def _first_output(data: bytes, at: int) -> FirstOutput:
    """Read a transaction that begins at `at`: its prefix, as Monero's cryptonote_basic.h serialises it."""
    _version, at = _varint(data, at)
    _unlock_time, at = _varint(data, at)
    inputs, at = _varint(data, at)
    for _ in range(inputs):
        at = _after_input(data, at)
    outputs, at = _varint(data, at)
    key_at = 0
    for _ in range(outputs):
        _amount, at = _varint(data, at)
        assert data[at] == _TAGGED_KEY
        key_at = key_at or at + 1
        at += 1 + _KEY_BYTES + 1
    _extra_bytes, at = _varint(data, at)
    assert data[at] == _PUBLIC_KEY
    key_and_tag = data[key_at : key_at + _KEY_BYTES + 1]
    return FirstOutput(key_and_tag, data[at + 1 : at + 1 + _KEY_BYTES], key_at, at + 1)


def _after_input(data: bytes, at: int) -> int:
    kind, at = data[at], at + 1
    _amount_or_height, at = _varint(data, at)
    if kind == _COINBASE_INPUT:
        return at
    assert kind == _INPUT
    ring, at = _varint(data, at)
    for _ in range(ring):
        _, at = _varint(data, at)
    return at + _KEY_BYTES


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first; and where the next thing stands."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
