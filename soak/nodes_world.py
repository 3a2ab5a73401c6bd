"""What the soak of several nodes runs on: one PostgreSQL, one private chain, people, and the nodes with their fleets.

Each node is the service as anybody starts it, with a folder and a name of its own, joined to the rest by a wire that
can be cut. A node that dies is started again some seconds later, under its name and in its folder; one that dies
though nobody killed it is counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from monero_escrow.demo.people import Miner, Purse
from monero_escrow.demo.private_postgres import PrivatePostgres
from monero_escrow.demo.service_process import ApiKeys, make_keys, service_environment, start_service
from monero_escrow.monero.private_chain import PrivateChain
from monero_escrow.monero.processes import lasting_port
from monero_escrow.monero.programs import MoneroPrograms
from monero_escrow.monero.supervision import Patience, Supervisor
from soak.namespaces import Namespace, can_be_made, namespaces
from soak.nodes_process import ServiceNode
from soak.nodes_wire import Wire
from soak.world import Market, callers

LEASE_SECONDS: Final = 5
_DATABASE: Final = "escrow"
# Dying is no sign of a fault here, and whoever restarts a machine takes some seconds.
_PATIENCE: Final = Patience(first_pause_seconds=2.0, longest_pause_seconds=4.0, most_deaths=100_000)
_SETTINGS: Final = {
    "CHAIN_POLL_SECONDS": "1",
    "REQUEST_WAIT_SECONDS": "5",
    "LEASE_WAIT_SECONDS": "30",
    "STOCK_TARGET": "1",  # most orders make their wallets themselves: set-ups are to be struck, too
    "FLEET_MIN_TRIOS": "1",
    "FLEET_MAX_TRIOS": "1",
    "NODE_LEASE_SECONDS": str(LEASE_SECONDS),
}


@dataclass(frozen=True, slots=True)
class NodesWorld(Market):
    """Several services on one server. `books_url` is the database's, for its owner."""

    server: PrivatePostgres
    nodes: Sequence[ServiceNode]
    supervisor: Supervisor
    starts: Counter[str]
    """How often each node was started again."""
    key_file: Path
    books_url: str

    def died_by_themselves(self) -> list[str]:
        """A sentence for each node that ended though nobody killed it."""
        return [
            f"{node.name} ended by itself {self.starts[node.name] - node.kills} times."
            for node in self.nodes
            if self.starts[node.name] > node.kills
        ]

    async def end_nodes(self) -> None:
        """All of them, in good order."""
        await asyncio.gather(*(self.supervisor.end(node.child) for node in self.nodes))


@asynccontextmanager
async def running_nodes(
    programs: MoneroPrograms, folder: Path, count: int, say: Callable[[str], None], *, relays_alone: bool = False
) -> AsyncIterator[NodesWorld]:
    """All of it started, and ended again, whatever happens. With `relays_alone` no network namespaces are made."""
    starts: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        networks = stack.enter_context(_networks(count, say, relays_alone=relays_alone))
        wires = [await stack.enter_async_context(Wire(network)) for network in networks]
        say(f"starting a private chain on Monero {programs.version}, PostgreSQL and {count} nodes")
        server = await stack.enter_async_context(PrivatePostgres())
        supervisor = Supervisor(lambda child: starts.update([child.name]), _PATIENCE)
        stack.push_async_callback(supervisor.aclose)
        chain = await stack.enter_async_context(PrivateChain(programs, folder / "monero", supervisor=supervisor))
        names = ("buyer", "vendor", "market")
        buyer, vendor, market = map(Purse, await asyncio.gather(*map(chain.person, names)))
        miner = Miner(chain.daemon, chain.miner.address)
        environment = {**service_environment(folder), **_SETTINGS, "MONERO_BIN_DIR": str(programs.folder)}
        site = _Site(folder, environment, chain.monerod.url, await server.new_database(_DATABASE), supervisor)
        mined = miner.first_coins(buyer.owner.address, lambda _mined, _all: None)
        (keys, nodes), _ = await asyncio.gather(site.start(wires), mined)
        apis = [await stack.enter_async_context(api) for api in callers([node.url for node in nodes], keys)]
        shop, arbiter, operator = apis
        yield NodesWorld(
            chain=chain,
            miner=miner,
            buyer=buyer,
            vendor=vendor,
            market=market,
            shop=shop,
            arbiter=arbiter,
            operator=operator,
            server=server,
            nodes=nodes,
            supervisor=supervisor,
            starts=starts,
            key_file=Path(environment["DB_ENCRYPTION_KEY_FILE"]),
            books_url=site.books_url,
        )


@contextmanager
def _networks(count: int, say: Callable[[str], None], *, relays_alone: bool) -> Iterator[Sequence[Namespace | None]]:
    """A network a node; none where that is not wanted, or not allowed."""
    if relays_alone or not can_be_made():
        say("no network namespaces: the nodes share this machine's loopback, and relays cut them off")
        yield [None] * count
        return
    with namespaces(count) as networks:
        say(f"{count} network namespaces, from {networks[0].name} on")
        yield networks


@dataclass(frozen=True, slots=True)
class _Site:
    """What all nodes have in common."""

    folder: Path
    environment: Mapping[str, str]
    daemon_url: str
    books_url: str
    supervisor: Supervisor

    async def start(self, wires: Sequence[Wire]) -> tuple[ApiKeys, list[ServiceNode]]:
        keys = await make_keys(self.folder, {**self.environment, "DATABASE_URL": self.books_url})
        starts = (self._node(f"node-{number}", wire) for number, wire in enumerate(wires, start=1))
        return keys, await asyncio.gather(*starts)

    async def _node(self, name: str, wire: Wire) -> ServiceNode:
        port, data = lasting_port(), self.folder / name
        settings = {
            **self.environment,
            "NODE_NAME": name,
            "DATA_DIR": str(data),
            "SERVER_HOST": wire.node_address,
            "BEHIND_TLS_PROXY": "true",  # there is none: the network is of this machine alone
            "ALLOWED_HOSTS": "*",
            "DATABASE_URL": await _through(wire, self.books_url),
            "MONERO_DAEMON_URL": await _through(wire, self.daemon_url),
        }
        start = partial(start_service, self.folder, settings, port, log_name=name, within=wire.within)
        child = await self.supervisor.keep(name, start)
        return ServiceNode(child, wire, data, f"http://{await wire.to_node(port)}")


async def _through(wire: Wire, url: str) -> str:
    """The URL by which a node reaches what is at this one here."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}{at}{await wire.to_us(parts.port or 0)}"))
