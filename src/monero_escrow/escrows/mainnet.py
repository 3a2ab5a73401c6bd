"""What must hold before real coins are taken, and how many are taken at once.

Monero's authors call its multisig experimental and say what can go wrong; nobody's coins come near it before whoever
runs the service has said that they know. The limits on value are low by default for the same reason: a defect that
nobody has found yet costs what lies in escrow, and not more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monero_escrow.config import ACKNOWLEDGEMENT, NOTHING, UNLIMITED, Settings, SettingsError
from monero_escrow.core.address import Network
from monero_escrow.core.errors import InvalidInputError, UnavailableError
from monero_escrow.core.loopback import is_on_this_machine
from monero_escrow.core.money import PICONERO_PER_XMR, format_xmr, parse_xmr
from monero_escrow.escrows.keep_elsewhere import require_second_place

WARNING: Final = (
    "Monero's wallet says of multisig: it is experimental and may have bugs. Funds sent to a multisig wallet may be "
    "unspendable, spendable only with the participation of a malicious member, or stolen by a malicious member."
)
"""The sense of what `monero-wallet-cli` prints before it lets anybody try (src/simplewallet/simplewallet.cpp)."""

_PER_ESCROW_ON_MAINNET: Final = 5 * PICONERO_PER_XMR
_AT_ONCE_ON_MAINNET: Final = 50 * PICONERO_PER_XMR


class MainnetRefusedError(SettingsError):
    """Something that real coins need is not so."""

    code = "mainnet_refused"


class TooMuchForOneEscrowError(InvalidInputError):
    """The order is for more than this service takes in one escrow."""

    code = "too_much_for_one_escrow"
    what_to_do = "Split the order, or ask whoever runs the service to raise MOST_XMR_PER_ESCROW."


class TooMuchAtOnceError(UnavailableError):
    """With this order, more would lie in escrow than this service holds at once. Nothing was recorded."""

    code = "too_much_at_once"
    what_to_do = "Try again when others have settled, or ask whoever runs the service to raise MOST_XMR_AT_ONCE."


@dataclass(frozen=True, slots=True)
class ValueLimits:
    """How much is taken, in piconero as ordered; None for no limit."""

    per_escrow_piconero: int | None
    at_once_piconero: int | None

    def check(self, amount_piconero: int, held_piconero: Callable[[], int]) -> None:
        """Whether one more order fits. `held_piconero` tells what the open escrows were ordered for; asked if needed.

        Raises TooMuchForOneEscrowError, TooMuchAtOnceError.
        """
        one, all_ = self.per_escrow_piconero, self.at_once_piconero
        if one is not None and amount_piconero > one:
            raise TooMuchForOneEscrowError(f"An escrow of this service is for at most {format_xmr(one)} XMR.")
        if all_ is not None and held_piconero() + amount_piconero > all_:
            raise TooMuchAtOnceError(f"This service holds at most {format_xmr(all_)} XMR at once.")


def value_limits(settings: Settings) -> ValueLimits:
    """Those that are set; on mainnet, where none are, careful ones."""
    careful = settings.monero_network is Network.MAINNET
    return ValueLimits(
        _limit(settings.most_xmr_per_escrow, _PER_ESCROW_ON_MAINNET if careful else None),
        _limit(settings.most_xmr_at_once, _AT_ONCE_ON_MAINNET if careful else None),
    )


def _limit(setting: str | None, unless_set: int | None) -> int | None:
    if setting is None:
        return unless_set
    if setting == NOTHING:
        return 0
    return None if setting == UNLIMITED else parse_xmr(setting)


def require_ready_for_mainnet(settings: Settings) -> None:
    """Nothing on other networks. Raises MainnetRefusedError, NoSecondPlaceError.

    What is asked of the programs, that they store the nonces they used, is asked of each where it is looked at.
    """
    if settings.monero_network is not Network.MAINNET:
        return
    if settings.mainnet_acknowledgement != ACKNOWLEDGEMENT:
        raise MainnetRefusedError(
            f"MONERO_NETWORK is mainnet, and nobody has said that the risk is known. {WARNING}",
            what_to_do=f'Read docs/security.md. If you accept it, set MAINNET_ACKNOWLEDGEMENT="{ACKNOWLEDGEMENT}".',
        )
    require_second_place(settings.monero_network, configured=settings.backup_url is not None)
    url = settings.monero_daemon_url
    if url is not None and url.startswith("http://") and not is_on_this_machine(url):
        raise MainnetRefusedError(
            "MONERO_DAEMON_URL is plain HTTP to another machine: whoever is between could say what is on the chain.",
            what_to_do="Run monerod on this machine, reach it through a tunnel that ends here, or use https.",
        )
