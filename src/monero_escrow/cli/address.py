"""`monero-escrow check-address`."""

from __future__ import annotations

import json

from monero_escrow.cli.options import Json
from monero_escrow.core.address import InvalidAddressError, Network, parse_address

_KINDS = {"standard": "a standard address", "subaddress": "a subaddress", "integrated": "an integrated address"}


def check_address(address: str, /, *, network: Network | None = None, json_output: Json = False) -> int:
    """Say whether an address is sound, and if not, why.

    Parameters
    ----------
    address
        The address to look at.
    network
        Which network it must belong to; without it, any.
    """
    candidates = (network,) if network else (Network.MAINNET, Network.STAGENET, Network.TESTNET)
    found: dict[str, object] = {}
    for candidate in candidates:
        try:
            sound = parse_address(address, candidate)
        except InvalidAddressError as error:
            found = {
                "valid": False,
                "reason": error.reason.value,
                "message": error.message,
                "what_to_do": error.what_to_do,
            }
        else:
            found = {"valid": True, "network": candidate.value, "kind": sound.kind.value}
            break
    if json_output:
        print(json.dumps(found))
    elif found["valid"]:
        print(f"valid: {_KINDS[str(found['kind'])]} of {found['network']}")
    else:
        print(f"not valid: {found['message']}")
        print(f"           {found['what_to_do']}")
    return 0 if found["valid"] else 1
