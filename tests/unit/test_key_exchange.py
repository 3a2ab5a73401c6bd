"""The key exchange as a machine fed by messages, and the gate between its end and an address anyone sees."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from monero_escrow.core.errors import InvariantError
from monero_escrow.core.key_exchange import (
    MESSAGE_ROUNDS,
    Call,
    KeyExchange,
    KeyExchangeError,
    Round,
    WalletReport,
    pass_gate,
)
from monero_escrow.core.roles import ROLES, Role, peers_of

ADDRESS, VIEW_KEY = "the shared address", "the shared view key"


def message(role: Role, made: Round) -> str:
    return f"MultisigxV2R{role}{made.value}"


def after(call: Call, exchange: KeyExchange) -> KeyExchange:
    """The exchange after a well-behaved wallet made this call."""
    if call.round is Round.FINISH:
        return exchange.with_address(call.role, ADDRESS)
    return exchange.with_message(call.role, call.round, message(call.role, call.round))


def open_calls(exchange: KeyExchange) -> list[Call]:
    return [call for role in ROLES if (call := exchange.next_call(role)) is not None]


def after_rounds(rounds: int) -> KeyExchange:
    """The exchange after all three made their first `rounds` calls."""
    exchange = KeyExchange()
    for _ in range(rounds):
        for call in open_calls(exchange):
            exchange = after(call, exchange)
    return exchange


# The order of the calls


def test_three_wallets_make_four_calls_each_and_every_call_takes_the_peers_messages_of_the_round_before() -> None:
    exchange, made = KeyExchange(), []

    while calls := open_calls(exchange):
        made.append(calls)
        for call in calls:
            exchange = after(call, exchange)

    assert exchange.finished
    assert [{call.round for call in calls} for calls in made] == [{this} for this in Round]
    assert all([call.role for call in calls] == list(ROLES) for calls in made)
    for call in made[0]:
        assert call.peer_messages == ()
    for calls in made[1:]:
        for call in calls:
            assert call.peer_messages == tuple(message(peer, Round(call.round - 1)) for peer in peers_of(call.role))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_wallet_waits_until_both_peers_have_made_their_message(role: Role, rounds: int) -> None:
    exchange = after_rounds(rounds)
    own = exchange.next_call(role)
    assert own is not None
    exchange = after(own, exchange)
    for peer in peers_of(role):
        assert exchange.next_call(role) is None
        call = exchange.next_call(peer)
        assert call is not None
        exchange = after(call, exchange)

    following = exchange.next_call(role)

    assert following is not None
    assert following.round == own.round + 1


def test_the_exchange_is_finished_only_when_all_three_answered_an_address() -> None:
    exchange = after_rounds(3)
    for role in ROLES:
        assert not exchange.finished
        exchange = exchange.with_address(role, ADDRESS)

    assert exchange.finished
    assert open_calls(exchange) == []


# Messages that do not fit


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 4])
def test_every_message_but_the_next_one_is_out_of_turn(role: Role, rounds: int) -> None:
    exchange = after_rounds(rounds)

    for made in MESSAGE_ROUNDS:
        if made == rounds + 1:
            continue
        with pytest.raises(KeyExchangeError, match="out of turn"):
            exchange.with_message(role, made, f"MultisigxV2Rfresh{made.value}")


def test_a_message_before_its_peers_messages_is_out_of_turn() -> None:
    exchange = KeyExchange().with_message(Role.BUYER, Round.PREPARE, message(Role.BUYER, Round.PREPARE))
    exchange = exchange.with_message(Role.VENDOR, Round.PREPARE, message(Role.VENDOR, Round.PREPARE))

    with pytest.raises(KeyExchangeError, match="out of turn"):
        exchange.with_message(Role.BUYER, Round.MAKE, message(Role.BUYER, Round.MAKE))


@pytest.mark.parametrize("copied_from", Role)
def test_a_message_that_somebody_sent_before_is_refused_as_anybodys_next(copied_from: Role) -> None:
    exchange = after_rounds(1)
    copied = message(copied_from, Round.PREPARE)

    for role in ROLES:
        with pytest.raises(KeyExchangeError, match="sent before"):
            exchange.with_message(role, Round.MAKE, copied)


def test_one_participant_cannot_answer_with_anothers_message_of_the_same_round() -> None:
    exchange = after_rounds(1).with_message(Role.BUYER, Round.MAKE, message(Role.BUYER, Round.MAKE))

    with pytest.raises(KeyExchangeError, match="sent before"):
        exchange.with_message(Role.VENDOR, Round.MAKE, message(Role.BUYER, Round.MAKE))


@pytest.mark.parametrize("text", ["", "hello", "MultisigV1abc", "multisigxv2rabc", " MultisigxV2Rabc"])
def test_what_does_not_look_like_a_multisig_message_is_refused(text: str) -> None:
    with pytest.raises(KeyExchangeError, match="not a multisig message"):
        KeyExchange().with_message(Role.BUYER, Round.PREPARE, text)


def test_a_message_of_more_than_4096_characters_is_refused_and_one_of_4096_is_not() -> None:
    longest = "MultisigxV2R".ljust(4096, "x")

    assert KeyExchange().with_message(Role.BUYER, Round.PREPARE, longest).messages
    with pytest.raises(KeyExchangeError, match="not a multisig message"):
        KeyExchange().with_message(Role.BUYER, Round.PREPARE, longest + "x")


def test_the_last_round_ends_with_an_address_and_takes_no_message() -> None:
    with pytest.raises(KeyExchangeError, match="an address, not with a message"):
        after_rounds(3).with_message(Role.BUYER, Round.FINISH, "MultisigxV2Rlate")


@pytest.mark.parametrize("rounds", [0, 1, 2, 4])
def test_an_address_is_refused_before_the_last_round_and_a_second_time(rounds: int) -> None:
    with pytest.raises(KeyExchangeError, match="before its last round"):
        after_rounds(rounds).with_address(Role.BUYER, ADDRESS)


def test_a_refused_message_leaves_the_exchange_as_it_was() -> None:
    exchange = after_rounds(2)
    messages = dict(exchange.messages)

    for text in ("rubbish", message(Role.BUYER, Round.MAKE)):
        with pytest.raises(KeyExchangeError):
            exchange.with_message(Role.VENDOR, Round.EXCHANGE, text)

    assert exchange.messages == messages


def test_no_error_and_no_repr_shows_a_message() -> None:
    exchange = after_rounds(2)
    secret = message(Role.BUYER, Round.MAKE)
    call = exchange.next_call(Role.VENDOR)

    with pytest.raises(KeyExchangeError) as caught:
        exchange.with_message(Role.VENDOR, Round.EXCHANGE, secret)

    for shown in (
        caught.value.message,
        caught.value.what_to_do,
        repr(exchange),
        repr(call),
        repr(exchange.replay(Role.BUYER)),
    ):
        assert "MultisigxV2R" not in shown


# Outsiders and replay


@pytest.mark.parametrize("seed", range(50))
def test_messages_may_arrive_in_any_order_that_their_makers_could_make_them_in(seed: int) -> None:
    """Nobody is special: whichever participants are outsiders, whoever comes first, the same exchange results."""
    order, exchange = random.Random(seed), KeyExchange()

    while calls := open_calls(exchange):
        exchange = after(order.choice(calls), exchange)

    assert exchange == after_rounds(4)


@pytest.mark.parametrize("outsider", ROLES)
def test_an_outsider_may_be_as_slow_as_they_like_and_the_others_wait(outsider: Role) -> None:
    exchange = KeyExchange()
    for this in Round:
        hosted = [call for call in open_calls(exchange) if call.role is not outsider]
        assert [call.round for call in hosted] == [this, this]
        for call in hosted:
            exchange = after(call, exchange)
        assert [call.role for call in open_calls(exchange)] == [outsider]
        exchange = after(open_calls(exchange)[0], exchange)

    assert exchange.finished


@pytest.mark.parametrize("seed", range(50))
def test_replay_gives_exactly_the_calls_a_wallet_has_made_whenever_it_is_asked(seed: int) -> None:
    order, exchange = random.Random(seed), KeyExchange()
    made: dict[Role, list[Call]] = {role: [] for role in ROLES}

    while calls := open_calls(exchange):
        call = order.choice(calls)
        made[call.role].append(call)
        exchange = after(call, exchange)
        for role in ROLES:
            assert list(exchange.replay(role)) == made[role]

    assert all(len(calls) == 4 for calls in made.values())


# The gate

REPORTS = {
    role: WalletReport(
        role=role, multisig=True, ready=True, threshold=2, total=3, address=ADDRESS, private_view_key=VIEW_KEY
    )
    for role in ROLES
}


def test_three_wallets_that_agree_pass_the_gate_with_their_address_and_view_key() -> None:
    assert pass_gate(REPORTS) == (ADDRESS, VIEW_KEY)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"multisig": False}, "not a finished multisig"),
        ({"ready": False}, "not a finished multisig"),
        ({"threshold": 3}, "3 of 3"),
        ({"threshold": 1}, "1 of 3"),
        ({"total": 2}, "2 of 2"),
        ({"total": 4}, "2 of 4"),
        ({"address": "another address"}, "do not agree on the address"),
        ({"private_view_key": "another key"}, "do not agree on the view key"),
    ],
)
def test_one_wallet_that_differs_in_anything_closes_the_gate(
    role: Role, fault: dict[str, bool | int | str], complaint: str
) -> None:
    reports = {**REPORTS, role: replace(REPORTS[role], **fault)}  # type: ignore[arg-type]

    with pytest.raises(InvariantError, match=complaint):
        pass_gate(reports)


@pytest.mark.parametrize("present", [ROLES[:0], ROLES[:1], ROLES[:2], ROLES[1:]])
def test_a_missing_wallet_closes_the_gate(present: tuple[Role, ...]) -> None:
    with pytest.raises(InvariantError, match="all three wallets"):
        pass_gate({role: REPORTS[role] for role in present})


def test_three_wallets_that_agree_to_be_three_of_three_do_not_pass() -> None:
    with pytest.raises(InvariantError, match="3 of 3"):
        pass_gate({role: replace(report, threshold=3) for role, report in REPORTS.items()})


def test_nothing_the_gate_says_shows_an_address_or_a_view_key() -> None:
    reports = {**REPORTS, Role.BUYER: replace(REPORTS[Role.BUYER], address="another address")}

    with pytest.raises(InvariantError) as caught:
        pass_gate(reports)

    for shown in (caught.value.message, repr(reports)):
        assert ADDRESS not in shown
        assert VIEW_KEY not in shown
