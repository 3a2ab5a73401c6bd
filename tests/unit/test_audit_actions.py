"""The list of the trail's actions, against the code that writes rows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import monero_escrow
from monero_escrow.core.life_cycle import Event
from monero_escrow.store.audit_actions import ACTIONS

_PASS_ON = {"_change", "_noted_if_it_can_be", "_record", "_take_up"}
"""Functions that write a row with the action they are given."""
_NAME = re.compile(r"[a-z]+(?:_[a-z]+)*")


def test_every_action_that_the_code_writes_can_be_looked_for() -> None:
    written = set(_written())
    assert len(written) > 40
    assert written <= set(ACTIONS)


def test_no_action_can_be_looked_for_that_nothing_writes() -> None:
    statuses = {name for name in ACTIONS if name.startswith("deposit_")}
    others = {"wallet_operation", *map(str, Event)} | statuses
    assert set(ACTIONS) - others <= set(_written())


def _written() -> Iterator[str]:
    """The names in calls of `audit.add` and of what passes one on, and those that are chosen between before."""
    for file in Path(monero_escrow.__file__).parent.rglob("*.py"):
        text = file.read_text()
        if "audit.add(" not in text and not file.name.startswith("audit_table"):
            continue
        module = ast.parse(text)
        constants = {
            ast.unparse(node.target): node.value
            for node in module.body
            if isinstance(node, ast.AnnAssign) and node.value
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and _writes(node):
                given = node.args[1:] if _called(node) == "add" else node.args
                yield from _names([constants.get(ast.unparse(value), value) for value in given])
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("action", "what"):
                yield from _names([node.value])


def _writes(call: ast.Call) -> bool:
    return _called(call) in _PASS_ON or ast.unparse(call.func).endswith(("audit.add", "self.add"))


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _names(values: list[ast.expr]) -> Iterator[str]:
    for value in values:
        choices = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
        for choice in choices:
            if isinstance(choice, ast.Constant) and isinstance(choice.value, str) and _NAME.fullmatch(choice.value):
                yield choice.value
