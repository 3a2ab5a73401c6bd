"""The board of `monero-escrow top`: what is drawn of an overview, at any size, and what is never let through."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from monero_escrow.cli.top_board import MARKS, Board, Seen, escrow_words, set_up_words, usage_words
from monero_escrow.core.life_cycle import State
from monero_escrow.core.roles import ROLES
from monero_escrow.web.schemas import Overview, SetUpTimes

URL = "http://127.0.0.1:8080"


def slot(number: int, state: str = "free", **more: Any) -> dict[str, Any]:
    role = ROLES[number % 3]
    nothing = dict.fromkeys(("work", "leased_seconds", "reason", "next_look_seconds", "rests_seconds", "memory_bytes"))
    name = f"{role}@127.0.0.1:{18082 + number}"
    return {**nothing, "name": name, "role": role, "managed": False, "state": state, **more}


def overview_with(slots: list[dict[str, Any]] | None = None, **more: Any) -> Overview:
    load = {"slots": 1, "leased": 0, "usable": 1, "starting": 0, "waiting": 0, "longest_wait_seconds": 0.0}
    classes = {role: {**load, "utilisation": None, "trouble": None} for role in ROLES}
    fleet = {"classes": classes, "slots": slots or [slot(0), slot(1), slot(2)], "own": None, "steps": []}
    health: dict[str, Any] = {
        "status": "healthy",
        "reasons": [],
        "rpc_pool": {"total": 3, "free": 3, "busy": 0, "sick": 0},
        "capacity": {"max_concurrent_escrows": 1},
        "stock": None,
        "deposits": "watched",
        "version": "1.2.3",
    }
    good = {"grade": "good", "answer": "Yes.", "reasons": []}
    said = {
        "at": "2026-01-31T12:00:00Z",
        "money": {"question": "Is money safe?", **good},
        "work": {"question": "Does work flow?", **good},
        "people": {"question": "Who is waited for?", **good},
        "health": health,
        "fleet": fleet,
        "escrows": {"funded": 2, "settled": 7},
        "failing": 0,
        "coins": "0.5 XMR in escrow.",
        "queue": "Nobody waits for a process.",
        "stock": "8 of 10 wait for an order.",
        "set_ups": None,
        "utilisation": [],
        **more,
    }
    return Overview.model_validate(said)


def drawn(seen: Seen, *, width: int = 100, lines: int | None = None, colours: bool = False) -> str:
    console = Console(width=width, force_terminal=colours, color_system="truecolor" if colours else None)
    with console.capture() as captured:
        console.print(Board(seen, lines=lines, hint="q quits"))
    return captured.get()


def test_all_is_well_and_nothing_is_going_on() -> None:
    picture = drawn(Seen(URL, overview_with()))
    assert "monero-escrow 1.2.3" in picture
    assert "q quits" in picture
    for words in (
        "Is money safe?",
        "Does work flow?",
        "Who is waited for?",
        "0.5 XMR in escrow.",
        "buyers",
        "vendors",
        "arbiters",
        "0 leased, 1 free",
    ):
        assert words in picture
    assert "2 funded · 7 settled" in picture
    assert "8 of 10 wait for an order." in picture
    assert "127.0.0.1:18082" not in picture  # a free process is a circle, and no line


def test_each_process_out_of_use_says_why_before_those_at_work() -> None:
    slots = [
        slot(0, "leased", work="set-up of 5f2b", leased_seconds=3.2),
        slot(1, "sick", reason="It does not answer.", next_look_seconds=20.0),
        slot(2, "resting", reason="a call was given up on", rests_seconds=60.0),
    ]
    picture = drawn(Seen(URL, overview_with(slots)))
    lines = [line for line in picture.splitlines() if "@127.0.0.1" in line]
    assert [line.split()[2] for line in lines] == ["sick", "resting", "leased"]
    assert "It does not answer. Looked at again in 20 s." in lines[0]
    assert "a call was given up on; 1 min at most." in lines[1]
    assert "set-up of 5f2b, 3 s" in lines[2]
    assert all(MARKS[state][0] in picture for state in ("leased", "sick", "resting"))


def test_reasons_are_below_their_question_with_the_escrow_to_look_at() -> None:
    held = {"text": "Payout 1 waits for you: The network refused it.", "escrow_id": "5f2b8e"}
    money = {"question": "Is money safe?", "grade": "bad", "answer": "A payout is held.", "reasons": [held]}
    picture = drawn(Seen(URL, overview_with(money=money)))
    assert picture.index("A payout is held.") < picture.index("The network refused it. (escrow 5f2b8e)")


def test_a_service_that_is_away_keeps_its_last_answer_in_view() -> None:
    picture = drawn(Seen(URL, overview_with(), f"{URL} does not answer (ConnectError)."))
    assert "does not answer (ConnectError). Trying again." in picture
    assert "2026-01-31T12:00:00Z" in picture
    assert "2 funded" in picture


def test_before_the_first_answer_only_the_trouble_is_there() -> None:
    picture = drawn(Seen(URL, None, "It does not answer."))
    assert "no answer yet" in picture
    assert "It does not answer. Trying again." in picture
    assert "Is money safe?" not in picture


@pytest.mark.parametrize("lines", [24, 50])
def test_three_hundred_processes_at_work_fit_the_screen(lines: int) -> None:
    slots = [slot(number, "leased", work=f"set-up of {number}", leased_seconds=1.0) for number in range(300)]
    slots[299] |= {"state": "sick", "work": None, "leased_seconds": None, "reason": "It does not answer."}
    picture = drawn(Seen(URL, overview_with(slots)), lines=lines, width=120)
    assert len(picture.splitlines()) <= lines
    assert "It does not answer." in picture
    assert picture.count("●") >= 299
    assert "more" in picture


def test_three_hundred_sick_processes_leave_room_for_the_rest() -> None:
    slots = [slot(number, "sick", reason="It does not answer.") for number in range(300)]
    reasons = [{"text": f"{one['name']} is not used: It does not answer.", "escrow_id": None} for one in slots]
    work = {"question": "Does work flow?", "grade": "bad", "answer": "No.", "reasons": reasons}
    picture = drawn(Seen(URL, overview_with(slots, work=work)), lines=30, width=120)
    assert len(picture.splitlines()) <= 30
    assert picture.count("more") == 2
    assert "2 funded" in picture


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    slots = [slot(number, "sick", reason="word " * 40) for number in range(30)]
    picture = drawn(Seen(URL, overview_with(slots, utilisation=[0.1, 0.5, 1.0] * 40)), width=width)
    assert max(len(line) for line in picture.splitlines()) <= width


def test_what_a_process_says_neither_moves_the_cursor_nor_is_markup() -> None:
    nasty = "\x1b]0;title\x07\x1b[2J[red]no markup[/red] \u202eback"
    slots = [slot(0), slot(1, "sick", reason=nasty), slot(2)]
    work = {
        "question": "Does work flow?",
        "grade": "bad",
        "answer": nasty,
        "reasons": [{"text": nasty, "escrow_id": None}],
    }
    picture = drawn(Seen(f"{URL}", overview_with(slots, work=work, queue=nasty, stock=nasty), nasty))
    assert not {"\x1b", "\x07", "\u202e"} & set(picture)
    assert picture.count("[red]no markup[/red]") == 6


def test_colour_is_for_terminals_that_have_it() -> None:
    assert "\x1b[32m" in drawn(Seen(URL, overview_with()), colours=True)
    assert "\x1b" not in drawn(Seen(URL, overview_with()))


def test_figures_as_words() -> None:
    assert set_up_words(None) == "None has ended in the last six hours."
    times = SetUpTimes(count=12, half_within_seconds=3.1, nine_of_ten_within_seconds=75.0)
    assert set_up_words(times) == "12 in six hours, half of them within 3 s, nine of ten within 1 min 15 s."
    assert usage_words([]).startswith("Nothing noted yet")
    assert usage_words([0.0, 0.5, 1.0]) == "▁▅█ 100% of the processes' time; at most 100% over 3 min"
    assert escrow_words({}) == "There is none yet."
    assert escrow_words({State.PAYING_OUT: 1, State.SETTLED: 3, State.FUNDED: 0}) == "1 paying out · 3 settled"
