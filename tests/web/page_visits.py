"""Somebody at a browser, as far as the application can tell: forms, cookies, and the page that is shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from web.world import World

ORIGIN = "http://example.com"


@asynccontextmanager
async def signed_in(world: World, who: str = "operator") -> AsyncIterator[httpx2.AsyncClient]:
    """A browser in which this one is signed in."""
    async with world.client(None) as browser:
        answer = await sign_in(browser, world.keys[who])
        assert answer.status_code == 303, answer.text
        yield browser


async def sign_in(browser: httpx2.AsyncClient, key: str, wanted: str = "/admin") -> httpx2.Response:
    return await browser.post("/admin/sign-in", data={"key": key, "next": wanted}, headers={"Origin": ORIGIN})


async def read(browser: httpx2.AsyncClient, path: str, status: int = 200) -> str:
    """A page's HTML."""
    answer = await browser.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


async def send(
    browser: httpx2.AsyncClient, path: str, fields: dict[str, str], form_token: str | None = None
) -> httpx2.Response:
    """Send a form with the token that this session's pages hold."""
    token = await form_token_of(browser) if form_token is None else form_token
    return await browser.post(path, data={**fields, "form_token": token}, headers={"Origin": ORIGIN})


async def shown_for(browser: httpx2.AsyncClient, path: str) -> str:
    """What the form of this page sends back, so that nothing else is confirmed than was shown."""
    page = await read(browser, path)
    found = re.search(r'name="shown" value="([0-9a-f]+)"', page)
    assert found is not None, page
    return found[1]


async def form_token_of(browser: httpx2.AsyncClient) -> str:
    answer = await browser.get("/admin", follow_redirects=True)
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', answer.text)
    assert found is not None
    return found[1]
