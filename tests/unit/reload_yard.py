"""What the reload's tests share: a fleet of fake processes at numbered places, and the settings that list them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from monero_escrow.config import Settings, load_settings
from monero_escrow.core.address import Network
from monero_escrow.core.roles import Role, role_of_slot
from monero_escrow.fleet.fleet import Fleet
from monero_escrow.fleet.slot import Slot
from monero_escrow.monero.fake.files import FakeDisk
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.rpc import Credentials
from monero_escrow.monero.static_access import StaticAccess
from monero_escrow.monero.versions import MoneroVersion
from unit.slots import VirtualClock, make_pool

FIRST_PORT = 41_000
_VERSION = MoneroVersion.parse("0.18.5.3")


def url(number: int) -> str:
    return f"http://127.0.0.1:{FIRST_PORT + number}"


class Nobody:
    """No wallet is ours."""

    async def knows_wallet(self, address: str) -> bool:
        return False

    async def recent_passwords(self, role: Role) -> Sequence[str]:
        return ()


class Yard:
    """A fleet of fake processes at numbered places; `listed` is what stands in the settings."""

    def __init__(self, clock: VirtualClock, folder: Path, listed: object = (0, 1, 2)) -> None:
        self.folder = folder
        self.processes = [
            FakeWalletRpc(url(number), FakeDisk(), Random(number), network=Network.STAGENET, version=_VERSION)
            for number in range(12)
        ]
        self.listed = listed
        self.logins: dict[int, Credentials] = {}
        settings = self.read()
        self.pool = make_pool(self.static_slots(settings), clock)
        self.fleet = Fleet(
            settings,
            self.pool,
            clock,
            Nobody(),
            self.static_slots,
            lambda _url: lambda _method, _seconds, _outcome: None,
        )
        self.fleet.read_settings = self.read

    def read(self) -> Settings:
        urls = ",".join(map(url, self.listed)) if isinstance(self.listed, list | tuple) else str(self.listed)
        return load_settings(monero_rpc_urls=urls, data_dir=self.folder)

    def static_slots(self, settings: Settings) -> list[Slot]:
        numbers = [int(place.rpartition(":")[2]) - FIRST_PORT for place in settings.monero_rpc_urls]
        return [
            Slot(index, role_of_slot(index), self.processes[n], access=StaticAccess(self.logins.get(n)))
            for index, n in enumerate(numbers)
        ]

    def there(self) -> list[int]:
        return [int(slot.rpc.url.rpartition(":")[2]) - FIRST_PORT for slot in self.pool.slots]

    def is_free(self) -> bool:
        return self.pool.stats().free == self.pool.stats().total
