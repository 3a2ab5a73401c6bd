"""A real Chromium on a whole service: the fake town behind it, its pages on a port of this machine.

All tests of a module share one event loop, one browser and one service; each has a window of its own, which notes what
the page complains of and whom it asks. Nothing it loads may come from another machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from monero_escrow.escrows.conductor import Conductor
from monero_escrow.monero.fake.wallet_rpc import FakeWalletRpc
from monero_escrow.monero.waiting import until
from monero_escrow.service import _Server
from monero_escrow.store.records import Scope
from monero_escrow.web import live
from monero_escrow.web.app import create_app
from monero_escrow.web.pages.install import close_pages, live_of
from unit.fake_service import Town, settings_of

ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts" / "pages"
_CHROMIUMS = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
_LIMIT_MILLISECONDS = 15_000
expect.set_options(timeout=_LIMIT_MILLISECONDS)


@dataclass
class Site:
    """The service, where it listens, and its keys."""

    url: str
    town: Town
    conductor: Conductor
    processes: Sequence[FakeWalletRpc]
    keys: dict[str, str] = field(default_factory=dict)

    async def new_key(self, scope: Scope) -> tuple[str, str]:
        """A key's id and the key."""
        now = self.conductor.ctx.clock.now()
        name = {Scope.OPERATOR: "Ada", Scope.ARBITER: "Judge"}.get(scope, "till")
        shop = "shop" if scope is Scope.SHOP else None
        record, key = await self.conductor.ctx.store.write(lambda tx: tx.keys.create(scope, shop, name, now))
        return record.id, key


@dataclass
class Window:
    """A page in the browser, and what is to be held against it."""

    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def heard(self, said: ConsoleMessage) -> None:
        """Something was written to the browser's console."""
        if said.type == "error":
            self.complaints.append(said.text)

    async def sign_in(self, who: str = "operator", wanted: str = "") -> None:
        await self.page.goto(f"{self.site.url}/admin{wanted}")
        await self.page.get_by_label("key").fill(self.site.keys[who])
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.get_by_role("button", name="Sign out").wait_for()

    async def picture(self, name: str) -> None:
        """What it looks like by day, by night, and on a phone."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        for scheme, width in (("light", 1280), ("dark", 1280), ("phone", 390)):
            await self.page.set_viewport_size({"width": width, "height": 800})
            await self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await self.page.screenshot(path=ARTEFACTS / f"{name}-{scheme}.png", full_page=True)
            wider = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wider <= 0, f"{name} has to be scrolled sideways ({scheme})"
        await self.page.set_viewport_size({"width": 1280, "height": 800})

    async def is_usable_by_everybody(self) -> None:
        """axe-core finds nothing serious, by day and by night."""
        for scheme in ("light", "dark"):
            await self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await self.page.evaluate(_axe())
            found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [
                (finding["id"], finding["nodes"][0]["html"][:200], finding["nodes"][0].get("failureSummary"))
                for finding in found["violations"]
                if finding["impact"] in ("serious", "critical")
            ]
            assert serious == [], scheme


def _axe() -> str:
    return (Path(__file__).parent / "vendor" / "axe.min.js").read_text()


def _chromium() -> str:
    found = next((path for name in _CHROMIUMS if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("There is no Chromium: scripts/get-chromium.")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, without a window to see."""
    program = _chromium()
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=["--disable-gpu", *as_root])
        yield started
        await started.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The service on three fake processes, and its pages."""
    town = Town()
    processes = town.processes()
    settings = settings_of(tmp_path_factory.mktemp("service"), processes)
    with patch.multiple(live, SAMPLE_SECONDS=0.5, HEALTH_SECONDS=0.5):
        async with town.service(settings, processes) as conductor, _served(conductor) as url:
            made = Site(url, town, conductor, processes)
            for scope in Scope:
                _, made.keys[scope] = await made.new_key(scope)
            yield made


@asynccontextmanager
async def _served(conductor: Conductor) -> AsyncIterator[str]:
    """The application on a free port of this machine, as the service serves it."""
    app = create_app(conductor)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=3)
    server = _Server(config, on_exit=partial(close_pages, app))
    tasks = [asyncio.create_task(server.serve([listening])), asyncio.create_task(live_of(app).run())]

    async def started() -> bool:
        return bool(server.started)

    try:
        await until(started, limit_seconds=10)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        close_pages(app)
        server.should_exit = True
        await tasks[0]
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="module")
async def window(browser: Browser, site: Site) -> AsyncIterator[Window]:
    """A new window. Afterwards: no script complained, and nobody but the service was asked for anything."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(_LIMIT_MILLISECONDS)
    opened = Window(await context.new_page(), site)
    opened.page.on("console", opened.heard)
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    await context.close()
    assert opened.complaints == []
    assert [url for url in opened.asked if not url.startswith(site.url + "/")] == []
